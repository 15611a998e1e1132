//! Kerberos by GSSAPI, against an MIT KDC of the test's own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use pgprefork::protocol::Version;
use pgprefork::protocol::client::ClientEncoder;

use super::support::{PATIENCE, free_port, wait_until};
use super::{Daemon, folder, log_in, reload, run, server};

/// A realm with a KDC, a key for the server, and two people.
struct Realm {
    _daemon: Daemon,
    folder: tempfile::TempDir,
}

const REALM: &str = "EXAMPLE.COM";

impl Realm {
    fn start() -> Realm {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let port = free_port();
        let krb5_conf = format!(
            "[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_realm = false\ndns_lookup_kdc = false\nrdns = false\n\
             dns_canonicalize_hostname = false\n[realms]\n{REALM} = {{\nkdc = 127.0.0.1:{port}\n}}\n"
        );
        fs::write(path("krb5.conf"), krb5_conf).expect("a file");
        let kdc_conf = format!(
            "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n{REALM} = {{\n\
             database_name = {db}\nkey_stash_file = {stash}\nacl_file = {acl}\n}}\n[logging]\nkdc = FILE:{log}\n",
            db = path("principal").display(),
            stash = path("stash").display(),
            acl = path("acl").display(),
            log = path("kdc.log").display()
        );
        fs::write(path("kdc.conf"), kdc_conf).expect("a file");
        let environment = [("KRB5_CONFIG", path("krb5.conf")), ("KRB5_KDC_PROFILE", path("kdc.conf"))];
        let program = |name: &str| {
            let mut command = Command::new(PathBuf::from("/usr/sbin").join(name));
            command.envs(environment.clone());
            command
        };
        run(program("kdb5_util").args(["create", "-s", "-r", REALM, "-P", "master"]));
        let keytab = path("keytab").display().to_string();
        for query in [
            "addprinc -pw secret1 ann".to_owned(),
            "addprinc -pw secret2 bob".to_owned(),
            "addprinc -randkey postgres/localhost".to_owned(),
            format!("ktadd -k {keytab} postgres/localhost"),
        ] {
            run(program("kadmin.local").args(["-r", REALM, "-q", &query]));
        }
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(path("keytab"), open).expect("permissions");
        let daemon = Daemon::start(program("krb5kdc").arg("-n").stdout(Stdio::null()));
        wait_until("the KDC answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Realm { _daemon: daemon, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A ticket for that person; where it lies.
    fn ticket(&self, name: &str, password: &str) -> String {
        let cache = format!("FILE:{}", self.path(&format!("cache-{name}")));
        let file = self.path(&format!("password-{name}"));
        fs::write(&file, format!("{password}\n")).expect("a file");
        let mut command = Command::new("kinit");
        command.env("KRB5_CONFIG", self.path("krb5.conf")).args(["-c", &cache, name]);
        let output = command.stdin(fs::File::open(&file).expect("a file")).output().expect("kinit");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        cache
    }
}

/// A port that leads to the server, for one connection; the kinds of the authentication requests that passed.
fn recorded(server: u16) -> (u16, JoinHandle<Vec<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let recording = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut server = TcpStream::connect(("127.0.0.1", server)).expect("the server");
        let (mut from_client, mut to_server) =
            (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        let (mut requests, mut head) = (Vec::new(), [0; 5]);
        while server.read_exact(&mut head).is_ok() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; length as usize - 4];
            server.read_exact(&mut body).expect("a whole message");
            if head[0] == b'R' {
                requests.push(u32::from_be_bytes(body[..4].try_into().expect("four bytes")));
            }
            let _ = client.write_all(&[&head[..], &body].concat());
        }
        requests
    });
    (port, recording)
}

#[test]
fn tickets_let_their_owners_in() {
    let realm = Realm::start();
    let (krb5_conf, keytab) = (realm.path("krb5.conf"), realm.path("keytab"));
    let rule = |options: &str| format!("host all all 127.0.0.1/32 gss {options}");
    let keyfile = format!("auth.krb_server_keyfile={keytab}");
    let (server, _folder) = server(&rule("include_realm=0"), &["--set", &keyfile], &[("KRB5_CONFIG", &krb5_conf)]);
    let ann = realm.ticket("ann", "secret1");
    let with = |cache: &str, user: &str| {
        let environment = [("KRB5_CONFIG", krb5_conf.as_str()), ("KRB5CCNAME", cache)];
        // The name is what the key is for; the address is where it is.
        log_in(&server, &format!("host=localhost hostaddr=127.0.0.1 user={user} gssencmode=disable"), &environment)
    };
    assert_eq!(with(&ann, "ann").as_deref(), Ok("ann"), "{}", server.log());
    let error = with(&ann, "bob").expect_err("it is Ann's ticket");
    assert!(error.contains("GSSAPI authentication failed for user \"bob\""), "{error}");
    wait_until("the log says why", || {
        server.log().contains("provided user name (bob) and authenticated user name (ann)")
    });
    // The client is told the token by which it knows the server: libpq does not insist on it, other drivers do.
    let (port, requests) = recorded(server.port);
    let environment = [("KRB5_CONFIG", krb5_conf.as_str()), ("KRB5CCNAME", ann.as_str())];
    let target = format!("host=localhost hostaddr=127.0.0.1 port={port} user=ann gssencmode=disable sslmode=disable");
    assert_eq!(log_in(&server, &target, &environment).as_deref(), Ok("ann"));
    assert_eq!(requests.join().expect("a recording"), [7, 8, 0], "GSS, a token, Ok");
    // A client without a ticket gives up by itself.
    assert!(with("FILE:/nonexistent", "ann").is_err());

    reload(&server, &rule("include_realm=1"));
    let error = with(&ann, "ann").expect_err("the realm belongs to the name");
    assert!(error.contains("GSSAPI authentication failed for user \"ann\""), "{error}");
    fs::write(server.data.join("pg_ident.conf"), "people /^(.*)@EXAMPLE\\.COM$ \\1\n").expect("pg_ident.conf");
    reload(&server, &rule("map=people"));
    assert_eq!(with(&ann, "ann").as_deref(), Ok("ann"), "{}", server.log());
    assert!(with(&ann, "bob").is_err());
    reload(&server, &rule("include_realm=0 krb_realm=OTHER.COM"));
    assert!(with(&ann, "ann").is_err());
    wait_until("the log names the realm", || {
        server.log().contains("GSSAPI realm (EXAMPLE.COM) and configured realm (OTHER.COM)")
    });
    reload(&server, &rule("include_realm=0 krb_realm=EXAMPLE.COM"));
    assert_eq!(with(&ann, "ann").as_deref(), Ok("ann"));
    // What is no token.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut bytes = Vec::new();
    let mut client = ClientEncoder::new(&mut bytes);
    client.startup(Version { minor: 0 }, &[("user", "ann"), ("database", "postgres")]);
    client.sasl_response(b"nonsense");
    stream.write_all(&bytes).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("28000") && answer.contains("GSSAPI authentication failed for user \"ann\""), "{answer}");
}
