//! `pgprefork check`: what a start or a reload would say of the configuration, without either.

use std::process::ExitCode;

use shm::{Geometry, Segment, WAL_INDEX_PAGE_BYTES};

use super::{CheckArguments, Outcome, rules};
use crate::config::{Config, EngineKind, Sources};
use crate::keeper;
use crate::system::privileges;
use crate::worker::tls::Acceptor;

/// Reads everything, and prints what is wrong.
pub fn run(arguments: &CheckArguments) -> Outcome {
    let data = arguments.data.directory()?;
    // With the eyes of the user that the server runs as: whether that one may read the key is part of the question.
    if let Some(identity) = privileges::choose(None, &data).map_err(|error| format!("{}: {error}", data.display()))? {
        privileges::become_user(&identity).map_err(|error| format!("could not become {identity}: {error}"))?;
    }
    let file = arguments.config.as_deref().map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
    let sources = Sources { file, assignments: arguments.set.clone() };
    let config = match Config::load(&data, &sources) {
        Ok(config) => config,
        Err(error) => {
            println!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut problems = Vec::new();
    let (rules, maps) = rules::read(&config).unwrap_or_else(|error| {
        problems.extend(error.lines().map(str::to_owned));
        Default::default()
    });
    // Tickets are kept in a segment; a small one of our own will do.
    let geometry = Geometry { slots: 1, databases: 1, wal_index_bytes: WAL_INDEX_PAGE_BYTES };
    let segment = Segment::create(&geometry).map_err(|error| error.to_string())?;
    problems.extend(Acceptor::load(&config, segment).err());
    if config.engine.kind == EngineKind::Postgres {
        problems.extend(keeper::check(&config).err());
    }
    if problems.is_empty() {
        println!("{} access rules and {} user name mappings: nothing is wrong", rules.iter().count(), maps.len());
        return Ok(ExitCode::SUCCESS);
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    Ok(ExitCode::FAILURE)
}
