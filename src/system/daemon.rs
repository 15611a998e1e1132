//! Leaving the terminal: `serve --detach`. The caller hears of the start's outcome through a pipe.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe, setsid};

use super::fork::{Side, exit_now, fork};

/// The daemon's end of the pipe to the process that the user started.
#[derive(Debug)]
pub struct Report(File);

impl Report {
    /// Tells the starting process that the server is ready, with what it shall print.
    pub fn ready(mut self, text: &str) {
        let _ = self.0.write_all(b"+");
        let _ = self.0.write_all(text.as_bytes());
    }
}

/// Goes on in a process of its own session whose output goes to `log`. The process that called waits until
/// the daemon reports or dies, prints what it said, and ends with exit code 0 or 1; only the daemon returns.
pub fn detach(log: &Path) -> io::Result<Report> {
    let (reader, writer) = pipe()?;
    if let Side::Parent(_) = fork()? {
        drop(writer);
        let mut text = Vec::new();
        let _ = File::from(reader).read_to_end(&mut text);
        match text.split_first() {
            Some((b'+', text)) => {
                let _ = io::stdout().write_all(text);
                exit_now(0)
            }
            _ => {
                let _ = writeln!(io::stderr(), "pgprefork: could not start; see {}", log.display());
                exit_now(1)
            }
        }
    }
    drop(reader);
    setsid()?;
    redirect_output(log)?;
    let null = File::open("/dev/null")?;
    dup2_stdin(null.as_fd())?;
    Ok(Report(File::from(writer)))
}

/// Sends standard output and error to the end of a file, which is made when it isn't there. Called again, it
/// reopens the file: after a log was rotated.
pub fn redirect_output(log: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    dup2_stdout(file.as_fd())?;
    dup2_stderr(file.as_fd())?;
    Ok(())
}
