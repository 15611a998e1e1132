//! `pgprefork serve`: from arguments to a running postmaster. Everything that can fail with one clear line fails
//! here, before the first worker is forked.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use shm::{Geometry, Segment, WAL_INDEX_PAGE_BYTES};

use super::{EngineArgument, ModelArgument, Outcome, ServeArguments, rules};
use crate::auth::{Maps, Method, Rules};
use crate::config::{Config, EngineKind, LOOKUP_CONNECTIONS, Sources};
use crate::engine::cluster::{self, Cluster, InitOptions};
use crate::engine::sqlite::engine::make_durable;
use crate::keeper::{self, OwnServer};
use crate::postmaster::lockfile::{Content, DirectoryLock, SocketLock, Status};
use crate::postmaster::{self, Server, listen};
use crate::system::daemon::{self, Report};
use crate::system::locker::Locker;
use crate::system::notify::{self, Manager};
use crate::system::wake::Wake;
use crate::system::{descriptor, parent, pass, privileges, signal, text};
use crate::worker::context::Context;
use crate::worker::tls::Acceptor;

/// Databases that can be open at one time.
const DATABASES: u32 = 64;
/// Room for the WAL-index of each: 512 pages reach over a WAL of 8 GB. Untouched pages cost nothing.
const WAL_INDEX_PAGES: usize = 512;
/// Slots for processes other than workers.
const AUXILIARY_SLOTS: u32 = 8;
/// How far the OOM killer shall leave the postmaster alone; children go back to 0.
const POSTMASTER_OOM_SCORE: i32 = -900;
/// Descriptors a process needs beside its clients' and databases'.
const OPEN_FILES: u64 = 4096;
/// Where a detached server logs when `log.file` isn't set.
const DETACHED_LOG: &str = "pgprefork.log";

/// Runs the server until it is told to stop.
pub fn run(arguments: &ServeArguments) -> Outcome {
    let data = arguments.data.directory()?;
    let sources = sources(arguments)?;
    let passed = notify::passed_sockets();
    prepare_privileges(arguments.user.as_deref(), &data)?;
    let mut config = Config::load(&data, &sources).map_err(|error| error.to_string())?;
    open_cluster(&data)?;
    if arguments.detach {
        config.log.file.get_or_insert_with(|| DETACHED_LOG.into());
    }
    let log_file = config.log.file.as_ref().map(|file| config.path(file));
    let report = if arguments.detach {
        let log = log_file.unwrap_or_else(|| data.join(DETACHED_LOG));
        Some(daemon::detach(&log).map_err(|error| format!("could not detach: {error}"))?)
    } else {
        if let Some(log) = &log_file {
            daemon::redirect_output(log).map_err(|error| format!("{}: {error}", log.display()))?;
        }
        None
    };
    super::log::start(config.log.level, config.log.format);
    signal::ignore_broken_pipes().map_err(|error| error.to_string())?;
    serve(config, sources, &data, report, passed)
}

