//! Tests of definitions carried out on a SQLite file of their own.

use super::*;
use crate::sql::define::parse;

/// Takes expressions over plain operators as SQLite has them, which is enough for these tests.
struct Plain;

impl ExpressionBinder for Plain {
    fn expression(&self, _: &Relation, text: &str, _: Option<(Type, i32)>) -> Result<String, Error> {
        Ok(text.to_owned())
    }

    fn query_columns(&self, _: &str) -> Result<Vec<Column>, Error> {
        Ok(vec![Column { name: "x".into(), type_: Type::Int4, typmod: -1, table: 0, attribute: 0 }])
    }

    fn view_query(&self, text: &str) -> Result<(Vec<Column>, Vec<ViewSource>), Error> {
        self.query_columns(text).map(|columns| (columns, Vec::new()))
    }
}

/// What the actions of foreign keys need, as far as these tests do.
struct Bare<'a>(&'a [Rc<Relation>]);

impl pending::Surroundings for Bare<'_> {
    fn provide_missing(&self, _: &str) -> bool {
        false
    }

    fn describe(&self, error: &rusqlite::Error, _: u32) -> Error {
        violated(self.0, &error.to_string()).unwrap_or_else(|| Error::internal(error.to_string()))
    }

    fn interrupted(&self) -> Option<Error> {
        None
    }
}

struct Database {
    connection: Connection,
    cache: Cache,
    path: Vec<String>,
    rights: Rights,
}

impl Database {
    fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        super::super::catalog::create(&connection).unwrap();
        let cache = Cache::new();
        cache.refresh(&connection, 0).unwrap();
        let rights = Rights { role: 10, superuser: true, ..Rights::default() };
        Self { connection, cache, path: vec!["public".into()], rights }
    }

    fn try_run(&self, text: &str) -> Result<Outcome, Error> {
        let definition = parse(text)?.expect("a definition");
        let context = Context {
            connection: &self.connection,
            cache: &self.cache,
            search_path: &self.path,
            rights: &self.rights,
            binder: &Plain,
        };
        self.connection.execute_batch("SAVEPOINT s").unwrap();
        let (outcome, done) = execute(&definition, &context);
        let result = done.map(|()| outcome);
        self.connection.execute_batch(if result.is_ok() { "RELEASE s" } else { "ROLLBACK TO s; RELEASE s" }).unwrap();
        if result.is_err() {
            self.cache.rolled_back(&self.connection, true).unwrap();
        }
        result
    }

    fn run(&self, text: &str) -> Outcome {
        self.try_run(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn fails(&self, text: &str) -> Error {
        self.try_run(text).expect_err(text)
    }

    fn relation(&self, name: &str) -> Rc<Relation> {
        self.catalog().relation(None, name).unwrap().unwrap_or_else(|| panic!("{name}"))
    }

    fn catalog(&self) -> StoredCatalog<'_> {
        StoredCatalog {
            connection: &self.connection,
            cache: &self.cache,
            search_path: &self.path,
            rights: &self.rights,
        }
    }

    /// Runs SQLite SQL in which `{t}` stands for the storage of table t.
    fn raw(&self, sql: &str) -> Result<(), Error> {
        let mut sql = sql.to_owned();
        let mut relations = Vec::new();
        for relation in self.catalog().relations().unwrap() {
            sql = sql.replace(&format!("{{{}}}", relation.name), &format!("\"{}\"", relation.storage));
            relations.push(relation);
        }
        self.connection.execute_batch("SAVEPOINT raw").unwrap();
        let result = self
            .connection
            .execute_batch(&sql)
            .map_err(|error| violated(&relations, &error.to_string()).unwrap_or_else(|| panic!("{sql}: {error}")))
            .and_then(|()| pending::settle(&self.connection, &Bare(&relations), true));
        let end = if result.is_ok() { "RELEASE raw" } else { "ROLLBACK TO raw; RELEASE raw" };
        self.connection.execute_batch(end).unwrap();
        result
    }

    fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM \"{}\"", self.relation(table).storage);
        self.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

