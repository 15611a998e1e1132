//! The server's state as system views show it: sessions, locks, settings, workers, the pool.
//!
//! Owns what others may see of a session: the text of another role's query is for superusers. Everything is read
//! from the segment when a scan begins; nothing is kept.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use shm::activity::ActivityView;
use shm::clock::{monotonic_us, wall_us};
use shm::{ClientAddress, Counter, ExitReason, Segment, SetupPhase, Slot, SlotIndex, SlotKind, SlotState, WaitEvent};

use super::access_rules::{self, RuleFiles};
use super::catalog::{Cache, DefaultAcl, Schema, StoredCatalog};
use super::rights::Rights;
use super::session::{Session, microseconds};
use super::views::{Source, functions};
use super::{roles, sequence};
use crate::engine::cluster::{Global, Snapshot};
use crate::error::{Condition, Error};
use crate::sql::catalog::Relation;
use crate::sql::types::{Datum, Value, array};

/// The pool as it was configured, for `pgprefork.pool`.
#[derive(Debug, Clone, Default)]
pub struct PoolFacts {
    /// `prefork` or `fork-on-accept`.
    pub model: String,
    /// `pool.min_spare`.
    pub min_spare: u32,
    /// `pool.max_sessions`.
    pub max_sessions: u32,
}

/// As whom the session acts and where it finds things, since its newest statement began.
#[derive(Default)]
pub(super) struct Standing(RefCell<(Rc<Rights>, Rc<[String]>)>);

impl Standing {
    /// Both have changed.
    pub(super) fn replace(&self, rights: Rc<Rights>, path: &[String]) {
        *self.0.borrow_mut() = (rights, path.into());
    }

    /// Both.
    pub(super) fn now(&self) -> (Rc<Rights>, Rc<[String]>) {
        self.0.borrow().clone()
    }
}

/// Everything that the views of one session are made from.
pub(super) struct Sources {
    pub(super) standing: Rc<Standing>,
    pub(super) connection: Rc<Connection>,
    pub(super) cache: Rc<Cache>,
    pub(super) session: Arc<Session>,
    pub(super) cluster: Rc<Global>,
    pub(super) pool: PoolFacts,
    pub(super) files: RuleFiles,
}

type Row = Vec<Value>;

impl Sources {
    fn with_catalog<T>(&self, read: impl FnOnce(&StoredCatalog<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let (rights, path) = self.standing.now();
        read(&StoredCatalog { connection: &self.connection, cache: &self.cache, search_path: &path, rights: &rights })
    }
}

impl Source for Sources {
    fn schemas(&self) -> Result<Vec<Schema>, Error> {
        self.with_catalog(|catalog| catalog.all_schemas())
    }

    fn relations(&self) -> Result<Vec<Rc<Relation>>, Error> {
        self.with_catalog(|catalog| catalog.relations())
    }

    fn comments(&self) -> Result<Vec<(u32, i64, String)>, Error> {
        self.with_catalog(|catalog| catalog.comments())
    }

    fn cluster(&self) -> Rc<Snapshot> {
        self.cluster.snapshot()
    }

    fn default_acls(&self) -> Result<Vec<DefaultAcl>, Error> {
        self.with_catalog(|catalog| catalog.default_acls())
    }

    fn rights(&self) -> Rc<Rights> {
        self.standing.now().0
    }

    fn state(&self, view: &str) -> Result<Vec<Row>, Error> {
        let segment = self.session.segment();
        Ok(match view {
            "pg_catalog.pg_stat_activity" => activity(segment, &self.sight()),
            "pg_catalog.pg_stat_ssl" => encryption(segment, &self.sight()),
            "pg_catalog.pg_locks" => locks(segment),
            "pg_catalog.pg_settings" => self.settings(),
            "pg_catalog.pg_sequence" => self.with_catalog(sequence::all)?,
            "pg_catalog.pg_hba_file_rules" => {
                self.superusers_only("pg_hba_file_rules")?;
                access_rules::rules(&self.files.hba)?
            }
            "pg_catalog.pg_ident_file_mappings" => {
                self.superusers_only("pg_ident_file_mappings")?;
                access_rules::mappings(&self.files.ident)?
            }
            "pgprefork.workers" => workers(segment),
            "pgprefork.pool" => vec![pool(segment, &self.pool)],
            "pgprefork.connection_phases" => phases(segment),
            _ => Vec::new(),
        })
    }

