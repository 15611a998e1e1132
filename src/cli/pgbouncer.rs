//! `pgprefork init --from-pgbouncer`: PgBouncer's settings as this server's, and what is left out.
//!
//! Pure: text in, text out. Names and values are those of PgBouncer's config(5).

use std::fmt::Write as _;

/// What became of PgBouncer's settings.
#[derive(Debug, Default, PartialEq)]
pub struct Translation {
    /// `pgprefork.toml`.
    pub settings: toml::Table,
    /// `pg_hba.conf`, unless PgBouncer has a rule file of its own.
    pub rules: Option<String>,
    /// What is not taken over, a line each.
    pub left_out: Vec<String>,
}

/// Settings that are the same under another name: PgBouncer's, ours, and whether it is a number, a time in seconds or a text.
const SAME: &[(&str, &str, Form)] = &[
    ("listen_port", "listen.port", Form::Number),
    ("unix_socket_dir", "listen.socket_directories", Form::List),
    ("max_client_conn", "pool.max_sessions", Form::Number),
    ("default_pool_size", "relay.default_pool_size", Form::Number),
    ("query_wait_timeout", "relay.query_wait_timeout", Form::Seconds),
    ("server_connect_timeout", "relay.server_connect_timeout", Form::Seconds),
    ("server_login_retry", "relay.server_login_retry", Form::Seconds),
    ("server_lifetime", "relay.server_lifetime", Form::Seconds),
    ("server_idle_timeout", "relay.server_idle_timeout", Form::Seconds),
    ("server_check_query", "relay.server_check_query", Form::Text),
    ("server_check_delay", "relay.server_check_delay", Form::Seconds),
    ("max_db_connections", "relay.max_db_connections", Form::Number),
    ("max_user_connections", "relay.max_user_connections", Form::Number),
    ("reserve_pool_size", "relay.reserve_pool_size", Form::Number),
    ("reserve_pool_timeout", "relay.reserve_pool_timeout", Form::Seconds),
    ("server_reset_query", "relay.server_reset_query", Form::Text),
    ("max_prepared_statements", "relay.max_prepared_statements", Form::Number),
    ("ignore_startup_parameters", "relay.ignore_startup_parameters", Form::List),
    ("admin_users", "relay.admin_users", Form::List),
    ("stats_users", "relay.stats_users", Form::List),
    ("auth_file", "relay.auth_file", Form::Text),
    ("auth_user", "relay.auth_user", Form::Text),
    ("auth_query", "relay.auth_query", Form::Text),
    ("auth_dbname", "relay.auth_dbname", Form::Text),
    ("auth_hba_file", "auth.hba_file", Form::Text),
    ("auth_ident_file", "auth.ident_file", Form::Text),
    ("client_login_timeout", "auth.authentication_timeout", Form::Seconds),
    ("client_tls_key_file", "tls.key", Form::Text),
    ("client_tls_cert_file", "tls.cert", Form::Text),
    ("client_tls_ca_file", "tls.client_ca", Form::Text),
    ("logfile", "log.file", Form::Text),
];

/// What need not be told of: the service manager's business, or how it is here anyway.
const NEEDLESS: &[&str] = &["pidfile", "user", "so_reuseport", "tcp_keepalive", "tcp_defer_accept", "service_name"];

#[derive(Debug, Clone, Copy)]
enum Form {
    Number,
    Seconds,
    Text,
    List,
}

/// Translates the text of `pgbouncer.ini`. An error names the line.
pub fn translate(text: &str) -> Result<Translation, String> {
    let mut translation = Translation::default();
    translation.set("engine.kind", "relay".into());
    let (mut auth_type, mut tls_mode) = ("md5".to_owned(), "disable".to_owned());
    let mut has_rules = false;
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if line.starts_with("%include") {
            translation.left_out.push(format!("{line}: translate that file by itself"));
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim().to_lowercase();
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| format!("line {}: expected key = value", number + 1))?;
        let (key, value) = (key.trim(), value.trim());
        match section.as_str() {
            "databases" => translation.database(key.trim_matches('"'), value, number + 1)?,
            "pgbouncer" => {
                has_rules |= key == "auth_hba_file";
                match key {
                    "auth_type" => auth_type = value.to_lowercase(),
                    "client_tls_sslmode" => tls_mode = value.to_lowercase(),
                    _ => translation.setting(key, value, number + 1)?,
                }
            }
            other => translation.left_out.push(format!("[{other}] {line}")),
        }
    }
    if !has_rules {
        translation.rules(&auth_type, &tls_mode);
    }
    if translation.settings.get("relay").and_then(|relay| relay.get("databases")).is_none() {
        return Err("there is no database in [databases]".to_owned());
    }
    Ok(translation)
}

