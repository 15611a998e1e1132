//! The process that workers are forked from: what they get of it, and that it may die, stop or be slow at any time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use pgprefork::system::Pid;

use crate::server::{Raw, Server, eventually, is_alive};

pub const TESTS: &[(&str, fn())] = &[
    ("databases_come_and_go_without_end", databases_come_and_go_without_end),
    ("workers_are_forked_from_a_template_and_are_children_of_the_postmaster", workers_are_the_postmasters),
    ("what_a_template_had_cached_is_never_an_answer", what_a_template_had_cached_is_never_an_answer),
    ("workers_of_one_template_draw_different_random_numbers", workers_draw_different_random_numbers),
    ("killing_the_template_costs_nobody_a_session", killing_the_template_costs_nobody_a_session),
    ("a_stopped_template_is_replaced", a_stopped_template_is_replaced),
    ("workers_of_a_template_that_died_are_known", workers_of_a_template_that_died_are_known),
    ("reload_replaces_the_template", reload_replaces_the_template),
    ("plans_are_no_other_sessions_answers", plans_are_no_other_sessions_answers),
    ("every_shutdown_ends_the_template", every_shutdown_ends_the_template),
    ("a_template_that_is_told_to_go_dumps_no_core", a_template_that_is_told_to_go_dumps_no_core),
];

const SQLITE: &str = "engine.kind=sqlite";

/// The process that workers are forked from; none with the null engine.
pub fn template(server: &Server) -> Option<Pid> {
    named(server, "tmpl").into_iter().next()
}

fn named(server: &Server, part: &str) -> Vec<Pid> {
    let name = |pid: &Pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    server.children().into_iter().filter(|pid| name(pid).contains(part)).collect()
}

fn new_template(server: &Server, old: Pid) {
    eventually("there is another template", || template(server).is_some_and(|pid| pid != old));
}

/// All slots are what they seem: nobody is starting, and as many are idle as there are processes.
fn nobody_is_lost(server: &Server) {
    eventually("every slot has its process", || {
        let status = server.status();
        let idle = status["idle"].as_u64().unwrap();
        status["starting"] == 0 && idle > 0 && idle == named(server, "work").len() as u64
    });
}

fn workers_are_the_postmasters() {
    let server = Server::start(&[SQLITE]);
    let template = template(&server).expect("a template");
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let mut client = server.connect();
        let pid = client.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
        assert!(server.children().contains(&Pid::from_raw(pid)));
        assert!(seen.insert(pid), "one session each");
    }
    let forked = std::fs::read_to_string(format!("/proc/{template}/task/{template}/children")).unwrap();
    assert_eq!(forked, "", "the template has no children of its own");
    nobody_is_lost(&server);
}

fn what_a_template_had_cached_is_never_an_answer() {
    let server = Server::start(&[SQLITE]);
    let run = |sql: &str| server.connect().batch_execute(sql).unwrap();
    let number = |sql: &str| server.connect().query_one(sql, &[]).unwrap().get::<_, i64>(0);
    run("create table t(a bigint); insert into t values (1)");
    for round in 1..=20 {
        // By now the plan of this text is the template's, made for the table as it was.
        assert_eq!(number("select a from t"), round);
        run(&format!("drop table t; create table t(b text, a bigint); insert into t values ('x', {round} + 1)"));
        assert_eq!(number("select count(*) from t"), 1);
        run("update t set a = a");
    }
    run("create role someone login");
    let as_someone = format!("{} user=someone", server.parameters().replace("user=postgres", ""));
    let mut client = postgres::Client::connect(&as_someone, postgres::NoTls).unwrap();
    let name: String = client.query_one("select current_user::text", &[]).unwrap().get(0);
    assert_eq!(name, "someone");
    drop(client);
    run("drop role someone");
    assert!(postgres::Client::connect(&as_someone, postgres::NoTls).is_err());
}

