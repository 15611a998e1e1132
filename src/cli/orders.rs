//! Orders about databases to a running relay: its console takes them, over the socket that the lock file names.

use std::process::ExitCode;

use clap::Args;

use super::{DataArgument, Outcome, control};
use crate::postmaster::lockfile;
use crate::relay::admin::{self, Access};
use crate::system::credentials;

/// For one database or for all of them.
#[derive(Debug, Args)]
pub struct AnyArguments {
    /// The database, as clients call it (default: all)
    database: Option<String>,
    #[command(flatten)]
    console: ConsoleArguments,
}

/// For one database.
#[derive(Debug, Args)]
pub struct OneArguments {
    /// The database, as clients call it
    database: String,
    #[command(flatten)]
    console: ConsoleArguments,
}

/// Where the console is, and as whom it is used.
#[derive(Debug, Args)]
struct ConsoleArguments {
    #[command(flatten)]
    data: DataArgument,
    /// One of relay.admin_users (default: PGUSER, or the system's name for you); PGPASSWORD is its password
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The console's name, as relay.admin_database has it
    #[arg(long, value_name = "NAME", default_value = "pgprefork")]
    console: String,
}

/// `pgprefork pause`, `resume` and `reconnect`
pub fn any(order: &str, arguments: AnyArguments) -> Outcome {
    give(order, arguments.database.as_deref(), arguments.console)
}

/// `pgprefork kill`, `disable` and `enable`
pub fn one(order: &str, arguments: OneArguments) -> Outcome {
    give(order, Some(&arguments.database), arguments.console)
}

fn give(order: &str, database: Option<&str>, console: ConsoleArguments) -> Outcome {
    control::require(&console.data)?;
    let data = console.data.directory()?;
    let (host, port) =
        lockfile::address(&data).ok_or_else(|| format!("{}: the lock file names no address", data.display()))?;
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = match console.username.or_else(|| set("PGUSER")) {
        Some(user) => user,
        None => credentials::user_name(nix::unistd::geteuid())?,
    };
    let statement = match database {
        Some(database) => format!("{order} \"{}\"", database.replace('"', "\"\"")),
        None => order.to_owned(),
    };
    let access = Access { host, port, database: console.console, user, password: set("PGPASSWORD") };
    admin::order(access, &statement)?;
    println!("{order} done");
    Ok(ExitCode::SUCCESS)
}
