//! The relay: sessions that run on connections to upstream servers, which workers lend one another.
//!
//! It does not fit behind [`crate::engine::Engine`], whose statements are planned here; its place is where a worker
//! hands a session over. What it needs of the front door (accept, TLS, access rules, authentication, cancel keys) is
//! the same as for the engines.
//!
//! - `lend`: getting a connection and giving it back; the rules are `shm::upstream`'s.
//! - `login`: connecting and logging in upstream. `upstream`: one connection, and what travels with it.
//! - `messages`: what a client's messages say. `order`: which reply belongs to which request (pure). `session`: carries the messages.
//! - `parameters`, `statements`: what follows a client from connection to connection.
//! - `users`: who may come in, from a file.

mod lend;
mod login;
mod messages;
mod order;
mod parameters;
mod session;
mod statements;
mod upstream;
mod users;

use std::fs;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use shm::{Owner, Segment};

use self::lend::{Lender, Pool};
use self::login::Credentials;
use self::session::Session;
use self::upstream::Address;
use self::users::Users;
use crate::auth::password::{Stored, encrypt};
use crate::auth::{Database, Role, Roles};
use crate::config::{self, Config};
use crate::error::{Condition, Error};
use crate::session::{Activity, End, Interrupts};
use crate::system::locker::Locker;
use crate::worker::directory::{Directory, Everyone};
use crate::worker::transport::Transport;

/// What a worker has of the relay before a client comes, and of the session that it serves.
pub struct Relay {
    segment: Segment,
    owner: Owner,
    users: Users,
    mock_secret: [u8; 32],
    wanted: Option<Wanted>,
}

/// Roles of the users' file, or every role where there is none; databases of the settings. Who is a superuser and how
/// many connections a role may have is the upstream server's to say.
struct Listed {
    users: Users,
    mock_secret: [u8; 32],
    relay: config::Relay,
}

impl Roles for Listed {
    fn role(&self, name: &str) -> Option<Role> {
        let password = self.users.password(name);
        if password.is_none() && !self.users.is_empty() {
            return None;
        }
        let role = Everyone.role(name)?;
        Some(Role { superuser: false, password: password.filter(|text| !text.is_empty()).map(stored), ..role })
    }
}

impl Directory for Listed {
    fn database(&self, name: &str, role: Option<&Role>) -> Option<Database> {
        self.relay.database(name)?;
        Everyone.database(name, role)
    }

    fn mock_secret(&self) -> [u8; 32] {
        self.mock_secret
    }
}

/// A password of the users' file as authentication expects it: plain text becomes a verifier.
fn stored(password: &str) -> String {
    if Stored::parse(password).is_some() {
        return password.to_owned();
    }
    // A fresh salt each time: nothing is compared but the proof that is made with it.
    encrypt("", password).ok().flatten().unwrap_or_default()
}

/// What a session was let in for.
#[derive(Debug)]
struct Wanted {
    role: String,
    database: String,
    startup: Vec<(String, String)>,
}

impl Relay {
    /// Reads the users' file, where there is one.
    ///
    /// `mock_secret` is what keeps unknown users from being told apart.
    pub fn open(segment: Segment, owner: Owner, config: &Config, mock_secret: [u8; 32]) -> Result<Self, String> {
        let users = match &config.relay.auth_file {
            Some(file) => {
                let path = config.path(file);
                let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                Users::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => Users::default(),
        };
        Ok(Self { segment, owner, users, mock_secret, wanted: None })
    }

    /// The roles and databases that clients are let in by.
    pub fn directory(&self, config: &Config) -> Rc<dyn Directory> {
        Rc::new(Listed { users: self.users.clone(), mock_secret: self.mock_secret, relay: config.relay.clone() })
    }

    /// Notes whom the next session is for.
    pub fn begin_session(&mut self, role: &str, database: &str, startup: &[(String, String)]) {
        self.wanted = Some(Wanted { role: role.to_owned(), database: database.to_owned(), startup: startup.to_vec() });
    }

    /// Serves it to its end.
    pub fn serve(
        &mut self,
        config: &Config,
        lockers: &[Locker],
        transport: &mut Transport,
        interrupts: &mut dyn Interrupts,
        activity: &mut dyn Activity,
    ) -> End {
        let Some(Wanted { role, database, startup }) = self.wanted.take() else {
            return End::Failed(Error::internal("a session without a role"));
        };
        let pool = match self.pool(config, &role, &database) {
            Ok(pool) => pool,
            Err(error) => {
                let mut out = crate::protocol::Encoder::new(transport.output());
                out.error_response(crate::protocol::Severity::Fatal, &error);
                let _ = transport.send(&mut || true);
                return End::Failed(error);
            }
        };
        let mode = config
            .relay
            .database(&database)
            .map_or(config.relay.pool_mode, |database| config.relay.pool_mode_of(database));
        let lender = Lender { segment: self.segment, me: self.owner, lockers, config: &config.relay };
        session::serve(Session { lender, pool, mode, startup, transport, interrupts, activity })
    }

    fn pool(&self, config: &Config, role: &str, database: &str) -> Result<Pool, Error> {
        let Some(target) = config.relay.database(database) else {
            let message = format!("database \"{database}\" does not exist");
            return Err(Error::new(Condition::InvalidCatalogName, message));
        };
        let user = target.user.clone().unwrap_or_else(|| role.to_owned());
        let password = target.password.as_deref().or_else(|| self.users.password(&user));
        let credentials = Credentials {
            database: target.dbname.clone().unwrap_or_else(|| database.to_owned()),
            password: password.map(str::to_owned),
            user,
        };
        let address = Address { host: target.host.clone(), port: target.port };
        let identity =
            identity(&[&address.host, &address.port.to_string(), &credentials.user, &credentials.database, database]);
        let [key, _] = identity.map(u64::from_ne_bytes);
        let name = format!("{database} {}", credentials.user);
        let index = self
            .segment
            .open_upstream_pool(key, &name, config.relay.pool_size_of(target))
            .ok_or_else(|| Error::new(Condition::ConfigurationLimitExceeded, "there are too many pools"))?;
        Ok(Pool { index, identity, address, credentials })
    }
}

/// A strong hash of what makes two pools the same.
fn identity(parts: &[&str]) -> [[u8; 8]; 2] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut identity = [[0; 8]; 2];
    identity.as_flattened_mut().iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    identity
}
