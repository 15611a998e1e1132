//! The tables of SHOW: their columns are PgBouncer 1.18's, their rows come from the segment and the settings.

use std::collections::BTreeMap;

use shm::activity::ActivityView;
use shm::clock::{monotonic_us, wall_us};
use shm::{
    ClientAddress, Segment, SlotIndex, SlotKind, SlotState, UpstreamOrder, UpstreamPoolFacts, UpstreamPoolIndex,
    UpstreamTraffic,
};

use crate::config::{Config, PoolMode, RelayDatabase, database_key};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{self, Int4, Int8, Text};
use crate::sql::types::{self, Datum, TextContext, Value};

/// What SHOW shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Table {
    Help,
    Version,
    Pools,
    Databases,
    Clients,
    Servers,
    Stats,
    StatsTotals,
    StatsAverages,
    Totals,
    Lists,
    Users,
    Config,
}

type Columns = &'static [(&'static str, Type)];

const TABLES: &[(&str, Table, Columns)] = &[
    ("HELP", Table::Help, &[]),
    ("VERSION", Table::Version, &[("version", Text)]),
    (
        "POOLS",
        Table::Pools,
        &[
            ("database", Text),
            ("user", Text),
            ("cl_active", Int4),
            ("cl_waiting", Int4),
            ("cl_active_cancel_req", Int4),
            ("cl_waiting_cancel_req", Int4),
            ("sv_active", Int4),
            ("sv_active_cancel", Int4),
            ("sv_being_canceled", Int4),
            ("sv_idle", Int4),
            ("sv_used", Int4),
            ("sv_tested", Int4),
            ("sv_login", Int4),
            ("maxwait", Int4),
            ("maxwait_us", Int4),
            ("pool_mode", Text),
        ],
    ),
    (
        "DATABASES",
        Table::Databases,
        &[
            ("name", Text),
            ("host", Text),
            ("port", Int4),
            ("database", Text),
            ("force_user", Text),
            ("pool_size", Int4),
            ("min_pool_size", Int4),
            ("reserve_pool", Int4),
            ("pool_mode", Text),
            ("max_connections", Int4),
            ("current_connections", Int4),
            ("paused", Int4),
            ("disabled", Int4),
        ],
    ),
    ("CLIENTS", Table::Clients, SOCKETS),
    ("SERVERS", Table::Servers, SOCKETS),
    (
        "STATS",
        Table::Stats,
        &[
            ("database", Text),
            ("total_xact_count", Int8),
            ("total_query_count", Int8),
            ("total_received", Int8),
            ("total_sent", Int8),
            ("total_xact_time", Int8),
            ("total_query_time", Int8),
            ("total_wait_time", Int8),
            ("avg_xact_count", Int8),
            ("avg_query_count", Int8),
            ("avg_recv", Int8),
            ("avg_sent", Int8),
            ("avg_xact_time", Int8),
            ("avg_query_time", Int8),
            ("avg_wait_time", Int8),
        ],
    ),
    ("STATS_TOTALS", Table::StatsTotals, COUNTS),
    ("STATS_AVERAGES", Table::StatsAverages, COUNTS),
    ("TOTALS", Table::Totals, &[("name", Text), ("value", Int8)]),
    ("LISTS", Table::Lists, &[("list", Text), ("items", Int4)]),
    ("USERS", Table::Users, &[("name", Text), ("pool_mode", Text)]),
    ("CONFIG", Table::Config, &[("key", Text), ("value", Text), ("default", Text), ("changeable", Text)]),
];

const SOCKETS: Columns = &[
    ("type", Text),
    ("user", Text),
    ("database", Text),
    ("state", Text),
    ("addr", Text),
    ("port", Int4),
    ("local_addr", Text),
    ("local_port", Int4),
    ("connect_time", Text),
    ("request_time", Text),
    ("wait", Int4),
    ("wait_us", Int4),
    ("close_needed", Int4),
    ("ptr", Text),
    ("link", Text),
    ("remote_pid", Int4),
    ("tls", Text),
    ("application_name", Text),
];

