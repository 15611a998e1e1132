//! A place where a test stops a process that is in the middle of writing its slot. Knows nothing of what is done
//! there. Until a process sets it, it costs one load.

use std::sync::OnceLock;

static WRITING_SLOT: OnceLock<fn()> = OnceLock::new();

/// From now on this process calls `act` each time that half of a statement's description is in its slot. Only the
/// first call counts.
pub fn set_writing_slot(act: fn()) {
    let _ = WRITING_SLOT.set(act);
}

#[inline]
pub(crate) fn writing_slot() {
    if let Some(act) = WRITING_SLOT.get() {
        act();
    }
}
