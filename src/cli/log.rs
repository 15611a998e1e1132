//! The log: where lines go and how they look. A line that can't be written at once is dropped: a log pipe that
//! nobody reads must not stop the postmaster.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::{LogFormat, LogLevel};
use crate::worker::names::{self, Names};

/// Starts logging to standard error. Called once, before the first fork.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Trace => log::LevelFilter::Trace,
    };
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .format(move |line, record| {
            let time = line.timestamp_millis();
            let (process, severity) = (std::process::id(), name(record.level()));
            match format {
                LogFormat::Text => writeln!(line, "{time} [{process}] {severity}: {}", one(&record.args().to_string())),
                LogFormat::Json => {
                    let (time, message) = (time.to_string(), record.args().to_string());
                    writeln!(line, "{}", json(&time, process, names::known().as_ref(), severity, &message))
                }
            }
        })
        .target(env_logger::Target::Pipe(Box::new(Unblocked)))
        .try_init();
}

/// A message of several lines, a client's statement for example, in PostgreSQL's manner: no line of it can be mistaken
/// for another message.
fn one(message: &str) -> String {
    message.replace('\n', "\n\t")
}

/// One object, with the keys of PostgreSQL's jsonlog. It must not be cut: a message that would make the line too long is
/// shortened.
fn json(time: &str, process: u32, names: Option<&Names>, severity: &str, message: &str) -> String {
    let object = |message: &str| {
        let mut object = serde_json::json!({
            "timestamp": time,
            "pid": process,
            "error_severity": severity,
            "message": message,
        });
        if let Some(Names { user, database }) = names {
            object["user"] = user.as_str().into();
            object["dbname"] = database.as_str().into();
        }
        object.to_string()
    };
    let line = object(message);
    if line.len() < libc::PIPE_BUF {
        return line;
    }
    // A control character takes six bytes in JSON.
    let room = (libc::PIPE_BUF - object("").len() - 1) / 6;
    object(message.get(..message.floor_char_boundary(room)).unwrap_or_default())
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
        // A pipe that polls writable has room for PIPE_BUF bytes (pipe(7)); a longer message is cut there.
        let cut = bytes.get(..libc::PIPE_BUF - 1).filter(|_| bytes.len() > libc::PIPE_BUF);
        let cut = cut.map(|start| [start, b"\n"].concat());
        let line = cut.as_deref().unwrap_or(bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_is_whole_however_long_the_message() {
        for message in ["short", &"x".repeat(10_000), &"\u{1}".repeat(10_000), &"\u{20ac}\"\n".repeat(2_000)] {
            let longest = "\u{1}".repeat(63);
            let names = Names { user: longest.clone(), database: longest };
            let line = json("2000-01-01T00:00:00.000Z", u32::MAX, Some(&names), "WARNING", message);
            assert!(line.len() < libc::PIPE_BUF && !line.contains('\n'));
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            let written = object["message"].as_str().unwrap();
            assert!(message.starts_with(written) && written.len() >= message.len().min(500));
            assert_eq!(object["error_severity"], "WARNING");
        }
    }
}
