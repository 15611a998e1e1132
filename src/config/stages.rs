//! `log.connections`: which stages of a connection get a line. The names are PostgreSQL 18's.

use serde::{Deserialize, Deserializer};

/// Which stages get a line; `true` is all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// The connection was accepted.
    pub receipt: bool,
    /// The client has proved who it is.
    pub authentication: bool,
    /// It may be that role in that database.
    pub authorization: bool,
    /// How long that took.
    pub setup_durations: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    All(bool),
    List(Vec<String>),
    Text(String),
}

impl Stages {
    /// All or none.
    pub const fn all(wanted: bool) -> Self {
        Self { receipt: wanted, authentication: wanted, authorization: wanted, setup_durations: wanted }
    }

    /// Whether any stage gets a line.
    pub fn any(self) -> bool {
        self != Self::all(false)
    }

    fn add(self, name: &str) -> Result<Self, String> {
        Ok(match name.trim() {
            "receipt" => Self { receipt: true, ..self },
            "authentication" => Self { authentication: true, ..self },
            "authorization" => Self { authorization: true, ..self },
            "setup_durations" => Self { setup_durations: true, ..self },
            "all" => Self::all(true),
            "" => self,
            other => {
                return Err(format!(
                    "\"{other}\" is no stage of a connection: receipt, authentication, authorization, setup_durations, all"
                ));
            }
        })
    }
}

impl<'de> Deserialize<'de> for Stages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let names: Vec<String> = match written {
            Written::All(all) => return Ok(Self::all(all)),
            Written::List(names) => names,
            Written::Text(text) => text.split(',').map(str::to_owned).collect(),
        };
        let add = |stages: Self, name: &String| stages.add(name);
        names.iter().try_fold(Self::default(), add).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Stages, String> {
        #[derive(Deserialize)]
        struct Table {
            connections: Stages,
        }
        toml::from_str::<Table>(&format!("connections = {value}"))
            .map(|table| table.connections)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn stages_by_name_or_all_or_none() {
        assert_eq!(read("true"), Ok(Stages::all(true)));
        assert_eq!(read("false"), Ok(Stages::all(false)));
        assert_eq!(read("[\"all\"]"), Ok(Stages::all(true)));
        let two = Stages { receipt: true, setup_durations: true, ..Stages::default() };
        assert_eq!(read("[\"receipt\", \"setup_durations\"]"), Ok(two));
        assert_eq!(read("\"receipt, setup_durations\""), Ok(two));
        assert_eq!(read("[]"), Ok(Stages::all(false)));
        assert!(read("[\"on\"]").unwrap_err().contains("\"on\" is no stage of a connection"));
    }
}
