//! Programs that this process starts and that shall not outlive it, and processes that it inherits from them.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};

/// Has the kernel send the program this signal when this process dies (prctl(2), PR_SET_PDEATHSIG; it outlasts execve).
pub fn tie_to_us(command: &mut Command, signal: Signal) {
    let us = getpid();
    let tie = move || {
        prctl::set_pdeathsig(signal)?;
        // We may have died before that.
        if getppid() == us { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec only prctl(2) and getppid(2) are called; neither allocates nor takes a lock.
    unsafe { command.pre_exec(tie) };
}

/// Makes this process the parent of its descendants whose own parents die (prctl(2), PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// How a process ended, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal.
    Killed(Signal),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(signal) => write!(f, "signal {} ({signal})", *signal as i32),
        }
    }
}

/// What [`next_ended`] finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Children {
    /// This one has ended, in this way.
    Ended(Pid, Ending),
    /// All live.
    Live,
    /// There are none.
    None,
}

/// The next of this process's children that has ended, if there is one.
pub fn next_ended() -> Children {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Children::Ended(pid, Ending::Exited(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Children::Ended(pid, Ending::Killed(signal)),
            Ok(WaitStatus::StillAlive) => return Children::Live,
            Err(nix::errno::Errno::ECHILD) => return Children::None,
            Ok(_) | Err(_) => {}
        }
    }
}

/// This process's children. None of them is reaped before [`next_ended`] is called, so their pids are theirs.
pub fn children() -> Vec<Pid> {
    let us = getpid();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| parent_of(*pid) == Some(us)).collect()
}

/// A process's parent (proc(5), stat: the second field after the name, which is in parentheses and may have any in it).
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}

/// The directory that a process works in, if we may know.
pub fn working_directory(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tied_program_runs_and_is_ours() {
        let mut command = Command::new("sleep");
        command.arg("60");
        tie_to_us(&mut command, Signal::SIGKILL);
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        assert_eq!(parent_of(pid), Some(getpid()));
        assert!(children().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid));
    }
}
