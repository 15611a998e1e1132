//! `pgprefork init`: creates a cluster with the authentication of the user's choice.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use super::pgbouncer::{self, Translation};
use super::{InitArguments, Outcome, self_signed, serve};
use crate::engine::cluster::{self, Authentication, InitOptions};

/// Creates the cluster; as root in the name of the user who shall serve it.
pub fn run(arguments: &InitArguments) -> Outcome {
    let data = arguments.data.directory()?;
    let authentication = match arguments.auth.as_str() {
        // Nobody comes to the embedded engine's roles.
        _ if arguments.from_pgbouncer.is_some() => Authentication::Trust,
        "trust" => Authentication::Trust,
        _ => Authentication::ScramSha256,
    };
    // Before root hands itself over: the file may be root's.
    let taken_over = arguments.from_pgbouncer.as_deref().map(read_pgbouncer).transpose()?;
    let password = arguments.pwfile.as_deref().map(first_line).transpose()?;
    let options = InitOptions { superuser: arguments.username.clone(), authentication, password };
    serve::prepare_privileges(arguments.user.as_deref(), &data)?;
    cluster::init(&data, &options).map_err(|error| error.to_string())?;
    if arguments.tls_self_signed {
        self_signed::create(&data)?;
    }
    if let Some(taken_over) = &taken_over {
        take_over(taken_over, &data)?;
    }
    println!("created a new cluster in {}", data.display());
    println!("start it with: pgprefork serve --data {}", data.display());
    Ok(ExitCode::SUCCESS)
}

fn read_pgbouncer(path: &Path) -> Result<Translation, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    pgbouncer::translate(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes what was PgBouncer's, and tells what was not taken over.
fn take_over(taken_over: &Translation, data: &Path) -> Result<(), String> {
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("pgprefork.toml", &taken_over.toml())?;
    if let Some(rules) = &taken_over.rules {
        write("pg_hba.conf", rules)?;
    }
    for line in &taken_over.left_out {
        println!("not taken over: {line}");
    }
    Ok(())
}

fn first_line(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{}: its first line, the password, is empty", path.display())),
    }
}
