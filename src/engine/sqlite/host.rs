//! What SQL functions ask of the session and the server.
//!
//! Owns who may signal whose session. Everything else is passed on to where it is known.

use super::interrupts::Interrupts;
use super::session::{Session, microseconds};
use super::views;
use crate::error::{Condition, Error};
use crate::sql::functions::Host;
use crate::sql::types::{Datum, TextContext, Value};

impl Host for Session {
    fn current_user(&self) -> String {
        self.identity().user
    }

    fn session_user(&self) -> String {
        Session::session_user(self)
    }

    fn current_database(&self) -> String {
        self.identity().database
    }

    fn current_schemas(&self, include_implicit: bool) -> Vec<String> {
        let mut schemas = views::usable_schemas(&self.search_path());
        if include_implicit && !schemas.iter().any(|schema| schema == "pg_catalog") {
            schemas.insert(0, "pg_catalog".to_owned());
        }
        schemas
    }

    fn backend_pid(&self) -> i32 {
        self.segment().slot(self.owner().slot).pid()
    }

    fn has_changed(&self, row: i64) -> bool {
        super::functions::has_changed(row)
    }

    fn transaction_timestamp(&self) -> i64 {
        Session::transaction_timestamp(self)
    }

    fn statement_timestamp(&self) -> i64 {
        Session::statement_timestamp(self)
    }

    fn clock_timestamp(&self) -> i64 {
        microseconds(std::time::SystemTime::now())
    }

    fn setting(&self, name: &str, missing_ok: bool) -> Result<Option<String>, Error> {
        let Some(settings) = self.settings() else { return Ok(None) };
        let settings = settings.lock();
        match settings.show(name) {
            Ok(value) => Ok(Some(value)),
            Err(_) if missing_ok => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_setting(&self, name: &str, value: &str, local: bool) -> Result<String, Error> {
        match self.settings() {
            Some(settings) => settings.lock().set_text(name, value, local),
            None => Err(Error::internal("there is no session to change a setting of")),
        }
    }

    fn text_context(&self) -> TextContext {
        Session::text_context(self)
    }

    fn sleep(&self, seconds: f64) -> Result<(), Error> {
        Session::sleep(self, seconds)
    }

    fn check_interrupts(&self) -> Result<(), Error> {
        self.check().map_or(Ok(()), Err)
    }

    /// As in PostgreSQL: superusers may signal everybody's session, everybody else those of roles whose privileges they
    /// have, members of pg_signal_backend all but superusers'.
    fn signal_backend(&self, pid: i32, terminate: bool) -> Result<bool, Error> {
        let target = self.segment().slots().find(|(_, slot)| slot.pid() == pid && slot.activity().database_oid() != 0);
        let Some((_, slot)) = target.filter(|_| pid > 0) else { return Ok(false) };
        let identity = self.identity();
        let session = slot.session_generation();
        let user_oid = slot.activity().user_oid();
        let may = views::has_privileges_of(identity.user_oid, user_oid)
            || !views::is_superuser(user_oid) && views::has_privileges_of_named(identity.user_oid, "pg_signal_backend");
        if !may {
            let verb = if terminate { "terminate process" } else { "cancel query" };
            let message = match views::is_superuser(user_oid) {
                true => format!("must be a superuser to {verb}"),
                false => "must be a member of the role whose query is being canceled or member of pg_signal_backend"
                    .to_string(),
            };
            return Err(Error::new(Condition::InsufficientPrivilege, message));
        }
        if terminate {
            let asked = slot.request_terminate(session);
            self.signal_others();
            return Ok(asked);
        }
        let asked = slot.request_cancel(session);
        if asked && pid == self.backend_pid() {
            // Its own statement is the one under way.
            return self.check().map_or(Ok(true), Err);
        }
        self.signal_others();
        Ok(asked)
    }

    fn catalog_function(&self, name: &str, arguments: &[Datum<'_>]) -> Result<Value, Error> {
        views::function(name, arguments)
    }
}
