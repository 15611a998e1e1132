//! Which parameters exist: PostgreSQL 15's names, types, defaults and ranges.
//!
//! A parameter that this server has no use for is here when clients are known to set it, so that they are not
//! refused; its description then says that it has no effect.

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// on or off.
    Bool,
    /// A whole number, with a unit where it has one.
    Integer {
        /// What a bare number counts.
        unit: Unit,
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A number with a fraction.
    Real {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// Text.
    String,
    /// One of these; more spellings of a value stand behind it after a blank.
    Enum(&'static [&'static str]),
}

/// What a bare number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nothing in particular.
    None,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Kilobytes of 1024 bytes.
    Kilobytes,
    /// Pages of 8 KB.
    Blocks,
}

/// Who may change a parameter, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Nobody: it is shown.
    Internal,
    /// The configuration, at start.
    Postmaster,
    /// The configuration, on reload.
    Sighup,
    /// Superusers, in a session.
    Superuser,
    /// Everybody, in a session.
    User,
}

impl Context {
    /// The name in pg_settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Postmaster => "postmaster",
            Self::Sighup => "sighup",
            Self::Superuser => "superuser",
            Self::User => "user",
        }
    }
}

/// A parameter.
#[derive(Debug)]
pub struct Parameter {
    /// The name as SHOW ALL spells it.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its value in a fresh session that nobody configured, in canonical form.
    pub default: &'static str,
    /// Who may change it.
    pub context: Context,
    /// Clients are told of its value: ParameterStatus.
    pub reported: bool,
    /// One sentence.
    pub description: &'static str,
}

const fn parameter(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    context: Context,
    description: &'static str,
) -> Parameter {
    Parameter { name, kind, default, context, reported: false, description }
}

impl Parameter {
    const fn reported(mut self) -> Self {
        self.reported = true;
        self
    }
}

const fn integer(unit: Unit, min: i64, max: i64) -> Kind {
    Kind::Integer { unit, min, max }
}

const INT_MAX: i64 = i32::MAX as i64;
const TIMEOUT: Kind = integer(Unit::Milliseconds, 0, INT_MAX);
const COST: Kind = Kind::Real { min: 0.0, max: f64::MAX };
const MEMORY: Kind = integer(Unit::Kilobytes, 64, INT_MAX);
const PLANNER: &str = "Accepted for compatibility; the planner here has no such choice.";
const LEVELS: &[&str] = &[
    "debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "warning", "error", "info", "fatal",
    "panic",
];
const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];

use Context::{Internal, Postmaster, Sighup, Superuser, User};
use Kind::{Bool, Enum, String as Text};