const COUNTS: Columns = &[
    ("database", Text),
    ("xact_count", Int8),
    ("query_count", Int8),
    ("bytes_received", Int8),
    ("bytes_sent", Int8),
    ("xact_time", Int8),
    ("query_time", Int8),
    ("wait_time", Int8),
];

/// What SHOW HELP says.
pub fn help() -> Error {
    let names: Vec<&str> = TABLES.iter().map(|(name, ..)| *name).collect();
    let detail = format!(
        "\n\tSHOW {}\n\tRELOAD\n\tPAUSE [<db>]\n\tRESUME [<db>]\n\tDISABLE <db>\n\tENABLE <db>\n\tRECONNECT [<db>]\n\tKILL <db>",
        names.join("|")
    );
    Error::new(Condition::SuccessfulCompletion, "Console usage").detail(detail)
}

type Row = Vec<Value>;

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn int(number: impl TryInto<i64>) -> Value {
    Value::Int(number.try_into().unwrap_or(i64::MAX))
}

impl Table {
    /// The table of that name, in capitals.
    pub fn named(name: &str) -> Option<Self> {
        TABLES.iter().find(|(known, ..)| *known == name).map(|(_, table, _)| *table)
    }

    /// Its columns.
    pub fn columns(self) -> Columns {
        TABLES.iter().find(|(_, table, _)| *table == self).map_or(&[], |(.., columns)| *columns)
    }

    /// Its rows of now.
    pub fn rows(self, segment: Segment, config: &Config) -> Vec<Row> {
        match self {
            Self::Help => Vec::new(),
            Self::Version => vec![vec![text(format!("pgprefork {}", env!("CARGO_PKG_VERSION")))]],
            Self::Pools => pools(segment, config),
            Self::Databases => databases(segment, config),
            Self::Clients => clients(segment),
            Self::Servers => servers(segment, config),
            Self::Stats => per_database(segment, |database, totals, averages| {
                let [totals, averages] = [totals, averages].map(Counts::values);
                std::iter::once(text(database)).chain(totals).chain(averages).collect()
            }),
            Self::StatsTotals => per_database(segment, |database, totals, _| {
                std::iter::once(text(database)).chain(totals.values()).collect()
            }),
            Self::StatsAverages => per_database(segment, |database, _, averages| {
                std::iter::once(text(database)).chain(averages.values()).collect()
            }),
            Self::Totals => totals(segment),
            Self::Lists => lists(segment, config),
            Self::Users => users(segment),
            Self::Config => settings(config),
        }
    }
}

/// A pool's database and user, from its name.
fn names(pool: &UpstreamPoolFacts) -> (&str, &str) {
    pool.name.rsplit_once(' ').unwrap_or((&pool.name, ""))
}

/// The pools of sessions: one for looking up roles is nobody's business.
fn pools_of_sessions(segment: Segment) -> Vec<(UpstreamPoolIndex, UpstreamPoolFacts)> {
    let mut pools = segment.upstream_pools();
    pools.retain(|(_, pool)| !pool.name.starts_with('('));
    pools
}

/// Sessions of the relay, each with its worker.
fn sessions(segment: Segment) -> Vec<(SlotIndex, ActivityView)> {
    let serving =
        segment.slots().filter(|(_, slot)| slot.kind() == SlotKind::Worker && slot.state() == SlotState::Serving);
    serving.filter_map(|(index, slot)| Some((index, slot.activity().read()?))).collect()
}

fn mode_name(mode: PoolMode) -> &'static str {
    match mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
    }
}

fn mode_of(config: &Config, database: &str) -> PoolMode {
    let relay = &config.relay;
    relay.database(database).map_or(relay.pool_mode, |target| relay.pool_mode_of(target))
}

