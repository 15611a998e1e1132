//! Signals: the postmaster reads them from a descriptor; a worker's handlers set bits and wake its latch.
//!
//! All signals stay blocked from before fork until the child's handlers stand. Handlers do nothing but store
//! to atomics, shut the client's socket for reading, and set the latch that the process sleeps on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, kill, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use shm::{Segment, SlotIndex};

pub use nix::sys::signal::Signal;

/// A set of blocked signals.
#[derive(Debug, Clone, Copy)]
pub struct Mask(SigSet);

impl Mask {
    /// Nothing is blocked.
    pub fn none() -> Self {
        Self(SigSet::empty())
    }

    pub(super) fn as_ptr(&self) -> *const libc::sigset_t {
        self.0.as_ref()
    }
}

/// Blocks every signal (those that report a fault of the process itself come through all the same when it
/// causes them; `sigprocmask` leaves them out).
pub fn block_all() -> io::Result<()> {
    let mut all = SigSet::all();
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT] {
        all.remove(fault);
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None)?)
}

/// Lets every signal in.
pub fn unblock_all() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Sends a signal. Of the server's processes only the postmaster and the keeper may use this, on children that they have
/// not reaped: any other pid may belong to somebody else by now. (Commands use it on the holder of a lock file.)
pub fn send(pid: Pid, signal: Signal) -> io::Result<()> {
    Ok(kill(pid, signal)?)
}

/// The signals of a single-threaded loop, as a descriptor to poll.
#[derive(Debug)]
pub struct SignalQueue(SignalFd);

impl SignalQueue {
    /// Takes these signals through a descriptor; they must be blocked.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next signal that waits. Read until None: signals of one kind that came close together are one.
    pub fn take(&mut self) -> io::Result<Option<Signal>> {
        Ok(self.take_from()?.map(|(signal, _)| signal))
    }

    /// The same, and from whom it came; of SIGCHLD: one child that it is about.
    pub fn take_from(&mut self) -> io::Result<Option<(Signal, Pid)>> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        let from = Pid::from_raw(info.ssi_pid.cast_signed());
        Ok(Signal::try_from(info.ssi_signo.cast_signed()).ok().map(|signal| (signal, from)))
    }
}

impl AsRawFd for SignalQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// What the postmaster tells a child by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Notice {
    /// End the session, or the process (SIGTERM).
    Terminate = 1,
    /// Look whether the running statement is to be cancelled (SIGINT). Where the slot asks the present session to end,
    /// it is Terminate instead: whose session that is, only the process itself knows for sure.
    Cancel = 2,
    /// Look at the listeners (SIGUSR1).
    Poke = 4,
    /// Leave when no session is there (SIGUSR2).
    Retire = 8,
}

/// Bits of [`Notice`] that have come and were not taken.
static PENDING: AtomicU32 = AtomicU32::new(0);
/// The client's socket, which Terminate shuts for reading; -1 when there is none.
static CLIENT: AtomicI32 = AtomicI32::new(-1);
/// Where the process's latch is, on which it waits for all but its client.
static LATCH_OF: OnceLock<(Segment, SlotIndex)> = OnceLock::new();

/// Installs the handlers of a child with that slot: SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 become [`Notice`]s and
/// set the slot's latch, SIGQUIT ends the process at once, SIGPIPE and SIGHUP are ignored, the rest is as at exec.
pub fn install_child_handlers(segment: Segment, slot: SlotIndex) -> io::Result<()> {
    let _ = LATCH_OF.set((segment, slot));
    reset_handlers()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGUSR2] {
        // No SA_RESTART: whoever waits shall look at what has come.
        set_action(signal, SigHandler::Handler(on_notice), SaFlags::empty())?;
    }
    leave_on_quit()?;
    for signal in [Signal::SIGPIPE, Signal::SIGHUP] {
        set_action(signal, SigHandler::SigIgn, SaFlags::empty())?;
    }
    Ok(())
}

/// Has SIGQUIT end the process at once, without the core dump of its default action: nothing is wrong with a process that
/// is told to go.
pub fn leave_on_quit() -> io::Result<()> {
    set_action(Signal::SIGQUIT, SigHandler::Handler(on_quit), SaFlags::empty())
}

/// Gives the signals that the server uses their default actions; those of memory faults as well, because the
/// standard library's handler for them returns when the signal was sent by somebody.
pub fn reset_handlers() -> io::Result<()> {
    use Signal::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    let used = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD, SIGALRM];
    for signal in used.into_iter().chain([Signal::SIGSEGV, Signal::SIGBUS]) {
        set_action(signal, SigHandler::SigDfl, SaFlags::empty())?;
    }
    Ok(())
}