const TABLES: [&str; 4] = [
    "create table pgbench_history(tid int,bid int,aid    int,delta int,mtime timestamp,filler char(22))",
    "create table pgbench_tellers(tid int not null,bid int,tbalance int,filler char(84)) with (fillfactor=100)",
    "create table pgbench_accounts(aid    int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)",
    "create table pgbench_branches(bid int not null,bbalance int,filler char(88)) with (fillfactor=100)",
];

fn initialise(database: &Database, foreign_keys: bool) {
    let dropped =
        database.run("drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers");
    let _ = dropped;
    TABLES.iter().for_each(|table| drop(database.run(table)));
    database.run("truncate table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers");
    database
        .raw("INSERT INTO {pgbench_branches}(bid, bbalance) VALUES(1, 0); INSERT INTO {pgbench_tellers}(tid, bid) VALUES(1, 1), (2, 1); INSERT INTO {pgbench_accounts}(aid, bid) VALUES(1, 1), (2, 1), (3, 1)")
        .unwrap();
    for (table, key) in [("branches", "bid"), ("tellers", "tid"), ("accounts", "aid")] {
        database.run(&format!("alter table pgbench_{table} add primary key ({key})"));
    }
    if foreign_keys {
        for (child, key, parent) in [
            ("tellers", "bid", "branches"),
            ("accounts", "bid", "branches"),
            ("history", "bid", "branches"),
            ("history", "tid", "tellers"),
            ("history", "aid", "accounts"),
        ] {
            database.run(&format!(
                "alter table pgbench_{child} add constraint pgbench_{child}_{key}_fkey foreign key ({key}) references pgbench_{parent}"
            ));
        }
    }
}

#[test]
fn pgbench_initialises_twice_and_its_keys_are_rowids() {
    let database = Database::new();
    for _ in 0..2 {
        initialise(&database, true);
        let accounts = database.relation("pgbench_accounts");
        assert_eq!(accounts.rowid_column, Some(0));
        assert_eq!(accounts.indexes[0].name, "pgbench_accounts_pkey");
        assert_eq!(accounts.options, ["fillfactor=100"]);
        assert_eq!(database.count("pgbench_accounts"), 3);
    }
    let error = database.raw("INSERT INTO {pgbench_accounts}(aid) VALUES(1)").unwrap_err();
    assert_eq!(error.fields().message, "duplicate key value violates unique constraint \"pgbench_accounts_pkey\"");
    assert_eq!(error.condition(), Condition::UniqueViolation);
}

#[test]
fn drop_if_exists_tells_of_every_missing_table() {
    let outcome = Database::new().run("drop table if exists a, b");
    let messages: Vec<_> = outcome.notices.iter().map(|(_, notice)| notice.fields().message.clone()).collect();
    assert_eq!(messages, ["table \"a\" does not exist, skipping", "table \"b\" does not exist, skipping"]);
    let error = Database::new().fails("drop table a");
    assert_eq!(
        (error.condition(), error.fields().message.as_str()),
        (Condition::UndefinedTable, "table \"a\" does not exist")
    );
}

#[test]
fn foreign_keys_refuse_missing_and_referenced_keys() {
    let database = Database::new();
    initialise(&database, true);
    let error = database.raw("INSERT INTO {pgbench_history}(tid, bid, aid) VALUES(1, 5, 1)").unwrap_err();
    assert_eq!(error.condition(), Condition::ForeignKeyViolation);
    assert_eq!(
        error.fields().message,
        "insert or update on table \"pgbench_history\" violates foreign key constraint \"pgbench_history_bid_fkey\""
    );
    assert_eq!(error.fields().detail.as_deref(), Some("Key (bid)=(5) is not present in table \"pgbench_branches\"."));
    let error = database.raw("DELETE FROM {pgbench_branches} WHERE bid = 1").unwrap_err();
    assert_eq!(
        error.fields().message,
        "update or delete on table \"pgbench_branches\" violates foreign key constraint \"pgbench_tellers_bid_fkey\" on table \"pgbench_tellers\""
    );
    assert_eq!(
        error.fields().detail.as_deref(),
        Some("Key (bid)=(1) is still referenced from table \"pgbench_tellers\".")
    );
    database.raw("INSERT INTO {pgbench_history}(tid, bid, aid) VALUES(1, NULL, 1)").unwrap();
    let error = database.fails("truncate pgbench_branches");
    assert_eq!(error.fields().detail.as_deref(), Some("Table \"pgbench_history\" references \"pgbench_branches\"."));
    database.run("truncate pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers");
    assert_eq!(database.count("pgbench_accounts"), 0);
    let error = database.fails("drop table pgbench_branches");
    assert_eq!(error.condition(), Condition::DependentObjectsStillExist);
    database.run("drop table pgbench_branches cascade");
    assert_eq!(database.relation("pgbench_history").constraints.len(), 2);
    database.raw("INSERT INTO {pgbench_tellers}(tid, bid) VALUES(9, 77)").unwrap();
}

