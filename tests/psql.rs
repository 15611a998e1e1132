//! Every query that psql sends for its describing commands, against the real server.

mod support;

use support::Server;

const SCHEMA: &str = "
create table accounts (aid integer primary key, bid int not null, abalance int default 0, filler char(84),
    check (abalance > -1000), tags text[]);
create unique index accounts_u on accounts (bid, abalance);
create table child (id bigserial primary key, aid int references accounts(aid) on delete cascade,
    note varchar(20) default 'x');
create view big as select aid from accounts where abalance > 100;
create sequence numbers start 7;
create table parts (k int not null, v text) partition by range (k);
create table parts_1 partition of parts for values from (1) to (10);
create table parts_2 partition of parts for values from (10) to (20);
create schema other;
comment on table accounts is 'what people have';";

/// A command, and lines (blanks squeezed) that its answer holds.
const COMMANDS: &[(&str, &[&str])] = &[
    ("\\d", &["public | accounts | table | postgres", "public | parts | partitioned table | postgres"]),
    ("\\dt", &["public | parts_1 | table | postgres"]),
    ("\\dt acc*", &["public | accounts | table | postgres"]),
    ("\\dt+", &["what people have"]),
    ("\\di", &["public | accounts_u | index | postgres | accounts"]),
    ("\\di+", &["public | child_pkey | index | postgres | child | permanent"]),
    (
        "\\d accounts",
        &[
            "Table \"public.accounts\"",
            "aid | integer | | not null |",
            "filler | character(84) | | |",
            "\"accounts_pkey\" PRIMARY KEY, btree (aid)",
            "\"accounts_u\" UNIQUE, btree (bid, abalance)",
            "CHECK ((abalance > -1000))",
            "TABLE \"child\" CONSTRAINT \"child_aid_fkey\" FOREIGN KEY (aid) REFERENCES accounts(aid) ON DELETE CASCADE",
        ],
    ),
    ("\\d+ accounts", &["filler | character(84) | | | | extended", "Access method: heap"]),
    ("\\d child", &["Foreign-key constraints:", "note | character varying(20) | | | 'x'"]),
    ("\\d big", &["View \"public.big\"", "aid | integer"]),
    ("\\d+ big", &["View definition:"]),
    ("\\sv big", &["CREATE OR REPLACE VIEW public.big AS"]),
    ("\\d numbers", &["Sequence \"public.numbers\"", "bigint | 7 | 1 | 9223372036854775807 | 1 | no | 1"]),
    ("\\d+ numbers", &["Sequence \"public.numbers\""]),
    ("\\d parts", &["Partition key: RANGE (k)", "Number of partitions: 2"]),
    ("\\d+ parts", &["Partitions: parts_1 FOR VALUES FROM (1) TO (10),"]),
    ("\\d parts_1", &["Partition of: parts FOR VALUES FROM (1) TO (10)"]),
    ("\\d+ parts_1", &["Partition constraint:"]),
    ("\\d accounts_u", &["unique, btree, for table \"public.accounts\"", "abalance | integer | yes | abalance"]),
    ("\\l", &["postgres | postgres | UTF8 | C | C"]),
    ("\\l+", &["pg_default"]),
    ("\\du", &["alice |", "Superuser, Create role, Create DB"]),
    ("\\du+", &["alice |"]),
    ("\\dn", &["other | postgres", "public | pg_database_owner"]),
    ("\\dn+", &["public | pg_database_owner"]),
    ("\\df", &["List of functions"]),
    ("\\df+", &["List of functions"]),
    ("\\dv", &["public | big | view | postgres"]),
    ("\\dv+", &["public | big | view | postgres | permanent"]),
    ("\\ds", &["public | child_id_seq | sequence | postgres", "public | numbers | sequence | postgres"]),
    ("\\dp", &["public | accounts | table"]),
    ("\\dT", &["List of data types"]),
    ("\\db", &["pg_default | postgres"]),
    ("\\dx", &["List of installed extensions"]),
    ("\\conninfo", &["You are connected to database \"postgres\" as user \"postgres\""]),
];

#[test]
fn describing_commands_are_answered() {
    let server = Server::start(&[]);
    server.query(SCHEMA);
    server.query("create role alice login");
    let mut failures = Vec::new();
    for (command, lines) in COMMANDS {
        let output = server.client("psql").args(["-X", "-d", "postgres", "-c", command]).output().expect("psql");
        let (shown, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let squeezed: Vec<String> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for wanted in *lines {
            if !squeezed.iter().any(|line| line.contains(wanted)) {
                failures.push(format!("{command}: no line \"{wanted}\" in:\n{shown}"));
            }
        }
        if !complaint.is_empty() {
            failures.push(format!("{command}: {complaint}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn rows_of_arrays() {
    let server = Server::start(&[]);
    assert_eq!(server.query("select unnest('{a,b}'::text[])"), "a\nb");
    assert_eq!(server.query("select x, n from unnest('{3,4}'::int[]) with ordinality as t(x, n)"), "3|1\n4|2");
    assert_eq!(server.query("select (array[7,8,9])[2], ('{a,b}'::text[])[3] is null"), "8|t");
    assert_eq!(server.query("create table r (a int); select 'r'::regclass, 'public'::regnamespace"), "r|public");
}

#[test]
fn with_before_a_data_change() {
    let server = Server::start(&[]);
    server.query("create table t (k int primary key, v text)");
    server.query("with s as (select 5 as k) insert into t select k, 'five' from s");
    let updated =
        server.query("with s as (select 5 as k) update t set v = 'x' from s where t.k = s.k returning t.k, v");
    assert_eq!(updated, "5|x");
    server.query("with s as (select 5 as k) delete from t where k in (select k from s)");
    assert_eq!(server.query("select count(*) from t"), "0");
}

#[test]
fn an_update_does_not_move_a_row_out_of_its_partition() {
    let server = Server::start(&[]);
    server.query(SCHEMA);
    server.query("insert into parts_1 values (1, 'a')");
    let refused = server.psql("postgres", "update parts_1 set k = 15").unwrap_err();
    assert!(refused.contains("23514") && refused.contains("violates partition constraint"), "{refused}");
    assert_eq!(server.query("update parts_1 set k = k + 3 returning k"), "4");
    assert_eq!(server.query("update parts set k = 15 returning k"), "15");
}
