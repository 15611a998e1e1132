//! The same rule files and the same attempts on a real PostgreSQL and here: the same verdict in the same words.
//!
//! What only PostgreSQL 16 and later know (regular expressions, included files) is tested without the comparison, in
//! `auth` and `tests/methods`.

mod support;

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use support::postgresql::PostgreSql;
use support::{Server, postgres_program, wait_until};

/// Attempts that the comparison makes at the least.
const ATTEMPTS_MIN: usize = 300;

/// Rule files, in PostgreSQL 15's syntax. Two lines before each let the test itself in, in a database of its own.
const FILES: &[&str] = &[
    "local all all trust\nhost all all 127.0.0.1/32 trust",
    "local all all reject\nhost all all all scram-sha-256",
    "host all all 127.0.0.1/32 md5\nlocal all all md5",
    "host all all samehost password\nlocal all all password",
    "hostssl all all samenet scram-sha-256\nhostnossl all all all reject",
    "hostnossl all all 127.0.0.0 255.0.0.0 trust",
    "host all all 127.0.0.0 255.0.0.1 trust\nhost all all 0.0.0.0 0.0.0.1 scram-sha-256",
    "host shop ann all trust\nhost all +staff 127.0.0.1/8 scram-sha-256\nhost sameuser all all trust",
    "host samerole all all trust\nhost samegroup all 127.0.0.1/32 reject",
    "local shop,\"all\" ann,bob trust\nhost shop,ann \"ann\",+\"staff\" 127.0.0.1/32 trust",
    "host \"sameuser\" all all trust\nhost all \"all\" all trust\nhost replication all all trust",
    "hostgssenc all all all trust\nhostnogssenc all ann all trust",
    "host all all ::1/128 trust\nhost all all 128.0.0.0/1 trust\nhost all all 64.0.0.0/2 md5",
    "host all ann localhost trust\nhost all all .nowhere.example trust",
    "host all @names all trust\nlocal @names all trust",
    "local all all peer\nhost all all all reject",
    "local all all peer map=ops\nhost all all all scram-sha-256",
    "local all all ident map=none",
    "hostssl all all all trust clientcert=verify-ca\nhost all all all reject",
    "hostssl all all all trust clientcert=verify-full\nhost all all all md5",
    "hostssl all all all cert\nhostnossl all all all trust",
    "hostssl all all all cert map=certs\nhost all all all scram-sha-256",
    "hostssl all all all cert clientname=DN map=names",
    "hostssl all all all scram-sha-256 clientcert=verify-full",
    "",
    "host all nobody all trust \\\n\nhost all carl 127.0.0.1/32 \\\n trust # carl\n",
];

const IDENT: &str = "ops root ann\nops /^ro(.*)$ b\\1b\ncerts ann bob\ncerts /^(a)nn$ \\1nn\nnames \"/^CN=carl,O=Example,CN=ann$\" carl\n";

/// A name with more bytes than names have.
const LONG: &str = "a_role_whose_name_is_longer_than_the_sixty_three_bytes_that_a_name_may_have";

/// A client: how it comes, who it wants to be and where, and what it has with it.
struct Attempt {
    local: bool,
    tls: &'static str,
    user: &'static str,
    database: &'static str,
    password: &'static str,
    certificate: bool,
}

fn attempts() -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let who = [
        ("ann", "shop", "secret1"),
        ("ann", "ann", "wrong"),
        ("bob", "shop", "secret2"),
        ("bob", "staff", "wrong"),
        ("carl", "staff", "secret3"),
        ("carl", "depot", ""),
        ("ghost", "ghost", "secret1"),
        ("locked", "shop", "secret4"),
        // Cut to 63 bytes, as where the role was made.
        (LONG, "shop", "secret5"),
    ];
    for (user, database, password) in who {
        for (local, tls) in [(true, "disable"), (false, "disable"), (false, "require")] {
            attempts.push(Attempt { local, tls, user, database, password, certificate: false });
        }
    }
    for user in ["ann", "bob", "carl"] {
        let (database, password) = ("shop", if user == "ann" { "secret1" } else { "wrong" });
        attempts.push(Attempt { local: false, tls: "require", user, database, password, certificate: true });
    }
    attempts
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output =
            Command::new("openssl").current_dir(self.directory.path()).args(arguments).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A CA, a server's certificate and ann's.
    fn certificates(&self) {
        let key = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        let ca = ["req", "-new", "-x509", "-days", "2", "-subj", "/CN=CA", "-out", "root.crt", "-keyout", "root.key"];
        self.openssl(&[&ca[..], &key].concat());
        std::fs::write(self.path("ext"), "basicConstraints=CA:FALSE\n").expect("a file");
        for (name, subject) in [("server", "/CN=localhost"), ("ann", "/CN=ann/O=Example/CN=carl")] {
            let [file, csr, crt] = ["key", "csr", "crt"].map(|kind| format!("{name}.{kind}"));
            self.openssl(&[&["req", "-new", "-subj", subject, "-out", &csr, "-keyout", &file][..], &key].concat());
            let sign = ["x509", "-req", "-days", "2", "-in", &csr, "-CA", "root.crt", "-CAkey", "root.key"];
            self.openssl(&[&sign[..], &["-CAcreateserial", "-extfile", "ext", "-out", &crt]].concat());
            std::fs::set_permissions(self.path(&file), PermissionsExt::from_mode(0o600)).expect("permissions");
        }
        // Both servers may read a key of root's that is their group's.
        if let Some(user) = User::from_name("postgres").ok().flatten().filter(|_| geteuid().is_root()) {
            chown(self.path("server.key"), None, Some(user.gid.as_raw())).expect("chown");
            std::fs::set_permissions(self.path("server.key"), PermissionsExt::from_mode(0o640)).expect("permissions");
        }
    }

    /// What psql says of an attempt: who it is then, or the server's words.
    fn attempt(&self, server: &Peer, attempt: &Attempt) -> String {
        let host = if attempt.local { server.data.display().to_string() } else { "127.0.0.1".to_owned() };
        let mut connection = format!(
            "host={host} port={} user={} dbname={} sslmode={} gssencmode=disable",
            server.port, attempt.user, attempt.database, attempt.tls
        );
        if !attempt.password.is_empty() {
            connection += &format!(" password={}", attempt.password);
        }
        if attempt.certificate {
            let (crt, key) = (self.path("ann.crt"), self.path("ann.key"));
            connection += &format!(" sslcert={} sslkey={}", crt.display(), key.display());
        } else {
            connection += " sslcert=/nonexistent sslkey=/nonexistent";
        }
        let output = Command::new(postgres_program("psql"))
            .args(["-X", "-At", "-w", "-c", "select current_user, session_user", "-d", &connection])
            .env_remove("PGOPTIONS")
            .env("PGCONNECT_TIMEOUT", "30")
            .stdin(Stdio::null())
            .output()
            .expect("psql");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return text(&output.stdout);
        }
        let told = text(&output.stderr);
        // What is before that names the port.
        told.split_once("failed: ").map_or(told.clone(), |(_, told)| told.to_owned())
    }
}

