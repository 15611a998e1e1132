//! The instants at which a kill is simulated: between any two changes of the segment that belong together.
//!
//! Code calls [`step`] there. Outside unit tests that is nothing; in them a thread can be made to "die" (unwind) at
//! its n-th step. Nothing in this crate cleans up while unwinding, so what stays behind is what kill -9 leaves.

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}

#[cfg(test)]
pub(crate) use simulation::{dies_at, step, without_dying};

#[cfg(test)]
mod simulation {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    thread_local! { static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) }; }

    struct Killed;

    pub(crate) fn step() {
        match STEPS_LEFT.get() {
            None => {}
            Some(0) => {
                STEPS_LEFT.set(None);
                resume_unwind(Box::new(Killed));
            }
            Some(left) => STEPS_LEFT.set(Some(left - 1)),
        }
    }

    /// Runs what another process does: its steps do not count.
    pub(crate) fn without_dying<T>(act: impl FnOnce() -> T) -> T {
        let left = STEPS_LEFT.replace(None);
        let result = act();
        STEPS_LEFT.set(left);
        result
    }

    /// Runs `act`, which dies at step `steps`. Returns false if it came to its end before that.
    pub(crate) fn dies_at(steps: u32, act: impl FnOnce()) -> bool {
        STEPS_LEFT.set(Some(steps));
        let result = catch_unwind(AssertUnwindSafe(act));
        STEPS_LEFT.set(None);
        match result {
            Ok(()) => false,
            Err(payload) if payload.is::<Killed>() => true,
            Err(payload) => resume_unwind(payload),
        }
    }
}
