//! Commands to a running server: found by its lock file, told by signals.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::pool;
use super::{DataArgument, Outcome, StatusArguments, StopArguments, StopMode};
use crate::postmaster::lockfile;
use crate::system::signal::{self, Signal};
use crate::system::{Pid, backlog, parent};

/// How often the end of a server is looked for.
const POLL: Duration = Duration::from_millis(20);
/// What `status` ends with when no server runs, as pg_ctl does.
const NOT_RUNNING: u8 = 3;

/// `pgprefork status`
pub fn status(arguments: &StatusArguments) -> Outcome {
    let data = arguments.data.directory()?;
    let running = find(&arguments.data)?;
    let segment = running.and_then(|pid| shm::Segment::of_process(pid.as_raw()));
    let text = if arguments.json {
        let pid = running.map(Pid::as_raw);
        let pool = segment.zip(running).map(|(segment, pid)| pool::as_json(segment, backlog::waiting(pid)));
        serde_json::json!({ "data": data, "running": pid.is_some(), "pid": pid, "pool": pool }).to_string() + "\n"
    } else {
        let running_text = match running {
            Some(pid) => format!("server is running (PID {pid}) on {}\n", data.display()),
            None => format!("no server is running on {}\n", data.display()),
        };
        let pool = segment.zip(running).map(|(segment, pid)| pool::as_text(segment, backlog::waiting(pid)));
        running_text + &pool.unwrap_or_default()
    };
    // Whoever has read enough may close the pipe.
    drop(io::stdout().write_all(text.as_bytes()));
    Ok(if running.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}

/// `pgprefork reload`
pub fn reload(data: &DataArgument) -> Outcome {
    tell(require(data)?, Signal::SIGHUP)?;
    println!("server told to reload");
    Ok(ExitCode::SUCCESS)
}

/// `pgprefork stop`
pub fn stop(arguments: &StopArguments) -> Outcome {
    let pid = require(&arguments.data)?;
    let signal = match arguments.mode {
        StopMode::Smart => Signal::SIGTERM,
        StopMode::Fast => Signal::SIGINT,
        StopMode::Immediate => Signal::SIGQUIT,
    };
    tell(pid, signal)?;
    let deadline = Instant::now() + Duration::from_secs(arguments.timeout);
    while parent::exists(pid) && find(&arguments.data)?.is_some() {
        if Instant::now() >= deadline {
            return Err(format!("server (PID {pid}) has not stopped within {} s", arguments.timeout));
        }
        std::thread::sleep(POLL);
    }
    println!("server stopped");
    Ok(ExitCode::SUCCESS)
}

fn find(data: &DataArgument) -> Result<Option<Pid>, String> {
    let data = data.directory()?;
    lockfile::running_server(&data).map_err(|error| format!("{}: {error}", data.display()))
}

pub fn require(data: &DataArgument) -> Result<Pid, String> {
    let directory = data.directory()?;
    find(data)?.ok_or_else(|| format!("no server is running on {}", directory.display()))
}

fn tell(pid: Pid, signal: Signal) -> Result<(), String> {
    signal::send(pid, signal).map_err(|error| format!("could not signal the server (PID {pid}): {error}"))
}
