//! Tying a child's life to its parent's, and the child's own standing: session, name, score with the OOM killer.

use std::ffi::CString;
use std::fs;
use std::io;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid, setsid};

use super::fork::exit_now;

/// Has the kernel kill this process when its parent dies, and ends it now if that has happened already.
///
/// `parent` is the pid that the parent read before fork. The setting is cleared by a change of credentials
/// (prctl(2), PR_SET_PDEATHSIG), so privileges must have been dropped before.
pub fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        exit_now(1);
    }
    Ok(())
}

/// Leaves the parent's session, so that a terminal's Ctrl-C does not reach this process.
pub fn own_session() -> io::Result<()> {
    setsid()?;
    Ok(())
}

/// Names the process for ps and top (15 bytes are kept).
pub fn set_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        let _ = prctl::set_name(&name);
    }
}

/// Sets how readily the OOM killer picks this process: -1000 never, 0 as any other. Lowering it takes
/// privileges, so failure is no error.
pub fn set_oom_score(score: i32) -> bool {
    fs::write("/proc/self/oom_score_adj", score.to_string()).is_ok()
}

/// This process's pid.
pub fn own_pid() -> Pid {
    getpid()
}

/// Whether a process with this pid exists (also one that belongs to somebody else).
pub fn exists(pid: Pid) -> bool {
    !matches!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH))
}

/// The name of a process's program, for messages.
pub fn program_name(pid: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}