/// Seconds, and the microseconds beyond them.
fn split(waited_us: u64) -> [Value; 2] {
    [int(waited_us / 1_000_000), int(waited_us % 1_000_000)]
}

/// How long a session's statement has been under way.
fn under_way_us(activity: &ActivityView) -> u64 {
    wall_us().saturating_sub(activity.query_start_us)
}

fn pools(segment: Segment, config: &Config) -> Vec<Row> {
    let sessions = sessions(segment);
    let waiting = segment.upstream_waiting();
    let row = |(index, pool): &(UpstreamPoolIndex, UpstreamPoolFacts)| {
        let (database, user) = names(pool);
        let own = |(_, activity): &&(SlotIndex, ActivityView)| {
            activity.identity.database == database && user_there(config, activity) == user
        };
        let clients = sessions.iter().filter(own).count();
        let waits = sessions.iter().filter(|(slot, _)| waiting.contains(&(*slot, *index)));
        let longest = waits.map(|(_, activity)| under_way_us(activity)).max().unwrap_or(0);
        let [seconds, micros] = split(longest);
        let waiting = pool.waiting as usize;
        let zero = || int(0);
        vec![
            text(database),
            text(user),
            int(clients.saturating_sub(waiting)),
            int(waiting),
            zero(),
            zero(),
            int(pool.lent),
            zero(),
            zero(),
            int(pool.idle),
            zero(),
            zero(),
            zero(),
            seconds,
            micros,
            text(mode_name(mode_of(config, database))),
        ]
    };
    pools_of_sessions(segment).iter().map(row).collect()
}

/// As whom a session's connections log in upstream.
fn user_there(config: &Config, activity: &ActivityView) -> String {
    let target = config.relay.database(&activity.identity.database);
    target.and_then(|target| target.user.clone()).unwrap_or_else(|| activity.identity.user.clone())
}

/// The host of a database, or the list of them.
fn hosts(target: &RelayDatabase) -> String {
    if target.hosts.is_empty() { target.host.clone() } else { target.hosts.join(",") }
}

fn databases(segment: Segment, config: &Config) -> Vec<Row> {
    let pools = pools_of_sessions(segment);
    let row = |(name, target): (&String, &RelayDatabase)| {
        let own = pools.iter().filter(|(_, pool)| names(pool).0 == name);
        let is_ordered = |order| segment.is_upstream_ordered(Some(database_key(name)), order);
        let connections: u32 = own.map(|(_, pool)| pool.lent + pool.idle).sum();
        vec![
            text(name),
            text(hosts(target)),
            int(target.port),
            text(target.dbname.as_ref().unwrap_or(name)),
            target.user.as_ref().map_or(Value::Null, text),
            int(config.relay.pool_size_of(target)),
            int(0),
            int(config.relay.reserve_pool_size),
            target.pool_mode.map_or(Value::Null, |mode| text(mode_name(mode))),
            int(config.relay.max_db_connections),
            int(connections),
            int(is_ordered(UpstreamOrder::Paused)),
            int(is_ordered(UpstreamOrder::Disabled)),
        ]
    };
    config.relay.databases.iter().map(row).collect()
}

/// A moment, as PgBouncer writes it.
fn time(us: u64) -> Value {
    const SECONDS_TO_2000: i64 = 946_684_800;
    let seconds = i64::try_from(us / 1_000_000).unwrap_or(0) - SECONDS_TO_2000;
    let mut written = Vec::new();
    let context = TextContext::default();
    types::output(Type::Timestamp, -1, Datum::Int(seconds * 1_000_000), &context, &mut written);
    text(format!("{} UTC", String::from_utf8_lossy(&written)))
}

fn address(client: ClientAddress) -> [Value; 2] {
    match client {
        ClientAddress::Inet(address, port) => [text(address.to_string()), int(port)],
        _ => [text("unix"), int(0)],
    }
}

