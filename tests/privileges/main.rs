//! Privileges on a real PostgreSQL and here: who may do what, statement by statement, with all fields of the answers.
//!
//! The scripts beside this file tell stories of grants, owners and default privileges. The matrix crosses what was
//! granted with how, and with what is tried.

#[path = "../support/mod.rs"]
mod support;

use support::scripts;

fn compare(statements: &[String]) {
    scripts::compare(statements, |_| false);
}

#[test]
fn tables_columns_and_views() {
    compare(&scripts::statements(include_str!("tables.sql")));
}

#[test]
fn schemas_owners_defaults_databases_and_what_belongs_to_a_role() {
    compare(&scripts::statements(include_str!("objects.sql")));
}

#[test]
fn catalogs_functions_and_information_schema_tell_of_privileges() {
    compare(&scripts::statements(include_str!("introspection.sql")));
}

/// What is granted on table `t (a, b, c)`; nothing at first.
const GRANTS: &[&str] = &[
    "",
    "select on t",
    "insert on t",
    "update on t",
    "delete on t",
    "truncate on t",
    "references on t",
    "trigger on t",
    "select, insert on t",
    "select, update on t",
    "select, delete on t",
    "insert, update on t",
    "all on t",
    "select (a) on t",
    "select (a, b) on t",
    "select (a, b, c) on t",
    "insert (a, b) on t",
    "insert (a, b), select (a) on t",
    "update (b) on t",
    "update (b), select (a) on t",
    "update (b), select (a, b) on t",
    "update (b, c), select (a), insert (a, b) on t",
    "delete, select (a) on t",
    "references (a) on t",
    "all (a) on t",
];

/// To whom, so that `ann` has it or not: herself, a role that she inherits, one that she does not, everybody, somebody
/// else.
const GRANTEES: &[&str] = &["ann", "inherited", "not_inherited", "public", "stranger"];

/// What `ann` tries, each in a transaction that is rolled back.
const TRIED: &[&str] = &[
    "select count(*) from t",
    "select a from t order by a",
    "select a, b from t order by a",
    "select * from t order by 1",
    "select count(*) from t where c = 'x'",
    "select a from t order by c",
    "select 1 from t limit 1",
    "select x.a from (select a, c from t) x order by 1",
    "with x as (select a from t) select count(*) from x",
    "select (select max(b) from t)",
    "select 1 where exists (select 1 from t where c = 'x')",
    "select a from t join o using (a) order by 1",
    "select o.d from o join t on t.b = o.d",
    "select * from o natural join t order by 1",
    "select a from t for update",
    "select a from t union select b from t order by 1",
    "select rank() over (order by c) from t order by 1",
    "insert into t values (7, 7, 'z')",
    "insert into t (a, b) values (7, 7)",
    "insert into t (a) values (7)",
    "insert into t default values",
    "insert into t (a, b) values (7, 7) returning a",
    "insert into t (a, b) values (7, 7) returning *",
    "insert into t (a, b) select d + 10, d from o",
    "insert into t (a, b) values (1, 7) on conflict do nothing",
    "insert into t (a, b) values (1, 7) on conflict (a) do nothing",
    "insert into t (a, b) values (1, 7) on conflict (a) do update set b = 8",
    "insert into t (a, b) values (1, 7) on conflict (a) do update set b = excluded.b",
    "insert into t (a, b) values (1, 7) on conflict (a) do update set c = 'q' where t.b > 0",
    "insert into t (a, b) values (1, 7)",
    "insert into t (a, b, c) values (7, null, null)",
    "update t set b = 9",
    "update t set b = b + 1",
    "update t set b = 9 where a = 1",
    "update t set b = 9 where c = 'x'",
    "update t set c = 'q' where a = 1",
    "update t set b = 9 where a = 1 returning a",
    "update t set b = o.d from o where o.a = t.a",
    "update t set (a, b) = (1, 2) where a = 1",
    "delete from t",
    "delete from t where a = 1",
    "delete from t where c = 'x'",
    "delete from t where a = 1 returning b",
    "delete from t using o where o.a = t.a",
    "truncate t",
    "lock table t",
    "copy t to stdout",
    "copy t (a) to stdout",
    "copy (select a from t order by a) to stdout",
    "create temp table r (a int references t (a))",
    "create temp table r as select a from t",
    "create temp view r as select * from t; select count(*) from r",
    "select count(*) from by_ann",
    "select count(*) from by_owner",
    "alter table t add column d int",
    "grant select on t to stranger",
    "revoke select on t from stranger",
    "comment on table t is 'no'",
];

/// Tables, views and roles of the matrix.
const MADE: &str = "create role ann;
create role inherited; create role not_inherited; create role stranger; grant inherited to ann;
create table t (a int primary key, b int not null, c text);
insert into t values (1, 2, 'x'), (2, 3, 'y');
create table o (a int, d int); insert into o values (1, 2); grant select on o to ann;
create view by_ann as select a from t; alter view by_ann owner to ann;
create view by_owner as select a from t; grant select on by_owner to ann;
";

fn matrix(grants: &[&str], tried: &[&str]) -> Vec<String> {
    let mut statements = scripts::statements(MADE);
    for grant in grants {
        let grantees = if grant.is_empty() { &GRANTEES[..1] } else { GRANTEES };
        for grantee in grantees {
            if !grant.is_empty() {
                statements.push(format!("grant {grant} to {grantee}"));
            }
            statements.push("set session authorization ann".to_owned());
            for tried in tried {
                statements.push(format!("begin; {tried}; rollback"));
            }
            statements.push("reset session authorization".to_owned());
            if !grant.is_empty() {
                statements.push(format!("revoke all on t from {grantee}"));
            }
        }
    }
    statements
}

#[test]
fn what_was_granted_on_a_table_and_what_is_tried() {
    compare(&matrix(GRANTS, TRIED));
}

/// The same for a sequence.
#[test]
fn what_was_granted_on_a_sequence_and_what_is_tried() {
    const GRANTS: &[&str] = &["", "usage on sequence s", "select on sequence s", "update on sequence s", "all on s"];
    const TRIED: &[&str] = &[
        "select nextval('s')",
        "select currval('s')",
        "select lastval()",
        "select setval('s', 5)",
        "select setval('s', 5, false)",
        "insert into n (b) values (1) returning a is null",
        "alter sequence s restart",
        "drop sequence s",
    ];
    let mut statements = scripts::statements(MADE);
    statements
        .push("create sequence s; create table n (a int default nextval('s'), b int); grant all on n to ann".into());
    statements.push("alter table t rename to unused; alter sequence s owned by none; create table t (a int)".into());
    let crossed = matrix(GRANTS, TRIED);
    let made = scripts::statements(MADE).len();
    statements.extend(
        crossed
            .into_iter()
            .skip(made)
            .map(|statement| statement.replace("revoke all on t from", "revoke all on s from")),
    );
    compare(&statements);
}
