//! PostgreSQL's run-time parameters: which exist, what they may hold, what this session has them at.
//!
//! A leaf: knows no engine and no session. SET, SET LOCAL and RESET follow transactions and savepoints because
//! the session tells it of them; `ParameterStatus` follows from [`Settings::take_reports`]. Values are kept only
//! where they differ from the registry's, so a fresh session's settings cost next to nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Condition, Error};

mod list;
mod registry;
mod resolved;
mod stored;
mod text;
mod value;
mod zone;

use registry::{Context, Kind, PARAMETERS, Parameter};
use resolved::Resolved;

pub use stored::Stored;
pub use text::{ByteaOutput, DateOrder, DateStyle, IntervalStyle, TextContext};
pub use zone::{NAMELESS, named_zone, offset_name, time_zone};

/// The settings of one session, shared inside its process between session, engine and SQL functions.
pub type Shared = Arc<parking_lot::Mutex<Settings>>;

/// Who changes a setting; decides which may be changed, and what RESET goes back to.
///
/// In order: what comes first gives way to what comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The server's configuration.
    Config,
    /// ALTER ROLE ALL … SET.
    Global,
    /// ALTER DATABASE … SET.
    Database,
    /// ALTER ROLE … SET.
    User,
    /// ALTER ROLE … IN DATABASE … SET.
    DatabaseUser,
    /// The start-up packet, its `options` included.
    Startup,
    /// The server itself: also what is read-only to everyone else.
    Internal,
    /// SET, RESET and set_config().
    Session,
}

impl Source {
    /// The name in pg_settings.
    fn name(self) -> &'static str {
        match self {
            Self::Config => "configuration file",
            Self::Global => "global",
            Self::Database => "database",
            Self::User => "user",
            Self::DatabaseUser => "database user",
            Self::Startup => "client",
            Self::Internal => "override",
            Self::Session => "session",
        }
    }
}

/// Canonical values by canonical name; a parameter of two parts (`app.user`) by its name in lower case.
type Values = BTreeMap<Cow<'static, str>, String>;

/// What RESET goes back to, and who has said so.
#[derive(Debug, Clone)]
struct Reset {
    value: String,
    source: Source,
}

/// The settings that say who the session is, which change together.
const IDENTITY: [&str; 3] = ["session_authorization", "role", "is_superuser"];

/// The values as they were when a transaction or a savepoint began.
#[derive(Debug, Clone)]
struct Level {
    kept: Arc<Values>,
    current: Arc<Values>,
}

/// The values that a session's parameters have now.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What RESET goes back to, where that is not the registry's default.
    defaults: BTreeMap<Cow<'static, str>, Reset>,
    /// What SET said: stays after COMMIT.
    kept: Arc<Values>,
    /// What holds now: what SET LOCAL said above what SET said.
    current: Arc<Values>,
    /// The open transaction, then its savepoints.
    levels: Vec<Level>,
    generation: u64,
    /// What clients were last told; `None` before the first time.
    reported: Option<Vec<(&'static str, String)>>,
    /// A value has changed since then.
    moved: bool,
    resolved: Resolved,
}

/// A parameter as SHOW ALL and pg_settings show it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// As SHOW prints it.
    pub shown: String,
    /// In the parameter's own unit.
    pub setting: String,
    /// That unit.
    pub unit: Option<&'static str>,
    /// One sentence.
    pub description: &'static str,
    /// Who may change it.
    pub context: &'static str,
    /// bool, integer, real, string, enum.
    pub vartype: &'static str,
    /// As PostgreSQL names it: default, configuration file, user, session …
    pub source: &'static str,
    /// Least and greatest value, of numbers.
    pub range: Option<(String, String)>,
    /// What an enum may hold.
    pub values: Option<&'static [&'static str]>,
    /// The value in a server that nobody configured.
    pub boot_value: String,
    /// The value after RESET.
    pub reset_value: String,
}

