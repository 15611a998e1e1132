//! Settings stored for roles and databases, and the options of databases: the same statements on a real PostgreSQL and here.

mod support;

use std::process::{Command, Stdio};

use support::postgresql::PostgreSql;
use support::{Server, postgres_program};

/// Statements of one session: its role, its database, and what is run.
type Script = (&'static str, &'static str, &'static [&'static str]);

/// What both servers answer alike; each text is a session of its own, whose statements are between semicolons.
const ALIKE: &[Script] = &[
    (
        "postgres",
        "postgres",
        &[
            "create role ann login; create role bob login; create role dora login superuser; create role staff; create role own login createdb; create role own2 login",
            "create database shop owner own; create database other owner own2; create role grp; grant grp to own",
            // What may be stored.
            "alter role ann set work_mem = '8MB'; alter user ann set WORK_MEM to 9000; alter role ann set search_path = a, \"B c\", 'd'",
            "alter role ann set time zone 'Europe/Berlin'; alter role ann set datestyle = german; alter role ann set intervalstyle to iso_8601",
            "alter role ann set names 'utf8'; alter role ann set xml option document; alter role ann set app.level = 7; alter role ann set log_statement = 'ddl'",
            "select * from pg_db_role_setting s where setrole = 1; select setconfig from pg_db_role_setting where setrole = (select oid from pg_roles where rolname = 'ann')",
            "alter role ann set datestyle = 'iso, dmy'; select rolconfig from pg_roles where rolname = 'ann'; select useconfig from pg_user where usename = 'ann'",
            "alter role ann set app.level = 1, 2",
            "alter role ann set nothing = 1",
            "alter role ann set work_mem = 'much'",
            "alter role ann set enable_seqscan = perhaps",
            "alter role ann set server_version = '1'",
            "alter role ann set is_superuser = on",
            "alter role ann set port = 1",
            "alter role ann set ssl = on",
            "alter role ann set transaction isolation level serializable",
            "alter role ann set session characteristics as transaction read only",
            "alter role ann set local work_mem = 1",
            "alter role ann set work_mem",
            "alter role ann set work_mem =",
            "alter role ann reset",
            "alter role ann reset nothing",
            "alter role staff reset nothing",
            "alter role ann set work_mem from current; alter role ann set nothing from current",
            "alter group ann set work_mem = '1MB'",
            "alter role nobody set work_mem = '1MB'",
            "alter role none set work_mem = '1MB'",
            "alter role public set work_mem = '1MB'",
            "alter role pg_monitor set work_mem = '1MB'",
            "alter role ann in database nowhere set work_mem = '1MB'",
            "alter database nowhere set work_mem = '1MB'",
            "alter database shop set nothing = 1",
            "alter database shop set tablespace = 1",
            "alter role ann set role = nobody",
            "alter role ann set role = staff; alter role ann reset role",
            "set work_mem = '32MB'; alter role bob set work_mem from current; select rolconfig from pg_roles where rolname = 'bob'; alter role bob reset all; select rolconfig from pg_roles where rolname = 'bob'",
            "begin; alter role bob set work_mem = '2MB'; select rolconfig from pg_roles where rolname = 'bob'; rollback; select rolconfig from pg_roles where rolname = 'bob'",
            "begin; alter database other set work_mem = '2MB'; commit; alter database other reset work_mem; select count(*) from pg_db_role_setting where setdatabase > 0",
            "alter role session_user set work_mem = '2MB'; alter role current_role reset work_mem; select rolconfig from pg_roles where rolname = 'postgres'",
            // Values and their spelling.
            "alter role own2 set search_path = ''; alter role own2 set search_path to \"$user\", public; alter role own2 set datestyle = 'iso', 'dmy'",
            "alter role own2 set application_name = 'über'; alter role own2 set extra_float_digits = -3.7; alter role own2 set random_page_cost to +2; alter role own2 set enable_seqscan = t",
            "alter role own2 set statement_timeout = 1500000.5; alter role own2 set synchronous_commit = false; alter role own2 set role = 'none'; alter role own2 set time zone 3.5",
            "alter role own2 set app.x.y = 1; alter role own2 set app.arr = '{1,2}'; alter role own2 set app.back = 'a\\b\"c'; alter role own2 set app.empty = ''; alter role own2 set app.nll = 'null'",
            "select rolconfig from pg_roles where rolname = 'own2'",
            "alter role own2 set names; alter role own2 set names default; alter role own2 reset time zone; alter role own2 reset session authorization; alter role own2 reset app.empty; alter role own2 reset app.other",
            "alter role own2 set work_mem = 1",
            "alter role own2 set datestyle = iso, foo",
            "alter role own2 set timezone = 'Nowhere/Else'",
            "alter role own2 set \"a b.c\" = 1",
            "alter role own2 set a..b = 1",
            "alter role own2 set work_mem '1MB'",
            "alter role own2 set work_mem = '1MB' set lock_timeout = 1",
            "alter role own2 with set work_mem = 1",
            "alter role own2 in role own",
            "alter role own, own2 set work_mem = 1",
            "alter role all",
            "alter role all reset",
            // One of each kind, for the sessions below.
            "alter role all set work_mem = '1MB'; alter role all set statement_timeout = '10min'; alter role all set lock_timeout = '11min'; alter role all set idle_session_timeout = '12min'",
            "alter database shop set work_mem = '2MB'; alter database shop set statement_timeout = '20min'; alter role all in database shop set lock_timeout = '21min'",
            "alter role bob set work_mem = '3MB'; alter role bob set statement_timeout = '30min'",
            "alter role bob in database shop set work_mem = '4MB'",
            "select coalesce(r.rolname, ''), coalesce(d.datname, ''), setconfig from pg_db_role_setting s left join pg_roles r on r.oid = setrole left join pg_database d on d.oid = setdatabase order by 1, 2",
            "\\drds",
            "\\drds bob",
            "\\drds bob shop",
            "\\du bob",
            "select name, setting from pg_settings where source = 'user'",
        ],
    ),
    (
        "ann",
        "postgres",
        &[SHOWN, "show search_path; show timezone; show datestyle; show xmloption; show app.level; show log_statement"],
    ),
    (
        "own2",
        "postgres",
        &[
            "show search_path; show datestyle; show application_name; show random_page_cost; show app.arr; show app.back; show app.nll; show role; alter role own2 reset all",
        ],
    ),
    ("postgres", "postgres", &["alter role own2 reset all"]),
    ("ann", "shop", &[SHOWN]),
    ("bob", "postgres", &[SHOWN]),
    (
        "bob",
        "shop",
        &[
            SHOWN,
            "show work_mem; set work_mem = '40MB'; select setting, source, reset_val from pg_settings where name = 'work_mem'; reset work_mem; show work_mem",
            "set work_mem = '40MB'; reset all; show work_mem; show statement_timeout; set statement_timeout = 0; discard all; show statement_timeout",
            "begin; set local work_mem = '40MB'; show work_mem; rollback; show work_mem; select set_config('work_mem', '50MB', false); set work_mem to default; show work_mem",
        ],
    ),
    (
        "ann",
        "postgres",
        &[
            // Who may.
            "alter role ann set work_mem = '5MB'; alter role current_user set lock_timeout = '1s'; alter role ann in database shop set work_mem = '6MB'",
            "alter role ann set log_statement = 'all'",
            "alter role ann set app.level = 1",
            "alter role ann reset log_statement",
            "alter role dora set work_mem = '1MB'",
            "alter role all set work_mem = '1MB'",
            "alter role all in database shop set work_mem = '1MB'",
            "alter database shop set work_mem = '1MB'",
            "alter database shop reset all",
            "alter role ann set role = bob",
            "alter role ann reset role; alter role ann reset all; select rolconfig from pg_roles where rolname = 'ann'",
        ],
    ),
    (
        "own",
        "postgres",
        &[
            "alter database shop set lock_timeout = '7s'; alter role all in database shop reset lock_timeout",
            "alter database shop set log_statement = 'all'",
        ],
    ),
    (
        "postgres",
        "postgres",
        &[
            "alter role all reset all; alter role bob reset all; alter role ann reset all; alter role bob in database shop reset all; alter role ann in database shop reset work_mem; alter database shop reset all; select * from pg_db_role_setting",
            "alter role ann set role = staff; grant staff to ann; alter role dora set role = staff",
        ],
    ),
    // A session that begins as another role.
    (
        "ann",
        "postgres",
        &[
            "select current_user, session_user, current_setting('is_superuser'); show role",
            "set role none; select current_user; reset role; select current_user; set role ann; select current_user; reset all; select current_user; discard all; select current_user",
            "set session authorization ann; select current_user; reset session authorization; select current_user",
            "begin; set role none; select current_user; rollback; select current_user",
        ],
    ),
    (
        "dora",
        "postgres",
        &[
            "select current_user, current_setting('is_superuser'); set log_statement = 'all'; reset role; set role none; set log_statement = 'all'; show log_statement; show is_superuser",
        ],
    ),
    (
        "dora",
        "postgres",
        &[
            "set session authorization bob; select current_user; reset session authorization; select current_user; show is_superuser",
        ],
    ),
    ("postgres", "postgres", &["revoke staff from ann; alter database shop set role = 'own'"]),
    // What is stored is what happens.
    (
        "postgres",
        "postgres",
        &[
            "alter role own2 set default_transaction_read_only = on; alter role own2 set statement_timeout = '3s'; alter role own2 set client_min_messages = error; alter role own2 set role = nobody",
        ],
    ),
    (
        "own2",
        "postgres",
        &["create table x (a int)", "select pg_sleep(60)", "select current_user; reset client_min_messages"],
    ),
    ("postgres", "postgres", &["alter role own2 reset all"]),
    // What is no longer good is a warning.
    ("ann", "postgres", &["select current_user"]),
    ("bob", "shop", &["select current_user"]),
    ("own", "shop", &["select current_user"]),
    ("postgres", "postgres", &["alter role dora reset role; drop role staff"]),
    ("ann", "postgres", &["select current_user"]),
    (
        "postgres",
        "postgres",
        &[
            "alter role ann in database shop set work_mem = '1MB'; alter role bob in database shop set work_mem = '1MB'; alter role bob in database other set work_mem = '1MB'",
            "drop role ann; select count(*) from pg_db_role_setting; drop database shop; select count(*) from pg_db_role_setting; drop role bob; select * from pg_db_role_setting",
        ],
    ),
    (
        "postgres",
        "postgres",
        &[
            // Options of databases.
            "create database d1 encoding 'nope'",
            "create database d1 encoding 99",
            "create database d1 foo 1",
            "create database d1 owner own owner own2",
            "create database d1 connection limit -5",
            "create database d1 connection limit 'x'",
            "create database d1 allow_connections maybe",
            "create database d1 is_template 2",
            "create database d1 template nosuch",
            "create database d1 strategy fast",
            "create database d1 locale_provider xx",
            "create database d1 icu_locale 'en'",
            "create database d1 oid 5",
            "create database d1 tablespace nosuch",
            "create database d1 owner nosuch",
            "create database d1 is_template",
            "create database d1 user own",
            "create database d1 connection limit",
            "create database d2 with template template0 encoding 'utf-8' lc_collate 'C' lc_ctype = 'C' strategy = file_copy is_template true allow_connections = off connection limit = 3 owner own tablespace pg_default",
            "create database d4 connection limit default owner default encoding default tablespace default template default is_template default locale_provider libc encoding 6",
            "create database d4 encoding 6 is_template 0 allow_connections 1 strategy 'WAL_LOG'; create database d4",
            "select datname, datistemplate, datallowconn, datconnlimit, datdba::regrole from pg_database where datname in ('d2', 'd4', 'other') order by 1",
            "drop database d2",
            "alter database d2 is_template false; drop database d2",
            "alter database d4 connection limit -3",
            "alter database d4 foo 1",
            "alter database d4 connection limit 3 connection limit 4",
            "alter database nosuch connection limit 1",
            "alter database postgres allow_connections false",
            "alter database d4 with allow_connections off is_template on connection limit 7; select datistemplate, datallowconn, datconnlimit from pg_database where datname = 'd4'",
            "alter database d4; alter database d4 is_template off allow_connections default connection limit = -1; select datistemplate, datallowconn, datconnlimit from pg_database where datname = 'd4'",
            "alter database d4 owner to nosuch",
            "alter database d4 owner to own; alter database d4 owner to session_user; select datdba::regrole from pg_database where datname = 'd4'",
            "alter database postgres rename to x",
            "alter database d4 rename to other",
            "alter database d4 tablespace pg_default connection limit 1",
            "alter database d4 allow_connections",
            "alter database d4 allow_connections maybe",
            "alter database d4 owner own",
            "drop database d4 force",
            "drop database d4 (slow)",
            "drop database d4 with ()",
            "drop database d4 with (force, force); drop database if exists d4 (force)",
            "drop database d4 with (force)",
            "drop database if exists postgres with (force)",
            "create database mine owner own; create database packed connection limit 0 allow_connections true; create database shut allow_connections false",
        ],
    ),
    (
        "own",
        "postgres",
        &[
            "alter database mine owner to own2",
            "alter database mine owner to grp; alter database mine connection limit 4; alter database mine rename to mine2; alter database mine2 owner to own",
            "create database x owner own2",
            "drop database other",
            "alter database other rename to x",
            "alter database other connection limit 1",
            "drop database mine2 with (force)",
        ],
    ),
    (
        "own2",
        "postgres",
        &[
            "alter database other owner to own2; alter database other connection limit 9",
            "alter database other rename to x",
            "alter database other owner to own",
            "create database y",
            "drop database other",
        ],
    ),
    ("own", "packed", &["select 1"]),
    ("own", "shut", &["select 1"]),
    ("postgres", "packed", &["select current_database()"]),
];