fn workers_draw_different_random_numbers() {
    let server = Server::start(&[SQLITE]);
    let sql = "select random()::text";
    let draw = || server.connect().query_one(sql, &[]).unwrap().get::<_, String>(0);
    // The first makes the template know the statement.
    let drawn: HashSet<String> = (0..20).map(|_| draw()).collect();
    assert_eq!(drawn.len(), 20);
}

fn killing_the_template_costs_nobody_a_session() {
    let server = Server::start(&[SQLITE]);
    let mut bystander = server.connect();
    let done = AtomicBool::new(false);
    let killed = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut sessions = 0;
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(server.connect().query_one("select 7", &[]).unwrap().get::<_, i32>(0), 7);
                        sessions += 1;
                    }
                    sessions
                })
            })
            .collect();
        let mut killed = 0;
        while killed < 10 {
            if let Some(pid) = template(&server) {
                let _ = kill(pid, Signal::SIGKILL);
                new_template(&server, pid);
                killed += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        let sessions: u32 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        println!("  {sessions} sessions while the template was killed {killed} times, none lost");
        killed
    });
    assert!(bystander.simple_query("select 1").is_ok());
    drop(bystander);
    nobody_is_lost(&server);
    assert!(server.status()["exits"]["crashed"].as_u64().unwrap() >= killed, "they are counted");
}

fn a_stopped_template_is_replaced() {
    let server = Server::start(&[SQLITE]);
    for _ in 0..3 {
        let stopped = template(&server).expect("a template");
        kill(stopped, Signal::SIGSTOP).unwrap();
        for _ in 0..12 {
            assert!(server.connect().simple_query("select 1").is_ok());
        }
        new_template(&server, stopped);
    }
    nobody_is_lost(&server);
}

fn workers_of_a_template_that_died_are_known() {
    let server = Server::start(&[SQLITE]);
    let mut client = Raw::connect(&server);
    let old = template(&server).expect("a template");
    kill(old, Signal::SIGKILL).unwrap();
    new_template(&server, old);
    assert!(server.children().contains(&client.pid));
    kill(client.pid, Signal::SIGKILL).unwrap();
    eventually("its client notices", || client.query("select 1").is_err());
    nobody_is_lost(&server);
}

fn reload_replaces_the_template() {
    let server = Server::start(&[SQLITE]);
    let old = template(&server).expect("a template");
    server.signal(Signal::SIGHUP);
    new_template(&server, old);
    eventually("the old one is gone", || !is_alive(old));
    assert!(server.connect().simple_query("select 1").is_ok());
    nobody_is_lost(&server);
    assert_eq!(server.status()["exits"]["crashed"], 0);
}

fn every_shutdown_ends_the_template() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Server::start(&[SQLITE]);
        let template = template(&server).expect("a template");
        drop(server.connect());
        server.signal(signal);
        server.wait();
        assert!(!is_alive(template), "{signal}");
    }
}

/// It leaves by an exit, not by the signal, whose default action dumps core.
fn a_template_that_is_told_to_go_dumps_no_core() {
    let server = Server::start(&[SQLITE, "log.level=debug"]);
    let first = template(&server).expect("a template");
    let ended = |pid: Pid| server.log.text().contains(&format!("template {pid} ended: exit code 2"));
    let victim = Raw::connect(&server);
    kill(victim.pid, Signal::SIGSEGV).unwrap();
    eventually("all processes are told to go", || ended(first));
    eventually("the server serves again", || server.try_connect().is_ok());
    // A process that was just forked from a template has its name for a moment.
    let mut second = first;
    eventually("there is one other template", || {
        let named = named(&server, "tmpl");
        second = *named.first().unwrap_or(&first);
        named.len() == 1 && second != first && server.status()["starting"] == 0 && is_alive(second)
    });
    // Workers forked from one that has a handler have their own.
    let mut client = Raw::connect(&server);
    kill(second, Signal::SIGQUIT).unwrap();
    eventually("it goes", || ended(second));
    kill(client.pid, Signal::SIGTERM).unwrap();
    eventually("a worker is told in its own way", || client.query("select 1").is_err());
    assert!(!server.log.text().contains("SIGQUIT"), "{}", server.log.text());
    assert_eq!(server.status()["exits"]["crashed"], 0);
    nobody_is_lost(&server);
}

