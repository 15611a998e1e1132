//! One run of pgbench: its arguments, and what it prints made into figures.

use std::path::{Path, PathBuf};
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
    /// Whether every transaction's latency is looked at.
    pub percentiles: bool,
}

impl Workload {
    /// How many clients it has: what `-c` says.
    fn clients(&self) -> usize {
        let mut words = self.arguments.iter();
        words.find(|word| **word == "-c").and_then(|_| words.next()?.parse().ok()).unwrap_or(1)
    }
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

/// What pgbench's log of single transactions says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latencies {
    /// Half of the transactions took less.
    pub median_ms: f64,
    /// 99 of 100 took less.
    pub ms_p99: f64,
    /// Transactions of the client that had fewest, against the mean of all clients.
    pub worst_share: f64,
}

impl Latencies {
    /// In the order of the report's sections.
    pub fn figures(self) -> [f64; 3] {
        [self.median_ms, self.ms_p99, self.worst_share]
    }

    /// Reads the files that `pgbench --log` wrote: client, transaction, latency in us, and more that is not needed.
    fn read(files: &[PathBuf], clients: usize) -> Option<Self> {
        let (mut latencies_us, mut counts) = (Vec::new(), vec![0_u64; clients]);
        for file in files {
            for line in std::fs::read_to_string(file).ok()?.lines() {
                let mut words = line.split(' ');
                let client: usize = words.next()?.parse().ok()?;
                // Transactions that failed have a word there.
                let Ok(latency_us) = words.nth(1)?.parse::<u64>() else { continue };
                latencies_us.push(latency_us);
                *counts.get_mut(client)? += 1;
            }
        }
        latencies_us.sort_unstable();
        let last = latencies_us.len().checked_sub(1)?;
        let at = |share: f64| latencies_us[(last as f64 * share) as usize] as f64 / 1e3;
        let mean = latencies_us.len() as f64 / clients as f64;
        let fewest = counts.iter().min().copied().unwrap_or(0) as f64;
        Some(Self { median_ms: at(0.5), ms_p99: at(0.99), worst_share: fewest / mean })
    }
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
pub fn run(
    peer: &Peer,
    workload: &Workload,
    seconds: u32,
) -> Result<(Figures, Option<Figures>, Option<Latencies>), Error> {
    let log = workload.percentiles.then(|| peer.scratch().join("transactions"));
    let start = |arguments: &[&str], log: Option<&PathBuf>| -> Result<std::process::Child, Error> {
        let mut command = command(peer)?;
        if let Some(prefix) = log {
            command.arg("--log").arg("--log-prefix").arg(prefix);
        }
        command
            .env("PGSSLMODE", if workload.encrypted { "require" } else { "disable" })
            .args(["-n", "-T", &seconds.to_string()])
            .args(arguments)
            .arg("postgres")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::Io("pgbench".into(), error))
    };
    let main = start(workload.arguments, log.as_ref())?;
    let beside = workload.beside.map(|(_, arguments)| start(arguments, None)).transpose()?;
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
    let latencies = log.map(|prefix| take_log(&prefix, workload.clients())).transpose()?;
    Ok((main?, beside.transpose()?, latencies))
}

/// Reads the log of a run and removes it, so that the next run's is not mixed with it.
fn take_log(prefix: &Path, clients: usize) -> Result<Latencies, Error> {
    let failed = |error| Error::Io(prefix.display().to_string(), error);
    let (folder, name) = (prefix.parent().unwrap_or(Path::new(".")), prefix.file_name().unwrap_or_default());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(&*name.to_string_lossy()) {
            files.push(entry.path());
        }
    }
    let latencies = Latencies::read(&files, clients);
    for file in &files {
        std::fs::remove_file(file).map_err(failed)?;
    }
    latencies.ok_or_else(|| Error::Unreadable("pgbench's log of transactions".to_owned()))
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
    fn a_log_of_transactions_is_read() {
        let folder = std::env::temp_dir().join(format!("pgprefork-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let lines = "0 1 2000 0 1700000000 5\n0 2 4000 0 1700000000 9\n1 1 9000 0 1700000001 5\n1 2 failed 0 1 2\n";
        std::fs::write(folder.join("transactions.1"), lines).expect("a file");
        let latencies = take_log(&folder.join("transactions"), 2).expect("readable");
        assert_eq!(latencies.figures(), [4.0, 4.0, 1.0 / 1.5]);
        assert!(take_log(&folder.join("transactions"), 2).is_err(), "the files have gone");
        std::fs::remove_dir(&folder).expect("an empty folder");
    }

    #[test]
    fn refuses_what_is_not_a_summary() {
        assert_eq!(parse("tps = many"), None);
    }
}
