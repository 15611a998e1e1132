//! Databases: the grammar of their statements.

use sqlparser::tokenizer::Token;

use super::alter::role_name;
use super::cursor::Cursor;
use super::{DatabaseChange, DatabaseOptions, Definition};
use crate::error::{Condition, Error};

/// An option's value.
enum Given {
    Default,
    Integer(i32),
    Text(String),
}

/// An option as it is written.
struct Written {
    name: String,
    value: Given,
    position: usize,
}

/// After `CREATE DATABASE`.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let name = cursor.identifier()?;
    cursor.word("with");
    let mut options = DatabaseOptions::default();
    let (mut has_icu_locale, mut is_icu) = (false, false);
    for written in written(cursor)? {
        let what = written.name.as_str();
        match what {
            "owner" => options.owner = written.text(),
            "template" => options.template = written.text(),
            "allow_connections" | "connection_limit" | "is_template" => written.set(&mut options)?,
            "encoding" => check_encoding(&written)?,
            "locale" | "lc_collate" | "lc_ctype" => {
                let known = ["c", "posix", "c.utf-8", "c.utf8"];
                written.check(&known, |value| Error::unsupported(format!("{what} \"{value}\" of a database")))?;
            }
            "tablespace" => written.check(&["pg_default"], |value| {
                Error::new(Condition::UndefinedObject, format!("tablespace \"{value}\" does not exist"))
            })?,
            // However it is made, a new database has the same contents.
            "strategy" => written.check(&["wal_log", "file_copy"], |value| {
                let message = format!("invalid create database strategy \"{value}\"");
                Error::new(Condition::InvalidParameterValue, message)
                    .hint("Valid strategies are \"wal_log\" and \"file_copy\".")
            })?,
            "locale_provider" => match written.text().map(|provider| provider.to_lowercase()).as_deref() {
                None | Some("libc") => {}
                Some("icu") => is_icu = true,
                Some(other) => {
                    let message = format!("unrecognized locale provider: {other}");
                    return Err(Error::new(Condition::InvalidObjectDefinition, message));
                }
            },
            "icu_locale" => has_icu_locale = true,
            "oid" => return Err(refuse_oid(&written)),
            "collation_version" | "location" => {
                let what = format!("option \"{what}\" of CREATE DATABASE");
                return Err(Error::unsupported(what).position(written.position));
            }
            _ => return Err(written.unknown()),
        }
    }
    if is_icu {
        return Err(Error::unsupported("locale provider \"icu\" of a database"));
    }
    if has_icu_locale {
        let message = "ICU locale cannot be specified unless locale provider is ICU";
        return Err(Error::new(Condition::InvalidObjectDefinition, message));
    }
    Ok(Definition::CreateDatabase { name, options })
}

/// After `DROP DATABASE`.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let if_exists = cursor.words(&["if", "exists"]);
    let name = cursor.identifier()?;
    let with = cursor.word("with");
    let force = with || cursor.peek_open();
    if force {
        cursor.open()?;
        cursor.list(|cursor| cursor.expect_word("force"))?;
        cursor.close()?;
    }
    Ok(Definition::DropDatabase { name, if_exists, force })
}

/// After `ALTER DATABASE`.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let name = cursor.identifier()?;
    let start = cursor.mark();
    for words in [&["set", "tablespace"][..], &["refresh", "collation", "version"]] {
        let position = cursor.position();
        // There may be a setting of such a name.
        if cursor.words(words) && (cursor.at_end() || cursor.peek_word() && !cursor.peek(&["to"])) {
            return Err(
                Error::unsupported(format!("ALTER DATABASE ... {}", words.join(" ").to_uppercase())).position(position)
            );
        }
        cursor.go_back(start);
    }
    if cursor.peek(&["set"]) || cursor.peek(&["reset"]) {
        let change = cursor.setting_change()?;
        return Ok(Definition::AlterSetting { role: None, database: Some(name), is_of_database: true, change });
    }
    let change = if cursor.words(&["rename", "to"]) {
        DatabaseChange::RenameTo(cursor.identifier()?)
    } else if cursor.words(&["owner", "to"]) {
        DatabaseChange::OwnerTo(role_name(cursor)?)
    } else {
        cursor.word("with");
        DatabaseChange::Options(options(cursor)?)
    };
    Ok(Definition::AlterDatabase { name, change })
}

/// The options of ALTER DATABASE.
fn options(cursor: &mut Cursor<'_>) -> Result<DatabaseOptions, Error> {
    let mut options = DatabaseOptions::default();
    let written = written(cursor)?;
    for option in &written {
        match option.name.as_str() {
            "allow_connections" | "connection_limit" | "is_template" => option.set(&mut options)?,
            "tablespace" if written.len() > 1 => {
                let message = "option \"tablespace\" cannot be specified with other options";
                return Err(Error::new(Condition::FeatureNotSupported, message).position(option.position));
            }
            "tablespace" => {
                return Err(Error::unsupported("option \"tablespace\" of ALTER DATABASE").position(option.position));
            }
            _ => return Err(option.unknown()),
        }
    }
    Ok(options)
}

/// All options up to the statement's end, each once.
fn written(cursor: &mut Cursor<'_>) -> Result<Vec<Written>, Error> {
    let mut all: Vec<Written> = Vec::new();
    while !cursor.at_end() && !cursor.peek_semicolon() {
        let position = cursor.position();
        let limit = cursor.words(&["connection", "limit"]);
        // Of the words that are not free, these are options.
        let known = ["encoding", "location", "owner", "tablespace", "template"];
        let name = match known.iter().find(|word| !limit && cursor.word(word)) {
            _ if limit => "connection_limit".to_owned(),
            Some(word) => (*word).to_owned(),
            None => cursor.identifier()?,
        };
        cursor.punctuation(&Token::Eq);
        let value = value(cursor)?;
        if all.iter().any(|other| other.name == name) {
            return Err(Error::new(Condition::SyntaxError, "conflicting or redundant options").position(position));
        }
        all.push(Written { name, value, position });
    }
    Ok(all)
}