/// Ignores SIGPIPE: a log pipe or a client that is gone is an error of write.
pub fn ignore_broken_pipes() -> io::Result<()> {
    set_action(Signal::SIGPIPE, SigHandler::SigIgn, SaFlags::empty())
}

fn set_action(signal: Signal, handler: SigHandler, flags: SaFlags) -> io::Result<()> {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handlers of this file only store to atomics, set a latch (an addition and a futex call) and
    // make calls that signal-safety(7) lists; the two others are the kernel's own actions.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn on_notice(signal: libc::c_int) {
    let notice = match signal {
        libc::SIGTERM => Notice::Terminate,
        libc::SIGINT if LATCH_OF.get().is_some_and(|(segment, slot)| segment.slot(*slot).terminate_requested()) => {
            Notice::Terminate
        }
        libc::SIGINT => Notice::Cancel,
        libc::SIGUSR1 => Notice::Poke,
        _ => Notice::Retire,
    };
    raise(notice);
}

extern "C" fn on_quit(_signal: libc::c_int) {
    // The exit code of PostgreSQL's quickdie(): the postmaster asked for it.
    super::fork::exit_now(2)
}

/// Whether SIGINT or SIGTERM has come since [`catch_interrupts`].
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Has SIGINT and SIGTERM remembered instead of ending this process: for commands that end what they have started.
/// Programs that they start have the default actions again (execve(2)), which a blocked signal would not give them.
pub fn catch_interrupts() -> io::Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        set_action(signal, SigHandler::Handler(on_interrupt), SaFlags::SA_RESTART)?;
    }
    Ok(())
}

/// Whether SIGINT or SIGTERM has come since.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

extern "C" fn on_interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// What a handler does; async-signal-safe, and keeps errno as the interrupted code left it.
fn raise(notice: Notice) {
    let errno = nix::errno::Errno::last_raw();
    PENDING.fetch_or(notice as u32, Ordering::SeqCst);
    if notice == Notice::Terminate {
        let client = CLIENT.load(Ordering::SeqCst);
        if client >= 0 {
            // SAFETY: shutdown takes integers; the worker clears CLIENT before it closes that descriptor.
            unsafe { libc::shutdown(client, libc::SHUT_RD) };
        }
    }
    if let Some((segment, slot)) = LATCH_OF.get() {
        segment.slot(*slot).latch().set();
    }
    nix::errno::Errno::set_raw(errno);
}

/// Whether a notice has come and was not taken.
pub fn is_pending(notice: Notice) -> bool {
    PENDING.load(Ordering::SeqCst) & notice as u32 != 0
}

/// Takes a notice: true once for all that came before.
pub fn take(notice: Notice) -> bool {
    PENDING.load(Ordering::Relaxed) & notice as u32 != 0
        && PENDING.fetch_and(!(notice as u32), Ordering::SeqCst) & notice as u32 != 0
}

/// Names the client's socket to the handlers for as long as the guard lives. A termination that came before
/// takes effect on it as well.
pub fn guard_client(client: BorrowedFd<'_>) -> ClientGuard {
    CLIENT.store(client.as_raw_fd(), Ordering::SeqCst);
    if is_pending(Notice::Terminate) {
        let _ = super::descriptor::shutdown_read(client);
    }
    ClientGuard(())
}

/// Whether the client that is being served has closed its connection: nobody will read what is being worked out.
pub fn client_has_gone() -> bool {
    let client = CLIENT.load(Ordering::SeqCst);
    if client < 0 {
        return false;
    }
    // SAFETY: the number is a descriptor that [`guard_client`] borrowed for as long as it is not -1.
    let client = unsafe { BorrowedFd::borrow_raw(client) };
    let mut polled = [PollFd::new(client, PollFlags::from_bits_retain(libc::POLLRDHUP))];
    // Hang-ups and errors are reported unasked.
    matches!(poll(&mut polled, PollTimeout::ZERO), Ok(count) if count > 0)
}

/// See [`guard_client`].
#[derive(Debug)]
pub struct ClientGuard(());

impl Drop for ClientGuard {
    fn drop(&mut self) {
        CLIENT.store(-1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_closes_its_side_has_gone() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!client_has_gone());
        let guard = guard_client(ours.as_fd());
        assert!(!client_has_gone());
        drop(theirs);
        assert!(client_has_gone());
        drop(guard);
        assert!(!client_has_gone());
    }

    #[test]
    fn a_notice_is_taken_once() {
        assert!(!take(Notice::Poke));
        raise(Notice::Poke);
        raise(Notice::Poke);
        assert!(is_pending(Notice::Poke));
        assert!(!is_pending(Notice::Retire));
        assert!(take(Notice::Poke));
        assert!(!take(Notice::Poke));
    }
}