fn clients(segment: Segment) -> Vec<Row> {
    let waiting = segment.upstream_waiting();
    let row = |(index, activity): &(SlotIndex, ActivityView)| {
        let identity = &activity.identity;
        let slot = segment.slot(*index);
        let waits = waiting.iter().any(|(slot, _)| slot == index);
        let [seconds, micros] = split(if waits { under_way_us(activity) } else { 0 });
        let [addr, port] = address(identity.client);
        let tls = slot.activity().tls().map_or_else(String::new, |tls| tls.version);
        vec![
            text("C"),
            text(&identity.user),
            text(&identity.database),
            text(if waits { "waiting" } else { "active" }),
            addr,
            port,
            Value::Null,
            Value::Null,
            time(identity.backend_start_us),
            time(activity.query_start_us.max(identity.backend_start_us)),
            seconds,
            micros,
            int(0),
            text(format!("worker {}", slot.pid())),
            text(""),
            int(slot.pid()),
            text(tls),
            text(&identity.application_name),
        ]
    };
    sessions(segment).iter().map(row).collect()
}

fn servers(segment: Segment, config: &Config) -> Vec<Row> {
    let pools = pools_of_sessions(segment);
    let now = monotonic_us();
    let mut rows = Vec::new();
    for place in segment.upstream_places() {
        let Some((_, pool)) = pools.iter().find(|(index, _)| *index == place.pool) else { continue };
        let (database, user) = names(pool);
        let target = config.relay.database(database);
        let addresses = target.and_then(|target| target.addresses().ok()).unwrap_or_default();
        // While it is being connected it leads nowhere.
        let key = segment.upstream_host_of(place.index);
        let leads_to = match addresses.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|address| Some(address.key()) == key),
        };
        let changed = wall_us().saturating_sub(now.saturating_sub(place.changed_us));
        let owner = place.owner.map(|slot| segment.slot(slot).pid());
        rows.push(vec![
            text("S"),
            text(user),
            text(database),
            text(if place.owner.is_some() { "active" } else { "idle" }),
            leads_to.map_or(Value::Null, |address| text(&address.host)),
            leads_to.map_or(Value::Null, |address| int(address.port)),
            Value::Null,
            Value::Null,
            Value::Null,
            time(changed),
            int(0),
            int(0),
            int(0),
            text(format!("server {}", place.pid)),
            text(owner.map_or_else(String::new, |pid| format!("worker {pid}"))),
            int(place.pid),
            text(""),
            text(""),
        ]);
    }
    rows
}

/// What PgBouncer counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    traffic: UpstreamTraffic,
    waited_us: u64,
}

impl Counts {
    fn add(&mut self, pool: &UpstreamPoolFacts) {
        let (sum, more) = (&mut self.traffic, &pool.traffic);
        sum.transactions += more.transactions;
        sum.queries += more.queries;
        sum.received += more.received;
        sum.sent += more.sent;
        sum.transactions_us += more.transactions_us;
        sum.queries_us += more.queries_us;
        self.waited_us += pool.waited_us;
    }

    /// Per second of the server's life; times per transaction, query and transaction.
    fn averages(self, seconds: u64) -> Self {
        let UpstreamTraffic { transactions, queries, received, sent, transactions_us, queries_us } = self.traffic;
        let seconds = seconds.max(1);
        Self {
            traffic: UpstreamTraffic {
                transactions: transactions / seconds,
                queries: queries / seconds,
                received: received / seconds,
                sent: sent / seconds,
                transactions_us: transactions_us / transactions.max(1),
                queries_us: queries_us / queries.max(1),
            },
            waited_us: self.waited_us / transactions.max(1),
        }
    }

    fn values(self) -> [Value; 7] {
        let UpstreamTraffic { transactions, queries, received, sent, transactions_us, queries_us } = self.traffic;
        [transactions, queries, received, sent, transactions_us, queries_us, self.waited_us].map(int)
    }
}

