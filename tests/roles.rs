//! Roles, memberships and SET ROLE: the same statements on a real PostgreSQL and here, and what PostgreSQL 16 and later do
//! differently from the one that is installed, in its documentation's words.

mod support;

use std::process::{Command, Stdio};

use support::postgresql::PostgreSql;
use support::{Server, postgres_program};

/// Statements of one session: who it is at first, and what is run.
type Script = (&'static str, &'static [&'static str]);

/// What both servers answer alike.
const ALIKE: &[Script] = &[
    (
        "postgres",
        &[
            "create role ann login",
            "create role bob login noinherit",
            "create role carl login createrole",
            "create role dora login superuser",
            "create role staff",
            "create role lead in role staff",
            "create role pg_mine",
            "create role none",
            "create role \"public\"",
            "create group band user ann, bob",
            "create role admins admin carl",
            "grant staff to ann",
            "grant staff to bob with admin option",
            "grant staff to nobody",
            "grant nobody to ann",
            "grant staff to staff",
            "grant lead to staff",
            "revoke admin option for staff from ann",
            "grant staff to ann granted by nobody",
            "grant staff to",
            "revoke staff ann",
            "drop role pg_monitor",
            "drop role postgres",
            "drop role if exists nobody",
            "drop role nobody",
            "set role ann; select current_user, session_user, current_setting('is_superuser')",
            "set role ann; create role x",
            "set role nobody",
            "set role 'bob'; show role; reset role; show role; select current_user",
            "set role bob; set role none; select current_user",
            "begin; set local role ann; select current_user; commit; select current_user",
            "begin; set role ann; select current_user; rollback; select current_user",
            "begin; set role ann; savepoint s; set role bob; rollback to s; select current_user; commit; select current_user",
            "set session authorization ann; select current_user, session_user; set role bob",
            "set session authorization ann; reset session authorization; select current_user, session_user",
            "set session authorization bob; set role staff; select current_user, session_user; set session authorization default; select current_user",
            "set session authorization ann; set session authorization carl; select session_user",
            "set role ann; reset all; select current_user",
            "set role ann; discard all; select current_user",
            "create role owners; grant owners to ann",
            "set role ann; create table ann_owns (a int); reset role; select tableowner from pg_tables where tablename = 'ann_owns'",
            "set role bob; drop table ann_owns",
            "alter table ann_owns owner to owners; set role ann; drop table ann_owns; select count(*) from pg_tables where tablename = 'ann_owns'",
            "select pg_has_role('ann', 'staff', 'member'), pg_has_role('bob', 'staff', 'usage'), pg_has_role('bob', 'staff', 'member')",
            "select pg_has_role('carl', 'staff', 'member'), pg_has_role('dora', 'staff', 'usage'), pg_has_role('postgres', 'postgres', 'usage')",
            "select r.rolname, m.rolname, a.admin_option from pg_auth_members a join pg_roles r on r.oid = a.roleid join pg_roles m on m.oid = a.member where r.rolname not like 'pg\\_%' order by 1, 2",
            "select rolname from pg_roles where rolname in ('pg_monitor', 'pg_read_all_data', 'pg_signal_backend', 'pg_checkpoint') order by 1",
            "alter role ann createdb; select rolcreatedb, rolinherit from pg_roles where rolname = 'ann'",
            "alter role ann nocreatedb nologin",
            "alter role ann login",
            "alter role ann rename to postgres",
            "create role deep1; create role deep2 in role deep1; create role deep3 in role deep2; grant deep3 to deep1",
            "select pg_has_role('deep3', 'deep1', 'member'), pg_has_role('deep1', 'deep3', 'member')",
            "drop role deep2; select pg_has_role('deep3', 'deep1', 'member')",
        ],
    ),
    (
        "ann",
        &[
            "select current_user, session_user, current_setting('is_superuser')",
            "set role staff; select current_user",
            "set role lead",
            "set role postgres",
            "set role carl",
            "set session authorization bob",
            "set session authorization ann; select session_user",
            "create role y",
            "create database nothing",
            "drop role bob",
            "select pg_has_role('staff', 'usage'), pg_has_role('carl', 'usage')",
        ],
    ),
    (
        "bob",
        &[
            "set role staff; select current_user, current_setting('is_superuser')",
            "set role staff; create table staff_owns (a int)",
            "select count(*) from pg_stat_activity where query = '<insufficient privilege>' and usename = 'bob'",
        ],
    ),
    (
        "dora",
        &[
            "set role ann; select current_user, session_user, current_setting('is_superuser')",
            "set session authorization carl; select current_user, session_user; reset session authorization; select session_user",
            "create role late superuser",
            "drop role late",
        ],
    ),
];

/// PostgreSQL 16 and later.
const NEWER: &[(&str, &str, &str)] = &[
    (
        "postgres",
        "create role ann login; create role bob login; create role carl login createrole; create role staff",
        "",
    ),
    (
        "postgres",
        "grant staff to ann; grant staff to ann",
        "NOTICE:  role \"ann\" has already been granted membership in role \"staff\" by role \"postgres\"",
    ),
    (
        "postgres",
        "revoke staff from bob",
        "WARNING:  role \"bob\" has not been granted membership in role \"staff\" by role \"postgres\"",
    ),
    ("postgres", "create role quiet; grant quiet to bob with inherit false, set true", ""),
    ("postgres", "create role loud; grant loud to bob with set false", ""),
    (
        "bob",
        "select pg_has_role('quiet', 'usage'), pg_has_role('loud', 'usage'), pg_has_role('quiet', 'set'), pg_has_role('loud', 'set')",
        "f|t|t|f",
    ),
    ("bob", "set role quiet; select current_user", "quiet"),
    ("bob", "set role loud", "ERROR:  42501: permission denied to set role \"loud\""),
    (
        "ann",
        "grant staff to bob",
        "ERROR:  42501: permission denied to grant role \"staff\"|DETAIL:  Only roles with the ADMIN option on role \"staff\" may grant this role.",
    ),
    (
        "carl",
        "grant staff to bob",
        "ERROR:  42501: permission denied to grant role \"staff\"|DETAIL:  Only roles with the ADMIN option on role \"staff\" may grant this role.",
    ),
    ("carl", "create role mine; grant mine to bob; drop role mine", ""),
    ("carl", "create role kept; set role kept", "ERROR:  42501: permission denied to set role \"kept\""),
    ("carl", "alter role kept login; alter role kept rename to held", ""),
    (
        "carl",
        "alter role ann createdb",
        "ERROR:  42501: permission denied to alter role|DETAIL:  Only roles with the CREATEROLE attribute and the ADMIN option on role \"ann\" may alter this role.",
    ),
    (
        "carl",
        "drop role ann",
        "ERROR:  42501: permission denied to drop role|DETAIL:  Only roles with the CREATEROLE attribute and the ADMIN option on role \"ann\" may drop this role.",
    ),
    (
        "postgres",
        "grant staff to ann with admin true; set role ann; grant staff to bob; reset role; revoke staff from ann",
        "ERROR:  2BP01: dependent privileges exist|HINT:  Use CASCADE to revoke them too.",
    ),
    (
        "postgres",
        "revoke admin option for staff from ann cascade; select pg_has_role('bob', 'staff', 'member'), pg_has_role('ann', 'staff', 'member')",
        "f|t",
    ),
    (
        "postgres",
        "revoke inherit option for staff from ann; select inherit_option, set_option from pg_auth_members where roleid = 'staff'::regrole",
        "f|t",
    ),
    ("postgres", "grant pg_checkpoint to ann", ""),
    ("ann", "checkpoint", ""),
    (
        "bob",
        "checkpoint",
        "ERROR:  42501: permission denied to execute CHECKPOINT command|DETAIL:  Only roles with privileges of the \"pg_checkpoint\" role may execute this command.",
    ),
    (
        "bob",
        "select set_config('role', 'postgres', false)",
        "ERROR:  0A000: the setting \"role\" in this place is not supported|HINT:  Use SET ROLE.",
    ),
];

fn run(port: u16, user: &str, statements: &str) -> String {
    let mut command = Command::new(postgres_program("psql"));
    command.args(["-X", "-Atq", "-v", "VERBOSITY=verbose", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", user]);
    command.args(["-d", "postgres"]).args(statements.split("; ").flat_map(|statement| ["-c", statement]));
    let output = command.env_remove("PGOPTIONS").stdin(Stdio::null()).output().expect("psql");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let is_told =
        |line: &&str| !line.starts_with("LOCATION") && !line.starts_with("LINE") && !line.trim_start().starts_with('^');
    let lines: Vec<_> = text.lines().filter(is_told).collect();
    lines.join("|")
}

#[test]
fn roles_are_made_granted_and_assumed_as_in_postgresql() {
    let (postgresql, server) = (PostgreSql::start(&[]), Server::start(&[]));
    for port in [postgresql.port, server.port] {
        run(port, "postgres", "grant create on schema public to public");
    }
    let (mut count, mut differences) = (0, Vec::new());
    for (user, scripts) in ALIKE {
        for script in *scripts {
            count += script.split("; ").count();
            let (theirs, ours) = (run(postgresql.port, user, script), run(server.port, user, script));
            if theirs != ours {
                differences.push(format!("{user}: {script}\n  PostgreSQL: {theirs}\n  here:       {ours}"));
            }
        }
    }
    println!("{count} statements");
    assert!(differences.is_empty(), "{}\n{} of {count}", differences.join("\n"), differences.len());
}

#[test]
fn memberships_have_the_options_of_postgresql_16() {
    let server = Server::start(&[]);
    for (user, statements, expected) in NEWER {
        let told = run(server.port, user, statements);
        let told = told.replace("NOTICE:  00000: ", "NOTICE:  ").replace("WARNING:  01000: ", "WARNING:  ");
        assert_eq!(told, *expected, "{user}: {statements}");
    }
}
