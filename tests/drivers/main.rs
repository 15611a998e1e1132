//! Drivers as their users run them. Over TLS: psycopg 3 with a libpq of its own, and JDBC, which has its own TLS. Through the
//! relay: these and node-postgres.
//!
//! tests/run installs psycopg into target/psycopg, node-postgres into target/node-drivers, JDBC from Debian's packages.

#[path = "../support/mod.rs"]
mod support;

mod same;

use std::path::Path;
use std::process::{Command, Stdio};

use support::Server;
use support::certificates::{Place, openssl};

/// A server with a password for Ann, whose certificate it knows, and rules for each way in.
fn server(place: &Place) -> Server {
    place.ca("other");
    place.signed("ann", "root", "/O=Example/CN=ann", "extendedKeyUsage=clientAuth");
    place.signed("eve", "other", "/CN=ann", "extendedKeyUsage=clientAuth");
    for name in ["ann", "eve"] {
        let [key, der] = ["key", "pk8"].map(|kind| place.path(&format!("{name}.{kind}")));
        openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", &key, "-out", &der]);
    }
    let rules = "host all postgres 127.0.0.1/32 trust\nhostssl certs all 127.0.0.1/32 cert\n\
                 hostssl pair all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n\
                 hostssl all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(place.data().join("pg_hba.conf"), rules).expect("pg_hba.conf");
    let server = place.start(&[]);
    server.query("create role ann login password 'secret'");
    server.query("create role bob login password 'secret'");
    for database in ["certs", "pair"] {
        server.query(&format!("create database {database}"));
    }
    server
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned());
    assert!(output.status.success(), "{command:?}: {err}");
    out
}

#[track_caller]
fn assert_refused(answer: &str, code: &str, why: &str) {
    assert!(answer.starts_with(&format!("refused {code}")) && answer.contains(why), "{answer}");
}

#[test]
fn psycopg() {
    let place = Place::new("trust");
    let server = server(&place);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/psycopg/bin/python");
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    let session = |parameters: &str| {
        let parameters = parameters.replace("{}", &place.directory.path().display().to_string());
        let target = format!("host=localhost hostaddr=127.0.0.1 port={} sslmode=verify-full {parameters}", server.port);
        output(Command::new(&python).arg(root.join("tests/drivers/session.py")).arg(target).env("HOME", "/nowhere"))
    };
    let good = "dbname=postgres user=ann password=secret sslrootcert={}/root.crt";
    let certificate = |name: &str| format!("sslcert={{}}/{name}.crt sslkey={{}}/{name}.key");
    let bound = "channel_binding=require require_auth=scram-sha-256";
    assert_eq!(session(&format!("{good} {bound}")), "session ann TLSv1.3 None");
    assert_eq!(session(&format!("{good} {bound} ssl_max_protocol_version=TLSv1.2")), "session ann TLSv1.2 None");
    assert_eq!(session(&format!("{good} {bound} sslnegotiation=direct")), "session ann TLSv1.3 None");
    let wrong = session(&format!("{good} password=wrong"));
    assert_refused(&wrong, "None", "password authentication failed for user \"ann\"");
    assert_refused(&session(&format!("{good} sslrootcert={{}}/other.crt")), "None", "certificate verify failed");
    assert_refused(&session(&format!("{good} host=example.org")), "None", "does not match host name");
    let plain = session(&format!("{good} sslmode=disable"));
    assert_refused(&plain, "None", "no pg_hba.conf entry for host \"127.0.0.1\", user \"ann\"");

    let by_certificate = format!("{good} dbname=certs {}", certificate("ann"));
    assert_eq!(session(&by_certificate), "session ann TLSv1.3 /O=Example/CN=ann");
    let bob = session(&format!("{by_certificate} user=bob"));
    assert_refused(&bob, "None", "certificate authentication failed for user \"bob\"");
    let none = "connection requires a valid client certificate";
    assert_refused(&session(&format!("{good} dbname=certs")), "None", none);
    assert_refused(&session(&format!("{good} dbname=certs {}", certificate("eve"))), "None", "unknown ca");
    let both = format!("{good} dbname=pair {bound} {}", certificate("ann"));
    assert_eq!(session(&both), "session ann TLSv1.3 /O=Example/CN=ann");
    assert_refused(&session(&format!("{both} user=bob")), "None", "password authentication failed for user \"bob\"");
    assert_refused(&session(&format!("{both} password=wrong")), "None", "password authentication failed");
}

#[test]
fn jdbc() {
    let place = Place::new("trust");
    let server = server(&place);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let classes = place.path("classes");
    let jar = "/usr/share/java/postgresql.jar";
    let source = root.join("tests/drivers/Session.java");
    output(Command::new("javac").args(["-encoding", "UTF-8", "-cp", jar, "-d", &classes]).arg(source));
    let session = |database: &str, parameters: &str| {
        let parameters = parameters.replace("{}", &place.directory.path().display().to_string());
        let url = format!("jdbc:postgresql://localhost:{}/{database}?sslmode=verify-full&{parameters}", server.port);
        output(Command::new("java").args(["-cp", &format!("{classes}:{jar}"), "Session", &url]))
    };
    let good = "user=ann&password=secret&sslrootcert={}/root.crt";
    let certificate = |name: &str| format!("sslcert={{}}/{name}.crt&sslkey={{}}/{name}.pk8");
    assert_eq!(session("postgres", good), "session ann TLSv1.3 None");
    let wrong = session("postgres", &good.replace("secret", "wrong"));
    assert_refused(&wrong, "28P01", "password authentication failed for user \"ann\"");
    assert_refused(&session("postgres", &good.replace("root.crt", "other.crt")), "08006", "PKIX path building failed");
    let by_certificate = format!("{good}&{}", certificate("ann"));
    assert_eq!(session("certs", &by_certificate), "session ann TLSv1.3 /O=Example/CN=ann");
    assert_eq!(session("pair", &by_certificate), "session ann TLSv1.3 /O=Example/CN=ann");
    let bob = session("certs", &by_certificate.replace("user=ann", "user=bob"));
    assert_refused(&bob, "28000", "certificate authentication failed for user \"bob\"");
    assert_refused(&session("certs", good), "28000", "connection requires a valid client certificate");
}