const SHOWN: &str = "select name, setting, source, reset_val from pg_settings where name in ('work_mem', 'statement_timeout', 'lock_timeout', 'idle_session_timeout') order by name";

/// What is PostgreSQL 16's way, or not there.
const HERE: &[(&str, &str, &str)] = &[
    ("postgres", "create role ann login; create role carl login createrole", ""),
    (
        "carl",
        "alter role ann set work_mem = '1MB'",
        "ERROR:  42501: permission denied to alter role|DETAIL:  Only roles with the CREATEROLE attribute and the ADMIN option on role \"ann\" may alter this role.",
    ),
    (
        "ann",
        "alter role carl in database postgres reset all",
        "ERROR:  42501: permission denied to alter role|DETAIL:  Only roles with the CREATEROLE attribute and the ADMIN option on role \"carl\" may alter this role.",
    ),
    ("carl", "create role mine; alter role mine set work_mem = '1MB'; alter role mine reset all", ""),
    (
        "postgres",
        "alter role ann set session_authorization = 'carl'",
        "ERROR:  0A000: storing the setting \"session_authorization\" is not supported",
    ),
    (
        "postgres",
        "create database d locale 'de_DE.UTF-8'",
        "ERROR:  0A000: locale \"de_DE.UTF-8\" of a database is not supported",
    ),
    (
        "postgres",
        "create database d encoding 'LATIN1'",
        "ERROR:  0A000: encoding \"LATIN1\" of a database is not supported",
    ),
    (
        "postgres",
        "create database d locale_provider icu",
        "ERROR:  0A000: locale provider \"icu\" of a database is not supported",
    ),
    (
        "postgres",
        "create database d template postgres",
        "ERROR:  0A000: template \"postgres\" of a database is not supported",
    ),
    ("postgres", "create database d oid 70000", "ERROR:  0A000: option \"oid\" of CREATE DATABASE is not supported"),
    (
        "postgres",
        "alter database postgres set tablespace pg_default",
        "ERROR:  0A000: ALTER DATABASE ... SET TABLESPACE is not supported",
    ),
    (
        "postgres",
        "alter database postgres refresh collation version",
        "ERROR:  0A000: ALTER DATABASE ... REFRESH COLLATION VERSION is not supported",
    ),
];