impl Translation {
    /// Sets `section.key`.
    fn set(&mut self, path: &str, value: toml::Value) {
        let mut table = &mut self.settings;
        let mut parts: Vec<&str> = path.split('.').collect();
        let Some(last) = parts.pop() else { return };
        for part in parts {
            let entry = table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let toml::Value::Table(inner) = entry else { return };
            table = inner;
        }
        table.insert(last.to_owned(), value);
    }

    fn setting(&mut self, key: &str, value: &str, line: usize) -> Result<(), String> {
        match key {
            "listen_addr" => {
                let addresses = value.split(',').map(str::trim).filter(|address| !address.is_empty());
                let addresses = addresses.flat_map(|address| match address {
                    "*" => vec!["0.0.0.0".into(), "::".into()],
                    "localhost" => vec!["127.0.0.1".into(), "::1".into()],
                    other => vec![toml::Value::from(other)],
                });
                let addresses = toml::Value::Array(addresses.collect());
                self.set("listen.addresses", addresses);
            }
            "pool_mode" if value == "statement" => {
                self.left_out.push("pool_mode = statement: \"transaction\" is used instead".to_owned());
                self.set("relay.pool_mode", "transaction".into());
            }
            "pool_mode" => self.set("relay.pool_mode", value.into()),
            _ if NEEDLESS.contains(&key) => {}
            _ => match SAME.iter().find(|(theirs, ..)| *theirs == key) {
                // An empty value is PgBouncer's way to say none.
                Some(_) if value.is_empty() => {}
                Some((_, ours, form)) => {
                    let value = form.value(value).ok_or_else(|| format!("line {line}: {key} is no number"))?;
                    self.set(ours, value);
                }
                None => self.left_out.push(format!("{key} = {value}")),
            },
        }
        Ok(())
    }

    /// `name = host=… port=… dbname=…`
    fn database(&mut self, name: &str, value: &str, line: usize) -> Result<(), String> {
        let mut target = toml::Table::new();
        for (key, value) in connection_words(value).ok_or_else(|| format!("line {line}: a quote is not closed"))? {
            let number = || value.parse::<i64>().map_err(|_| format!("line {line}: {key} is no number"));
            match key.as_str() {
                "host" if value.contains(',') => {
                    let hosts: Vec<_> = value.split(',').map(|host| toml::Value::from(host.trim())).collect();
                    target.insert("hosts".to_owned(), hosts.into());
                    // What PgBouncer does with a list that says nothing of it.
                    target.entry("load_balance_hosts").or_insert_with(|| "round-robin".into());
                }
                "load_balance_hosts" if matches!(value.as_str(), "disable" | "round-robin") => {
                    drop(target.insert(key, value.into()));
                }
                "host" | "dbname" | "user" | "password" | "auth_user" | "auth_query" | "auth_dbname" => {
                    drop(target.insert(key, value.into()))
                }
                "port" | "pool_size" => drop(target.insert(key.clone(), number()?.into())),
                "pool_mode" if value != "statement" => drop(target.insert(key, value.into())),
                _ => self.left_out.push(format!("database {name}: {key}={value}")),
            }
        }
        if !target.contains_key("host") && !target.contains_key("hosts") {
            // libpq's default, which PgBouncer takes.
            target.insert("host".to_owned(), "/var/run/postgresql".into());
        }
        self.set(&format!("relay.databases.{}", name.replace('.', "\u{1}")), toml::Value::Table(target));
        Ok(())
    }

    /// Rules that let in whom `auth_type` lets in.
    fn rules(&mut self, auth_type: &str, tls_mode: &str) {
        let method = match auth_type {
            "any" | "trust" => "trust",
            "md5" | "scram-sha-256" => auth_type,
            "plain" => "password",
            "cert" | "pam" => auth_type,
            other => {
                self.left_out.push(format!("auth_type = {other}: scram-sha-256 is used instead"));
                "scram-sha-256"
            }
        };
        let kind = if matches!(tls_mode, "require" | "verify-ca" | "verify-full") { "hostssl" } else { "host" };
        let option = if matches!(tls_mode, "verify-ca" | "verify-full") && method != "cert" {
            " clientcert=verify-ca"
        } else {
            ""
        };
        let local = if method == "cert" { "reject" } else { method };
        let mut rules = "# Made from PgBouncer's auth_type and client_tls_sslmode.\n".to_owned();
        let _ = writeln!(rules, "local all all {local}");
        for addresses in ["0.0.0.0/0", "::/0"] {
            let _ = writeln!(rules, "{kind} all all {addresses} {method}{option}");
        }
        self.rules = Some(rules);
    }

