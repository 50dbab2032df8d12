use std::fs;
use std::path::Path;

use iceberg::spec::MAIN_BRANCH;
use rusqlite::Connection;

use super::*;
use crate::error::Exit;
use crate::sink::local_fs::LocalFs;
use crate::sink::testing::{catalog_in, database, make_read_only, make_writable};

fn creation() -> TableCreation {
    TableCreation::builder()
        .name("gold".into())
        .schema(gold::table_schema())
        .partition_spec(gold::partition_spec())
        .properties(gold::PROPERTIES.map(|(k, v)| (k.to_string(), v.to_string())))
        .build()
}

fn impatient(dir: &Path) -> SqliteCatalog {
    catalog_in(dir).with_busy_timeout(Duration::from_millis(50))
}

async fn created(dir: &Path) -> (SqliteCatalog, LoadedTable) {
    let catalog = impatient(dir);
    match catalog.create(creation()).await.unwrap() {
        Created::Made(table) => (catalog, table),
        Created::Exists => panic!("a new folder has a table"),
    }
}

fn set(key: &str, value: &str) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties { updates: [(key.to_string(), value.to_string())].into() }]
}

fn no_head() -> TableRequirement {
    TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.into(), snapshot_id: Some(1) }
}

async fn property(catalog: &SqliteCatalog, key: &str) -> Option<String> {
    catalog.load().await.unwrap().unwrap().metadata.properties().get(key).cloned()
}

fn metadata_files(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join("lake/market_data/gold/metadata")).unwrap().map(|e| e.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".metadata.json")).count()
}

#[tokio::test]
async fn a_table_is_missing_then_made_once_then_found() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = impatient(dir.path());
    assert!(catalog.load().await.unwrap().is_none());
    assert!(!database(dir.path()).exists(), "asking makes no file");
    let (_, made) = created(dir.path()).await;
    assert!(matches!(catalog.create(creation()).await.unwrap(), Created::Exists));
    let found = impatient(dir.path()).load().await.unwrap().unwrap();
    assert_eq!(found.location, made.location);
    assert_eq!(found.metadata, made.metadata);
    assert_eq!(found.metadata.location(), format!("file://{}/lake/market_data/gold", dir.path().display()));
    let db = Connection::open(database(dir.path())).unwrap();
    let namespace: String = db.query_row("SELECT namespace FROM iceberg_namespace_properties", [], |r| r.get(0)).unwrap();
    assert_eq!(namespace, "market_data");
}

#[tokio::test]
async fn of_many_who_create_one_makes_it_and_leaves_one_metadata_file() {
    let dir = tempfile::tempdir().unwrap();
    let catalogs = (0..8).map(|_| catalog_in(dir.path())).collect::<Vec<_>>();
    let made = futures::future::join_all(catalogs.iter().map(|c| c.create(creation()))).await;
    let made = made.into_iter().filter(|c| matches!(c.as_ref().unwrap(), Created::Made(_))).count();
    assert_eq!((made, metadata_files(dir.path())), (1, 1));
}

#[tokio::test]
async fn a_commit_is_applied_to_the_table_as_it_is_now_if_that_meets_its_requirements() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, base) = created(dir.path()).await;
    let theirs = impatient(dir.path());
    assert!(matches!(theirs.commit(&base, &[], set("theirs", "1")).await, CommitAnswer::Committed(_)));
    assert!(matches!(ours.commit(&base, &[], set("ours", "1")).await, CommitAnswer::Committed(_)));
    assert_eq!(property(&ours, "theirs").await.as_deref(), Some("1"), "the other writer's change is kept");
    let refused = ours.commit(&base, &[no_head()], set("ours", "2")).await;
    assert!(matches!(&refused, CommitAnswer::Conflict(text) if text.contains("main")), "{refused:?}");
    assert_eq!(property(&ours, "ours").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn while_another_writer_holds_the_file_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, base) = created(dir.path()).await;
    let writer = Connection::open(database(dir.path())).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = catalog.commit(&base, &[], set("k", "v")).await;
    assert!(matches!(answer, CommitAnswer::NotSent(_)), "{answer:?}");
    assert_eq!(metadata_files(dir.path()), 1, "the metadata file that nobody will name is removed");
    writer.execute_batch("ROLLBACK").unwrap();
    assert_eq!(property(&catalog, "k").await, None);
    assert!(matches!(catalog.commit(&base, &[], set("k", "v")).await, CommitAnswer::Committed(_)));
}

#[tokio::test]
async fn a_file_that_became_read_only_is_waited_for_and_one_that_always_was_is_the_operators() {
    let dir = tempfile::tempdir().unwrap();
    let (running, base) = created(dir.path()).await;
    make_read_only(dir.path());
    let answer = running.commit(&base, &[], set("k", "v")).await;
    assert!(matches!(&answer, CommitAnswer::NotSent(text) if text.contains("readonly")), "{answer:?}");
    assert!(running.load().await.unwrap().is_some(), "it can still be read");

    let started = impatient(dir.path());
    let answer = started.commit(&base, &[], set("k", "v")).await;
    let CommitAnswer::Refused(stop) = answer else { panic!("{answer:?}") };
    assert_eq!(stop.exit, Exit::Usage);
    assert!(stop.what.contains("iceberg.uri") && stop.what.contains("readonly"), "{stop}");
    assert_eq!(metadata_files(dir.path()), 1, "metadata files that nobody will name are removed");

    make_writable(dir.path());
    assert!(matches!(running.commit(&base, &[], set("k", "v")).await, CommitAnswer::Committed(_)));
}