fn value(cursor: &mut Cursor<'_>) -> Result<Given, Error> {
    if cursor.word("default") {
        return Ok(Given::Default);
    }
    let start = cursor.mark();
    if let Ok(number) = cursor.integer() {
        // A greater one is no integer, as in PostgreSQL.
        return Ok(i32::try_from(number).map_or_else(|_| Given::Text(number.to_string()), Given::Integer));
    }
    cursor.go_back(start);
    cursor.option_value().map(Given::Text)
}

impl Written {
    /// `None` for the default.
    fn text(&self) -> Option<String> {
        match &self.value {
            Given::Default => None,
            Given::Integer(number) => Some(number.to_string()),
            Given::Text(text) => Some(text.clone()),
        }
    }

    fn unknown(&self) -> Error {
        let message = format!("option \"{}\" not recognized", self.name);
        Error::new(Condition::SyntaxError, message).position(self.position)
    }

    /// Refuses a value that is none of these, which are in lower case, nor the default.
    fn check(&self, allowed: &[&str], refusal: impl FnOnce(&str) -> Error) -> Result<(), Error> {
        match self.text() {
            Some(value) if !allowed.contains(&value.to_lowercase().as_str()) => Err(refusal(&value)),
            _ => Ok(()),
        }
    }

    /// Takes up one of the options that both CREATE and ALTER have.
    fn set(&self, options: &mut DatabaseOptions) -> Result<(), Error> {
        match self.name.as_str() {
            "allow_connections" => options.allow_connections = Some(self.boolean(true)?),
            "is_template" => options.is_template = Some(self.boolean(false)?),
            _ => options.connection_limit = Some(self.limit()?),
        }
        Ok(())
    }

    fn boolean(&self, default: bool) -> Result<bool, Error> {
        let is = |text: &str, words: [&str; 2]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        match &self.value {
            Given::Default => Ok(default),
            Given::Integer(0) => Ok(false),
            Given::Integer(1) => Ok(true),
            Given::Text(text) if is(text, ["true", "on"]) => Ok(true),
            Given::Text(text) if is(text, ["false", "off"]) => Ok(false),
            _ => {
                let message = format!("{} requires a Boolean value", self.name);
                Err(Error::new(Condition::SyntaxError, message))
            }
        }
    }

    fn limit(&self) -> Result<i32, Error> {
        match self.value {
            Given::Default => Ok(-1),
            Given::Integer(limit) if limit >= -1 => Ok(limit),
            Given::Integer(limit) => {
                let message = format!("invalid connection limit: {limit}");
                Err(Error::new(Condition::InvalidParameterValue, message))
            }
            Given::Text(_) => Err(Error::new(Condition::SyntaxError, "connection_limit requires an integer value")),
        }
    }
}

/// PostgreSQL's name and number of UTF8, or an error: of an encoding that PostgreSQL has, that it is not there.
fn check_encoding(written: &Written) -> Result<(), Error> {
    /// Letters and digits of the encodings that databases of PostgreSQL may have.
    const KNOWN: &[&str] = &[
        "sqlascii",
        "eucjp",
        "euccn",
        "euckr",
        "euctw",
        "eucjis2004",
        "muleinternal",
        "koi8",
        "koi8r",
        "koi8u",
        "alt",
        "win",
        "abc",
        "tcvn",
        "tcvn5712",
        "vscii",
    ];
    /// Beginnings of others, which numbers follow.
    const FAMILIES: &[&str] = &["latin", "iso8859", "win", "windows"];
    /// The greatest number of one.
    const LAST: i32 = 34;
    const UTF8: i32 = 6;
    let wrong = |what: String| {
        Err(Error::new(Condition::UndefinedObject, format!("{what} is not a valid encoding {}", written.kind()))
            .position(written.position))
    };
    match &written.value {
        Given::Default | Given::Integer(UTF8) => Ok(()),
        Given::Integer(code) if (0..=LAST).contains(code) => {
            Err(Error::unsupported(format!("encoding {code} of a database")))
        }
        Given::Integer(code) => wrong(code.to_string()),
        Given::Text(name) => {
            let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
            let numbered = |family: &&&str| {
                plain.strip_prefix(**family).is_some_and(|rest| {
                    !rest.is_empty() && rest.len() < 5 && rest.bytes().all(|byte| byte.is_ascii_digit())
                })
            };
            if plain == "utf8" || plain == "unicode" {
                Ok(())
            } else if KNOWN.contains(&plain.as_str()) || FAMILIES.iter().find(numbered).is_some() {
                Err(Error::unsupported(format!("encoding \"{name}\" of a database")))
            } else {
                wrong(name.clone())
            }
        }
    }
}

impl Written {
    /// What the encoding is given by.
    fn kind(&self) -> &'static str {
        if matches!(self.value, Given::Integer(_)) { "code" } else { "name" }
    }
}

/// An OID that was given out before may still be that of files which processes have open.
fn refuse_oid(written: &Written) -> Error {
    const FIRST_NORMAL_OID: i32 = 16384;
    match written.value {
        Given::Integer(oid) if oid < FIRST_NORMAL_OID => {
            let message = format!("OIDs less than {FIRST_NORMAL_OID} are reserved for system objects");
            Error::new(Condition::InvalidParameterValue, message)
        }
        _ => Error::unsupported("option \"oid\" of CREATE DATABASE").position(written.position),
    }
}