struct Peer {
    port: u16,
    data: PathBuf,
    pid: Pid,
    owner: (u32, u32),
}

impl Peer {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.data.join(name), text).expect("written");
        chown(self.data.join(name), Some(self.owner.0), Some(self.owner.1)).expect("chown");
    }

    fn of(port: u16, data: &Path, pid: Pid) -> Peer {
        let owner = std::fs::metadata(data).expect("the directory");
        Peer { port, data: data.to_owned(), pid, owner: (owner.uid(), owner.gid()) }
    }

    fn set_up(&self) {
        for statement in SETUP {
            let connection = format!("host={} port={} user=postgres dbname=postgres", self.data.display(), self.port);
            let output = Command::new(postgres_program("psql"))
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &connection])
                .args(["-c", statement])
                .output()
                .expect("psql");
            assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        }
        self.write("pg_ident.conf", IDENT);
        self.write("names", "ann, \"carl\" # two\n");
    }

    fn reload(&self, rules: &str, reloaded: &dyn Fn() -> usize) {
        self.write(
            "pg_hba.conf",
            &format!("local postgres postgres trust\nhost postgres postgres 127.0.0.1/32 trust\n{rules}\n"),
        );
        let before = reloaded();
        kill(self.pid, Signal::SIGHUP).expect("it runs");
        wait_until("the rules are reloaded", || reloaded() > before);
    }
}

const SETUP: &[&str] = &[
    "create role ann login password 'secret1'",
    "create role bob login password 'md502339e8b23c813aff8ec22b527cd9082'",
    "create role carl login password 'secret3'",
    "create role staff role carl",
    "create role locked password 'secret4'",
    "create role a_role_whose_name_is_longer_than_the_sixty_three_bytes_that_a_name_may_have login password 'secret5'",
    "create database shop",
    "create database ann",
    "create database staff",
    "create database depot",
    "create database ghost",
];

/// Lines of the log so far that say that.
fn count(log: &str, words: &str) -> usize {
    log.matches(words).count()
}

#[test]
fn rule_files_let_in_whom_postgresql_lets_in() {
    let directory = tempfile::Builder::new().prefix("pgprefork-rules-").tempdir().expect("a temporary directory");
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
    let place = Place { directory };
    place.certificates();
    let path = |name: &str| place.path(name).display().to_string();
    let (crt, key, ca) = (path("server.crt"), path("server.key"), path("root.crt"));
    let tls = ["ssl=on", &format!("ssl_cert_file={crt}"), &format!("ssl_key_file={key}"), &format!("ssl_ca_file={ca}")];
    let postgresql = PostgreSql::start(&tls);
    let tls = [format!("tls.cert=\"{crt}\""), format!("tls.key=\"{key}\""), format!("tls.client_ca=\"{ca}\"")];
    let arguments: Vec<&str> = tls.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = Server::start(&arguments);
    let peers = [
        Peer::of(postgresql.port, &postgresql.data, postgresql.pid()),
        Peer::of(server.port, &server.data, server.pid()),
    ];
    for peer in &peers {
        peer.set_up();
    }
    let attempts = attempts();
    let (mut made, mut verdicts, mut differences) = (0, HashSet::new(), Vec::new());
    for rules in FILES {
        peers[0].reload(rules, &|| count(&postgresql.log(), "received SIGHUP"));
        peers[1].reload(rules, &|| count(&server.log(), "configuration reloaded"));
        for attempt in &attempts {
            let (theirs, ours) = std::thread::scope(|scope| {
                let theirs = scope.spawn(|| place.attempt(&peers[0], attempt));
                let ours = place.attempt(&peers[1], attempt);
                (theirs.join().expect("an answer"), ours)
            });
            made += 1;
            verdicts.insert(theirs.clone());
            if theirs != ours {
                let Attempt { local, tls, user, database, password, certificate } = attempt;
                differences.push(format!(
                    "{rules}\n  local={local} tls={tls} {user}@{database} {password} certificate={certificate}\n  PostgreSQL: {theirs}\n  here:       {ours}"
                ));
            }
        }
    }
    println!("{made} attempts, {} different verdicts", verdicts.len());
    assert!(differences.is_empty(), "{}\n\n{}", differences.join("\n"), differences.len());
    assert!(made >= ATTEMPTS_MIN && verdicts.len() > 20);
}
