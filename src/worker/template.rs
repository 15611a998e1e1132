//! The template: a process with an engine open and idle, from which workers are forked.
//!
//! Opening an engine (two databases, their schemas, the catalog) costs several times what a short session does, and
//! is the same for every worker; here it is done once, and each worker gets it with the fork. The template serves
//! nobody and decides nothing: it forks on the postmaster's orders, and its forks are the postmaster's children, not
//! its own. Where it is missing, the postmaster forks workers itself, which open their own engine.
//!
//! An order is a slot; the answer is the pid of the process that was forked into it. The postmaster never waits for
//! one, and a template that dies with orders unanswered leaves no doubt: a process that it has forked moves into its
//! slot in one step, which fails once the postmaster has taken the slot back.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shm::{Generation, Owner, Phase, Slot, SlotIndex, SlotState, WaitEvent};

use super::context::Context;
use super::engine::{self, WarmEngine};
use super::{Inheritance, run as run_worker};
use crate::engine::sqlite::hint::HINT_MAX;
use crate::system::epoll::ExclusiveEpoll;
use crate::system::fork::{Side, exit_now, fork_sibling};
use crate::system::signal::Mask;
use crate::system::{parent, pass, signal};

/// Exit code when it could not open an engine or wait for orders.
const FAILED: i32 = 3;

/// Exit code of a process that the postmaster no longer expects.
const UNEXPECTED: i32 = 0;

const ORDER_BYTES: usize = 8;
const ANSWER_BYTES: usize = 12;

/// The postmaster's wish for a worker in that slot, as it goes over the channel.
pub fn order(owner: Owner) -> [u8; ORDER_BYTES] {
    let mut bytes = [0; ORDER_BYTES];
    let (slot, generation) = bytes.split_at_mut(4);
    slot.copy_from_slice(&owner.slot.0.to_ne_bytes());
    generation.copy_from_slice(&owner.generation.0.to_ne_bytes());
    bytes
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The slot.
    pub owner: Owner,
    /// The process, or the error number of fork.
    pub result: Result<i32, i32>,
}

impl Answer {
    fn to_bytes(self) -> [u8; ANSWER_BYTES] {
        let mut bytes = [0; ANSWER_BYTES];
        let (owner, result) = bytes.split_at_mut(ORDER_BYTES);
        owner.copy_from_slice(&order(self.owner));
        result.copy_from_slice(&self.result.unwrap_or_else(|errno| -errno).to_ne_bytes());
        bytes
    }