impl Settings {
    /// Everything at PostgreSQL's defaults.
    pub fn new() -> Self {
        let mut settings = Self {
            defaults: BTreeMap::new(),
            kept: Arc::default(),
            current: Arc::default(),
            levels: Vec::new(),
            generation: 1,
            reported: None,
            moved: true,
            resolved: Resolved::default(),
        };
        settings.resolved = Resolved::of(&settings);
        settings
    }

    /// Changes a parameter from outside SQL: server, configuration, what is stored for role and database, or start-up
    /// packet. Not undone by anything; RESET goes back to it. A value that gives way to one that is there is only checked.
    pub fn set_default(&mut self, name: &str, value: &str, source: Source) -> Result<(), Error> {
        let (name, value) = match parameter(name)? {
            Known::Listed(parameter) => {
                self.check_change(parameter, source)?;
                (
                    Cow::Borrowed(parameter.name),
                    value::canonical(parameter, value, self.value_of(parameter), parameter.default)?,
                )
            }
            Known::Custom(name) => (Cow::Owned(name), value.to_owned()),
        };
        if source != Source::Internal {
            self.check_value(&name, &value)?;
        }
        self.put_default(name, value, source);
        Ok(())
    }

    fn put_default(&mut self, name: Cow<'static, str>, value: String, source: Source) {
        if self.defaults.get(&name).is_none_or(|present| present.source <= source) {
            self.defaults.insert(name, Reset { value, source });
            self.changed();
        }
    }

    /// The role that the session begins as, and whether it is a superuser, once it is known that it may.
    pub fn set_default_role(&mut self, role: &str, superuser: bool, source: Source) {
        if self.defaults.get("role").is_some_and(|present| present.source > source) {
            return;
        }
        self.put_default(Cow::Borrowed("role"), role.to_owned(), source);
        let superuser = if superuser { "on" } else { "off" };
        self.put_default(Cow::Borrowed("is_superuser"), superuser.to_owned(), Source::Internal);
    }

    /// The role that RESET ROLE goes back to, where that is another than the session user.
    pub fn default_role(&self) -> Option<&str> {
        self.defaults.get("role").map(|reset| reset.value.as_str()).filter(|role| *role != "none")
    }

    /// SET and SET LOCAL (`values` as the planner gives them: `None` for TO DEFAULT).
    pub fn set(&mut self, name: &str, values: Option<&[String]>, local: bool) -> Result<(), Error> {
        let known = parameter(name)?;
        let value = match (&known, values) {
            (_, None) => None,
            (Known::Listed(parameter), Some(values)) => Some(list::joined(parameter, values)?),
            (Known::Custom(_), Some(values)) => Some(values.join(", ")),
        };
        self.change(known, value, local)
    }

    /// set_config(): the value as one text. Returns the value as shown.
    pub fn set_text(&mut self, name: &str, value: &str, local: bool) -> Result<String, Error> {
        self.change(parameter(name)?, Some(value.to_owned()), local)?;
        self.show(name)
    }

    fn change(&mut self, known: Known, value: Option<String>, local: bool) -> Result<(), Error> {
        let (name, value) = match known {
            Known::Listed(parameter) => {
                self.check_change(parameter, Source::Session)?;
                let present = self.value_of(parameter);
                let reset = self.defaults.get(parameter.name).map_or(parameter.default, |reset| reset.value.as_str());
                let value = value.map(|value| value::canonical(parameter, &value, present, reset)).transpose()?;
                (Cow::Borrowed(parameter.name), value)
            }
            Known::Custom(name) => (Cow::Owned(name), value),
        };
        if let Some(value) = &value {
            self.check_value(&name, value)?;
        }
        // Outside of a transaction a local change would end with its own statement.
        if local && self.levels.is_empty() {
            return Ok(());
        }
        let put = |values: &mut Arc<Values>, value: Option<String>| {
            let values = Arc::make_mut(values);
            match value {
                Some(value) => values.insert(name.clone(), value),
                None => values.remove(&name),
            };
        };
        if !local {
            put(&mut self.kept, value.clone());
        }
        put(&mut self.current, value);
        self.changed();
        Ok(())
    }

