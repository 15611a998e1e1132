//! Tests of the grammar of definitions.

use super::*;
use crate::error::Condition;
use crate::sql::types::Type;

fn parsed(text: &str) -> Definition {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).unwrap_or_else(|| panic!("{text}: not a definition"))
}

#[test]
fn every_statement_of_pgbench_initialisation_is_understood() {
    for text in [
        "drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
        "create table pgbench_history(tid int,bid int,aid    int,delta int,mtime timestamp,filler char(22))",
        "create unlogged table pgbench_tellers(tid int not null,bid int,tbalance int,filler char(84)) with (fillfactor=100)",
        "create table pgbench_accounts(aid    bigint not null,bid int,abalance int,filler char(84)) with (fillfactor=100) tablespace \"pg_default\"",
        "create table pgbench_accounts(aid    int not null,bid int,abalance int,filler char(84)) partition by range (aid)",
        "create table pgbench_accounts_1\n  partition of pgbench_accounts\n  for values from (minvalue) to (50001) with (fillfactor=100)",
        "create table pgbench_accounts_2\n  partition of pgbench_accounts\n  for values with (modulus 2, remainder 0) with (fillfactor=100)",
        "truncate table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
        "truncate pgbench_history",
        "vacuum analyze pgbench_branches",
        "vacuum pgbench_branches",
        "alter table pgbench_accounts add primary key (aid)",
        "alter table pgbench_accounts add primary key (aid) using index tablespace \"pg_default\"",
        "alter table pgbench_tellers add constraint pgbench_tellers_bid_fkey foreign key (bid) references pgbench_branches",
    ] {
        parsed(text);
    }
}

#[test]
fn a_column_keeps_type_modifier_default_and_constraints() {
    let Definition::CreateTable(table) = parsed(
        "CREATE TABLE s.t (id bigserial PRIMARY KEY, \"Name\" varchar(10) NOT NULL DEFAULT 'a, b'::text, n numeric(10,2) CHECK (n > (0)) UNIQUE, p char REFERENCES o(x) ON DELETE CASCADE, CHECK (n < 5))",
    ) else {
        panic!()
    };
    assert_eq!(table.name.schema.as_deref(), Some("s"));
    let id = &table.columns[0];
    assert_eq!((id.type_, id.generated, id.not_null), (Type::Int8, Some(Generated::Serial), true));
    let name = &table.columns[1];
    assert_eq!((name.name.as_str(), name.type_, name.typmod), ("Name", Type::Varchar, 14));
    assert_eq!(name.default.as_deref(), Some("'a, b'::text"));
    assert_eq!(table.columns[2].constraints.len(), 2);
    assert_eq!(table.columns[2].constraints[0].kind, ConstraintClauseKind::Check { expression: "n > (0)".into() });
    assert_eq!(table.columns[3].typmod, 5);
    assert_eq!(table.constraints.len(), 1);
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    let error = parse("create table t (a nosuch)").unwrap_err();
    assert_eq!(error.condition(), Condition::UndefinedObject);
    assert_eq!(error.fields().message, "type \"nosuch\" does not exist");
    assert_eq!(error.fields().position, Some(19));
    let error = parse("create table t (a int,)").unwrap_err();
    assert_eq!((error.fields().message.as_str(), error.fields().position), ("syntax error at or near \")\"", Some(23)));
    let error = parse("drop table").unwrap_err();
    assert_eq!(error.fields().message, "syntax error at end of input");
    assert_eq!(
        parse("create function f() returns int as $$ $$").unwrap_err().condition(),
        Condition::FeatureNotSupported
    );
    assert_eq!(parse("select 1").unwrap(), None);
}

#[test]
fn roles_and_databases_take_their_options() {
    let Definition::CreateRole { name, options, .. } =
        parsed("create user app with password 'x' connection limit 3 nosuperuser valid until '2030-01-01' createdb")
    else {
        panic!()
    };
    assert_eq!((name.as_str(), options.login, options.superuser), ("app", Some(true), Some(false)));
    assert_eq!((options.connection_limit, options.create_database), (Some(3), Some(true)));
    assert_eq!(options.password, Some(Some("x".to_owned())));
    assert!(!format!("{options:?}").contains("\"x\""), "a password must not reach the log");
    parsed("create database d owner app encoding 'UTF8' template template0");
    parsed("drop database if exists d");
    assert_eq!(parse("create role pg_x").unwrap_err().condition(), Condition::ReservedName);
}

