//! Tests of the stored catalog and its cache.

use super::*;
use crate::engine::sqlite::rights::Rights;
use crate::sql::catalog::{Catalog, ColumnDefinition};
use crate::sql::types::Type;

fn sample(oid: u32, name: &str) -> Relation {
    Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns: vec![ColumnDefinition {
            name: "a".into(),
            type_: Type::Int4,
            typmod: -1,
            not_null: true,
            default: None,
            dropped: false,
            acl: None,
        }],
        constraints: vec![],
        indexes: vec![],
        owner: 10,
        acl: None,
        storage: format!("{name}_{oid}"),
        rowid_column: None,
        unlogged: false,
        temporary: false,
        options: vec![],
        on_commit: crate::sql::catalog::OnCommit::PreserveRows,
        depends: crate::sql::catalog::Dependencies::default(),
    }
}

#[test]
fn relations_are_found_by_name_and_oid_and_forgotten_on_rollback() {
    let connection = Connection::open_in_memory().unwrap();
    create(&connection).unwrap();
    let cache = Cache::new();
    cache.refresh(&connection, 0).unwrap();
    let path = vec!["public".to_owned()];
    let rights = Rights { role: 10, superuser: true, ..Rights::default() };
    let catalog = StoredCatalog { connection: &connection, cache: &cache, search_path: &path, rights: &rights };
    let before = catalog.version();
    assert!(catalog.relation(None, "t").unwrap().is_none());

    connection.execute_batch("BEGIN").unwrap();
    let writer = Writer::new(&connection, &cache);
    let oid = writer.next_oid(false).unwrap();
    assert_eq!(oid, FIRST_OID);
    writer.put(&sample(oid, "t")).unwrap();
    assert_eq!(catalog.relation(None, "t").unwrap().unwrap().oid, oid);
    assert_ne!(catalog.version(), before);
    connection.execute_batch("ROLLBACK").unwrap();
    cache.rolled_back(&connection, false).unwrap();
    assert!(catalog.relation(None, "t").unwrap().is_none());
    assert!(catalog.relation_by_oid(oid).unwrap().is_none());
}

#[test]
fn another_process_looks_again_once_a_new_version_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("d.db");
    let writer_side = Connection::open(&file).unwrap();
    writer_side.pragma_update(None, "journal_mode", "wal").unwrap();
    create(&writer_side).unwrap();
    let reader_side = Connection::open(&file).unwrap();
    let path = vec!["public".to_owned()];
    let rights = Rights { role: 10, superuser: true, ..Rights::default() };
    let (writer_cache, reader_cache) = (Cache::new(), Cache::new());
    reader_cache.refresh(&reader_side, 1).unwrap();
    let reader = StoredCatalog { connection: &reader_side, cache: &reader_cache, search_path: &path, rights: &rights };
    assert!(reader.relation(None, "t").unwrap().is_none());

    writer_side.execute_batch("BEGIN IMMEDIATE").unwrap();
    Writer::new(&writer_side, &writer_cache).put(&sample(20000, "t")).unwrap();
    let version = writer_cache.prepare_commit(&writer_side, 1).unwrap();
    assert_eq!(version, Some(2));
    // Announced, not committed: what the reader has is still right, and it will look again.
    reader_cache.refresh(&reader_side, 2).unwrap();
    assert!(reader.relation(None, "t").unwrap().is_none());
    writer_side.execute_batch("COMMIT").unwrap();
    writer_cache.committed(version);
    reader_cache.refresh(&reader_side, 2).unwrap();
    assert!(reader.relation(None, "t").unwrap().is_some());
}

#[test]
fn a_stored_relation_reads_back_as_written_and_its_form_does_not_drift() {
    let relation = sample(16384, "t");
    let json = serde_json::to_string(&relation).unwrap();
    assert_eq!(serde_json::from_str::<Relation>(&json).unwrap(), relation);
    assert_eq!(
        json,
        r#"{"oid":16384,"schema":"public","name":"t","kind":"Table","columns":[{"name":"a","type_":"Int4","typmod":-1,"not_null":true,"default":null,"dropped":false}],"constraints":[],"indexes":[],"owner":10,"storage":"t_16384","rowid_column":null,"unlogged":false,"temporary":false,"options":[]}"#
    );
}