    /// None when there is no answer yet.
    pub fn receive(channel: &OwnedFd) -> io::Result<Option<Answer>> {
        let mut bytes = [0; ANSWER_BYTES];
        match pass::receive(channel, &mut bytes) {
            Ok((ANSWER_BYTES, _)) => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let (owner, result) = bytes.split_at(ORDER_BYTES);
        let result = i32::from_ne_bytes(result.try_into().unwrap_or_default());
        Ok(owner_in(owner).map(|owner| Answer { owner, result: if result > 0 { Ok(result) } else { Err(-result) } }))
    }
}

fn owner_in(bytes: &[u8]) -> Option<Owner> {
    let (slot, generation) = bytes.split_at_checked(4)?;
    let slot = SlotIndex(u32::from_ne_bytes(slot.try_into().ok()?));
    let generation = Generation(u32::from_ne_bytes(generation.try_into().ok()?));
    Some(Owner { slot, generation })
}

/// Lives the template's life in the slot that it was forked for, and ends the process. Signals must be blocked and
/// have their default actions: they come in, and end it (SIGQUIT without its core dump), only while it waits for
/// orders. What is forked from it begins with signals blocked, as any worker does.
pub fn run(context: &Context, owner: Owner, orders: OwnedFd) -> ! {
    std::panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    parent::set_name("pgprefork: tmpl");
    let slot = context.segment.slot(owner.slot);
    slot.set_phase(Phase::OpeningEngine);
    let opened = signal::leave_on_quit().map_err(|error| error.to_string()).and_then(|()| {
        let engine = engine::open(context, owner)?;
        let epoll = ExclusiveEpoll::new().map_err(|error| error.to_string())?;
        let hints = pass::channel().map_err(|error| error.to_string())?;
        epoll.add(&orders, 0).and_then(|()| epoll.add(&hints.1, 1)).map_err(|error| error.to_string())?;
        let serving = context.segment.transition(owner.slot, SlotState::Starting, SlotState::Serving);
        serving.map(|_| Template { engine, epoll, orders, hints }).map_err(|error| error.to_string())
    });
    match opened {
        Ok(template) => {
            slot.set_phase(Phase::None);
            context.wake_postmaster();
            let life = catch_unwind(AssertUnwindSafe(|| template.serve(context, slot)));
            match life {
                Ok(never) => never,
                // A statement that no planner was ready for. Below this frame lies the postmaster's stack.
                Err(_) => exit_now(FAILED),
            }
        }
        Err(error) => {
            log::error!("the template could not start: {error}");
            exit_now(FAILED)
        }
    }
}

struct Template {
    engine: WarmEngine,
    epoll: ExclusiveEpoll,
    orders: OwnedFd,
    /// Where workers leave hints, and where they are read.
    hints: (OwnedFd, OwnedFd),
}

impl Template {
    fn serve(mut self, context: &Context, slot: &Slot) -> ! {
        let mask = Mask::none();
        loop {
            let mut bytes = [0; ORDER_BYTES];
            match pass::receive(&self.orders, &mut bytes) {
                Ok((ORDER_BYTES, _)) => {}
                // The postmaster has closed its end.
                Ok(_) => exit_now(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Nobody waits for a worker. Signals come in even if there is always something to learn.
                    let waited = if self.learn() {
                        let_signals_in()
                    } else {
                        slot.set_wait_event(WaitEvent::BackgroundLoop);
                        self.epoll.wait(&mask, None).map(drop)
                    };
                    slot.set_wait_event(WaitEvent::None);
                    if let Err(error) = waited {
                        give_up(&error)
                    }
                    continue;
                }
                Err(error) => give_up(&error),
            }
            let Some(owner) = owner_in(&bytes) else { continue };
            self.engine.freshen();
            let result = match fork_sibling() {
                Ok(Side::Child) => self.enter(context, owner),
                Ok(Side::Parent(pid)) => Ok(pid.as_raw()),
                Err(error) => Err(error.raw_os_error().unwrap_or(libc::EAGAIN)),
            };
            if let Err(error) = pass::send_bytes(&self.orders, &Answer { owner, result }.to_bytes()) {
                give_up(&error)
            }
        }
    }

    /// Takes up one hint. False if there is none.
    fn learn(&mut self) -> bool {
        let mut hint = [0; HINT_MAX];
        match pass::receive(&self.hints.1, &mut hint) {
            Ok((bytes, _)) => {
                self.engine.learn(hint.get(..bytes).unwrap_or_default());
                true
            }
            Err(_) => false,
        }
    }

    /// The new worker's first steps: it has nothing of the template's but what a worker may have.
    fn enter(self, context: &Context, owner: Owner) -> ! {
        let Template { engine, epoll, orders, hints: (hints, read) } = self;
        drop((epoll, orders, read));
        if !context.segment.slot(owner.slot).move_in(owner.generation, parent::own_pid().as_raw()) {
            exit_now(UNEXPECTED)
        }
        if let Err(error) = parent::die_with(context.postmaster).and_then(|()| parent::own_session()) {
            log::error!("a new process could not set itself up: {error}");
            exit_now(FAILED)
        }
        run_worker(context, owner, Inheritance { client: None, engine: Some(engine), hints: Some(hints) })
    }
}

/// Ends the process if it was told to go.
fn let_signals_in() -> io::Result<()> {
    signal::unblock_all()?;
    signal::block_all()
}

fn give_up(error: &io::Error) -> ! {
    log::error!("the template lost the postmaster's orders: {error}");
    exit_now(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_as_they_were_sent() {
        let (here, there) = pass::channel().unwrap();
        let owner = Owner { slot: SlotIndex(3), generation: Generation(u32::MAX) };
        assert_eq!(owner_in(&order(owner)), Some(owner));
        for answer in [Answer { owner, result: Ok(77) }, Answer { owner, result: Err(libc::EAGAIN) }] {
            pass::send_bytes(&there, &answer.to_bytes()).unwrap();
            assert_eq!(Answer::receive(&here).unwrap(), Some(answer));
        }
        assert_eq!(Answer::receive(&here).unwrap(), None);
        drop(there);
        assert_eq!(Answer::receive(&here).unwrap(), None, "the end is learned by waitpid");
    }
}