    /// RESET name.
    pub fn reset(&mut self, name: &str) -> Result<(), Error> {
        self.set(name, None, false)
    }

    /// RESET ALL. Who the session is stays.
    pub fn reset_all(&mut self) {
        for values in [&mut self.kept, &mut self.current] {
            let mut left = Values::default();
            for name in IDENTITY {
                if let Some(value) = values.get(name) {
                    left.insert(Cow::Borrowed(name), value.clone());
                }
            }
            *values = Arc::new(left);
        }
        self.changed();
    }

    /// SET ROLE and SET SESSION AUTHORIZATION, once it is known that the session may do so: both names, `None` for the
    /// default, and whether the role that it is then is a superuser.
    pub fn become_role(&mut self, session: Option<&str>, role: Option<&str>, superuser: bool, local: bool) {
        if local && self.levels.is_empty() {
            return;
        }
        let superuser = if superuser { "on" } else { "off" };
        let values = [session, role, Some(superuser)];
        for (name, value) in IDENTITY.into_iter().zip(values) {
            let kept = (!local).then_some(&mut self.kept);
            for values in kept.into_iter().chain([&mut self.current]) {
                let values = Arc::make_mut(values);
                match value {
                    Some(value) => values.insert(Cow::Borrowed(name), value.to_owned()),
                    None => values.remove(name),
                };
            }
        }
        self.changed();
    }

    /// Whether nobody else was ever set.
    pub fn is_oneself(&self) -> bool {
        IDENTITY.iter().all(|name| !self.current.contains_key(*name) && !self.kept.contains_key(*name))
    }

    /// session_user and the role that was set, if one was.
    pub fn identity(&self) -> (&str, Option<&str>) {
        (self.value("session_authorization"), Some(self.value("role")).filter(|role| *role != "none"))
    }

    /// SHOW: the value as shown. 42704 for a name that does not exist.
    pub fn show(&self, name: &str) -> Result<String, Error> {
        match parameter(name)? {
            Known::Listed(parameter) => Ok(value::shown(parameter, self.value_of(parameter))),
            Known::Custom(custom) => match self.lookup(&custom) {
                Some(value) => Ok(value.to_owned()),
                None => Err(unrecognized(name)),
            },
        }
    }

    /// The parameter's name as SHOW heads its column; `None` if there is none of that name.
    pub fn canonical_name(&self, name: &str) -> Option<String> {
        match parameter(name).ok()? {
            Known::Listed(parameter) => Some(parameter.name.to_owned()),
            Known::Custom(custom) => self.lookup(&custom).map(|_| custom),
        }
    }

    /// Every parameter, in order of names.
    pub fn all(&self) -> Vec<Row> {
        PARAMETERS.iter().map(|parameter| self.row(parameter)).collect()
    }

    fn row(&self, parameter: &Parameter) -> Row {
        let setting = self.value_of(parameter);
        let reset = self.defaults.get(parameter.name);
        let (vartype, range, values) = match parameter.kind {
            Kind::Bool => ("bool", None, None),
            Kind::Integer { min, max, .. } => ("integer", Some((min.to_string(), max.to_string())), None),
            Kind::Real { min, max } => ("real", Some((min.to_string(), max.to_string())), None),
            Kind::String => ("string", None, None),
            Kind::Enum(values) => ("enum", None, Some(values)),
        };
        let source = match (self.current.contains_key(parameter.name), reset) {
            (true, _) => Source::Session.name(),
            (false, Some(reset)) => reset.source.name(),
            (false, None) => "default",
        };
        Row {
            name: parameter.name.to_owned(),
            shown: value::shown(parameter, setting),
            setting: setting.to_owned(),
            unit: value::unit_name(parameter),
            description: parameter.description,
            context: parameter.context.name(),
            vartype,
            source,
            range,
            values,
            boot_value: parameter.default.to_owned(),
            reset_value: reset.map_or(parameter.default, |reset| reset.value.as_str()).to_owned(),
        }
    }

