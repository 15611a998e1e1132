//! Load whose outcome can be proved: transactions of the TPC-B kind that also store their own number, and readers
//! that see sums agree in every snapshot.
//!
//! Each client notes what the server told it: acknowledged numbers must be stored, refused ones must not, and those
//! in flight when a connection ended may be either. An error that a test did not name fails the test.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use postgres::{Client, Error, NoTls};

use super::Server;

/// A seed for the choices of a run, from the environment or the clock; printed, so that a run can be repeated.
pub fn seed() -> u64 {
    let seed = std::env::var("PGPREFORK_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
    });
    println!("PGPREFORK_TEST_SEED={seed}");
    seed
}

/// The generator of Knuth's MMIX: enough to choose accounts and moments.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub fn connect(port: u16) -> Result<Client, Error> {
    Client::connect(&format!("host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=10"), NoTls)
}

/// pgbench's tables, and one for the transactions' numbers.
pub fn create_tables(server: &Server) {
    server.pgbench("postgres", &["-i", "-I", "dtGvp"]);
    server.query("create table receipt (id bigint primary key)");
}

/// Who puts the load on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mix {
    /// Clients that keep their connection and transfer.
    pub writers: u64,
    /// Clients that connect for each transfer.
    pub connecting: u64,
    /// Clients that read.
    pub readers: u64,
    /// SQLSTATEs that clients may be given.
    pub tolerated: &'static [&'static str],
}

/// What the clients were told.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Numbers whose commit was acknowledged.
    pub acknowledged: Vec<i64>,
    /// Numbers whose transaction ended with an error.
    pub refused: Vec<i64>,
    /// Numbers in flight when a connection ended.
    pub in_doubt: Vec<i64>,
    /// Connections that ended, or never came to be.
    pub lost: u64,
    /// Answers that readers got.
    pub reads: u64,
    /// Tolerated errors by SQLSTATE.
    pub errors: BTreeMap<String, u64>,
    /// What no client should have been told.
    pub wrong: Vec<String>,
}

impl Outcome {
    /// Adds what the clients of another load were told.
    pub fn extend(&mut self, other: Outcome) {
        self.acknowledged.extend(other.acknowledged);
        self.refused.extend(other.refused);
        self.in_doubt.extend(other.in_doubt);
    }
}

/// Clients at work until they are told to stop.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    port: u16,
    tolerated: &'static [&'static str],
    stop: AtomicBool,
    numbers: Arc<AtomicU64>,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Writer,
    Connecting,
    Reader,
}

impl Load {
    /// `numbers` hands out the transactions' numbers. A client that loses its connection takes a new one.
    pub fn start(port: u16, mix: &Mix, numbers: &Arc<AtomicU64>, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            port,
            tolerated: mix.tolerated,
            stop: AtomicBool::new(false),
            numbers: Arc::clone(numbers),
            outcome: Mutex::default(),
        });
        let roles = [(Role::Writer, mix.writers), (Role::Connecting, mix.connecting), (Role::Reader, mix.readers)];
        let roles = roles.into_iter().flat_map(|(role, count)| (0..count).map(move |_| role));
        let start = |(number, role): (u64, Role)| {
            let shared = Arc::clone(&shared);
            let random = Random(seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            std::thread::spawn(move || shared.work(role, random))
        };
        let threads = (0..).zip(roles).map(start).collect();
        Self { shared, threads }
    }

    /// How many transactions were acknowledged so far.
    pub fn count(&self) -> usize {
        self.shared.outcome().acknowledged.len()
    }

    /// What the clients were told so far.
    pub fn so_far(&self) -> Outcome {
        self.shared.outcome().clone()
    }

    /// Ends the load. Fails the test if a client was told what it should not have been told.
    pub fn stop(self) -> Outcome {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("a client that did not panic");
        }
        let outcome = self.shared.outcome().clone();
        assert!(outcome.wrong.is_empty(), "clients were told: {:#?}", outcome.wrong);
        outcome
    }
}