    /// The settings' text.
    pub fn toml(&self) -> String {
        let text = toml::to_string(&self.settings).unwrap_or_default();
        let text = text.replace("\\u0001", ".");
        format!("# Made from PgBouncer's settings.\n\n{text}")
    }
}

impl Form {
    fn value(self, text: &str) -> Option<toml::Value> {
        Some(match self {
            Self::Number => text.parse::<i64>().ok()?.into(),
            // PgBouncer's are seconds, with fractions.
            Self::Seconds => format!("{}ms", (text.parse::<f64>().ok()? * 1000.0).round() as i64).into(),
            Self::Text => text.into(),
            Self::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                toml::Value::Array(items.map(toml::Value::from).collect())
            }
        })
    }
}

/// The words of a connection string: `key=value`, where a value may be quoted. `None`: a quote is not closed.
fn connection_words(text: &str) -> Option<Vec<(String, String)>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            None => after.split_once(char::is_whitespace).map_or((after.to_owned(), ""), |(v, a)| (v.to_owned(), a)),
            Some(quoted) => {
                let mut value = String::new();
                let mut left = quoted;
                loop {
                    let (before, after) = left.split_once('\'')?;
                    value.push_str(before);
                    match after.strip_prefix('\'') {
                        // Two quotes stand for one.
                        Some(more) => {
                            value.push('\'');
                            left = more;
                        }
                        None => break (value, after),
                    }
                }
            }
        };
        words.push((key.trim().to_owned(), value));
        rest = after.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INI: &str = "\
;; a comment
[databases]
shop = host=10.0.0.1 port=5433 dbname=sales user='the shop' password='it''s' pool_size=5 pool_mode=session
* = host=10.0.0.2,10.0.0.3 connect_query='select 1'

[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
client_tls_sslmode = require
pool_mode = transaction
default_pool_size = 40
server_lifetime = 1200
query_wait_timeout = 0.5
admin_users = ann, bob
stats_users =
min_pool_size = 3
pidfile = /run/pgbouncer.pid
";

    #[test]
    fn settings_are_taken_over_and_the_rest_is_told() {
        let translation = translate(INI).unwrap();
        let text = translation.toml();
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["listen"]["port"].as_integer(), Some(6432));
        assert_eq!(read["listen"]["addresses"].as_array().unwrap().len(), 2);
        assert_eq!(read["relay"]["pool_mode"].as_str(), Some("transaction"));
        assert_eq!(read["relay"]["server_lifetime"].as_str(), Some("1200000ms"));
        assert_eq!(read["relay"]["query_wait_timeout"].as_str(), Some("500ms"));
        assert_eq!(read["relay"]["admin_users"].as_array().unwrap().len(), 2);
        let shop = &read["relay"]["databases"]["shop"];
        assert_eq!((shop["user"].as_str(), shop["password"].as_str()), (Some("the shop"), Some("it's")));
        assert_eq!(shop["pool_size"].as_integer(), Some(5));
        let others = &read["relay"]["databases"]["*"];
        assert_eq!(others["hosts"].as_array().unwrap().len(), 2);
        assert_eq!(others["load_balance_hosts"].as_str(), Some("round-robin"));
        let rules = translation.rules.unwrap();
        assert!(rules.contains("hostssl all all 0.0.0.0/0 scram-sha-256\n"), "{rules}");
        assert_eq!(translation.left_out, ["database *: connect_query=select 1", "min_pool_size = 3"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line() {
        assert_eq!(translate("[databases]\nx\n").unwrap_err(), "line 2: expected key = value");
        assert_eq!(translate("[databases]\nx = host='a\n").unwrap_err(), "line 2: a quote is not closed");
        assert_eq!(translate("[databases]\nx = port=y\n").unwrap_err(), "line 2: port is no number");
        assert_eq!(translate("[pgbouncer]\n").unwrap_err(), "there is no database in [databases]");
    }
}
