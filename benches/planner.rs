//! Measures the way from a statement's text to its plan over pgbench's tables: with the plan in the cache, and
//! cold (split, parse, bind and emit in a planner that has seen nothing).
//!
//! The catalog is in memory. Does not measure reading the stored catalog, SQLite preparing or running the emitted
//! SQL, or dropping a plan.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pgprefork::error::Error;
use pgprefork::settings::TextContext;
use pgprefork::sql::catalog::{Catalog, ColumnDefinition, Constraint, ConstraintKind, Relation, RelationKind};
use pgprefork::sql::plan::Planned;
use pgprefork::sql::planner::Planner;
use pgprefork::sql::types::Type;

const COLD: [(&str, &str); 4] = [
    ("point_select", "SELECT abalance FROM pgbench_accounts WHERE aid = 90512;"),
    ("update", "UPDATE pgbench_accounts SET abalance = abalance + -4760 WHERE aid = 90512;"),
    (
        "tpcb_insert",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (5, 1, 90512, -4760, CURRENT_TIMESTAMP);",
    ),
    (
        "join_with_aggregates",
        "SELECT b.bid, count(*), sum(a.abalance), max(a.abalance) FROM pgbench_branches b \
         JOIN pgbench_accounts a ON a.bid = b.bid WHERE a.abalance > 100 \
         GROUP BY b.bid HAVING count(*) > 10 ORDER BY b.bid LIMIT 20;",
    ),
];

/// pgbench's tables that the statements name.
struct Tables(Vec<Rc<Relation>>);

impl Catalog for Tables {
    fn version(&self) -> u64 {
        1
    }

    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Rc<Relation>>, Error> {
        let is = |relation: &&Rc<Relation>| relation.name == name && schema.is_none_or(|s| s == relation.schema);
        Ok(self.0.iter().find(is).cloned())
    }

    fn require_usable(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn relation_by_oid(&self, oid: u32) -> Result<Option<Rc<Relation>>, Error> {
        Ok(self.0.iter().find(|relation| relation.oid == oid).cloned())
    }

    fn schema_exists(&self, name: &str) -> Result<bool, Error> {
        Ok(name == "public")
    }

    fn search_path(&self) -> Vec<String> {
        vec!["public".into()]
    }
}

/// A table of integer columns, and last another one; the first is the key where `keyed`.
fn table(oid: u32, name: &str, integers: &[&str], last: &[(&str, Type, i32)], keyed: bool) -> Rc<Relation> {
    let integers = integers.iter().map(|name| (*name, Type::Int4, -1));
    let columns =
        integers.chain(last.iter().copied()).enumerate().map(|(at, (name, type_, typmod))| ColumnDefinition {
            name: name.into(),
            type_,
            typmod,
            not_null: keyed && at == 0,
            default: None,
            dropped: false,
            acl: None,
        });
    let key = Constraint::new(oid + 1, format!("{name}_pkey"), ConstraintKind::PrimaryKey { columns: vec![0] });
    Rc::new(Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns: columns.collect(),
        constraints: keyed.then_some(key).into_iter().collect(),
        indexes: Vec::new(),
        owner: 10,
        acl: None,
        storage: name.into(),
        rowid_column: keyed.then_some(0),
        unlogged: false,
        temporary: false,
        options: Vec::new(),
        on_commit: pgprefork::sql::catalog::OnCommit::PreserveRows,
        depends: pgprefork::sql::catalog::Dependencies::default(),
    })
}

fn tables() -> Tables {
    let filler = |typmod| ("filler", Type::Bpchar, typmod);
    Tables(vec![
        table(16_384, "pgbench_accounts", &["aid", "bid", "abalance"], &[filler(88)], true),
        table(16_386, "pgbench_branches", &["bid", "bbalance"], &[filler(92)], true),
        table(
            16_388,
            "pgbench_history",
            &["tid", "bid", "aid", "delta"],
            &[("mtime", Type::Timestamp, -1), filler(26)],
            false,
        ),
    ])
}

/// Plans a text of one statement.
fn plan(planner: &mut Planner, text: &str, catalog: &dyn Catalog, context: &TextContext) -> Planned {
    let statements = planner.split(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let [(place, raw)] = statements.as_slice() else { panic!("{text}: not one statement") };
    let own = &text[place.clone()];
    planner.plan(own, raw, &[], catalog, context).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn cached(criterion: &mut Criterion) {
    let (catalog, context) = (tables(), TextContext::default());
    let texts: Vec<String> =
        (0..64).map(|at| format!("SELECT abalance FROM pgbench_accounts WHERE aid = {};", 1 + at * 1543)).collect();
    let mut planner = Planner::new();
    let first = plan(&mut planner, &texts[0], &catalog, &context).plan;
    let mut turn = texts.iter().cycle();
    criterion.bench_function("planner/cached/point_select", |bencher| {
        bencher.iter(|| {
            let text = turn.next().expect("an endless cycle");
            plan(&mut planner, black_box(text), &catalog, &context)
        });
    });
    let last = plan(&mut planner, &texts[1], &catalog, &context).plan;
    assert!(Rc::ptr_eq(&first, &last), "the plan was not found in the cache");
}

fn cold(criterion: &mut Criterion) {
    let (catalog, context) = (tables(), TextContext::default());
    let mut group = criterion.benchmark_group("planner/cold");
    for (label, text) in COLD {
        group.bench_function(label, |bencher| {
            // Planner and plan are returned, so that they are dropped outside the time taken.
            bencher.iter_batched(
                Planner::new,
                |mut planner| {
                    let planned = plan(&mut planner, black_box(text), &catalog, &context);
                    (planner, planned)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = settings(); targets = cached, cold }
criterion_main!(benches);