    fn function(&self, name: &str, arguments: &[Datum<'_>]) -> Result<Value, Error> {
        match name {
            "nextval" | "setval" | "currval" | "lastval" => {
                self.with_catalog(|catalog| sequence::call(catalog, &self.session, name, arguments))
            }
            "pg_has_role" => roles::has_role(&self.cluster.snapshot(), self.session.identity().user_oid, arguments),
            "pg_blocking_pids" => Ok(blocking_pids(self.session.segment(), arguments)),
            "pg_my_temp_schema" => Ok(Value::Int(0)),
            "pg_postmaster_start_time" | "pg_conf_load_time" => Ok(time(self.session.segment().pool().started_us())),
            "pg_tablespace_location" => Ok(Value::Text(String::new())),
            "pg_relation_is_publishable" => Ok(Value::Int(0)),
            "pg_database_size"
            | "pg_relation_size"
            | "pg_total_relation_size"
            | "pg_table_size"
            | "pg_indexes_size" => self.size(name, arguments),
            "pg_reload_conf" => Err(Error::unsupported("pg_reload_conf() (use pgprefork reload)")),
            _ => self.with_catalog(|catalog| functions::call(catalog, &self.cluster.snapshot(), name, arguments)),
        }
    }
}

impl Sources {
    /// Whose sessions the current user may see whole: those of roles whose privileges it has, or everybody's.
    fn sight(&self) -> impl Fn(u32) -> bool + use<> {
        let (viewer, cluster) = (self.session.identity().user_oid, self.cluster.snapshot());
        let sees_all = cluster.has_privileges_of_named(viewer, "pg_read_all_stats");
        move |user| sees_all || cluster.has_privileges_of(viewer, user)
    }

    fn superusers_only(&self, view: &str) -> Result<(), Error> {
        if self.session.identity().superuser {
            return Ok(());
        }
        Err(Error::new(Condition::InsufficientPrivilege, format!("permission denied for view {view}")))
    }

