//! PostgreSQL's cluster below the data directory: made once, recognised at each start, and what its server is started with.
//!
//! ```text
//! postgres/             PostgreSQL's own data directory
//! postgres.new/         the same while initdb makes it
//! postgres.private/     its socket, and who may use it; for its owner only
//! ```

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use super::{OwnServer, Superuser, programs};
use crate::config::{
    Config, LOOKUP_CONNECTIONS, OWN_PORT, own_data_directory, own_private_directory, own_socket_directory,
};
use crate::system::program;
use crate::system::signal::Signal;

/// PostgreSQL's `superuser_reserved_connections`.
const RESERVED_CONNECTIONS: u32 = 3;
/// For server processes that are ending while others replace them.
const ENDING_CONNECTIONS: u32 = 16;
/// The oldest version that is known to be understood.
const OLDEST_VERSION: u32 = 12;
/// The first version whose pg_ident.conf can say that a user may be any role.
const ANY_ROLE_VERSION: u32 = 16;

/// Added to the postgresql.conf that initdb makes; the time and the level are in our own log's lines.
const SETTINGS: &str = "
# Added by pgprefork. What it gives on the command line wins over this file: listen_addresses, port,
# unix_socket_directories, unix_socket_permissions, hba_file, ident_file, max_connections,
# superuser_reserved_connections.
log_line_prefix = '[%p] '
";

/// What a start finds: the programs and their version, and whether there is a cluster, which they fit.
struct Found {
    programs: PathBuf,
    version: String,
    has_cluster: bool,
}

fn find(config: &Config) -> Result<Found, String> {
    if config.data.to_str().is_none() {
        return Err(format!(
            "{}: a name that is not UTF-8 is of no use to PostgreSQL's settings",
            config.data.display()
        ));
    }
    let bindir = config.engine.postgres.bindir.as_ref().map(|path| config.path(path));
    let programs = programs::find(bindir.as_deref())?;
    let version = programs::version(&programs)?;
    check_age(&programs, &version)?;
    let directory = own_data_directory(&config.data);
    let has_cluster = match fs::read_to_string(directory.join("PG_VERSION")) {
        Ok(found) => {
            check_version(&directory, found.trim(), &programs, &version)?;
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(format!("{}: {error}", directory.join("PG_VERSION").display())),
    };
    Ok(Found { programs, version, has_cluster })
}

/// Says what is missing or does not fit, and changes nothing.
pub fn check(config: &Config) -> Result<(), String> {
    find(config).map(drop)
}

/// Finds the programs, makes the cluster where there is none, and sees that the programs fit it. `superuser` is whom a new
/// cluster gets. The data directory is locked, and no process has been forked.
pub fn prepare(config: &Config, superuser: Superuser) -> Result<OwnServer, String> {
    let Found { programs, version, has_cluster } = find(config)?;
    if !has_cluster {
        log::info!("making a PostgreSQL {version} cluster in {}", own_data_directory(&config.data).display());
        create(&config.data, &programs, &superuser)?;
    }
    prepare_private(&config.data, &version)?;
    let superuser = config.engine.postgres.superuser.clone().unwrap_or(superuser.name);
    Ok(OwnServer { programs, superuser })
}

fn check_age(programs: &Path, version: &str) -> Result<(), String> {
    if version.parse::<u32>().is_ok_and(|version| version >= OLDEST_VERSION) {
        return Ok(());
    }
    Err(format!("PostgreSQL {version} in {} is too old: {OLDEST_VERSION} or later is needed", programs.display()))
}

fn check_version(directory: &Path, found: &str, programs: &Path, version: &str) -> Result<(), String> {
    if found == version {
        return Ok(());
    }
    Err(format!(
        "{} was initialized by PostgreSQL version {found}, which is not compatible with version {version} in {}: upgrade it with \
         pg_upgrade, or name the directory of the other programs with --pg-bindir",
        directory.display(),
        programs.display()
    ))
}

/// Runs initdb beside the place, and moves what it made there: what is there is whole.
fn create(data: &Path, programs: &Path, superuser: &Superuser) -> Result<(), String> {
    let (place, new) = (own_data_directory(data), data.join("postgres.new"));
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|error| format!("{}: {error}", new.display()))?;
    }
    let mut command = Command::new(programs.join("initdb"));
    command.arg("-D").arg(&new).args(["-E", "UTF8", "--locale=C.UTF-8", "-U", &superuser.name]);
    // For whoever starts it without us; we give it other rules.
    command.args(["--auth-local=peer", "--auth-host=scram-sha-256"]);
    if superuser.password.is_some() {
        command.arg("--pwfile=/dev/stdin");
    }
    program::tie_to_us(&mut command, Signal::SIGTERM);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).current_dir("/");
    let failed = |what: &dyn std::fmt::Display| format!("initdb failed: {what}");
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    if let (Some(mut stdin), Some(password)) = (child.stdin.take(), &superuser.password) {
        // It may have failed before it asked; then it says why.
        let _ = writeln!(stdin, "{password}");
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        return Err(failed(&lines.join("; ")));
    }
    let settings = new.join("postgresql.conf");
    append(&settings, SETTINGS).map_err(|error| format!("{}: {error}", settings.display()))?;
    fs::rename(&new, &place)
        .and_then(|()| File::open(data)?.sync_all())
        .map_err(|error| format!("{}: {error}", place.display()))
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The directories that only this user may enter, and the rules that PostgreSQL lets clients in by: this user, as any role,
/// because whoever comes through us has proved at our door who he is.
fn prepare_private(data: &Path, version: &str) -> Result<(), String> {
    let private = own_private_directory(data);
    for directory in [&private, &own_socket_directory(data)] {
        make_private(directory)?;
    }
    let knows_any_role = version.parse::<u32>().is_ok_and(|version| version >= ANY_ROLE_VERSION);
    let user = User::from_uid(geteuid()).ok().flatten().map(|user| user.name).filter(|_| knows_any_role);
    let (method, map) = match user {
        Some(user) => ("peer map=pgprefork", format!("pgprefork \"{}\" all\n", user.replace('"', "\"\""))),
        // The directory lets in whom `peer` would let in.
        None => ("trust", String::new()),
    };
    for (name, text) in [("pg_hba.conf", format!("local all all {method}\n")), ("pg_ident.conf", map)] {
        let path = private.join(name);
        fs::write(&path, format!("# Written by pgprefork at each start.\n{text}"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Makes a directory for this user only; one that is there must be this user's already, and no link.
fn make_private(directory: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let metadata = fs::symlink_metadata(directory).map_err(failed)?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        return Err(format!("{} is there already, and is no directory of this user's", directory.display()));
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed)
}

/// Removes a directory that is only for the socket, once that is gone.
pub(super) fn leave(data: &Path) {
    let directory = own_socket_directory(data);
    if directory != own_private_directory(data) {
        let _ = fs::remove_dir(directory);
    }
}

/// How many connections its server has to allow.
fn connections(config: &Config) -> u32 {
    config.relay.max_server_connections + LOOKUP_CONNECTIONS + RESERVED_CONNECTIONS + ENDING_CONNECTIONS
}

/// The arguments that its server is started with.
pub(super) fn arguments(config: &Config) -> Vec<OsString> {
    let private = own_private_directory(&config.data);
    let setting = |name: &str, value: &Path| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value);
        setting
    };
    let settings = [
        "listen_addresses=".into(),
        setting("unix_socket_directories", Path::new(&quoted(&own_socket_directory(&config.data)))),
        "unix_socket_permissions=0700".into(),
        format!("port={OWN_PORT}").into(),
        setting("hba_file", &private.join("pg_hba.conf")),
        setting("ident_file", &private.join("pg_ident.conf")),
        format!("max_connections={}", connections(config)).into(),
        format!("superuser_reserved_connections={RESERVED_CONNECTIONS}").into(),
    ];
    let mut arguments: Vec<OsString> = vec!["-D".into(), own_data_directory(&config.data).into()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting]));
    arguments
}

