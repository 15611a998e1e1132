//! Named points at which a test stops or kills this process.
//!
//! Owns nothing but the switch: `PGPREFORK_TEST_STOP` is a list of `point:action:token` separated by commas.
//! A process that comes to the point and manages to remove the file `token` carries out the action: `stop`
//! (SIGSTOP to itself; the test sees it stopped, and may go on with SIGCONT) or `kill` (SIGKILL to itself).
//! One file stops one process, whenever the test puts it there. Without the variable a point costs one load.
//!
//! Points of storage: `queueing-for-writer-lock`, `holding-writer-lock`, `after-begun`, `after-wal-append`,
//! `leading-sync`, `after-sync`, `holding-read-mark`, `checkpointing`, `finishing-checkpoint`.

use std::path::PathBuf;
use std::sync::OnceLock;

use nix::sys::signal::{Signal, raise};

struct Stop {
    point: String,
    signal: Signal,
    token: PathBuf,
}

static STOPS: OnceLock<Vec<Stop>> = OnceLock::new();

/// A point at which a test may stop or kill the process.
#[inline]
pub fn point(name: &str) {
    let stops = STOPS.get_or_init(|| parse(&std::env::var("PGPREFORK_TEST_STOP").unwrap_or_default()));
    if !stops.is_empty() {
        act(stops, name);
    }
}

#[cold]
fn act(stops: &[Stop], name: &str) {
    for stop in stops {
        if stop.point == name && std::fs::remove_file(&stop.token).is_ok() {
            // SIGKILL and SIGSTOP cannot fail to arrive.
            let _ = raise(stop.signal);
        }
    }
}

fn parse(text: &str) -> Vec<Stop> {
    text.split(',')
        .filter_map(|entry| {
            let mut parts = entry.splitn(3, ':');
            let (point, action, token) = (parts.next()?, parts.next()?, parts.next()?);
            let signal = match action {
                "stop" => Signal::SIGSTOP,
                "kill" => Signal::SIGKILL,
                _ => return None,
            };
            Some(Stop { point: point.to_owned(), signal, token: PathBuf::from(token) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_not_understood_are_left_out() {
        let stops = parse("a:stop:/t/1,b:kill:/t/2,c:maim:/t/3,d");
        let names: Vec<_> = stops.iter().map(|stop| (stop.point.as_str(), stop.signal)).collect();
        assert_eq!(names, [("a", Signal::SIGSTOP), ("b", Signal::SIGKILL)]);
    }
}
