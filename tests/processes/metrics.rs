//! What the exporter serves, read by a parser that is not ours and held against promtool's rules.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use pgprefork::system::Pid;
use prometheus_parse::{Scrape, Value};

use crate::server::{Server, eventually, free_port, is_alive};

pub const TESTS: &[(&str, fn())] = &[
    ("metrics_are_what_prometheus_reads", metrics_are_what_prometheus_reads),
    ("metrics_move_with_what_happens", metrics_move_with_what_happens),
    ("scrapers_that_misbehave_are_in_nobodys_way", scrapers_that_misbehave_are_in_nobodys_way),
    ("an_exporter_that_is_killed_comes_back", an_exporter_that_is_killed_comes_back),
    ("a_port_for_metrics_that_is_taken_is_named", a_port_for_metrics_that_is_taken_is_named),
];

fn start(settings: &[&str]) -> (Server, u16) {
    let port = free_port();
    let listen = format!("metrics.listen=127.0.0.1:{port}");
    (Server::start(&[settings, &[listen.as_str()]].concat()), port)
}

/// Status line and body.
fn ask(port: u16, request: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

fn page(port: u16) -> String {
    let (status, body) = ask(port, "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    body
}

fn scrape(port: u16) -> Scrape {
    Scrape::parse(page(port).lines().map(|line| Ok(line.to_owned()))).unwrap()
}

fn figure(port: u16, name: &str, label: Option<(&str, &str)>) -> f64 {
    let scrape = scrape(port);
    let fits = |sample: &&prometheus_parse::Sample| {
        sample.metric == name && label.is_none_or(|(name, value)| sample.labels.get(name) == Some(value))
    };
    match scrape.samples.iter().find(fits).map(|sample| &sample.value) {
        Some(Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value)) => *value,
        other => panic!("{name}: {other:?}"),
    }
}

/// The rules of promtool's linter, and of the format.
fn metrics_are_what_prometheus_reads() {
    let (server, port) = start(&["engine.kind=sqlite"]);
    server.connect().simple_query("select 1").unwrap();
    let text = page(port);
    let (mut types, mut helps, mut series) = (BTreeMap::new(), HashSet::new(), HashSet::new());
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => assert!(types.insert(name, kind).is_none(), "TYPE of {name} twice"),
            ["#", "HELP", name, help] => {
                assert!(helps.insert(name) && !help.is_empty(), "HELP of {name}");
            }
            _ => assert!(series.insert(line.rsplit_once(' ').unwrap().0), "twice: {line}"),
        }
    }
    assert_eq!(types.keys().copied().collect::<HashSet<_>>(), helps, "each with both");
    for (name, kind) in &types {
        assert!(name.starts_with("pgprefork_"));
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        let units = ["milliseconds", "_ms", "microseconds", "_us", "minutes", "kilobytes", "_kb"];
        assert!(!units.iter().any(|unit| name.ends_with(unit)), "{name}: seconds and bytes");
        assert!(!["gauge", "counter", "histogram"].iter().any(|kind| name.contains(kind)), "{name} names its type");
    }
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut histograms = 0;
    for sample in &scrape.samples {
        let kind = types.get(sample.metric.as_str()).copied();
        match &sample.value {
            Value::Counter(value) => assert!(kind == Some("counter") && *value >= 0.0),
            Value::Gauge(_) => assert_eq!(kind, Some("gauge")),
            Value::Histogram(buckets) => {
                assert_eq!(kind, Some("histogram"));
                histograms += 1;
                let rising =
                    buckets.windows(2).all(|two| two[0].less_than < two[1].less_than && two[0].count <= two[1].count);
                assert!(rising && buckets.last().unwrap().less_than.is_infinite(), "{buckets:?}");
                let all = format!(
                    "{}_count{{phase=\"{}\"}} {}",
                    sample.metric,
                    sample.labels.get("phase").unwrap(),
                    buckets.last().unwrap().count
                );
                assert!(text.lines().any(|line| line == all), "{all}");
            }
            // The parser knows a histogram's sum and count by their names' endings only.
            Value::Untyped(_) => {
                let base = sample.metric.trim_end_matches("_sum").trim_end_matches("_count");
                assert_eq!(types.get(base).copied(), Some("histogram"), "{}", sample.metric);
            }
            Value::Summary(_) => panic!("{}", sample.metric),
        }
    }
    assert_eq!(histograms, 8);
}

