use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::state::memory::resident_bytes;

mod damage;
mod processes;

const TABLE: u128 = 0xa;
const CACHE: u64 = 1 << 20;

fn open(root: &Path) -> IdStore {
    IdStore::open(Some(root.into()), TABLE, CACHE)
}

/// Ids of one file: made up from its name, the same at every call. Every third file has several hours.
fn ids_of(path: &str, n: usize) -> Vec<(MessageId, EventHour)> {
    use rand::{RngCore, SeedableRng};
    let seed = crc32fast::hash(path.as_bytes());
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed.into());
    let hours = if seed.is_multiple_of(3) { 24 } else { 1 };
    let mut id = || {
        let id = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        (MessageId(id), EventHour(490_000 + (id % hours) as i64))
    };
    (0..n).map(|_| id()).collect()
}

fn size_of(i: usize) -> usize {
    [0, 1, IDS_PER_CHUNK, 3 * IDS_PER_CHUNK + 1, 100 * IDS_PER_CHUNK][i % 5]
}

fn path_of(i: usize) -> String {
    format!("s3://lake/gold/data/sluice-{i}.parquet")
}

fn put_some(store: &IdStore, files: std::ops::Range<usize>) {
    for i in files {
        store.put(&path_of(i), &ids_of(&path_of(i), size_of(i)));
    }
}

/// How many of the files the store has; whatever it has is right.
fn right_or_absent(store: &IdStore, files: std::ops::Range<usize>) -> usize {
    let has = |i: &usize| match store.get(&path_of(*i)) {
        Some(ids) => {
            assert!(ids == ids_of(&path_of(*i), size_of(*i)), "wrong ids for {}", path_of(*i));
            true
        }
        None => false,
    };
    files.filter(has).count()
}

#[test]
fn what_was_put_is_there_also_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    assert_eq!(store.get(&path_of(0)), None);
    put_some(&store, 0..15);
    assert_eq!(right_or_absent(&store, 0..15), 15);
    store.close();
    assert_eq!(right_or_absent(&store, 0..15), 0, "closed is empty");
    let store = open(root.path());
    assert_eq!(right_or_absent(&store, 0..16), 15);
    assert_eq!(store.get("s3://lake/gold/data/"), None);
}

#[test]
fn a_clean_restart_loses_nothing_however_soon() {
    for round in 0..30 {
        let root = tempfile::tempdir().unwrap();
        let store = open(root.path());
        put_some(&store, 0..10);
        store.close();
        assert_eq!(right_or_absent(&open(root.path()), 0..10), 10, "round {round}");
    }
}

#[test]
fn a_file_put_again_is_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let headers = || (0..5).map(|i| store.header(FileKey::of(TABLE, &path_of(i)), &path_of(i)).unwrap()).collect::<Vec<_>>();
    put_some(&store, 0..5);
    let written = headers();
    put_some(&store, 0..5);
    assert_eq!(headers(), written, "each writing has a stamp of its own");
    assert_eq!(right_or_absent(&store, 0..5), 5);
}

#[test]
fn a_sweep_forgets_what_is_refused_and_keeps_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put_some(&store, 0..20);
    let kept: Vec<String> = (0..20).filter(|i| i % 3 == 0).map(path_of).collect();
    store.sweep(&|path| kept.iter().any(|k| k == path));
    for i in 0..20 {
        assert_eq!(store.get(&path_of(i)).is_some(), i % 3 == 0, "{i}");
    }
    store.sweep(&|_| false);
    assert_eq!(store.run(|db| Ok(db.len())), Some(0), "no chunk is left behind");
    put_some(&store, 0..20);
    assert_eq!(right_or_absent(&store, 0..20), 20);
}

#[test]
fn a_sweep_goes_through_more_headers_than_one_step_takes() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let n = HEADERS_PER_JOB * 2 + 7;
    for i in 0..n {
        store.put(&path_of(i), &ids_of(&path_of(i), 1));
    }
    store.sweep(&|path| path.ends_with("7.parquet"));
    let left = (0..n).filter(|i| store.get(&path_of(*i)).is_some()).count();
    assert_eq!(left, (0..n).filter(|i| i % 10 == 7).count());
}

