//! The settings that a session begins with: the configuration, what is stored for its role and database, and what its
//! start-up packet says.
//!
//! In PostgreSQL's order (`InitPostgres`): the start-up packet is read first and counts most. An error in it ends the
//! connection; a stored value that is no longer good is a warning.

use std::path::PathBuf;

use super::context::Context;
use super::directory::Directory;
use super::startup::Request;
use crate::auth::{Database, Role};
use crate::error::Error;
use crate::settings::{Settings, Source};

/// The settings of a session of that role in that database, and what the client is to be warned of.
pub fn at_start(
    context: &Context,
    directory: &dyn Directory,
    request: &Request,
    role: &Role,
    database: &Database,
) -> Result<(Settings, Vec<Error>), Error> {
    let mut settings = Settings::new();
    for (name, value) in context.config.session.iter() {
        settings.set_default(name, &value.to_string(), Source::Config)?;
    }
    tls(context, &mut settings)?;
    let is_superuser = if role.superuser { "on" } else { "off" };
    settings.set_default("is_superuser", is_superuser, Source::Internal)?;
    settings.set_default("session_authorization", &role.name, Source::Internal)?;
    let mut set = |name: &str, value: &str, source| {
        if name.eq_ignore_ascii_case("role") && value != "none" && value != role.name {
            let superuser = directory.may_become(role.oid, value)?;
            settings.set_default_role(value, superuser, source);
            return Ok(());
        }
        settings.set_default(name, value, source)
    };
    for (name, value) in &request.settings {
        set(name, value, Source::Startup)?;
    }
    let mut warnings = Vec::new();
    for stored in directory.settings(database.oid, role.oid) {
        if let Err(error) = set(&stored.name, &stored.value, stored.source) {
            warnings.push(error);
        }
    }
    Ok((settings, warnings))
}

/// What SHOW says of TLS, where there is any.
fn tls(context: &Context, settings: &mut Settings) -> Result<(), Error> {
    if context.tls.is_none() {
        return Ok(());
    }
    let tls = &context.config.tls;
    let path = |path: &Option<PathBuf>| path.as_ref().map_or(String::new(), |path| path.display().to_string());
    for (name, value) in [
        ("ssl", "on"),
        ("ssl_cert_file", &path(&tls.cert)),
        ("ssl_key_file", &path(&tls.key)),
        ("ssl_ca_file", &path(&tls.client_ca)),
        ("ssl_min_protocol_version", tls.min_version.name()),
    ] {
        settings.set_default(name, value, Source::Config)?;
    }
    Ok(())
}