#[test]
fn a_foreign_key_looks_at_rows_that_exist() {
    let database = Database::new();
    initialise(&database, false);
    database.raw("INSERT INTO {pgbench_history}(tid, bid, aid) VALUES(7, 1, 1)").unwrap();
    let error =
        database.fails("alter table pgbench_history add constraint h foreign key (tid) references pgbench_tellers");
    assert_eq!(error.fields().detail.as_deref(), Some("Key (tid)=(7) is not present in table \"pgbench_tellers\"."));
}

#[test]
fn referential_actions_change_the_children() {
    let database = Database::new();
    database.run("create table p (id int primary key)");
    database.run("create table c (a int references p on delete cascade, b int references p(id) on delete set null on update cascade)");
    database.raw("INSERT INTO {p} VALUES(1), (2), (3); INSERT INTO {c} VALUES(1, 3), (2, 2)").unwrap();
    database.raw("DELETE FROM {p} WHERE id = 1; UPDATE {p} SET id = 30 WHERE id = 3").unwrap();
    assert_eq!(database.count("c"), 1);
    database.raw("DELETE FROM {c}; INSERT INTO {c} VALUES(NULL, 30)").unwrap();
    database.raw("UPDATE {p} SET id = 31 WHERE id = 30").unwrap();
    database.raw("DELETE FROM {p} WHERE id = 31").unwrap();
    let sql = format!("SELECT b IS NULL FROM \"{}\"", database.relation("c").storage);
    assert!(database.connection.query_row(&sql, [], |row| row.get::<_, bool>(0)).unwrap());
}

#[test]
fn a_primary_key_is_refused_over_duplicates_and_nulls() {
    let database = Database::new();
    database.run("create table t (a int, b text)");
    database.raw("INSERT INTO {t} VALUES(1, 'x'), (1, 'y')").unwrap();
    let error = database.fails("alter table t add primary key (a)");
    assert_eq!(error.fields().message, "could not create unique index \"t_pkey\"");
    assert_eq!(error.fields().detail.as_deref(), Some("Key (a)=(1) is duplicated."));
    database.raw("INSERT INTO {t} VALUES(NULL, 'z')").unwrap();
    let error = database.fails("alter table t add primary key (a)");
    assert_eq!(error.fields().message, "column \"a\" of relation \"t\" contains null values");
    let error = database.fails("create unique index on t (a)");
    assert_eq!(error.fields().constraint.as_deref(), Some("t_a_idx"));
    database.raw("DELETE FROM {t}").unwrap();
    database.run("alter table t add primary key (a)");
    let error = database.fails("alter table t add primary key (b)");
    assert_eq!(error.fields().message, "multiple primary keys for table \"t\" are not allowed");
}

#[test]
fn range_partitions_share_one_table_and_refuse_what_none_takes() {
    let database = Database::new();
    database.run("create table t(aid int not null, bid int) partition by range (aid)");
    database.run("create table t_1\n  partition of t\n  for values from (minvalue) to (50001) with (fillfactor=100)");
    database.raw("INSERT INTO {t} VALUES(1, 1)").unwrap();
    let error = database.raw("INSERT INTO {t} VALUES(50001, 1)").unwrap_err();
    assert_eq!(error.fields().message, "no partition of relation \"t\" found for row");
    assert_eq!(error.fields().detail.as_deref(), Some("Partition key of the failing row contains (aid) = (50001)."));
    assert_eq!(
        database.fails("create table t_x partition of t for values from (3) to (9)").fields().message,
        "partition \"t_x\" would overlap partition \"t_1\""
    );
    database.run("create table t_2 partition of t for values from (50001) to (maxvalue)");
    database.raw("INSERT INTO {t} VALUES(50001, 1)").unwrap();
    database.run("alter table t add primary key (aid)");
    assert_eq!(database.relation("t_2").indexes[0].name, "t_2_pkey");
    assert_eq!(database.relation("t_2").storage, database.relation("t").storage);
    database.run("truncate t_2");
    assert_eq!(database.count("t"), 1);
    database.run("drop table t_1");
    assert_eq!(database.count("t"), 0);
    database.raw("INSERT INTO {t} VALUES(1, 1)").unwrap_err();
    database.run("drop table t");
    assert!(database.catalog().relation(None, "t_2").unwrap().is_none());
}

