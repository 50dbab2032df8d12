//! `sluice verify` can fail: it finds each kind of planted fault, and nothing in a good table.

use std::path::Path;

use serde_json::Value;

use crate::common::*;

/// Two commits of a thousand trades and one of copies of them.
fn good_table() -> World {
    let world = World::new("planted", &[("binance", 2)]);
    let mut sluice = world.start(1);
    for first in [0u64, 1_000, 500] {
        let producer = world.producer();
        for n in first..first + 1_000 {
            producer.trade(&world.topic("binance"), (n % 2) as i32, Draft::new(n, T0 + n as i64 * 1_000_000));
        }
        producer.settle();
        world.drain(&mut [&mut sluice]);
    }
    sluice.terminate();
    world
}

/// Runs `verify --deep` on the table with `plant` done to it, and puts the table back.
fn finds(world: &World, what: &str, checks: &[&str], plant: impl FnOnce()) {
    let backup = world.dir.join("backup");
    copy(&world.dir, &backup);
    plant();
    let done = world.run(&["verify", "--deep", "--output", "json"]);
    assert_eq!(done.code, Some(4), "{what}: a violation is exit 4\n{done}");
    assert!(checks.iter().any(|check| done.stdout.contains(check)), "{what}: the findings name one of {checks:?}\n{done}");
    copy(&backup, &world.dir);
    std::fs::remove_dir_all(&backup).expect("the copy goes");
    world.run_expecting(0, &["verify", "--deep"]);
}

/// Makes `to` hold exactly the catalog and the warehouse that `from` holds.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("a copy");
        }
    }
    let _ = std::fs::remove_dir_all(to.join("warehouse"));
    copy_folder(&from.join("warehouse"), &to.join("warehouse"));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// Changes the JSON behind `key` in the summary of one snapshot.
fn in_summary(metadata: &mut Value, snapshot: i64, key: &str, change: impl FnOnce(&mut Value)) {
    let snapshots = metadata["snapshots"].as_array_mut().expect("a list");
    let found = snapshots.iter_mut().find(|s| s["snapshot-id"].as_i64() == Some(snapshot)).expect("the snapshot");
    let text = found["summary"][key].as_str().unwrap_or_else(|| panic!("no {key} in {found}"));
    let mut json = serde_json::from_str(text).expect("JSON");
    change(&mut json);
    found["summary"][key] = json.to_string().into();
}

#[test]
fn verify_finds_a_planted_gap_overlap_duplicate_missing_file_missing_row_and_wrong_verdict() {
    let world = good_table();
    world.run_expecting(0, &["verify", "--deep"]);
    let group = world.group.clone();
    let topic = world.topic("binance");
    let last = world.metadata().commits(&group).last().expect("a commit").id();
    let shift_start = |by: i64| {
        world.table.falsify(|json| {
            in_summary(json, last, &format!("sluice.ranges.{group}"), |ranges| {
                let range = &mut ranges[&topic]["0"];
                range[0] = (range[0].as_i64().expect("an offset") + by).into();
            });
        });
    };
    finds(&world, "gap", &["range-gap"], || shift_start(7));
    finds(&world, "overlap", &["range-overlap"], || shift_start(-7));
    finds(&world, "duplicate", &["duplicate"], || world.engine.plant_doubled_row(&Id::Uuid(1_234).to_string()));
    finds(&world, "missing file", &["file-missing"], || {
        let file = world.engine.files().pop().expect("a file");
        std::fs::remove_file(file.path.trim_start_matches("file://")).expect("the file goes");
    });
    finds(&world, "missing row", &["row-missing"], || world.engine.plant_missing_row(&Id::Uuid(1_234).to_string()));
    finds(&world, "wrong verdict", &["row-missing", "verdict"], || {
        // The table says that it was a duplicate; its first copy is nowhere.
        world.engine.plant_missing_row(&Id::Uuid(77).to_string());
        call_one_written_record_a_duplicate(&world);
    });
}

fn call_one_written_record_a_duplicate(world: &World) {
    let metadata = world.metadata();
    let commits: Vec<i64> = metadata.commits(&world.group).iter().map(|s| s.id()).collect();
    let reclassify = |counts: &mut Value| {
        for (key, by) in [("written", -1), ("duplicate", 1)] {
            counts[key] = (counts[key].as_i64().expect("a count") + by).into();
        }
    };
    let first = *commits.first().expect("a commit");
    let from_there_on: Vec<i64> =
        metadata.ancestry().iter().map(|s| s.id()).take_while(|id| *id != first).chain([first]).collect();
    world.table.falsify(|json| {
        in_summary(json, first, &format!("sluice.counts.{}", world.group), reclassify);
        for snapshot in from_there_on {
            in_summary(json, snapshot, &format!("sluice.totals.{}", world.group), reclassify);
        }
        let key = format!("sluice.state.{}", world.group);
        let mut state: Value = serde_json::from_str(json["properties"][&key].as_str().expect("the property")).expect("JSON");
        reclassify(&mut state["totals"]);
        json["properties"][&key] = state.to_string().into();
    });
}

#[test]
fn verify_calls_expired_history_and_foreign_deletes_unprovable_and_fails_under_strict_only() {
    let world = good_table();
    world.engine.delete_files(&[&world.engine.files()[0]]);
    world.engine.expire();
    let out = world.run_expecting(0, &["verify", "--deep", "--output", "json"]);
    assert!(out.contains("unprovable"), "{out}");
    world.run_expecting(4, &["verify", "--deep", "--strict"]);
}