#[test]
fn an_unfinished_put_is_absent_and_can_be_put_again_and_swept() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (path, ids) = (path_of(3), ids_of(&path_of(3), size_of(3)));
    let key = FileKey::of(TABLE, &path);
    let begun = Header::new(&path, &ids, 1);
    let chunk = begun.encode_chunk(&key.chunk(0), &ids[..IDS_PER_CHUNK]);
    store.write(vec![(key.header(), begun.encode(&key.header())), (key.chunk(0), chunk)]).unwrap();
    assert_eq!(store.get(&path), None);
    store.put(&path, &ids);
    assert_eq!(store.get(&path), Some(ids));
    store.sweep(&|_| false);
    assert_eq!(store.run(|db| Ok(db.len())), Some(0));
}

#[test]
fn chunks_of_two_writings_never_make_one_file() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (path, ids) = (path_of(3), ids_of(&path_of(3), size_of(3)));
    store.put(&path, &ids);
    let key = FileKey::of(TABLE, &path);
    let other = Header::new(&path, &ids, 1);
    let chunk = other.encode_chunk(&key.chunk(1), &ids[..IDS_PER_CHUNK]);
    store.write(vec![(key.chunk(1), chunk)]).unwrap();
    assert_eq!(store.get(&path), None);
    assert!(store.is_open(), "it is no damage");
    store.put(&path, &ids);
    assert_eq!(store.get(&path), Some(ids), "and can be put again");
}

#[test]
fn many_threads_at_once_get_right_answers() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    std::thread::scope(|scope| {
        for first in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for i in (0..40).skip(first).step_by(2) {
                    put_some(store, i..i + 1);
                    right_or_absent(store, 0..40);
                }
            });
        }
    });
    assert_eq!(right_or_absent(&store, 0..40), 40);
}

#[test]
fn without_a_directory_it_forgets_what_it_is_given() {
    let store = IdStore::open(None, TABLE, CACHE);
    put_some(&store, 0..5);
    assert_eq!(right_or_absent(&store, 0..5), 0);
    store.sweep(&|_| true);
    store.close();
    assert!(!store.is_open());
    assert_eq!((store.disk_bytes(), store.memory_bytes()), (0, 0));
}

/// Memory is the process's own: run in one where nothing else runs.
fn ten_million_ids(root: &Path) {
    let store = open(root);
    let (files, each) = (20, 500_000);
    let started = Instant::now();
    let mut before = 0;
    for i in 0..files {
        let path = format!("file {i}");
        store.put(&path, &ids_of("one hour, as nearly all files", each));
        before = before.max(if i == 4 { resident_bytes().unwrap() } else { 0 });
    }
    for i in 0..files {
        assert!(store.get(&format!("file {i}")).is_some_and(|ids| ids.len() == each));
    }
    let (elapsed, resident) = (started.elapsed(), resident_bytes().unwrap());
    let per_id = store.disk_bytes() as f64 / (files * each) as f64;
    // 25.6 on an idle machine; sled cleans its log once a second, and falls behind when it is written at full speed.
    assert!(per_id < 40.0, "{per_id} bytes an id");
    println!("{per_id} bytes an id, {elapsed:?}");
    // 160 MB of values went through since.
    assert!(resident < before + (80 << 20), "resident memory went from {before} to {resident}");
    // A tenth of the speed that was measured on an idle machine.
    assert!(elapsed < Duration::from_secs(30), "10 M ids written and read in {elapsed:?}");
}

#[test]
#[ignore = "a measurement: run alone, with --nocapture"]
fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let files: usize = std::env::var("MEASURE_FILES").map_or(10, |v| v.parse().unwrap());
    let each: usize = 1_000_000;
    let resident = || {
        crate::state::memory::release_freed();
        resident_bytes().unwrap() >> 20
    };
    let timed = |what: String, work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        println!("{what}: {:?}, resident {} MiB", started.elapsed(), resident());
    };
    let ids = ids_of("one", each);
    let store = IdStore::open(Some(dir.path().into()), TABLE, 16 << 20);
    for i in 0..files {
        timed(format!("put {i}"), &mut || store.put(&format!("file {i}"), &ids));
    }
    println!("{} bytes an id on disk", store.disk_bytes() as f64 / (files * each) as f64);
    timed("close".into(), &mut || store.close());
    let store = IdStore::open(Some(dir.path().into()), TABLE, 16 << 20);
    for i in 0..files {
        timed(format!("get {i}"), &mut || assert!(store.get(&format!("file {i}")).unwrap() == ids));
    }
    timed("sweep".into(), &mut || store.sweep(&|path| path.ends_with('1')));
    timed("close".into(), &mut || store.close());
    timed("open".into(), &mut || drop(IdStore::open(Some(dir.path().into()), TABLE, 16 << 20)));
}