/// All parameters, in order of their names without regard to case.
pub const PARAMETERS: &[Parameter] = &[
    parameter("application_name", Text, "", User, "Sets the application name to be reported in statistics and logs.")
        .reported(),
    parameter("array_nulls", Bool, "on", User, "Enables input of NULL elements in arrays."),
    parameter(
        "backslash_quote",
        Enum(&["safe_encoding", "on", "off"]),
        "safe_encoding",
        User,
        "Sets whether \"\\'\" is allowed in string literals.",
    ),
    parameter(
        "block_size",
        integer(Unit::None, 4096, 8192),
        "8192",
        Internal,
        "Shows the size of a disk block, as PostgreSQL's clients know it.",
    ),
    parameter("bytea_output", Enum(&["escape", "hex"]), "hex", User, "Sets the output format for bytea."),
    parameter(
        "check_function_bodies",
        Bool,
        "on",
        User,
        "Accepted for compatibility; there are no functions to check.",
    ),
    parameter("client_encoding", Text, "UTF8", User, "Sets the client's character set encoding.").reported(),
    parameter(
        "client_min_messages",
        Enum(LEVELS),
        "notice",
        User,
        "Sets the message levels that are sent to the client.",
    ),
    parameter("config_file", Text, "", Postmaster, "Shows the server's main configuration file."),
    parameter("constraint_exclusion", Enum(&["partition", "on", "off"]), "partition", User, PLANNER),
    parameter("cpu_index_tuple_cost", COST, "0.005", User, PLANNER),
    parameter("cpu_operator_cost", COST, "0.0025", User, PLANNER),
    parameter("cpu_tuple_cost", COST, "0.01", User, PLANNER),
    parameter("cursor_tuple_fraction", Kind::Real { min: 0.0, max: 1.0 }, "0.1", User, PLANNER),
    parameter("data_directory", Text, "", Postmaster, "Shows the server's data directory."),
    parameter("DateStyle", Text, "ISO, MDY", User, "Sets the display format for date and time values.").reported(),
    parameter(
        "deadlock_timeout",
        integer(Unit::Milliseconds, 1, INT_MAX),
        "1000",
        Superuser,
        "Accepted for compatibility; one writer at a time cannot deadlock.",
    ),
    parameter(
        "default_table_access_method",
        Text,
        "heap",
        User,
        "Accepted for compatibility; there is one access method.",
    ),
    parameter(
        "default_tablespace",
        Text,
        "",
        User,
        "Sets the default tablespace to create tables in; there is pg_default only.",
    ),
    parameter("default_text_search_config", Text, "pg_catalog.simple", User, "Accepted for compatibility."),
    parameter("default_toast_compression", Enum(&["pglz", "lz4"]), "pglz", User, "Accepted for compatibility."),
    parameter(
        "default_transaction_deferrable",
        Bool,
        "off",
        User,
        "Sets the default deferrable status of new transactions.",
    ),
    parameter(
        "default_transaction_isolation",
        Enum(ISOLATION),
        "read committed",
        User,
        "Sets the transaction isolation level of each new transaction.",
    ),
    parameter(
        "default_transaction_read_only",
        Bool,
        "off",
        User,
        "Sets the default read-only status of new transactions.",
    )
    .reported(),
    parameter("effective_cache_size", integer(Unit::Blocks, 1, INT_MAX), "524288", User, PLANNER),
    parameter("effective_io_concurrency", integer(Unit::None, 0, 1000), "1", User, PLANNER),
    parameter("enable_bitmapscan", Bool, "on", User, PLANNER),
    parameter("enable_hashagg", Bool, "on", User, PLANNER),
    parameter("enable_hashjoin", Bool, "on", User, PLANNER),
    parameter("enable_indexonlyscan", Bool, "on", User, PLANNER),
    parameter("enable_indexscan", Bool, "on", User, PLANNER),
    parameter("enable_material", Bool, "on", User, PLANNER),
    parameter("enable_mergejoin", Bool, "on", User, PLANNER),
    parameter("enable_nestloop", Bool, "on", User, PLANNER),
    parameter("enable_seqscan", Bool, "on", User, PLANNER),
    parameter("enable_sort", Bool, "on", User, PLANNER),
    parameter("enable_tidscan", Bool, "on", User, PLANNER),
    parameter("escape_string_warning", Bool, "on", User, "Accepted for compatibility."),
    parameter("exit_on_error", Bool, "off", User, "Terminate session on any error; off only."),
    parameter(
        "extra_float_digits",
        integer(Unit::None, -15, 3),
        "1",
        User,
        "Sets the number of digits displayed for floating-point values.",
    ),
    parameter("force_parallel_mode", Enum(&["off", "on", "regress"]), "off", User, PLANNER),
    parameter("from_collapse_limit", integer(Unit::None, 1, INT_MAX), "8", User, PLANNER),
    parameter("fsync", Bool, "on", Postmaster, "Forces synchronization of updates to disk; always on."),
    parameter("full_page_writes", Bool, "on", Postmaster, "Writes full pages to the write-ahead log; always on."),
    parameter("geqo", Bool, "on", User, PLANNER),
    parameter("geqo_threshold", integer(Unit::None, 2, INT_MAX), "12", User, PLANNER),
    parameter("gin_fuzzy_search_limit", integer(Unit::None, 0, INT_MAX), "0", User, "Accepted for compatibility."),
    parameter("hba_file", Text, "", Postmaster, "Shows the server's \"hba\" configuration file."),
    parameter(
        "idle_in_transaction_session_timeout",
        TIMEOUT,
        "0",
        User,
        "Sets the maximum allowed idle time between queries, when in a transaction.",
    ),
    parameter(
        "idle_session_timeout",
        TIMEOUT,
        "0",
        User,
        "Sets the maximum allowed idle time between queries, when not in a transaction.",
    ),
    parameter("in_hot_standby", Bool, "off", Internal, "Shows whether hot standby is currently active.").reported(),
    parameter("integer_datetimes", Bool, "on", Internal, "Shows whether datetimes are integer based.").reported(),
    parameter(
        "IntervalStyle",
        Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "postgres",
        User,
        "Sets the display format for interval values.",
    )
    .reported(),
    parameter("is_superuser", Bool, "off", Internal, "Shows whether the current user is a superuser.").reported(),
    parameter("jit", Bool, "off", User, PLANNER),
    parameter("join_collapse_limit", integer(Unit::None, 1, INT_MAX), "8", User, PLANNER),
    parameter("lc_collate", Text, "C", Internal, "Shows the collation order locale."),
    parameter("lc_ctype", Text, "C.UTF-8", Internal, "Shows the character classification and case conversion locale."),
    parameter("lc_messages", Text, "C", Superuser, "Sets the language in which messages are displayed; there is one."),
    parameter("lc_monetary", Text, "C", User, "Sets the locale for formatting monetary amounts; there is one."),
    parameter("lc_numeric", Text, "C", User, "Sets the locale for formatting numbers; there is one."),
    parameter("lc_time", Text, "C", User, "Sets the locale for formatting date and time values; there is one."),
    parameter("listen_addresses", Text, "localhost", Postmaster, "Shows the addresses that the server listens on."),
    parameter("lock_timeout", TIMEOUT, "0", User, "Sets the maximum allowed duration of any wait for a lock."),
    parameter(
        "log_min_messages",
        Enum(LEVELS),
        "warning",
        Superuser,
        "Accepted for compatibility; log.level in pgprefork.toml decides.",
    ),
    parameter("log_statement", Enum(&["none", "ddl", "mod", "all"]), "none", Superuser, "Accepted for compatibility."),
    parameter(
        "maintenance_work_mem",
        integer(Unit::Kilobytes, 1024, INT_MAX),
        "65536",
        User,
        "Accepted for compatibility.",
    ),
    parameter(
        "max_connections",
        integer(Unit::None, 1, 262_143),
        "100",
        Postmaster,
        "Shows the maximum number of concurrent connections.",
    ),
    parameter(
        "max_identifier_length",
        integer(Unit::None, 63, 63),
        "63",
        Internal,
        "Shows the maximum identifier length.",
    ),
    parameter("max_parallel_workers_per_gather", integer(Unit::None, 0, 1024), "0", User, PLANNER),
    parameter(
        "password_encryption",
        Enum(&["md5", "scram-sha-256"]),
        "scram-sha-256",
        User,
        "Chooses the algorithm for encrypting passwords; scram-sha-256 only.",
    ),
    parameter("plan_cache_mode", Enum(&["auto", "force_generic_plan", "force_custom_plan"]), "auto", User, PLANNER),
    parameter("port", integer(Unit::None, 1, 65_535), "5432", Postmaster, "Shows the TCP port the server listens on."),
    parameter("quote_all_identifiers", Bool, "off", User, "When generating SQL fragments, quote all identifiers."),
    parameter("random_page_cost", COST, "4", User, PLANNER),
    parameter("role", Text, "none", User, "Sets the current role."),
    parameter("row_security", Bool, "on", User, "Enable row security; there are no policies."),
    parameter(
        "scram_iterations",
        integer(Unit::None, 1, INT_MAX),
        "4096",
        User,
        "Sets the iteration count for SCRAM secret generation.",
    )
    .reported(),
    parameter(
        "search_path",
        Text,
        "\"$user\", public",
        User,
        "Sets the schema search order for names that are not schema-qualified.",
    ),
    parameter("seq_page_cost", COST, "1", User, PLANNER),
    parameter("server_encoding", Text, "UTF8", Internal, "Shows the server (database) character set encoding.")
        .reported(),
    parameter(
        "server_version",
        Text,
        concat!("15.13 (pgprefork ", env!("CARGO_PKG_VERSION"), ")"),
        Internal,
        "Shows the server version.",
    )
    .reported(),
    parameter(
        "server_version_num",
        integer(Unit::None, 150_013, 150_013),
        "150013",
        Internal,
        "Shows the server version as an integer.",
    ),
    parameter("session_authorization", Text, "", User, "Shows the session user name.").reported(),
    parameter(
        "session_replication_role",
        Enum(&["origin", "replica", "local"]),
        "origin",
        Superuser,
        "Accepted for compatibility; origin only.",
    ),
    parameter(
        "shared_buffers",
        integer(Unit::Blocks, 16, INT_MAX),
        "1024",
        Postmaster,
        "Shows the page cache of one session.",
    ),
    parameter("ssl", Bool, "off", Sighup, "Shows whether SSL connections are enabled."),
    parameter("ssl_ca_file", Text, "", Sighup, "Shows the location of the SSL certificate authority file."),
    parameter("ssl_cert_file", Text, "", Sighup, "Shows the location of the SSL server certificate file."),
    parameter(
        "ssl_ciphers",
        Text,
        "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
         ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305",
        Internal,
        "Shows the ciphers of TLS 1.2.",
    ),
    parameter("ssl_crl_dir", Text, "", Internal, "There are no certificate revocation lists."),
    parameter("ssl_crl_file", Text, "", Internal, "There are no certificate revocation lists."),
    parameter("ssl_dh_params_file", Text, "", Internal, "There is no key exchange that uses them."),
    parameter("ssl_ecdh_curve", Text, "X25519:prime256v1:secp384r1", Internal, "Shows the curves of the key exchange."),
    parameter("ssl_key_file", Text, "", Sighup, "Shows the location of the SSL server private key file."),
    parameter("ssl_library", Text, "rustls", Internal, "Shows the name of the SSL library."),
    parameter(
        "ssl_max_protocol_version",
        Enum(&["", "TLSv1.2", "TLSv1.3"]),
        "",
        Internal,
        "Shows the maximum SSL/TLS protocol version.",
    ),
    parameter(
        "ssl_min_protocol_version",
        Enum(&["TLSv1.2", "TLSv1.3"]),
        "TLSv1.2",
        Sighup,
        "Shows the minimum SSL/TLS protocol version.",
    ),
    parameter("ssl_passphrase_command", Text, "", Internal, "Encrypted keys are not supported."),
    parameter("ssl_passphrase_command_supports_reload", Bool, "off", Internal, "Encrypted keys are not supported."),
    parameter("ssl_prefer_server_ciphers", Bool, "on", Internal, "Shows that the server's order of ciphers decides."),
    parameter(
        "standard_conforming_strings",
        Bool,
        "on",
        User,
        "Causes '...' strings to treat backslashes literally; always on.",
    )
    .reported(),
    parameter("statement_timeout", TIMEOUT, "0", User, "Sets the maximum allowed duration of any statement."),
    parameter("synchronize_seqscans", Bool, "on", User, "Accepted for compatibility."),
    parameter(
        "synchronous_commit",
        Enum(&["local", "remote_write", "remote_apply", "on", "off"]),
        "on",
        User,
        "Sets whether a commit is waited for until it is durable.",
    ),
    parameter(
        "tcp_keepalives_count",
        integer(Unit::None, 0, INT_MAX),
        "0",
        User,
        "Accepted for compatibility; the system's values are used.",
    ),
    parameter(
        "tcp_keepalives_idle",
        integer(Unit::Seconds, 0, INT_MAX),
        "0",
        User,
        "Accepted for compatibility; the system's values are used.",
    ),
    parameter(
        "tcp_keepalives_interval",
        integer(Unit::Seconds, 0, INT_MAX),
        "0",
        User,
        "Accepted for compatibility; the system's values are used.",
    ),
    parameter(
        "tcp_user_timeout",
        integer(Unit::Milliseconds, 0, INT_MAX),
        "0",
        User,
        "Accepted for compatibility; the system's values are used.",
    ),
    parameter("temp_buffers", integer(Unit::Blocks, 100, INT_MAX), "1024", User, "Accepted for compatibility."),
    parameter(
        "temp_tablespaces",
        Text,
        "",
        User,
        "Sets the tablespaces for temporary tables; there is pg_default only.",
    ),
    parameter("TimeZone", Text, "UTC", User, "Sets the time zone for displaying and interpreting time stamps.")
        .reported(),
    parameter("track_activities", Bool, "on", Superuser, "Collects information about executing commands; always on."),
    parameter("track_io_timing", Bool, "off", Superuser, "Accepted for compatibility."),
    parameter("transaction_deferrable", Bool, "off", User, "Shows whether the current transaction is deferrable."),
    parameter(
        "transaction_isolation",
        Enum(ISOLATION),
        "read committed",
        User,
        "Shows the current transaction's isolation level.",
    ),
    parameter("transaction_read_only", Bool, "off", User, "Shows the current transaction's read-only status."),
    parameter("unix_socket_directories", Text, "", Postmaster, "Shows the directories where Unix-domain sockets are."),
    parameter("vacuum_cost_delay", Kind::Real { min: 0.0, max: 100.0 }, "0", User, "Accepted for compatibility."),
    parameter(
        "wal_level",
        Enum(&["minimal", "replica", "logical"]),
        "minimal",
        Postmaster,
        "Shows the level of information written to the WAL.",
    ),
    parameter("work_mem", MEMORY, "4096", User, "Accepted for compatibility."),
    parameter(
        "xmlbinary",
        Enum(&["base64", "hex"]),
        "base64",
        User,
        "Accepted for compatibility; there is no type xml.",
    ),
    parameter(
        "xmloption",
        Enum(&["content", "document"]),
        "content",
        User,
        "Accepted for compatibility; there is no type xml.",
    ),
];

/// The parameter's place in [`PARAMETERS`], by its name in any case.
pub fn find(name: &str) -> Option<usize> {
    let key = name.as_bytes().iter().map(u8::to_ascii_lowercase);
    PARAMETERS.binary_search_by(|known| known.name.bytes().map(|b| b.to_ascii_lowercase()).cmp(key.clone())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_found_in_any_case() {
        for pair in PARAMETERS.windows(2) {
            assert!(pair[0].name.to_ascii_lowercase() < pair[1].name.to_ascii_lowercase(), "{}", pair[1].name);
        }
        for (index, known) in PARAMETERS.iter().enumerate() {
            assert_eq!(find(known.name), Some(index));
            assert_eq!(find(&known.name.to_uppercase()), Some(index));
        }
        assert_eq!(find("no_such_parameter"), None);
    }
}
