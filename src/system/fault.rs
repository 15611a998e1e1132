//! Named points at which a test stops or kills this process, or has a system call fail.
//!
//! Owns nothing but the switch: `PGPREFORK_TEST_STOP` is a list of `point:action:token` separated by commas.
//! A process that comes to the point and manages to remove the file `token` carries out the action: `stop`
//! (SIGSTOP to itself; the test sees it stopped, and may go on with SIGCONT), `kill` (SIGKILL to itself), `spin` (a loop
//! without end that hears nothing), or `eio` and `enospc`, which only points that stand for a system call know. One file stops one process, whenever the
//! test puts it there. Without the variable a point costs one load.
//!
//! Points of a worker: `after-accept`, `authenticating`, `writing-slot` (half of a statement's description is in
//! its slot). Of storage: `queueing-for-writer-lock`, `holding-writer-lock`, `after-begun`, `after-wal-append`,
//! `leading-sync`, `after-sync`, `holding-read-mark`, `checkpointing`, `finishing-checkpoint`. System calls:
//! `syncing-wal`, `syncing-database`, and `forgetting-session`, which is no system call but fails like one.

use std::path::PathBuf;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::{Signal, raise};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Signal(Signal),
    Spin,
    Fail(Errno),
}

struct Stop {
    point: String,
    action: Action,
    token: PathBuf,
}

static STOPS: OnceLock<Vec<Stop>> = OnceLock::new();

fn stops() -> &'static [Stop] {
    STOPS.get_or_init(|| parse(&std::env::var("PGPREFORK_TEST_STOP").unwrap_or_default()))
}

/// Whether a test has named any point at all.
pub fn is_armed() -> bool {
    !stops().is_empty()
}

/// A point at which a test may stop or kill the process.
#[inline]
pub fn point(name: &str) {
    if is_armed() {
        act(name);
    }
}

#[cold]
fn act(name: &str) {
    for stop in stops() {
        if stop.point != name || matches!(stop.action, Action::Fail(_)) || !take(stop) {
            continue;
        }
        match stop.action {
            // SIGKILL and SIGSTOP cannot fail to arrive.
            Action::Signal(signal) => drop(raise(signal)),
            _ => loop {
                std::hint::spin_loop();
            },
        }
    }
}

/// The error with which a test wants the system call of that name to fail.
#[inline]
pub fn failure(name: &str) -> Option<Errno> {
    if is_armed() { find_failure(name) } else { None }
}

#[cold]
fn find_failure(name: &str) -> Option<Errno> {
    stops().iter().find_map(|stop| match stop.action {
        Action::Fail(errno) if stop.point == name && take(stop) => Some(errno),
        _ => None,
    })
}

fn take(stop: &Stop) -> bool {
    std::fs::remove_file(&stop.token).is_ok()
}

fn parse(text: &str) -> Vec<Stop> {
    text.split(',')
        .filter_map(|entry| {
            let mut parts = entry.splitn(3, ':');
            let (point, action, token) = (parts.next()?, parts.next()?, parts.next()?);
            let action = match action {
                "stop" => Action::Signal(Signal::SIGSTOP),
                "kill" => Action::Signal(Signal::SIGKILL),
                "spin" => Action::Spin,
                "eio" => Action::Fail(Errno::EIO),
                "enospc" => Action::Fail(Errno::ENOSPC),
                _ => return None,
            };
            Some(Stop { point: point.to_owned(), action, token: PathBuf::from(token) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_not_understood_are_left_out() {
        let stops = parse("a:stop:/t/1,b:kill:/t/2,c:maim:/t/3,d,e:eio:/t/4");
        let actions: Vec<_> = stops.iter().map(|stop| (stop.point.as_str(), stop.action)).collect();
        let expected = [
            ("a", Action::Signal(Signal::SIGSTOP)),
            ("b", Action::Signal(Signal::SIGKILL)),
            ("e", Action::Fail(Errno::EIO)),
        ];
        assert_eq!(actions, expected);
    }
}
