//! kill -9, of everything and of single processes, while clients are at work: what was acknowledged is there
//! afterwards, the sums agree, and only the killed process's own client notices.

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};
use support::{Server, children_of, wait_until};

/// A seed for the choices of a run, from the environment or the clock; printed, so that a run can be repeated.
fn seed() -> u64 {
    let seed = std::env::var("PGPREFORK_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
    });
    println!("PGPREFORK_TEST_SEED={seed}");
    seed
}

/// The generator of Knuth's MMIX: enough to choose accounts and moments.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn connect(port: u16) -> Result<Client, postgres::Error> {
    Client::connect(&format!("host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=10"), NoTls)
}

fn create_tables(server: &Server) {
    server.pgbench("postgres", &["-i", "-I", "dtGvp"]);
    server.query("create table receipt (id bigint primary key)");
}

/// One transaction of the TPC-B kind that also stores its own number.
fn transfer(client: &mut Client, random: &mut Random, id: i64) -> Result<(), postgres::Error> {
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

/// Clients that transfer until they are told to stop, and what the server acknowledged to them.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<i64>>>,
    /// Connections that a client lost.
    lost: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    /// `numbers` hands out the transactions' numbers; a client that loses its connection takes a new one, unless
    /// the server has gone.
    fn start(port: u16, clients: u64, numbers: &Arc<AtomicU64>, seed: u64) -> Self {
        let load =
            Self { stop: Arc::default(), acknowledged: Arc::default(), lost: Arc::default(), threads: Vec::new() };
        let mut load = load;
        for client in 0..clients {
            let (stop, acknowledged, lost) =
                (Arc::clone(&load.stop), Arc::clone(&load.acknowledged), Arc::clone(&load.lost));
            let numbers = Arc::clone(numbers);
            let mut random = Random(seed ^ (client + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            load.threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut connection) = connect(port) else {
                        std::thread::sleep(Duration::from_millis(2));
                        continue;
                    };
                    while !stop.load(Ordering::Relaxed) {
                        let id = numbers.fetch_add(1, Ordering::Relaxed) as i64;
                        match transfer(&mut connection, &mut random, id) {
                            Ok(()) => acknowledged.lock().expect("receipts").push(id),
                            Err(_) if connection.is_closed() => {
                                lost.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            Err(error) => panic!("a transfer failed: {error:?}"),
                        }
                    }
                }
            }));
        }
        load
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("receipts").len()
    }

    fn stop(self) -> (Vec<i64>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client that did not panic");
        }
        let acknowledged = self.acknowledged.lock().expect("receipts").clone();
        (acknowledged, self.lost.load(Ordering::Relaxed))
    }
}

/// Every acknowledged number is stored, and the four sums agree.
fn verify(server: &Server, acknowledged: &[i64]) {
    let stored = server.query("select id from receipt");
    let stored: HashSet<i64> = stored.lines().map(|line| line.parse().expect("a number")).collect();
    let missing: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
    assert!(missing.is_empty(), "{} acknowledged transactions are lost: {missing:?}", missing.len());
    assert_eq!(server.query("select count(*) from pgbench_history"), stored.len().to_string());
    let sums = server.query(
        "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), \
         (select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history)",
    );
    let sums: Vec<&str> = sums.split('|').collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "sums differ: {sums:?}");
}

fn kill_now(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[test]
fn kill_of_every_process_loses_nothing_acknowledged() {
    let mut random = Random(seed());
    let directory = tempfile::Builder::new().prefix("pgprefork-crash-").tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("permissions");
    let data = directory.path().join("data");
    let numbers = Arc::new(AtomicU64::new(1));
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let mut server = Server::start_on(&data, &[], &[]);
        if round == 0 {
            create_tables(&server);
        }
        verify(&server, &acknowledged);
        let load = Load::start(server.port, 6, &numbers, random.below(u64::MAX >> 32));
        let target = 50 + random.below(200) as usize;
        wait_until("transactions were acknowledged", || load.count() >= target);
        let postmaster = server.pid().as_raw();
        let children = children_of(postmaster);
        if round % 2 == 0 {
            kill_now(postmaster);
        }
        for child in &children {
            kill_now(*child);
        }
        if round % 2 == 1 {
            kill_now(postmaster);
        }
        server.wait();
        let (receipts, _) = load.stop();
        println!("round {round}: {} acknowledged, then everything was killed", receipts.len());
        acknowledged.extend(receipts);
    }
    let server = Server::start_on(&data, &[], &[]);
    verify(&server, &acknowledged);
}

#[test]
fn kill_of_a_worker_ends_its_own_session_and_no_other() {
    let mut random = Random(seed());
    let server = Server::start(&[]);
    create_tables(&server);
    let numbers = Arc::new(AtomicU64::new(1));
    let load = Load::start(server.port, 4, &numbers, random.below(u64::MAX >> 32));
    // A session that does nothing must outlive them all.
    let mut bystander = connect(server.port).expect("a connection");
    let bystander_pid: i32 = bystander.query_one("select pg_backend_pid()", &[]).expect("its pid").get(0);
    let killed = AtomicI32::new(0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while killed.load(Ordering::Relaxed) < 25 && Instant::now() < deadline {
        let before = load.count();
        let rows = server
            .query("select pid from pg_stat_activity where backend_type = 'client backend' and usename = 'postgres'");
        let own: Vec<i32> =
            rows.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != bystander_pid).collect();
        if let Some(pid) = own.get(random.below(own.len().max(1) as u64) as usize) {
            std::thread::sleep(Duration::from_micros(random.below(3_000)));
            kill_now(*pid);
            killed.fetch_add(1, Ordering::Relaxed);
        }
        wait_until("others go on after a kill", || load.count() > before + 8);
    }
    assert_eq!(bystander.query_one("select 7", &[]).expect("the bystander's answer").get::<_, i32>(0), 7);
    drop(bystander);
    let (acknowledged, lost) = load.stop();
    let killed = killed.load(Ordering::Relaxed) as u64;
    println!("killed {killed}, connections lost {lost}, acknowledged {}", acknowledged.len());
    assert!(lost <= killed, "{killed} were killed and {lost} clients lost their connection");
    verify(&server, &acknowledged);
}
