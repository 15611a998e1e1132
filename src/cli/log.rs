//! The log: where lines go and how they look. A line that can't be written at once is dropped: a log pipe that
//! nobody reads must not stop the postmaster.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::LogLevel;

/// Starts logging to standard error. Called once, before the first fork.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Trace => log::LevelFilter::Trace,
    };
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .format(|line, record| {
            let time = line.timestamp_millis();
            writeln!(line, "{time} [{}] {}: {}", std::process::id(), name(record.level()), record.args())
        })
        .target(env_logger::Target::Pipe(Box::new(Unblocked)))
        .try_init();
}

/// PostgreSQL's names.
fn name(level: log::Level) -> &'static str {
    match level {
        log::Level::Error => "ERROR",
        log::Level::Warn => "WARNING",
        log::Level::Info => "LOG",
        log::Level::Debug => "DEBUG",
        log::Level::Trace => "TRACE",
    }
}

/// Standard error, written to only while it takes what is written.
struct Unblocked;

impl Write for Unblocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe that polls writable has room for PIPE_BUF bytes (pipe(7)); longer lines are cut there.
        let line = bytes.get(..libc::PIPE_BUF).unwrap_or(bytes);
        let stderr = io::stderr();
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
            let _ = stderr.lock().write(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
