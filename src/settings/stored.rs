//! Settings that are stored for roles and databases: what may be stored, and in which form.
//!
//! Where they are stored is the cluster's business; how they count at log-in is [`Source`]'s order.

use super::{Known, Settings, Source, list, parameter, value};
use crate::error::{Condition, Error};

/// A setting stored for a role, for a database, for both or for everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// For whom.
    pub source: Source,
    /// The parameter's own name.
    pub name: String,
    /// The value as it was given.
    pub value: String,
}

impl Settings {
    /// Name and value of ALTER … SET name TO values, as they are stored.
    pub fn stored(&self, name: &str, values: &[String]) -> Result<(String, String), Error> {
        let known = parameter(name)?;
        let value = match &known {
            Known::Listed(parameter) => list::joined(parameter, values)?,
            Known::Custom(custom) => match values {
                [value] => value.clone(),
                _ => {
                    let message = format!("SET {custom} takes only one argument");
                    return Err(Error::new(Condition::InvalidParameterValue, message));
                }
            },
        };
        self.check_stored(&known, Some(&value))?;
        Ok((known.name(), value))
    }

    /// The same with the value of now: FROM CURRENT.
    pub fn stored_current(&self, name: &str) -> Result<(String, String), Error> {
        let value = self.show(name)?;
        let known = parameter(name)?;
        self.check_stored(&known, Some(&value))?;
        Ok((known.name(), value))
    }

    /// The name of ALTER … RESET name, where the session may change what is stored under it.
    pub fn stored_name(&self, name: &str) -> Result<String, Error> {
        let known = parameter(name)?;
        self.check_stored(&known, None)?;
        Ok(known.name())
    }

    fn check_stored(&self, known: &Known, value: Option<&str>) -> Result<(), Error> {
        let parameter = match known {
            Known::Listed(parameter) => parameter,
            Known::Custom(name) => {
                if self.value("is_superuser") == "on" {
                    return Ok(());
                }
                let message = format!("permission denied to set parameter \"{name}\"");
                return Err(Error::new(Condition::InsufficientPrivilege, message));
            }
        };
        self.check_change(parameter, Source::Session)?;
        let Some(value) = value else { return Ok(()) };
        let canonical = value::canonical(parameter, value, self.value_of(parameter), parameter.default)?;
        match parameter.name {
            // Whether somebody may be that role is found out when somebody comes.
            "role" => Ok(()),
            "session_authorization" => Err(Error::unsupported("storing the setting \"session_authorization\"")),
            name => self.check_value(name, &canonical),
        }
    }
}

impl Known {
    /// The name under which a value is kept.
    fn name(self) -> String {
        match self {
            Self::Listed(parameter) => parameter.name.to_owned(),
            Self::Custom(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn code<T>(result: Result<T, Error>) -> &'static str {
        result.err().map_or("", |error| error.condition().code())
    }

    #[test]
    fn what_cannot_be_set_is_not_stored() {
        let mut settings = Settings::new();
        let stored = |settings: &Settings, name: &str, values: &[&str]| settings.stored(name, &words(values));
        assert_eq!(stored(&settings, "WORK_MEM", &["8MB"]).unwrap(), ("work_mem".into(), "8MB".into()));
        assert_eq!(
            stored(&settings, "search_path", &["a", "B c"]).unwrap(),
            ("search_path".into(), "a, \"B c\"".into())
        );
        assert_eq!(code(stored(&settings, "nothing", &["1"])), "42704");
        assert_eq!(code(stored(&settings, "work_mem", &["much"])), "22023");
        assert_eq!(code(stored(&settings, "port", &["1"])), "55P02");
        assert_eq!(code(stored(&settings, "lc_messages", &["C"])), "42501");
        assert_eq!(code(stored(&settings, "app.user", &["1"])), "42501");
        assert_eq!(code(stored(&settings, "session_authorization", &["x"])), "0A000");
        assert_eq!(code(settings.stored_name("lc_messages")), "42501");
        settings.set_default("is_superuser", "on", Source::Internal).unwrap();
        assert_eq!(stored(&settings, "app.user", &["1"]).unwrap(), ("app.user".into(), "1".into()));
        assert_eq!(code(stored(&settings, "app.user", &["1", "2"])), "22023");
        assert_eq!(settings.stored_name("LC_messages").unwrap(), "lc_messages");
        settings.set("work_mem", Some(&words(&["64MB"])), false).unwrap();
        assert_eq!(settings.stored_current("work_mem").unwrap(), ("work_mem".into(), "64MB".into()));
    }

    #[test]
    fn what_is_closer_to_the_session_counts_whenever_it_comes() {
        let mut settings = Settings::new();
        let shown = |settings: &Settings| settings.show("work_mem").unwrap();
        let row = |settings: &Settings| settings.all().into_iter().find(|row| row.name == "work_mem").unwrap();
        settings.set_default("work_mem", "1MB", Source::Config).unwrap();
        assert_eq!((shown(&settings).as_str(), row(&settings).source), ("1MB", "configuration file"));
        settings.set_default("work_mem", "4MB", Source::User).unwrap();
        for (value, source) in [("3MB", Source::Database), ("2MB", Source::Global)] {
            settings.set_default("work_mem", value, source).unwrap();
            assert_eq!((shown(&settings).as_str(), row(&settings).source), ("4MB", "user"));
        }
        assert_eq!(code(settings.set_default("work_mem", "much", Source::Global)), "22023");
        settings.set_default("work_mem", "5MB", Source::DatabaseUser).unwrap();
        settings.set("work_mem", Some(&words(&["6MB"])), false).unwrap();
        assert_eq!((shown(&settings).as_str(), row(&settings).source), ("6MB", "session"));
        assert_eq!(row(&settings).reset_value, "5120");
        settings.reset("work_mem").unwrap();
        assert_eq!((shown(&settings).as_str(), row(&settings).source), ("5MB", "database user"));
        settings.set_default("work_mem", "7MB", Source::Startup).unwrap();
        assert_eq!((shown(&settings).as_str(), row(&settings).source), ("7MB", "client"));
        // What only superusers may set is set for others, too.
        settings.set_default("log_statement", "all", Source::User).unwrap();
        assert_eq!(settings.show("log_statement").unwrap(), "all");
    }

    #[test]
    fn a_session_may_begin_as_another_role() {
        let mut settings = Settings::new();
        settings.set_default("is_superuser", "on", Source::Internal).unwrap();
        settings.set_default("session_authorization", "ann", Source::Internal).unwrap();
        assert_eq!((settings.identity(), settings.default_role()), (("ann", None), None));
        settings.set_default_role("staff", false, Source::User);
        settings.set_default_role("others", true, Source::Database);
        assert_eq!((settings.identity(), settings.default_role()), (("ann", Some("staff")), Some("staff")));
        assert_eq!(settings.show("is_superuser").unwrap(), "off");
        settings.become_role(Some("ann"), Some("none"), true, false);
        assert_eq!(settings.identity(), ("ann", None));
        settings.become_role(Some("ann"), None, false, false);
        assert_eq!(settings.identity(), ("ann", Some("staff")));
    }
}
