//! The one place of the worker that knows which engines there are.

use std::rc::Rc;

use shm::Owner;

use super::context::Context;
use super::directory::{Directory, Everyone};
use super::presence::Presence;
use super::transport::Transport;
use crate::auth::{Database, Role};
use crate::config::EngineKind;
use crate::engine::Engine;
use crate::engine::null::Null;
use crate::error::Error;
use crate::session::{self, End};
use crate::settings::Shared;

/// An engine that was opened before a client came.
pub enum WarmEngine {
    /// Canned rows.
    Null(Null),
}

/// Opens the engine that the configuration names. Called once in each worker, before it accepts.
pub fn open(context: &Context, owner: Owner) -> Result<WarmEngine, String> {
    let _ = owner;
    match context.config.engine.kind {
        EngineKind::Null => Ok(WarmEngine::Null(Null::new())),
        EngineKind::Sqlite => Err("engine.kind = \"sqlite\" is not part of this build yet".to_owned()),
    }
}

impl WarmEngine {
    /// The roles and databases that clients are let in by, read anew where they have changed.
    pub fn directory(&mut self) -> Result<Rc<dyn Directory>, Error> {
        match self {
            Self::Null(_) => Ok(Rc::new(Everyone)),
        }
    }

    /// Makes the engine ready for a session of that role in that database.
    pub fn begin_session(&mut self, role: &Role, database: &Database, settings: &Shared) -> Result<(), Error> {
        let _ = (role, database, settings);
        match self {
            Self::Null(_) => Ok(()),
        }
    }

    /// Serves a session to its end.
    pub fn serve(&mut self, transport: &mut Transport, settings: Shared, presence: &Presence) -> End {
        let (mut interrupts, mut activity) = (*presence, *presence);
        match self {
            Self::Null(engine) => session::serve(transport, engine, settings, &mut interrupts, &mut activity),
        }
    }

    /// Forgets the session. An engine that can't is thrown away with its process.
    pub fn end_session(&mut self) -> Result<(), Error> {
        match self {
            Self::Null(engine) => engine.reset(),
        }
    }
}
