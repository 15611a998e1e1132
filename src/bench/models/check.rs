//! Whether the figures count: after the load, what was acknowledged has to be there and the sums have to agree.

use std::process::{Command, Stdio};

use super::super::Error;
use super::peer::{Peer, last_words};
use super::pgbench;

/// Runs one query through psql and returns its unaligned output.
pub fn query(peer: &Peer, sql: &str) -> Result<String, Error> {
    let output = Command::new(pgbench::program("psql")?)
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &peer.port().to_string(),
            "-U",
            "postgres",
            "-X",
            "-Atq",
            "-c",
            sql,
            "postgres",
        ])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Io("psql".into(), error))?;
    if !output.status.success() {
        let words = last_words(&String::from_utf8_lossy(&output.stderr));
        return Err(Error::Failed(format!("{sql} on {}", peer.kind().name()), words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Compares the sums of pgbench's tables with each other and the number of rows in its history with the number
/// of transactions that were acknowledged since the tables were filled.
pub fn sums(peer: &Peer, acknowledged: u64) -> Result<(), Error> {
    let mut sums = Vec::new();
    for sql in [
        "select coalesce(sum(abalance), 0) from pgbench_accounts",
        "select coalesce(sum(tbalance), 0) from pgbench_tellers",
        "select coalesce(sum(bbalance), 0) from pgbench_branches",
        "select coalesce(sum(delta), 0) from pgbench_history",
    ] {
        sums.push(query(peer, sql)?);
    }
    if sums.iter().any(|sum| *sum != sums[0]) {
        return Err(Error::Inconsistent(format!(
            "on {} the sums of abalance, tbalance, bbalance and delta differ: {}",
            peer.kind().name(),
            sums.join(", ")
        )));
    }
    let history = query(peer, "select count(*) from pgbench_history")?;
    // A client that is cut off at the end of a run may have committed once more without counting it.
    if history.parse::<u64>().map_or(true, |rows| rows < acknowledged) {
        return Err(Error::Inconsistent(format!(
            "{} acknowledged {acknowledged} transactions and its history holds {history}",
            peer.kind().name()
        )));
    }
    Ok(())
}