fn metrics_move_with_what_happens() {
    let (server, port) = start(&["pool.max_sessions=7"]);
    assert_eq!(figure(port, "pgprefork_max_sessions", None) as u32, 7);
    let before = figure(port, "pgprefork_sessions_total", None);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    assert!(clients.iter_mut().all(|client| client.simple_query("select 1").is_ok()));
    assert_eq!((figure(port, "pgprefork_sessions_total", None) - before) as u32, 3);
    assert_eq!(figure(port, "pgprefork_workers", Some(("state", "serving"))) as u32, 3);
    drop(clients);
    eventually("they are recycled", || {
        figure(port, "pgprefork_worker_exits_total", Some(("reason", "recycled"))) as u32 == 3
    });
    assert_eq!(figure(port, "pgprefork_workers", Some(("state", "serving"))) as u32, 0);
}

fn scrapers_that_misbehave_are_in_nobodys_way() {
    let (server, port) = start(&[]);
    // As many as it takes at a time, less one: all silent.
    let silent: Vec<_> = (0..15).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("DELETE /metrics HTTP/1.1\r\n\r\n", "405"),
        ("\0\u{1}\r\n\r\n", "400"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "200"),
    ] {
        let (line, _) = ask(port, request).unwrap();
        assert_eq!(line.split(' ').nth(1), Some(status), "{request:?}");
    }
    let mut endless = TcpStream::connect(("127.0.0.1", port)).unwrap();
    endless.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    // More than the kernel keeps for a reader who is slow.
    let written = (0..100_000).take_while(|_| endless.write_all(&[b'x'; 1024]).is_ok()).count();
    assert!(written < 100_000, "nobody stopped it");
    let half = TcpStream::connect(("127.0.0.1", port)).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    // One who has said all, and reads.
    let mut asked = TcpStream::connect(("127.0.0.1", port)).unwrap();
    asked.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    asked.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    asked.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(page(port).contains("pgprefork_build_info"));
    // And when all places are taken by the silent, others wait until those are given up.
    let more: Vec<_> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert!(page(port).contains("pgprefork_build_info"));
    drop((silent, more));
    assert!(server.connect().simple_query("select 1").is_ok());
}

fn exporter(server: &Server) -> Option<Pid> {
    let is_exporter =
        |pid: &Pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("expo"));
    server.children().into_iter().find(is_exporter)
}

fn an_exporter_that_is_killed_comes_back() {
    let (mut server, port) = start(&[]);
    let mut client = server.connect();
    let first = exporter(&server).expect("an exporter");
    kill(first, Signal::SIGKILL).unwrap();
    eventually("there is another", || exporter(&server).is_some_and(|pid| pid != first));
    assert!(page(port).contains("pgprefork_workers{state=\"serving\"} 1"));
    assert!(client.simple_query("select 1").is_ok());
    drop(client);
    let second = exporter(&server).expect("an exporter");
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait(), Some(0));
    assert!(!is_alive(second));
}

fn a_port_for_metrics_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = crate::server::directory();
    let listen = format!("metrics.listen=127.0.0.1:{port}");
    let failed = Server::start_on(&directory.path().join("data"), free_port(), &[&listen]);
    let error = failed.err().expect("it is refused");
    assert!(
        error.contains(&format!("port {port} on 127.0.0.1 is in use: choose another for metrics.listen")),
        "{error}"
    );
}