#[test]
fn hash_partitions_take_every_row_between_them() {
    let database = Database::new();
    database.run("create table t(aid int, bid int) partition by hash (aid)");
    database.run("create table t_1 partition of t for values with (modulus 2, remainder 0)");
    assert!(database.raw("INSERT INTO {t} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99) SELECT i, 0 FROM n").is_err());
    database.run("create table t_2 partition of t for values with (modulus 2, remainder 1)");
    database.raw("INSERT INTO {t} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i, 0 FROM n").unwrap();
    database.run("truncate t_1");
    assert!((350..650).contains(&database.count("t")), "{}", database.count("t"));
}

#[test]
fn columns_are_added_renamed_dropped_and_keep_their_numbers() {
    let database = Database::new();
    database.run("create table t (a int primary key, b text check (b <> ''), c int unique)");
    database.raw("INSERT INTO {t} VALUES(1, 'x', 2)").unwrap();
    database.run("alter table t add column d int not null default 7, rename column b to bb");
    assert_eq!(
        database.raw("INSERT INTO {t} VALUES(2, '', 3, 4)").unwrap_err().fields().constraint.as_deref(),
        Some("t_b_check")
    );
    database.run("alter table t drop column c");
    let relation = database.relation("t");
    assert!(relation.columns[2].dropped);
    assert_eq!(relation.indexes.len(), 1);
    database.raw("INSERT INTO {t}(a, bb, d) VALUES(5, 'y', 1)").unwrap();
    let error = database.raw("INSERT INTO {t}(a, bb) VALUES(6, 'y')").unwrap_err();
    assert_eq!(error.fields().message, "null value in column \"d\" of relation \"t\" violates not-null constraint");
    database.run("alter table t alter column d drop not null, alter d set default 3, drop constraint t_b_check");
    database.raw("INSERT INTO {t}(a, bb) VALUES(6, '')").unwrap();
    assert_eq!(database.fails("alter table t alter d set not null").condition(), Condition::NotNullViolation);
    assert_eq!(database.fails("alter table t add column a int").condition(), Condition::DuplicateColumn);
    database.run("alter table t rename to u");
    assert_eq!(database.count("u"), 3);
    database.run("drop table u");
}

#[test]
fn temporary_tables_live_apart_and_shadow() {
    let database = Database::new();
    database.run("create table t (a int)");
    database.run("create temp table t (b int primary key)");
    assert_eq!(database.relation("t").columns[0].name, "b");
    assert_eq!(database.catalog().relation(Some("public"), "t").unwrap().unwrap().columns[0].name, "a");
    database.run("drop table t");
    assert_eq!(database.relation("t").columns[0].name, "a");
}

#[test]
fn names_that_are_generated_do_not_collide() {
    let database = Database::new();
    database.run("create table t (a int check (a > 0) check (a < 9) unique, b int, check (a < b))");
    let names: Vec<_> = database.relation("t").constraints.iter().map(|constraint| constraint.name.clone()).collect();
    assert_eq!(names, ["t_a_check", "t_a_check1", "t_check", "t_a_key"]);
    database.run("create index on t (a, b)");
    database.run("create index on t (a, b)");
    let names: Vec<_> = database.relation("t").indexes.iter().map(|index| index.name.clone()).collect();
    assert_eq!(names, ["t_a_key", "t_a_b_idx", "t_a_b_idx1"]);
    assert_eq!(database.fails("create table t_a_key (x int)").condition(), Condition::DuplicateTable);
    assert_eq!(database.fails("create table x (a int, a int)").condition(), Condition::DuplicateColumn);
}
