//! fork and _exit. Decides nothing about what a child keeps: see `descriptor` and `worker`.

use std::io;

use nix::unistd::{ForkResult, Pid};

/// On which side of [`fork`] the caller is.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// The new process. It must end in [`exit_now`], never return up the parent's stack.
    Child,
    /// The old process, with the pid of the new one.
    Parent(Pid),
}

/// Splits the process in two. Refused when the process has more than one thread: only the calling thread
/// goes on in the child, and a lock that another one held would stay locked there for ever.
pub fn fork() -> io::Result<Side> {
    debug_assert_eq!(thread_count().unwrap_or(1), 1, "fork from a process with threads");
    // SAFETY: this process has one thread, so the child may call any function (signal-safety(7) restricts
    // only children of multi-threaded processes). The binary starts no thread before it forks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}

/// As [`fork`], but the new process is a child of this process's parent, which alone is told of its end.
///
/// The C library does not know of it: what it would do around a fork is for processes with threads (locks of
/// malloc), and the thread id that it remembers is asked of the kernel wherever this program needs one.
pub fn fork_sibling() -> io::Result<Side> {
    debug_assert_eq!(thread_count().unwrap_or(1), 1, "fork from a process with threads");
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack given this is fork(2) but for the parent; one thread, as above.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match libc::pid_t::try_from(pid) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) if pid > 0 => Ok(Side::Parent(Pid::from_raw(pid))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many threads this process has.
pub fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Ends the process at once: no destructors, no atexit handlers, no flushing of buffers the parent shares.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any value and does not return; nothing of this process is used after it.
    unsafe { libc::_exit(status) }
}
