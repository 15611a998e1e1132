//! The checkpointer's process: from fork to exit.
//!
//! Owns its first steps and where it learns which database files there are. What it does then is `checkpointer`'s.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shm::{Owner, Segment, SlotState};

use super::checkpointer::{self, Settings};
use crate::config::Config;
use crate::engine::sqlite::engine::{GLOBAL_OID, database_oid, remove_orphans};
use crate::engine::sqlite::interrupts::Never;
use crate::system::fork::exit_now;
use crate::system::parent;
use crate::system::signal::{self, Notice};

/// Exit code after a panic or a failure of its own.
const FAILED: i32 = 3;

/// Lives the checkpointer's life in the slot that it was forked for, and ends the process. Signals must be blocked
/// and the process tied to the postmaster.
pub fn run_checkpointer(segment: Segment, config: &Config, owner: Owner) -> ! {
    std::panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    parent::set_name("pgprefork: chkp");
    match catch_unwind(AssertUnwindSafe(|| live(segment, config, owner))) {
        Ok(Ok(())) => exit_now(0),
        Ok(Err(error)) => {
            log::error!("the checkpointer failed: {error}");
            exit_now(FAILED)
        }
        Err(_) => exit_now(FAILED),
    }
}

fn live(segment: Segment, config: &Config, owner: Owner) -> Result<(), String> {
    signal::install_child_handlers(segment, owner.slot).map_err(|error| error.to_string())?;
    let sqlite = &config.engine.sqlite;
    let settings = Settings {
        interval: sqlite.checkpoint_interval.nonzero().unwrap_or(std::time::Duration::from_secs(60)),
        max_wal_bytes: sqlite.max_wal_size.bytes(),
    };
    // Files of a CREATE or DROP DATABASE that was cut short only cost space: it is no reason not to serve.
    if let Err(error) = remove_orphans(segment, owner, &config.data, settings.checkpoint_bytes(), Arc::new(Never)) {
        log::warn!("left-over files of databases could not be looked for: {error}");
    }
    segment.transition(owner.slot, SlotState::Starting, SlotState::Serving).map_err(|error| error.to_string())?;
    signal::unblock_all().map_err(|error| error.to_string())?;
    let cluster = checkpointer::Cluster {
        segment,
        me: owner,
        files: &|| database_files(&config.data),
        leaving: &|| signal::is_pending(Notice::Terminate),
    };
    checkpointer::run(&cluster, &settings);
    Ok(())
}

/// The cluster's database files with their OIDs, as the directory has them.
fn database_files(data: &Path) -> Vec<(u32, PathBuf)> {
    let mut files = vec![(GLOBAL_OID, data.join("global.db"))];
    match std::fs::read_dir(data.join("base")) {
        Ok(entries) => files.extend(entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((database_oid(&path)?, path))
        })),
        Err(error) => log::error!("could not read {}: {error}", data.join("base").display()),
    }
    files
}
