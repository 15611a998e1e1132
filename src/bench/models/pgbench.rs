//! One run of pgbench: its arguments, and what it prints made into figures.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::Error;
use super::peer::{Peer, last_words};

/// What pgbench is told to do, beyond where to connect.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The name in the report.
    pub name: &'static str,
    /// Arguments of pgbench.
    pub arguments: &'static [&'static str],
    /// A second pgbench that runs beside the first, with a figure of its own.
    pub beside: Option<(&'static str, &'static [&'static str])>,
    /// Whether it writes, so that the sums are to be checked afterwards.
    pub writes: bool,
    /// Whether over TLS.
    pub encrypted: bool,
}

/// Figures of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Transactions a second, connection times included for `-C`, left out otherwise, as pgbench prints it.
    pub transactions_per_second: f64,
    /// Mean latency.
    pub latency_ms: f64,
    /// Transactions that the server acknowledged.
    pub transactions: u64,
    /// Transactions that failed.
    pub failed: u64,
}

/// Where a program of PostgreSQL's or a pooler is: in PATH, or where Debian keeps the server programs.
pub fn program(name: &'static str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    folders.push(PathBuf::from("/usr/sbin"));
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file()).ok_or(Error::ProgramMissing(name))
}

fn command(peer: &Peer) -> Result<Command, Error> {
    let mut command = Command::new(program("pgbench")?);
    command.args(["-h", "127.0.0.1", "-p", &peer.port().to_string(), "-U", "postgres"]);
    command.stdin(Stdio::null()).env("PGSSLMODE", "disable");
    Ok(command)
}

/// Fills the tables: `pgbench -i`.
pub fn initialise(peer: &Peer, scale: u32) -> Result<(), Error> {
    let output = command(peer)?
        .args(["-i", "-q", "-s", &scale.to_string(), "postgres"])
        .output()
        .map_err(|error| Error::Io("pgbench -i".into(), error))?;
    if !output.status.success() {
        let words = last_words(&String::from_utf8_lossy(&output.stderr));
        return Err(Error::Failed(format!("pgbench -i on {}", peer.kind().name()), words));
    }
    Ok(())
}

/// Runs one workload for `seconds`; the second figures are those of what ran beside it.
pub fn run(peer: &Peer, workload: &Workload, seconds: u32) -> Result<(Figures, Option<Figures>), Error> {
    let start = |arguments: &[&str]| -> Result<std::process::Child, Error> {
        command(peer)?
            .env("PGSSLMODE", if workload.encrypted { "require" } else { "disable" })
            .args(["-n", "-T", &seconds.to_string()])
            .args(arguments)
            .arg("postgres")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::Io("pgbench".into(), error))
    };
    let main = start(workload.arguments)?;
    let beside = workload.beside.map(|(_, arguments)| start(arguments)).transpose()?;
    let finish = |child: std::process::Child| -> Result<Figures, Error> {
        let output = child.wait_with_output().map_err(|error| Error::Io("pgbench".into(), error))?;
        if !output.status.success() {
            let words = last_words(&String::from_utf8_lossy(&output.stderr));
            return Err(Error::Failed(format!("pgbench {} on {}", workload.name, peer.kind().name()), words));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        parse(&text).ok_or_else(|| Error::Unreadable(format!("what pgbench printed: {}", last_words(&text))))
    };
    let main = finish(main);
    let beside = beside.map(finish);
    Ok((main?, beside.transpose()?))
}

/// Reads pgbench's summary (versions 15 to 18).
fn parse(text: &str) -> Option<Figures> {
    let after = |label: &str| text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim);
    let first_number = |text: &str| -> Option<f64> {
        text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find(|word| !word.is_empty())?.parse().ok()
    };
    Some(Figures {
        transactions_per_second: first_number(after("tps = ")?)?,
        latency_ms: first_number(after("latency average = ")?)?,
        transactions: first_number(after("number of transactions actually processed: ")?)? as u64,
        failed: after("number of failed transactions: ").and_then(first_number).unwrap_or(0.0) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_summary_of_version_15() {
        let text = "pgbench (15.18 (Debian 15.18-0+deb12u1))\ntransaction type: <builtin: select only>\n\
            scaling factor: 1\nquery mode: simple\nnumber of clients: 8\nnumber of threads: 2\n\
            maximum number of tries: 1\nduration: 2 s\nnumber of transactions actually processed: 25134\n\
            number of failed transactions: 3 (0.012%)\nlatency average = 0.635 ms\n\
            initial connection time = 7.2 ms\ntps = 12591.8 (without initial connection time)\n";
        let figures = parse(text).expect("readable");
        assert_eq!(figures.transactions, 25_134);
        assert_eq!(figures.failed, 3);
        assert!((figures.transactions_per_second - 12_591.8).abs() < 0.01);
        assert!((figures.latency_ms - 0.635).abs() < 1e-9);
    }

    #[test]
    fn refuses_what_is_not_a_summary() {
        assert_eq!(parse("tps = many"), None);
    }
}
