//! Orders about databases, as the console reads them and the relay carries them out.

/// PgBouncer's orders. A database that is not named stands for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// No connection is lent until RESUME; done when all have come back, and are closed.
    Pause(Option<String>),
    /// See `Pause`.
    Resume(Option<String>),
    /// Ends all sessions, closes all connections, and leaves the database paused.
    Kill(Option<String>),
    /// No new client is let in until ENABLE.
    Disable(Option<String>),
    /// See `Disable`.
    Enable(Option<String>),
    /// Connections of before are not lent again.
    Reconnect(Option<String>),
}

impl Order {
    /// The command, without its database.
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Kill(_) => "KILL",
            Self::Disable(_) => "DISABLE",
            Self::Enable(_) => "ENABLE",
            Self::Reconnect(_) => "RECONNECT",
        }
    }
}