    /// A transaction starts (implicit ones too). Changes made before, outside of any, are kept.
    pub fn begin(&mut self) {
        self.levels.clear();
        self.savepoint();
    }

    /// It commits: what was SET stays, what was SET LOCAL goes.
    pub fn commit(&mut self) {
        self.levels.clear();
        if !Arc::ptr_eq(&self.current, &self.kept) {
            let moved = self.current != self.kept;
            self.current = Arc::clone(&self.kept);
            if moved {
                self.changed();
            }
        }
    }

    /// It rolls back: everything goes back to where it was at its start.
    pub fn rollback(&mut self) {
        if !self.levels.is_empty() {
            self.levels.truncate(1);
            self.rollback_to();
            self.levels.clear();
        }
    }

    /// A savepoint starts: one level deeper.
    pub fn savepoint(&mut self) {
        self.levels.push(Level { kept: Arc::clone(&self.kept), current: Arc::clone(&self.current) });
    }

    /// The innermost savepoint is released: its changes belong to the level above.
    pub fn release(&mut self) {
        if self.levels.len() > 1 {
            self.levels.pop();
        }
    }

    /// Back to the innermost savepoint, which stays.
    pub fn rollback_to(&mut self) {
        let Some(level) = self.levels.last() else { return };
        if !Arc::ptr_eq(&self.current, &level.current) || !Arc::ptr_eq(&self.kept, &level.kept) {
            self.kept = Arc::clone(&level.kept);
            self.current = Arc::clone(&level.current);
            self.changed();
        }
    }

    /// Parameters that clients are told of whose value differs from what was last reported: name and value.
    /// The first call returns them all.
    pub fn take_reports(&mut self) -> Vec<(&'static str, String)> {
        if !std::mem::take(&mut self.moved) {
            return Vec::new();
        }
        let now: Vec<(&'static str, String)> = PARAMETERS
            .iter()
            .filter(|parameter| parameter.reported)
            .map(|parameter| (parameter.name, value::shown(parameter, self.value_of(parameter))))
            .collect();
        let news = match &self.reported {
            None => now.clone(),
            Some(before) => {
                now.iter().zip(before).filter(|(now, before)| now != before).map(|(now, _)| now.clone()).collect()
            }
        };
        self.reported = Some(now);
        news
    }

    /// Rises with every change of any value.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What text input and output depend on, `now_us` left open.
    pub fn text_context(&self) -> TextContext {
        self.resolved.text_context.clone()
    }

    /// search_path as it was set, `$user` unresolved.
    pub fn search_path(&self) -> Vec<String> {
        // A value that is no list was refused when it was set.
        list::split_names(self.value("search_path")).unwrap_or_default()
    }

    /// `None` when it is off.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.timeout("statement_timeout")
    }

    /// `None` when it is off.
    pub fn lock_timeout(&self) -> Option<Duration> {
        self.resolved.lock_timeout
    }