fn serve(config: Config, sources: Sources, data: &Path, report: Option<Report>, passed: Vec<OwnedFd>) -> Outcome {
    let mut lock = DirectoryLock::take(data, |survivors| {
        let pids: Vec<String> = survivors.iter().map(ToString::to_string).collect();
        log::warn!("waiting for processes of a dead postmaster to end: PID {}", pids.join(", "));
    })
    .map_err(|error| error.to_string())?;
    if let Some(stale) = lock.stale_pid() {
        log::info!("the last server on this directory (PID {stale}) did not shut down");
    }
    let content = content(&config, data);
    lock.write(&content, Status::Starting).map_err(|error| format!("{}: {error}", data.display()))?;
    let prepared = prepare(config, &content, passed);
    let Prepared { context, socket_locks, greeting } = prepared.inspect_err(|_| lock.remove())?;
    let reread_data = data.to_owned();
    let reread = Box::new(move || reread(&reread_data, &sources));
    let recover_data = data.to_owned();
    let recover = Box::new(move || make_durable(&recover_data).map_err(|error| error.to_string()));
    let server = Server { context, socket_locks, lock, content, reread, recover, manager: Manager::from_environment() };
    match text::move_to_huge_pages() {
        Ok(bytes) => log::debug!("{} kB of program text are on huge pages", bytes / 1024),
        Err(error) => log::debug!("the program's text stays where it is: {error}"),
    }
    let clean = postmaster::run(server, Box::new(move || announce(&greeting, report)))
        .map_err(|error| format!("the postmaster failed: {error}"))?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is needed before the first process is forked.
struct Prepared {
    context: Context,
    socket_locks: Vec<SocketLock>,
    greeting: String,
}

/// Access rules, listeners, shared memory. The directory is locked.
fn prepare(config: Config, content: &Content, passed: Vec<OwnedFd>) -> Result<Prepared, String> {
    let (rules, maps) = rules::read(&config)?;
    let trusting = rules.iter().any(|rule| rule.method == Method::Trust);
    let own_server = own_server(&config)?;
    let geometry = Geometry {
        slots: config.worker_slots() + AUXILIARY_SLOTS,
        databases: DATABASES,
        wal_index_bytes: WAL_INDEX_PAGES * WAL_INDEX_PAGE_BYTES,
    };
    let segment = Segment::create(&geometry).map_err(|error| error.to_string())?;
    let wake = Wake::new().map_err(|error| error.to_string())?;
    let doorman = Wake::new().map_err(|error| error.to_string())?;
    let look = Wake::new().map_err(|error| error.to_string())?;
    let queue = pass::channel().map_err(|error| error.to_string())?;
    let parking = pass::channel().map_err(|error| error.to_string())?;
    let tls = Acceptor::load(&config, segment)?;
    signal::block_all().map_err(|error| error.to_string())?;
    let (listeners, socket_locks) = listen::open(&config, content, passed).map_err(|error| error.to_string())?;
    let metrics = listen::metrics(&config).map_err(|error| error.to_string())?;
    let greeting = greeting(&config, &listen::places(&listeners), trusting);
    let postmaster = parent::own_pid();
    let lockers = lockers(&config).map_err(|error| format!("could not make lockers: {error}"))?;
    let mut mock_secret = [0; 32];
    getrandom::fill(&mut mock_secret).map_err(|error| format!("no random bytes: {error}"))?;
    let context = Context {
        config,
        rules,
        maps,
        tls,
        segment,
        listeners,
        metrics,
        wake,
        doorman,
        look,
        queue,
        mock_secret,
        lockers,
        parking,
        own_server,
        postmaster,
    };
    Ok(Prepared { context, socket_locks, greeting })
}

/// A locker for each upstream connection that there may be.
fn lockers(config: &Config) -> io::Result<Vec<Locker>> {
    let count = match config.engine.kind {
        EngineKind::Sqlite | EngineKind::Null => 0,
        EngineKind::Relay if config.relay.has_user_queries() => {
            config.relay.max_server_connections + LOOKUP_CONNECTIONS
        }
        EngineKind::Relay => config.relay.max_server_connections,
        EngineKind::Postgres => config.relay.max_server_connections + LOOKUP_CONNECTIONS,
    };
    (0..count).map(|_| Locker::new()).collect()
}

/// Finds or makes the PostgreSQL of the server's own, where it is to have one.
fn own_server(config: &Config) -> Result<Option<OwnServer>, String> {
    if config.engine.kind != EngineKind::Postgres {
        return Ok(None);
    }
    let (name, password) = cluster::superuser(&config.data).map_err(|error| error.to_string())?;
    keeper::prepare(config, keeper::Superuser { name, password }).map(Some)
}

/// The first start creates the cluster; every start checks that this program can read it.
fn open_cluster(data: &Path) -> Result<(), String> {
    if !Cluster::is_initialised(data) && fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none()) {
        cluster::init(data, &InitOptions::default()).map_err(|error| error.to_string())?;
        println!("created a new cluster in {}", data.display());
    }
    Cluster::open(data).map(drop).map_err(|error| error.to_string())
}