#[test]
fn create_table_as_and_views_keep_their_query() {
    let Definition::CreateTableAs(made) = parsed("create temp table t (a, b) as select 1, 2 with no data") else {
        panic!()
    };
    assert_eq!(
        (made.query.as_str(), made.with_data, made.temporary, made.columns.len()),
        ("select 1, 2", false, true, 2)
    );
    let Definition::CreateView(view) = parsed("create or replace view v as select * from t where a in (1, 2);") else {
        panic!()
    };
    assert_eq!(view.query, "select * from t where a in (1, 2)");
}

#[test]
fn settings_are_stored_in_every_form_of_set_that_is_about_one() {
    let set = |name: &str, values: &[&str]| SettingChange::Set {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let cases = [
        ("set work_mem = 65", set("work_mem", &["65"])),
        ("set app.user to 'x'", set("app.user", &["x"])),
        ("set search_path to a, \"B\"", set("search_path", &["a", "B"])),
        ("set time zone -7", set("timezone", &["-7"])),
        ("set time zone local", SettingChange::Reset("timezone".into())),
        ("set names 'utf8'", set("client_encoding", &["utf8"])),
        ("set schema 'x'", set("search_path", &["x"])),
        ("set role 'x'", set("role", &["x"])),
        ("set role = x", set("role", &["x"])),
        ("set role to x", set("role", &["x"])),
        ("set xml option content", set("xmloption", &["CONTENT"])),
        ("set session authorization x", set("session_authorization", &["x"])),
        ("set work_mem to default", SettingChange::Reset("work_mem".into())),
        ("set work_mem from current", SettingChange::Keep("work_mem".into())),
        ("reset work_mem", SettingChange::Reset("work_mem".into())),
        ("reset time zone;", SettingChange::Reset("timezone".into())),
        ("reset all", SettingChange::ResetAll),
    ];
    for (text, expected) in cases {
        for (before, role, database, of_database) in [
            ("alter role ann", Some(RoleName::Named("ann".into())), None, false),
            ("alter user current_role in database d", Some(RoleName::CurrentUser), Some("d"), false),
            ("alter role all", None, None, false),
            ("alter database \"D\"", None, Some("D"), true),
        ] {
            let Definition::AlterSetting { role: of, database: within, is_of_database, change } =
                parsed(&format!("{before} {text}"))
            else {
                panic!("{before} {text}")
            };
            assert_eq!((of, within.as_deref(), is_of_database), (role, database, of_database), "{before} {text}");
            assert_eq!(change, expected, "{before} {text}");
        }
    }
    let error = parse("alter role \u{e4} set work_mem 1").unwrap_err();
    assert_eq!((error.fields().message.as_str(), error.fields().position), ("syntax error at or near \"1\"", Some(27)));
    for text in ["alter role all login", "alter role a set local x = 1", "alter group a set x = 1", "alter role a in d"]
    {
        assert_eq!(parse(text).unwrap_err().condition(), Condition::SyntaxError, "{text}");
    }
}

#[test]
fn options_of_databases_are_read_once_each() {
    let Definition::CreateDatabase { options, .. } = parsed(
        "create database d with owner = ann connection limit 5 is_template on allow_connections = 0 encoding utf8 strategy wal_log",
    ) else {
        panic!()
    };
    let expected = DatabaseOptions {
        owner: Some("ann".into()),
        template: None,
        allow_connections: Some(false),
        connection_limit: Some(5),
        is_template: Some(true),
    };
    assert_eq!(options, expected);
    let drop = |force| Definition::DropDatabase { name: "d".into(), if_exists: false, force };
    assert_eq!((parsed("drop database d"), parsed("drop database d with (force)")), (drop(false), drop(true)));
    let code = |text: &str| parse(text).unwrap_err().condition();
    assert_eq!(code("create database d owner a owner b"), Condition::SyntaxError);
    assert_eq!(code("create database d connection limit -2"), Condition::InvalidParameterValue);
    assert_eq!(code("alter database d connection limit 99999999999"), Condition::SyntaxError);
    assert_eq!(code("create database d encoding latin1"), Condition::FeatureNotSupported);
    assert_eq!(code("create database d encoding latin"), Condition::UndefinedObject);
    assert_eq!(code("create database d oid 16384"), Condition::FeatureNotSupported);
    assert_eq!(code("drop database d with"), Condition::SyntaxError);
}