    /// idle_in_transaction_session_timeout; `None` when it is off.
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.timeout("idle_in_transaction_session_timeout")
    }

    /// idle_session_timeout; `None` when it is off.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.timeout("idle_session_timeout")
    }

    /// Whether commits are waited for until they are durable.
    pub fn synchronous_commit(&self) -> bool {
        self.resolved.synchronous_commit
    }

    /// The level of transactions that state none.
    pub fn default_transaction_isolation(&self) -> &str {
        self.value("default_transaction_isolation")
    }

    /// The mode of transactions that state none.
    pub fn default_transaction_read_only(&self) -> bool {
        self.value("default_transaction_read_only") == "on"
    }

    /// The least severe messages that the client wants.
    pub fn client_min_messages(&self) -> &str {
        self.value("client_min_messages")
    }

    /// What the client calls itself.
    pub fn application_name(&self) -> &str {
        self.value("application_name")
    }

    fn timeout(&self, name: &str) -> Option<Duration> {
        let milliseconds: u64 = self.value(name).parse().ok()?;
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// The canonical value of a parameter of the registry; empty for a name that is not there.
    fn value(&self, name: &str) -> &str {
        registry::find(name).map_or("", |index| self.value_of(value::at(index)))
    }

    fn value_of(&self, parameter: &Parameter) -> &str {
        self.lookup(parameter.name).unwrap_or(parameter.default)
    }

    fn lookup(&self, name: &str) -> Option<&str> {
        let set = self.current.get(name).map(String::as_str);
        set.or_else(|| self.defaults.get(name).map(|reset| reset.value.as_str()))
    }

    fn changed(&mut self) {
        self.generation += 1;
        self.moved = true;
        self.resolved = Resolved::of(self);
    }

    fn check_change(&self, parameter: &Parameter, source: Source) -> Result<(), Error> {
        let name = parameter.name;
        if matches!(source, Source::Internal) {
            return Ok(());
        }
        let cannot = |rest: &str| {
            let message = format!("parameter \"{name}\" cannot be changed{rest}");
            Error::new(Condition::CantChangeRuntimeParam, message)
        };
        match (parameter.context, source) {
            (Context::Internal, _) => Err(cannot("")),
            (_, Source::Config) => Ok(()),
            // Whoever stored it had the right to.
            (Context::Superuser, Source::Global | Source::Database | Source::User | Source::DatabaseUser) => Ok(()),
            (Context::Postmaster, _) => Err(cannot(" without restarting the server")),
            (Context::Sighup, _) => Err(cannot(" now")),
            (Context::Superuser, _) if self.value("is_superuser") != "on" => {
                let message = format!("permission denied to set parameter \"{name}\"");
                Err(Error::new(Condition::InsufficientPrivilege, message))
            }
            _ => Ok(()),
        }
    }

    /// Refuses values that would be accepted without being followed.
    fn check_value(&self, name: &str, value: &str) -> Result<(), Error> {
        let only = match name {
            "standard_conforming_strings" => "on",
            "session_replication_role" => "origin",
            "exit_on_error" => "off",
            "password_encryption" => "scram-sha-256",
            "search_path" => return list::split_names(value).map(|_| ()).ok_or_else(|| list::invalid(name, value)),
            "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => {
                return Err(Error::unsupported(format!("SET {name}")).hint("Use SET TRANSACTION."));
            }
            // Who may be whom is not known here: see `become_role`.
            "role" if value != "none" && value != self.value("session_authorization") => {
                return Err(Error::unsupported("the setting \"role\" in this place").hint("Use SET ROLE."));
            }
            "session_authorization" if value != self.value("session_authorization") => {
                return Err(Error::unsupported("the setting \"session_authorization\" in this place")
                    .hint("Use SET SESSION AUTHORIZATION."));
            }
            _ => return Ok(()),
        };
        if value == only {
            return Ok(());
        }
        Err(Error::unsupported(format!("{name} = {value}")).hint(format!("It can only be {only}.")))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// A parameter that a name stands for.
enum Known {
    Listed(&'static Parameter),
    /// One of an application's own, in lower case.
    Custom(String),
}

fn parameter(name: &str) -> Result<Known, Error> {
    if let Some(index) = registry::find(name) {
        return Ok(Known::Listed(value::at(index)));
    }
    if !name.contains('.') {
        return Err(unrecognized(name));
    }
    let first = |c: char| c.is_alphabetic() || c == '_';
    let word = |part: &str| part.starts_with(first) && part.chars().all(|c| first(c) || c.is_ascii_digit() || c == '$');
    if name.split('.').all(word) {
        return Ok(Known::Custom(name.to_ascii_lowercase()));
    }
    Err(Error::new(Condition::InvalidName, format!("invalid configuration parameter name \"{name}\""))
        .detail("Custom parameter names must be two or more simple identifiers separated by dots."))
}

fn unrecognized(name: &str) -> Error {
    Error::new(Condition::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

#[cfg(test)]
mod tests;