/// Creates the data directory; as root gives it away and becomes its user.
pub(super) fn prepare_privileges(user: Option<&str>, data: &Path) -> Result<(), String> {
    let shown = data.display();
    let identity = privileges::choose(user, data).map_err(|error| format!("{shown}: {error}"))?;
    let is_new = !data.exists();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| format!("could not create {shown}: {error}"))?;
    let _ = descriptor::raise_open_files(OPEN_FILES);
    parent::set_oom_score(POSTMASTER_OOM_SCORE);
    if let Some(identity) = identity {
        if is_new || fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none()) {
            privileges::give(data, &identity).map_err(|error| format!("{shown}: {error}"))?;
        }
        privileges::become_user(&identity).map_err(|error| format!("could not become {identity}: {error}"))?;
        println!("started as root: going on as {identity}");
    }
    Ok(())
}

fn sources(arguments: &ServeArguments) -> Result<Sources, String> {
    let mut assignments = Vec::new();
    if let Some(port) = arguments.port {
        assignments.push(format!("listen.port={port}"));
    }
    if let Some(addresses) = &arguments.listen {
        let addresses: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        assignments.push(format!("listen.addresses=[{}]", addresses.join(", ")));
    }
    if let Some(model) = arguments.model {
        let model = match model {
            ModelArgument::Prefork => "prefork",
            ModelArgument::ForkOnAccept => "fork-on-accept",
        };
        assignments.push(format!("pool.model={model}"));
    }
    if let Some(engine) = arguments.engine {
        let engine = match engine {
            EngineArgument::Sqlite => "sqlite",
            EngineArgument::Postgres => "postgres",
            EngineArgument::Relay => "relay",
            EngineArgument::Null => "null",
        };
        assignments.push(format!("engine.kind={engine}"));
    }
    if let Some(directory) = &arguments.pg_bindir {
        let directory = std::path::absolute(directory).map_err(|error| error.to_string())?;
        let directory = directory.to_str().ok_or_else(|| format!("{}: not UTF-8", directory.display()))?;
        assignments.push(format!("engine.postgres.bindir={}", toml_string(directory)));
    }
    assignments.extend(arguments.set.iter().cloned());
    let file = arguments.config.as_deref().map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
    Ok(Sources { file, assignments })
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn content(config: &Config, data: &Path) -> Content {
    Content {
        pid: parent::own_pid(),
        data: data.to_owned(),
        started_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        port: config.listen.port,
        socket_directory: config
            .listen
            .socket_directories
            .first()
            .map_or(String::new(), |path| path.display().to_string()),
        address: config.listen.addresses.first().map_or(String::new(), ToString::to_string),
    }
}

fn reread(data: &Path, sources: &Sources) -> Result<(Config, Rules, Maps), String> {
    let config = Config::load(data, sources).map_err(|error| error.to_string())?;
    let (rules, maps) = rules::read(&config)?;
    Ok((config, rules, maps))
}

/// What the terminal shows once the server is ready.
fn greeting(config: &Config, places: &[String], trusting: bool) -> String {
    let mut text = format!("pgprefork {} on {}\n", env!("CARGO_PKG_VERSION"), config.data.display());
    for place in places {
        text += &format!("listening on {place}\n");
    }
    let host = match (config.listen.addresses.first(), config.listen.socket_directories.first()) {
        (Some(address), _) => address.to_string(),
        (None, Some(directory)) => directory.display().to_string(),
        (None, None) => String::new(),
    };
    text += &format!("connect with: psql -h {host} -p {} -U postgres postgres\n", config.listen.port);
    if trusting {
        text += "warning: everybody on this machine may connect as any role without a password (pg_hba.conf)\n";
    }
    text + "ready to accept connections\n"
}

fn announce(greeting: &str, report: Option<Report>) {
    match report {
        Some(report) => report.ready(greeting),
        // A terminal that is gone is no reason not to serve.
        None => drop(io::stdout().write_all(greeting.as_bytes())),
    }
}
