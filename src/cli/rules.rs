//! The access rules as `serve`, a reload and `check` read them: both files, and the libraries that their methods need.

use std::path::Path;

use crate::auth::files::Disk;
use crate::auth::{Maps, Method, Problem, Rules, hba, ident};
use crate::config::Config;
use crate::system::library::Library;
use crate::system::{gss, ldap, pam};

/// Reads them, or tells all that is wrong with them, a line each.
pub fn read(config: &Config) -> Result<(Rules, Maps), String> {
    let mut problems = Vec::new();
    let rules = sift(hba::read(&config.path(&config.auth.hba_file), &Disk), &mut problems);
    problems.extend(rules.iter().filter_map(|rule| {
        let missing = library(rule.method).err()?;
        Some(format!(
            "{}:{}:1: authentication method \"{}\" needs a library: {missing}",
            rule.file,
            rule.line,
            rule.method.name()
        ))
    }));
    let path = config.path(&config.auth.ident_file);
    // There need not be any maps.
    let maps = if is_missing(&path) { Vec::new() } else { sift(ident::read(&path, &Disk), &mut problems) };
    if problems.is_empty() {
        return Ok((rules.into_iter().collect(), maps.into_iter().collect()));
    }
    Err(problems.join("\n"))
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The lines that could be read; what is wrong with the others goes to the problems.
fn sift<T>(lines: Result<Vec<Result<T, Box<Problem>>>, String>, problems: &mut Vec<String>) -> Vec<T> {
    let lines = lines.unwrap_or_else(|error| {
        problems.push(error);
        Vec::new()
    });
    lines.into_iter().filter_map(|line| line.map_err(|problem| problems.push(problem.to_string())).ok()).collect()
}

fn library(method: Method) -> Result<(), String> {
    match method {
        Method::Ldap => ldap::find(),
        Method::Pam => Library::find(pam::LIBRARY),
        Method::Gss => Library::find(gss::LIBRARY),
        _ => Ok(()),
    }
}
