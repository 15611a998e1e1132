//! [`Segment::reap`]: gives back all that a dead process held. Called by the postmaster, which saw the process end,
//! so that nothing here races with the dead; the living go on meanwhile.

use crate::database::DatabaseIndex;
use crate::segment::Segment;
use crate::slot::{Owner, SlotState};
use crate::upstream::UpstreamPlaceIndex;
use crate::walindex::WalLocksHeld;

/// What a dead process had held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReapReport {
    /// The state that it died in; `None` if the slot was not its own any more, in which case nothing was done.
    pub state: Option<SlotState>,
    /// Databases whose writer lock it had.
    pub writer_locks: Vec<DatabaseIndex>,
    /// Databases whose sync it led.
    pub led_syncs: Vec<DatabaseIndex>,
    /// WAL-index locks that it had.
    pub wal_locks: Vec<(DatabaseIndex, WalLocksHeld)>,
    /// Places for upstream connections that it had: look into each one's locker, and call
    /// [`Segment::settle_upstream`].
    pub upstream_places: Vec<UpstreamPlaceIndex>,
    /// It had told a client a cancel key.
    pub cancel_key: bool,
    /// It died while it wrote its session's description.
    pub torn_activity: bool,
}

impl ReapReport {
    /// Whether it had held anything that others wait for.
    pub fn held_locks(&self) -> bool {
        !(self.writer_locks.is_empty() && self.led_syncs.is_empty() && self.wal_locks.is_empty())
    }
}

impl Segment {
    /// Releases everything that the dead process `dead` held, wakes who waits for it, and frees its slot. Calling it
    /// again does nothing; if the caller itself is killed in it, calling it again finishes the work.
    pub fn reap(&self, dead: Owner) -> ReapReport {
        let mut report = ReapReport::default();
        let slot = self.slot(dead.slot);
        if slot.generation() != dead.generation || slot.state() == SlotState::Free {
            return report;
        }
        for database in self.databases() {
            // SQLite's own locks first: the next writer would find the write lock busy.
            let held = database.wal_release_all(dead);
            if held != WalLocksHeld::default() {
                report.wal_locks.push((database.index(), held));
            }
            database.reap_commit_of_writer(dead);
            if database.reap_writer(dead) {
                report.writer_locks.push(database.index());
            }
            // After the writer's commit was counted as appended, so that those who wait for it can lead.
            if database.reap_leader(dead) {
                report.led_syncs.push(database.index());
            }
        }
        self.ticket_keys().reap(dead);
        report.upstream_places = self.reap_upstream(dead);
        report.cancel_key = self.reap_cancel_key(dead);
        report.torn_activity = slot.activity().repair();
        report.state = self.free_slot(dead);
        report
    }
}

#[cfg(test)]
mod tests;