fn counts(segment: Segment) -> BTreeMap<String, Counts> {
    let mut all: BTreeMap<String, Counts> = BTreeMap::new();
    for (_, pool) in pools_of_sessions(segment) {
        all.entry(names(&pool).0.to_owned()).or_default().add(&pool);
    }
    all
}

fn uptime_seconds(segment: Segment) -> u64 {
    wall_us().saturating_sub(segment.pool().started_us()) / 1_000_000
}

fn per_database(segment: Segment, row: impl Fn(String, Counts, Counts) -> Row) -> Vec<Row> {
    let seconds = uptime_seconds(segment);
    counts(segment).into_iter().map(|(database, totals)| row(database, totals, totals.averages(seconds))).collect()
}

fn totals(segment: Segment) -> Vec<Row> {
    let mut sum = Counts::default();
    pools_of_sessions(segment).iter().for_each(|(_, pool)| sum.add(pool));
    let averages = sum.averages(uptime_seconds(segment));
    let columns = Table::Stats.columns().iter().skip(1).map(|(name, _)| text(*name));
    columns.zip(sum.values().into_iter().chain(averages.values())).map(|(name, value)| vec![name, value]).collect()
}

fn lists(segment: Segment, config: &Config) -> Vec<Row> {
    let pools = pools_of_sessions(segment);
    let sum = |of: fn(&UpstreamPoolFacts) -> u32| pools.iter().map(|(_, pool)| of(pool)).sum::<u32>();
    let census = segment.census();
    let waiting = sum(|pool| pool.waiting);
    let rows = [
        ("databases", int(config.relay.databases.len())),
        ("users", int(users(segment).len())),
        ("pools", int(pools.len())),
        ("free_clients", int(0)),
        ("used_clients", int(census.serving.saturating_sub(waiting))),
        ("login_clients", int(census.connecting)),
        ("free_servers", int(sum(|pool| pool.idle))),
        ("used_servers", int(sum(|pool| pool.lent))),
        ("dns_names", int(0)),
        ("dns_zones", int(0)),
        ("dns_queries", int(0)),
        ("dns_pending", int(0)),
    ];
    rows.into_iter().map(|(list, items)| vec![text(list), items]).collect()
}

fn users(segment: Segment) -> Vec<Row> {
    let mut users: Vec<String> = pools_of_sessions(segment).iter().map(|(_, pool)| names(pool).1.to_owned()).collect();
    users.sort_unstable();
    users.dedup();
    users.into_iter().map(|user| vec![text(user), Value::Null]).collect()
}

fn settings(config: &Config) -> Vec<Row> {
    let (relay, default) = (&config.relay, crate::config::Relay::default());
    let seconds = |span: &crate::config::Span| span.duration().as_secs().to_string();
    let of = |relay: &crate::config::Relay| {
        [
            ("default_pool_size", relay.default_pool_size.to_string()),
            ("ignore_startup_parameters", relay.ignore_startup_parameters.join(",")),
            ("max_db_connections", relay.max_db_connections.to_string()),
            ("max_prepared_statements", relay.max_prepared_statements.to_string()),
            ("max_user_connections", relay.max_user_connections.to_string()),
            ("pool_mode", mode_name(relay.pool_mode).to_owned()),
            ("query_wait_timeout", seconds(&relay.query_wait_timeout)),
            ("reserve_pool_size", relay.reserve_pool_size.to_string()),
            ("reserve_pool_timeout", seconds(&relay.reserve_pool_timeout)),
            ("server_check_delay", seconds(&relay.server_check_delay)),
            ("server_check_query", relay.server_check_query.clone()),
            ("server_connect_timeout", seconds(&relay.server_connect_timeout)),
            ("server_idle_timeout", seconds(&relay.server_idle_timeout)),
            ("server_lifetime", seconds(&relay.server_lifetime)),
            ("server_reset_query", relay.server_reset_query.clone()),
        ]
    };
    let row = |((key, value), (_, default))| vec![text(key), text(value), text(default), text("yes")];
    of(relay).into_iter().zip(of(&default)).map(row).collect()
}