#[tokio::test]
async fn a_commit_that_fails_at_commit_is_unknown_and_the_table_says_what_became_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, base) = created(dir.path()).await;
    let db = Connection::open(database(dir.path())).unwrap();
    // A deferred constraint is checked by COMMIT and by nothing before it.
    db.execute_batch(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER fail AFTER UPDATE ON iceberg_tables BEGIN INSERT INTO child VALUES (1); END;",
    )
    .unwrap();
    let answer = catalog.commit(&base, &[], set("k", "v")).await;
    assert!(matches!(&answer, CommitAnswer::Unknown(text) if text.contains("COMMIT")), "{answer:?}");
    assert_eq!(metadata_files(dir.path()), 2, "a metadata file that may be named by now is kept");
    assert_eq!(property(&catalog, "k").await, None);
    db.execute_batch("DROP TRIGGER fail").unwrap();
    assert!(matches!(catalog.commit(&base, &[], set("k", "v")).await, CommitAnswer::Committed(_)));
    assert_eq!(property(&catalog, "k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_reader_that_holds_the_file_never_makes_a_commit_vanish() {
    for journal in ["WAL", "DELETE"] {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, base) = created(dir.path()).await;
        let reader = Connection::open(database(dir.path())).unwrap();
        let _: String = reader.query_row(&format!("PRAGMA journal_mode = {journal}"), [], |r| r.get(0)).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM iceberg_tables;").unwrap();
        let held: i64 = reader.query_row("SELECT count(*) FROM iceberg_tables", [], |r| r.get(0)).unwrap();
        assert_eq!(held, 1);
        let answer = catalog.commit(&base, &[], set("k", "v")).await;
        let landed = property(&catalog, "k").await.is_some();
        match (journal, &answer) {
            ("WAL", CommitAnswer::Committed(_)) => assert!(landed),
            ("DELETE", CommitAnswer::Unknown(_)) => assert!(!landed),
            _ => panic!("{journal}: {answer:?}, landed {landed}"),
        }
        reader.execute_batch("ROLLBACK").unwrap();
        drop(reader);
        assert!(matches!(catalog.commit(&base, &[], set("k", "w")).await, CommitAnswer::Committed(_)), "{journal}");
        assert_eq!(property(&impatient(dir.path()), "k").await.as_deref(), Some("w"), "{journal}");
    }
}

#[test]
fn of_many_who_swap_from_one_state_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let rows = catalog_in(dir.path()).rows;
    rows.insert("m0").unwrap();
    for round in 0..10 {
        let from = format!("m{round}");
        let swaps: Vec<Swap> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| rows.swap(&from, &format!("m{}", round + 1)))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let next = Swap::OtherLocation(format!("m{}", round + 1));
        assert_eq!(swaps.iter().filter(|s| **s == Swap::Done).count(), 1, "{swaps:?}");
        assert_eq!(swaps.iter().filter(|s| **s == next).count(), 7, "{swaps:?}");
    }
}

#[tokio::test]
async fn a_dropped_table_refuses_and_another_file_is_no_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, base) = created(dir.path()).await;
    let db = Connection::open(database(dir.path())).unwrap();
    db.execute("DELETE FROM iceberg_tables", []).unwrap();
    let answer = catalog.commit(&base, &[], set("k", "v")).await;
    assert!(matches!(answer, CommitAnswer::Rejected { status: 404, .. }), "{answer:?}");

    let other = tempfile::tempdir().unwrap();
    fs::write(database(other.path()), "this is a text file and no database, long enough to have a header").unwrap();
    match impatient(other.path()).load().await {
        Err(PortError::Stop(stop)) => assert_eq!(stop.exit, Exit::Usage),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_catalog_that_an_older_engine_made_is_used_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let db = Connection::open(database(dir.path())).unwrap();
    db.execute_batch(
        "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
            table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
            PRIMARY KEY (catalog_name, table_namespace, table_name));",
    )
    .unwrap();
    let (catalog, base) = created(dir.path()).await;
    assert!(matches!(catalog.commit(&base, &[], set("k", "v")).await, CommitAnswer::Committed(_)));
}

#[tokio::test]
async fn updates_that_cannot_be_applied_are_rejected_on_their_base_and_a_conflict_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, base) = created(dir.path()).await;
    let wrong = || vec![TableUpdate::SetCurrentSchema { schema_id: 77 }];
    assert!(matches!(catalog.commit(&base, &[], wrong()).await, CommitAnswer::Rejected { status: 400, .. }));
    catalog.commit(&base, &[], set("k", "v")).await;
    assert!(matches!(catalog.commit(&base, &[], wrong()).await, CommitAnswer::Conflict(_)));
}

#[tokio::test]
async fn old_metadata_files_are_bounded_unless_the_table_says_otherwise() {
    for (delete, expected) in [("true", 6), ("false", 13)] {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, base) = created(dir.path()).await;
        catalog.commit(&base, &[], set("write.metadata.previous-versions-max", "5")).await;
        catalog.commit(&base, &[], set(gold::DELETE_OLD_METADATA, delete)).await;
        for i in 0..10 {
            catalog.commit(&base, &[], set("k", &i.to_string())).await;
        }
        assert_eq!(property(&impatient(dir.path()), "k").await.as_deref(), Some("9"));
        assert_eq!(metadata_files(dir.path()), expected, "delete-after-commit {delete}");
    }
}

#[tokio::test]
async fn a_missing_metadata_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = created(dir.path()).await;
    LocalFs.delete(&base.location).await.unwrap();
    match impatient(dir.path()).load().await {
        Err(PortError::Stop(stop)) => assert!(stop.what.contains(&*base.location), "{stop}"),
        other => panic!("{other:?}"),
    }
}