    /// Sizes: of a database by its file's pages. What a relation takes of them is not known: NULL.
    fn size(&self, name: &str, arguments: &[Datum<'_>]) -> Result<Value, Error> {
        if name != "pg_database_size" {
            return Ok(Value::Null);
        }
        let identity = self.session.identity();
        let own = match arguments.first() {
            Some(Datum::Text(database)) => *database == identity.database,
            Some(Datum::Int(oid)) => *oid == i64::from(identity.database_oid),
            _ => return Ok(Value::Null),
        };
        if !own {
            return Err(Error::unsupported("pg_database_size() of another database"));
        }
        let bytes = self
            .connection
            .query_row("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()", (), |row| {
                row.get(0)
            })
            .map_err(super::catalog::failure)?;
        Ok(Value::Int(bytes))
    }

    fn settings(&self) -> Vec<Row> {
        let Some(settings) = self.session.settings() else { return Vec::new() };
        let rows = settings.lock().all();
        rows.into_iter()
            .map(|row| {
                let (min, max) =
                    row.range.map_or((Value::Null, Value::Null), |(min, max)| (Value::Text(min), Value::Text(max)));
                let values = row.values.map_or(Value::Null, |values| {
                    Value::Text(array::from_elements(values.iter().map(|value| Some(*value))))
                });
                vec![
                    Value::Text(row.name),
                    Value::Text(row.setting),
                    row.unit.map_or(Value::Null, text),
                    text("Settings"),
                    text(row.description),
                    Value::Null,
                    text(row.context),
                    text(row.vartype),
                    text(row.source),
                    min,
                    max,
                    values,
                    Value::Text(row.boot_value),
                    Value::Text(row.reset_value),
                    Value::Null,
                    Value::Null,
                    Value::Int(0),
                ]
            })
            .collect()
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn int(value: impl Into<i64>) -> Value {
    Value::Int(value.into())
}

fn count(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A time of the segment's (microseconds since 1970) as timestamptz; NULL for none.
fn time(us: u64) -> Value {
    if us == 0 { Value::Null } else { Value::Int(microseconds(SystemTime::UNIX_EPOCH + Duration::from_micros(us))) }
}

/// A time of the monotonic clock as timestamptz.
fn wall_of(monotonic: u64) -> i64 {
    let age = monotonic_us().saturating_sub(monotonic);
    microseconds(SystemTime::UNIX_EPOCH + Duration::from_micros(wall_us().saturating_sub(age)))
}

fn time_of(monotonic: u64) -> Value {
    if monotonic == 0 { Value::Null } else { Value::Int(wall_of(monotonic)) }
}

fn named(oid: u32, name: &str) -> [Value; 2] {
    if oid == 0 { [Value::Null, Value::Null] } else { [int(oid), text(name)] }
}

/// pg_stat_activity: sessions, and the server's own processes.
fn activity(segment: Segment, viewer: &dyn Fn(u32) -> bool) -> Vec<Row> {
    let processes = segment.slots().filter(|(_, slot)| slot.state() != SlotState::Free && slot.pid() != 0);
    processes.filter_map(|(_, slot)| process(slot, viewer)).collect()
}

fn process(slot: &Slot, sees: &dyn Fn(u32) -> bool) -> Option<Row> {
    let Some(view) = slot.activity().read() else { return Some(unreadable(slot)) };
    let session = view.identity.database_oid != 0;
    // Idle workers have no session; they are in pgprefork.workers.
    if slot.kind() == SlotKind::Worker && !session {
        return None;
    }
    let visible = sees(view.identity.user_oid);
    let [datid, datname] = named(view.identity.database_oid, &view.identity.database);
    let [usesysid, usename] = named(view.identity.user_oid, &view.identity.user);
    let (address, port) = match view.identity.client {
        ClientAddress::Inet(address, port) if visible => (Value::Text(address.to_string()), int(port)),
        ClientAddress::Unix if visible => (Value::Null, int(-1)),
        _ => (Value::Null, Value::Null),
    };
    let shown = |value: Value| if visible && session { value } else { Value::Null };
    let (wait_type, wait) = match slot.wait_event().names() {
        Some((kind, _)) if slot.wait_event() == WaitEvent::BackgroundLoop => (text(kind), text(main_loop(slot.kind()))),
        Some((kind, event)) if visible || !session => (text(kind), text(event)),
        _ => (Value::Null, Value::Null),
    };
    let ActivityView { identity, state, state_change_us, xact_start_us, query_start_us, query } = view;
    let query = match (session, visible) {
        (false, _) => Value::Text(String::new()),
        (true, true) => Value::Text(query),
        (true, false) => text("<insufficient privilege>"),
    };
    let start = if session { time(identity.backend_start_us) } else { time_of(slot.started_us()) };
    Some(vec![
        datid,
        datname,
        int(slot.pid()),
        Value::Null,
        usesysid,
        usename,
        if session { Value::Text(identity.application_name) } else { Value::Text(String::new()) },
        address,
        Value::Null,
        port,
        start,
        shown(time(xact_start_us)),
        shown(time(query_start_us)),
        shown(time(state_change_us)),
        wait_type,
        wait,
        shown(state.name().map_or(Value::Null, text)),
        Value::Null,
        Value::Null,
        Value::Null,
        query,
        text(slot.kind().name()),
    ])
}

/// pg_stat_ssl: sessions with a client on the network or on a Unix socket, as far as the viewer may see where it is.
fn encryption(segment: Segment, sees: &dyn Fn(u32) -> bool) -> Vec<Row> {
    let row = |slot: &Slot| {
        let view = slot.activity().read().filter(|view| view.identity.database_oid != 0)?;
        if !sees(view.identity.user_oid) {
            return None;
        }
        let shown = |value: String| if value.is_empty() { Value::Null } else { Value::Text(value) };
        let facts = match slot.activity().tls() {
            None => [const { Value::Null }; 6],
            Some(tls) => [
                Value::Text(tls.version),
                Value::Text(tls.cipher),
                int(tls.bits),
                shown(tls.client_subject),
                shown(tls.client_serial),
                shown(tls.client_issuer),
            ],
        };
        let has_tls = !matches!(facts[0], Value::Null);
        Some([int(slot.pid()), int(has_tls)].into_iter().chain(facts).collect())
    };
    let workers =
        segment.slots().filter(|(_, slot)| slot.kind() == SlotKind::Worker && slot.state() != SlotState::Free);
    workers.filter_map(|(_, slot)| row(slot)).collect()
}

/// What pg_stat_activity calls the wait for the next turn of a background process, each kind its own.
fn main_loop(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Worker => "WorkerMain",
        SlotKind::Doorman => "DoormanMain",
        SlotKind::Checkpointer => "CheckpointerMain",
        SlotKind::Exporter => "ExporterMain",
        SlotKind::Template => "TemplateMain",
        SlotKind::Keeper => "KeeperMain",
    }
}

/// A process that was stopped while it described itself.
fn unreadable(slot: &Slot) -> Row {
    let mut row = vec![Value::Null; 22];
    if let [_, _, pid, .., kind] = row.as_mut_slice() {
        *pid = int(slot.pid());
        *kind = text(slot.kind().name());
    }
    row
}

/// pg_locks: the writer lock of each database, its owner and who waits for it.
fn locks(segment: Segment) -> Vec<Row> {
    let mut rows = Vec::new();
    for database in segment.databases() {
        let owner = database.writer().map(|owner| owner.slot);
        let waiters = database.writer_waiters();
        let holders = owner.into_iter().map(|slot| (slot, true)).chain(waiters.into_iter().map(|slot| (slot, false)));
        for (slot, granted) in holders {
            let mut row = vec![Value::Null; 16];
            let own = |at: usize, value: Value, row: &mut Row| {
                if let Some(place) = row.get_mut(at) {
                    *place = value;
                }
            };
            own(0, text("database"), &mut row);
            own(1, int(database.oid()), &mut row);
            own(11, int(segment.slot(slot).pid()), &mut row);
            own(12, text("ExclusiveLock"), &mut row);
            own(13, int(granted), &mut row);
            own(14, int(false), &mut row);
            rows.push(row);
        }
    }
    rows
}

/// Who has the writer lock that the process waits for.
fn blocking_pids(segment: Segment, arguments: &[Datum<'_>]) -> Value {
    let Some(Datum::Int(pid)) = arguments.first() else { return Value::Null };
    let waiting = segment.slots().find(|(_, slot)| i64::from(slot.pid()) == *pid && *pid > 0).map(|(index, _)| index);
    let mut pids = Vec::new();
    for database in segment.databases() {
        if let (Some(owner), Some(waiting)) = (database.writer(), waiting)
            && owner.slot != waiting
            && database.writer_waiters().contains(&waiting)
        {
            pids.push(segment.slot(owner.slot).pid().to_string());
        }
    }
    Value::Text(array::from_elements(pids.iter().map(|pid| Some(pid.as_str()))))
}

fn workers(segment: Segment) -> Vec<Row> {
    let workers =
        segment.slots().filter(|(_, slot)| slot.kind() == SlotKind::Worker && slot.state() != SlotState::Free);
    workers.map(|(index, slot)| worker(index, slot)).collect()
}

fn worker(index: SlotIndex, slot: &Slot) -> Row {
    let view = slot.activity().read().unwrap_or_default();
    let name = |name: &str| if view.identity.database_oid == 0 { Value::Null } else { text(name) };
    vec![
        int(index.0),
        int(slot.pid()),
        int(slot.generation().0),
        text(slot.state().name()),
        count(slot.sessions_served()),
        time_of(slot.started_us()),
        time_of(slot.heartbeat_us()),
        name(&view.identity.user),
        name(&view.identity.database),
        text(slot.phase().name()),
        int(slot.is_stopped()),
    ]
}

fn pool(segment: Segment, facts: &PoolFacts) -> Row {
    let pool = segment.pool();
    let census = segment.census();
    let recycled =
        pool.exits(ExitReason::Recycled) + pool.exits(ExitReason::Retired) + pool.exits(ExitReason::LifetimeOver);
    vec![
        text(&facts.model),
        int(census.idle),
        int(census.connecting + census.serving),
        int(census.starting),
        int(pool.queued()),
        int(pool.parked()),
        count(pool.counter(Counter::Displaced)),
        int(facts.min_spare),
        int(facts.max_sessions),
        count(pool.counter(Counter::Forks)),
        count(recycled),
        count(pool.exits(ExitReason::Crashed)),
    ]
}

fn phases(segment: Segment) -> Vec<Row> {
    let statistics = segment.statistics();
    let row = |phase: &SetupPhase| {
        let histogram = statistics.setup(*phase).snapshot();
        let at = |percent: f64| histogram.percentile(percent).map_or(Value::Null, count);
        vec![text(phase.name()), count(histogram.count()), at(50.0), at(95.0), at(99.0), at(100.0)]
    };
    SetupPhase::ALL.iter().map(row).collect()
}