/// As an element of a list of names.
fn quoted(path: &Path) -> PathBuf {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\"")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_refused_by_name() {
        let check =
            |found| check_version(Path::new("/d/postgres"), found, Path::new("/usr/lib/postgresql/15/bin"), "15");
        assert_eq!(check("15"), Ok(()));
        assert!(check_age(Path::new("/bin"), "12").is_ok() && check_age(Path::new("/bin"), "18").is_ok());
        assert_eq!(
            check_age(Path::new("/bin"), "9.6").unwrap_err(),
            "PostgreSQL 9.6 in /bin is too old: 12 or later is needed"
        );
        let message = check("13").unwrap_err();
        assert!(message.starts_with("/d/postgres was initialized by PostgreSQL version 13, "), "{message}");
        assert!(!message.contains('\n'));
    }

    #[test]
    fn the_private_directory_is_nobody_elses() {
        let data = tempfile::tempdir().unwrap();
        let private = own_private_directory(data.path());
        fs::DirBuilder::new().mode(0o777).create(&private).unwrap();
        prepare_private(data.path(), "15").unwrap();
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(fs::read_to_string(private.join("pg_hba.conf")).unwrap().ends_with("\nlocal all all trust\n"));
        prepare_private(data.path(), "16").unwrap();
        let rules = fs::read_to_string(private.join("pg_hba.conf")).unwrap();
        assert!(rules.ends_with("\nlocal all all peer map=pgprefork\n"), "{rules}");
        fs::remove_dir_all(&private).unwrap();
        std::os::unix::fs::symlink("/tmp", &private).unwrap();
        assert!(prepare_private(data.path(), "16").unwrap_err().contains("is there already"));
    }
}