fn run(port: u16, user: &str, database: &str, options: Option<&str>, statements: &str) -> String {
    let mut command = Command::new(postgres_program("psql"));
    command.args(["-X", "-Atq", "-v", "VERBOSITY=verbose", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", user]);
    command.args(["-d", database]).args(statements.split("; ").flat_map(|statement| ["-c", statement]));
    command.env_remove("PGOPTIONS").envs(options.map(|options| ("PGOPTIONS", options)));
    let output = command.stdin(Stdio::null()).output().expect("psql");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let text = text.replace(&port.to_string(), "PORT");
    let is_told = |line: &&str| !line.starts_with("LOCATION");
    let lines: Vec<_> = text.lines().filter(is_told).collect();
    lines.join("|")
}

#[test]
fn settings_are_stored_and_applied_as_in_postgresql() {
    let (postgresql, server) = (PostgreSql::start(&[]), Server::start(&[]));
    let (mut count, mut differences) = (0, Vec::new());
    for (user, database, scripts) in ALIKE {
        for script in *scripts {
            count += script.split("; ").count();
            let (theirs, ours) =
                (run(postgresql.port, user, database, None, script), run(server.port, user, database, None, script));
            if theirs != ours {
                differences.push(format!("{user}: {script}\n  PostgreSQL: {theirs}\n  here:       {ours}"));
            }
        }
    }
    println!("{count} statements");
    assert!(differences.is_empty(), "{}\n{} of {count}", differences.join("\n"), differences.len());
}

#[test]
fn rights_are_those_of_postgresql_16_and_what_is_not_there_is_refused_by_name() {
    let server = Server::start(&[]);
    for (user, statements, expected) in HERE {
        let told = run(server.port, user, "postgres", None, statements);
        let told: Vec<_> = told.split('|').filter(|line| !line.starts_with("LINE") && line.trim() != "^").collect();
        assert_eq!(told.join("|"), *expected, "{user}: {statements}");
    }
}

#[test]
fn what_the_client_says_counts_more_than_what_is_stored() {
    let (postgresql, server) = (PostgreSql::start(&[]), Server::start(&[]));
    for port in [postgresql.port, server.port] {
        let stored = "create role ann login; create role staff; create role crew; grant staff, crew to ann; alter role ann set work_mem = '2MB'; alter role ann set role = staff; alter role ann set datestyle = dmy";
        assert_eq!(run(port, "postgres", "postgres", None, stored), "");
        let ask = |options, statements| run(port, "ann", "postgres", options, statements);
        let shown = "select setting, source, reset_val from pg_settings where name = 'work_mem'";
        assert_eq!(ask(Some("-c work_mem=3MB"), shown), "3072|client|3072");
        assert_eq!(ask(Some("-c work_mem=3MB"), "set work_mem = '4MB'; reset work_mem; show work_mem"), "3MB");
        assert_eq!(ask(Some("-c datestyle=german"), "show datestyle"), "German, DMY");
        assert_eq!(
            ask(Some("-c role=crew"), "select current_user; set role none; reset role; select current_user"),
            "crew|crew"
        );
        let refused = ask(Some("-c role=postgres"), "select 1");
        assert!(refused.ends_with("FATAL:  permission denied to set role \"postgres\""), "{refused}");
    }
}

/// One process serves many sessions: nothing of one's settings is left for the next.
#[test]
fn a_scrubbed_worker_has_the_settings_of_its_own_session() {
    let server = Server::start(&["--set", "pool.sessions_per_worker=0", "--set", "pool.min_spare=1"]);
    let stored = "create role ann login; create role bob login; create role staff; grant staff to ann; alter role ann set work_mem = '2MB'; alter role ann set role = staff; alter role bob set work_mem = '3MB'; alter role bob set search_path = s; create schema s; create table public.t as select 'public'; create table s.t as select 's'; grant usage on schema s to bob; grant select on s.t to bob; grant select on public.t to staff";
    assert_eq!(run(server.port, "postgres", "postgres", None, stored), "");
    let mut processes = Vec::new();
    let shown = "select pg_backend_pid(); select current_user; select setting, source, reset_val from pg_settings where name = 'work_mem'; select * from t; set work_mem = '9MB'; set search_path = s, public; reset role";
    for _ in 0..3 {
        for (user, expected) in [
            ("ann", "staff|2048|user|2048|public"),
            ("bob", "bob|3072|user|3072|s"),
            ("postgres", "postgres|4096|default|4096|public"),
        ] {
            let told = run(server.port, user, "postgres", None, shown);
            let (process, told) = told.split_once('|').expect("a process and its session");
            assert_eq!(told, expected);
            processes.push(process.to_owned());
        }
    }
    let sessions = processes.len();
    processes.sort_unstable();
    processes.dedup();
    assert!(processes.len() < sessions, "no process served two sessions");
    // What is stored now is there for the next session.
    assert_eq!(run(server.port, "bob", "postgres", None, "alter role bob set work_mem = '4MB'; show work_mem"), "3MB");
    assert_eq!(run(server.port, "bob", "postgres", None, "show work_mem"), "4MB");
}

#[test]
fn dropping_a_database_by_force_ends_its_sessions() {
    let (postgresql, server) = (PostgreSql::start(&[]), Server::start(&[]));
    for port in [postgresql.port, server.port] {
        let made = "create role own login createdb; create role ann login; create database shop owner own";
        assert_eq!(run(port, "postgres", "postgres", None, made), "");
        let connect = |user: &str| {
            let config = format!("host=127.0.0.1 port={port} user={user} dbname=shop");
            postgres::Client::connect(&config, postgres::NoTls).expect("a session")
        };
        let (mut first, mut second) = (connect("ann"), connect("own"));
        let in_use = "ERROR:  55006: database \"shop\" is being accessed by other users|DETAIL:  There are 2 other sessions using the database.";
        for statement in ["drop database shop", "alter database shop rename to x"] {
            assert_eq!(run(port, "postgres", "postgres", None, statement), in_use);
        }
        let refused = run(port, "own", "postgres", None, "drop database shop with (force)");
        assert_eq!(
            refused,
            "ERROR:  42501: must be a member of the role whose process is being terminated or member of pg_signal_backend"
        );
        first.simple_query("select 1").expect("nobody was ended");
        let signal = "grant pg_signal_backend to own";
        assert_eq!(run(port, "postgres", "postgres", None, signal), "");
        let superuser = connect("postgres");
        let refused = run(port, "own", "postgres", None, "drop database shop with (force)");
        assert_eq!(refused, "ERROR:  42501: must be a superuser to terminate superuser process");
        drop(superuser);
        // A transaction under way is no obstacle.
        second.batch_execute("begin; create table t (a int)").expect("a transaction");
        assert_eq!(run(port, "own", "postgres", None, "drop database shop with (force)"), "");
        for session in [&mut first, &mut second] {
            session.simple_query("select 1").expect_err("it has ended");
        }
        assert_eq!(
            run(port, "postgres", "postgres", None, "select count(*) from pg_database where datname = 'shop'"),
            "0"
        );
    }
}
