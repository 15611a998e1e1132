//! What pgbench, psql and drivers send: which parser takes it, and what comes out.

use super::*;
use crate::error::Condition;
use crate::sql::plan::{Direction, Isolation, Modes};

fn utility(text: &str) -> Utility {
    match super::super::parse(text) {
        Ok(Statement::Utility(utility)) => utility,
        other => panic!("{text}: {other:?}"),
    }
}

fn session(text: &str) -> SessionCommand {
    match utility(text) {
        Utility::Session(command, _) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn transaction(text: &str) -> (Transaction, &'static str) {
    match utility(text) {
        Utility::Transaction(transaction, tag) => (transaction, tag),
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> (Condition, String) {
    let error = super::super::parse(text).expect_err(text);
    (error.condition(), error.fields().message.clone())
}

#[test]
fn pgbench_is_parsed_whole() {
    for text in [
        "UPDATE pgbench_accounts SET abalance = abalance + -4906 WHERE aid = 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)",
        "insert into pgbench_accounts(aid,bid,abalance,filler) select aid, (aid - 1) / 100000 + 1, 0, '' \
         from generate_series(1, 100000) as aid",
        "select count(*) from pgbench_branches",
        "SELECT relkind FROM pg_catalog.pg_class WHERE oid=$1::pg_catalog.regclass",
        "select o.n, p.partstrat, pg_catalog.count(i.inhparent) from pg_catalog.pg_class as c \
         join pg_catalog.pg_namespace as n on (n.oid = c.relnamespace) cross join lateral \
         (select pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n) \
         left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) \
         left join pg_catalog.pg_inherits as i on (c.oid = i.inhparent) \
         where c.relname = 'pgbench_accounts' and o.n is not null group by 1, 2 order by 1 asc limit 1",
        "SELECT n.nspname FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' \
         COLLATE pg_catalog.default AND c.relkind IN ('r','p','') ORDER BY 1,2",
    ] {
        assert!(matches!(super::super::parse(text), Ok(Statement::Sql(..))), "{text}: {:?}", super::super::parse(text));
    }
    for text in [
        "drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
        "create table pgbench_accounts(aid    int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)",
        "create table pgbench_accounts_1\n  partition of pgbench_accounts\n  for values from (minvalue) to (50001) \
         with (fillfactor=100)",
        "vacuum analyze pgbench_branches",
        "truncate table pgbench_accounts, pgbench_branches",
        "alter table pgbench_branches add primary key (bid)",
    ] {
        assert!(matches!(super::super::parse(text), Ok(Statement::Define(_))), "{text}");
    }
}

#[test]
fn transactions_and_their_modes() {
    let none = Modes::default();
    assert_eq!(transaction("BEGIN"), (Transaction::Begin(none), "BEGIN"));
    assert_eq!(transaction("end;".trim_end_matches(';')), (Transaction::Commit(false), "COMMIT"));
    assert_eq!(transaction("abort work and chain"), (Transaction::Rollback(true), "ROLLBACK"));
    assert_eq!(transaction("rollback to a"), (Transaction::RollbackTo("a".into()), "ROLLBACK"));
    assert_eq!(transaction("release savepoint \"A\""), (Transaction::Release("A".into()), "RELEASE"));
    assert_eq!(transaction("release savepoint"), (Transaction::Release("savepoint".into()), "RELEASE"));
    let modes = Modes { isolation: Some(Isolation::Serializable), read_only: Some(true), deferrable: Some(false) };
    let text = "start transaction isolation level serializable, read only not deferrable";
    assert_eq!(transaction(text), (Transaction::Begin(modes), "START TRANSACTION"));
    assert_eq!(refused("begin isolation level none").0, Condition::SyntaxError);
}

#[test]
fn settings_in_every_spelling() {
    let set = |local, name: &str, values: Option<&[&str]>| SessionCommand::Set {
        local,
        name: name.into(),
        values: values.map(|values| values.iter().map(|value| (*value).to_owned()).collect()),
    };
    assert_eq!(session("SET search_path TO a, 'B'"), set(false, "search_path", Some(&["a", "B"])));
    assert_eq!(session("set local x.y = -1.5"), set(true, "x.y", Some(&["-1.5"])));
    assert_eq!(session("set time zone 'UTC'"), set(false, "timezone", Some(&["UTC"])));
    assert_eq!(session("set session work_mem = default"), set(false, "work_mem", None));
    assert_eq!(session("SHOW TIME ZONE"), SessionCommand::Show("timezone".into()));
    assert_eq!(session("show transaction isolation level"), SessionCommand::Show("transaction_isolation".into()));
    assert_eq!(session("reset all"), SessionCommand::ResetAll);
}

#[test]
fn prepared_statements_and_cursors() {
    assert_eq!(
        session("prepare p (int, numeric(10,2), text[]) as select $1"),
        SessionCommand::Prepare { name: "p".into(), types: vec![23, 1700, 1009], text: "select $1".into() }
    );
    assert_eq!(
        session("execute p (1, f(2, 3), 'a,b')"),
        SessionCommand::Execute { name: "p".into(), arguments: vec!["1".into(), "f(2, 3)".into(), "'a,b'".into()] }
    );
    let fetch = |text: &str| match session(text) {
        SessionCommand::Fetch { direction, cursor, .. } => (direction, cursor),
        other => panic!("{other:?}"),
    };
    assert_eq!(fetch("fetch next"), (Direction::Forward(1), "next".into()));
    assert_eq!(fetch("fetch 10 from c"), (Direction::Forward(10), "c".into()));
    assert_eq!(fetch("fetch backward all in c"), (Direction::BackwardAll, "c".into()));
    assert_eq!(fetch("move absolute -1 c"), (Direction::Absolute(-1), "c".into()));
    assert_eq!(
        session("declare c scroll cursor with hold for select 1"),
        SessionCommand::Declare { name: "c".into(), scroll: Some(true), hold: true, text: "select 1".into() }
    );
}

#[test]
fn copy_in_both_syntaxes() {
    let copy = |text: &str| match utility(text) {
        Utility::Copy(copy) => *copy,
        other => panic!("{other:?}"),
    };
    let found = copy("copy pgbench_accounts from stdin with (freeze on)");
    assert!(found.from);
    assert_eq!(found.options.first().map(|(name, value, _)| (name.as_str(), value.clone())), {
        Some(("freeze", CopyValue::Text("on".into())))
    });
    let found = copy("copy s.t (a, b) to stdout csv header delimiter ';'");
    assert_eq!(found.options.len(), 3);
    assert!(matches!(copy("copy (select 1, (2)) to stdout").source, CopySource::Query(_)));
    assert_eq!(refused("copy t from '/etc/passwd'").0, Condition::FeatureNotSupported);
    assert_eq!(refused("copy t from program 'x'").0, Condition::FeatureNotSupported);
    assert_eq!(refused("copy (select 1) from stdin").0, Condition::SyntaxError);
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    for (text, message) in [
        ("listen x", "LISTEN is not supported"),
        ("do $$begin end$$", "DO is not supported"),
        ("prepare transaction 'x'", "PREPARE TRANSACTION is not supported"),
    ] {
        assert_eq!(refused(text), (Condition::FeatureNotSupported, message.to_owned()));
    }
    assert_eq!(refused("explain analyze select 1").0, Condition::FeatureNotSupported);
    assert!(matches!(utility("explain (costs off) select 1"), Utility::Explain(_)));
}