impl Shared {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().expect("no client panicked")
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// One client's life.
    fn work(&self, role: Role, mut random: Random) {
        while !self.is_stopped() {
            let mut client = match connect(self.port) {
                Ok(client) => client,
                Err(error) => {
                    self.note_connect_error(&error);
                    continue;
                }
            };
            while !self.is_stopped() && !client.is_closed() {
                match role {
                    Role::Reader => self.read(&mut client),
                    Role::Writer | Role::Connecting => self.transfer(&mut client, &mut random),
                }
                if role == Role::Connecting {
                    break;
                }
            }
        }
    }

    fn note_connect_error(&self, error: &Error) {
        let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            // There is no server.
            return std::thread::sleep(Duration::from_millis(2));
        }
        self.note(error);
    }

    /// Returns whether the transaction that the error ended, if any, is sure not to have happened.
    fn note(&self, error: &Error) -> bool {
        let mut outcome = self.outcome();
        let Some(told) = error.as_db_error() else {
            outcome.lost += 1;
            return false;
        };
        let code = told.code().code();
        if self.tolerated.contains(&code) {
            *outcome.errors.entry(code.to_owned()).or_default() += 1;
        } else {
            outcome.wrong.push(format!("{told:?}"));
        }
        told.severity() == "ERROR"
    }

    fn transfer(&self, client: &mut Client, random: &mut Random) {
        let id = self.numbers.fetch_add(1, Relaxed).cast_signed();
        match transfer(client, random, id) {
            Ok(()) => self.outcome().acknowledged.push(id),
            Err(error) if self.note(&error) => self.outcome().refused.push(id),
            Err(_) => self.outcome().in_doubt.push(id),
        }
    }

    fn read(&self, client: &mut Client) {
        let sums = "select (select sum(tbalance) from pgbench_tellers), (select sum(bbalance) from pgbench_branches)";
        match client.query_one(sums, &[]) {
            Ok(row) => {
                let (tellers, branches): (i64, i64) = (row.get(0), row.get(1));
                let mut outcome = self.outcome();
                outcome.reads += 1;
                if tellers != branches {
                    outcome.wrong.push(format!("a snapshot with sums {tellers} and {branches}"));
                }
            }
            Err(error) => drop(self.note(&error)),
        }
    }
}

/// One transaction of the TPC-B kind that also stores its own number.
fn transfer(client: &mut Client, random: &mut Random, id: i64) -> Result<(), Error> {
    let (aid, tid) = (random.below(100_000) as i32 + 1, random.below(10) as i32 + 1);
    let delta = random.below(10_001) as i32 - 5_000;
    let mut transaction = client.transaction()?;
    transaction.execute("update pgbench_accounts set abalance = abalance + $1 where aid = $2", &[&delta, &aid])?;
    transaction.execute("update pgbench_tellers set tbalance = tbalance + $1 where tid = $2", &[&delta, &tid])?;
    transaction.execute("update pgbench_branches set bbalance = bbalance + $1 where bid = 1", &[&delta])?;
    transaction.execute(
        "insert into pgbench_history (tid, bid, aid, delta, mtime) values ($1, 1, $2, $3, current_timestamp)",
        &[&tid, &aid, &delta],
    )?;
    transaction.execute("insert into receipt values ($1)", &[&id])?;
    transaction.commit()
}

/// The numbers that are stored.
pub fn stored(server: &Server) -> HashSet<i64> {
    server.query("select id from receipt").lines().map(|line| line.parse().expect("a number")).collect()
}

/// Every acknowledged number is stored, no refused one is, and the four sums agree.
pub fn verify(server: &Server, outcome: &Outcome) {
    let stored = stored(server);
    let missing: Vec<_> = outcome.acknowledged.iter().filter(|id| !stored.contains(id)).collect();
    assert!(missing.is_empty(), "{} acknowledged transactions are lost: {missing:?}", missing.len());
    let undead: Vec<_> = outcome.refused.iter().filter(|id| stored.contains(id)).collect();
    assert!(undead.is_empty(), "{} transactions happened whose clients were told otherwise: {undead:?}", undead.len());
    assert_eq!(server.query("select count(*) from pgbench_history"), stored.len().to_string());
    let sums = server.query(
        "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), \
         (select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history)",
    );
    let sums: Vec<&str> = sums.split('|').collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "sums differ: {sums:?}");
}