/// Settings, roles and temporary tables of one session are nothing to the next, in a new process or the same one.
fn plans_are_no_other_sessions_answers() {
    for reused in ["pool.sessions_per_worker=1", "pool.sessions_per_worker=0"] {
        let server = Server::start(&[SQLITE, reused, "pool.min_spare=1"]);
        let ask = |before: &str, sql: &str| {
            let mut client = server.connect();
            client.batch_execute(before).unwrap();
            client.query_one(sql, &[]).unwrap().get::<_, String>(0)
        };
        server
            .connect()
            .batch_execute(
                "create table t(a text); insert into t values ('shared'); \
            create view v as select (date '01/02/2003')::text as a, '01/02/2003' = date '2003-02-01' as b",
            )
            .unwrap();
        for _ in 0..6 {
            for sql in [
                "select (date '01/02/2003')::text",
                "select ('01/02/2003'::date)::text",
                "select (cast('01/02/2003' as date) + 0)::text",
                "select to_char(date '01/02/2003' , 'YYYY-MM-DD')",
            ] {
                assert!(["2003-01-02", "01/02/2003"].contains(&&*ask("", sql)), "{sql}: {}", ask("", sql));
                let day_first = ask("set datestyle = 'ISO, DMY'", sql);
                assert_eq!(day_first, "2003-02-01", "{sql}");
            }
            let sql = "select b::text from v";
            assert_eq!(ask("set datestyle = 'ISO, DMY'", sql), "true");
            assert_eq!(ask("set datestyle = 'ISO, MDY'", sql), "false");
            for sql in [
                "select (timestamptz '2003-01-02 12:00')::text",
                "select extract(epoch from timestamptz '2003-01-02 12:00')::text",
            ] {
                assert_ne!(ask("set timezone = 'UTC'", sql), ask("set timezone = 'America/New_York'", sql), "{sql}");
            }
            assert_eq!(
                ask("create temporary table t(a text); insert into t values ('mine')", "select a from t"),
                "mine"
            );
            assert_eq!(ask("", "select a from t"), "shared");
            assert_eq!(
                ask(
                    "create schema if not exists s; create table if not exists s.t(a text); delete from s.t; \
                insert into s.t values ('schema'); set search_path = s",
                    "select a from t"
                ),
                "schema"
            );
            assert_eq!(ask("", "select a from t"), "shared");
        }
    }
}

/// The segment has room for 64 databases at a time. Idle workers and the template open beforehand the one that was used
/// last, so dropped ones are open in many processes.
fn databases_come_and_go_without_end() {
    for sessions_per_worker in ["pool.sessions_per_worker=1", "pool.sessions_per_worker=0"] {
        let server =
            Server::start(&["engine.kind=sqlite", sessions_per_worker, "pool.min_spare=4", "pool.max_spare=8"]);
        let mut admin = Raw::connect(&server);
        for round in 0..150 {
            let name = format!("d{round}");
            eventually("there is room for a database", || {
                match admin.query(&format!("create database {name}")).unwrap() {
                    None => true,
                    Some(code) => {
                        assert_eq!(code, "54000");
                        false
                    }
                }
            });
            for _ in 0..2 {
                let mut client = Raw::connect_as(&server, "postgres", &name);
                assert_eq!(
                    client.query("create table t (a int); insert into t values (1); drop table t").unwrap(),
                    None
                );
            }
            eventually("nobody is in it any more", || match admin.query(&format!("drop database {name}")).unwrap() {
                None => true,
                Some(code) => {
                    assert_eq!(code, "55006");
                    false
                }
            });
        }
    }
}
