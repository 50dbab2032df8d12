//! Directories as no run of Sluice leaves them: every answer is still right or absent, and the store works afterwards.

use super::*;

const FILES: std::ops::Range<usize> = 0..10;

/// A closed store with some files in it.
fn written() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put_some(&store, FILES);
    store.close();
    // A second run leaves a snapshot file of sled as well.
    let store = open(root.path());
    assert_eq!(right_or_absent(&store, FILES), FILES.len());
    store.close();
    root
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_under(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// Opens a copy of `root` after `damage`: right or absent, and as good as new afterwards.
fn survives(root: &Path, what: &str, damage: impl Fn(&Path)) -> usize {
    let copied = tempfile::tempdir().unwrap();
    copy(root, copied.path());
    damage(copied.path());
    let store = open(copied.path());
    let left = right_or_absent(&store, FILES);
    assert!(store.is_open(), "{what}: begun anew where need be");
    put_some(&store, FILES);
    let after = right_or_absent(&store, FILES);
    // A loss that shows only now is allowed, once: then everything has to be put again.
    if after < FILES.len() {
        put_some(&store, FILES);
        assert_eq!(right_or_absent(&store, FILES), FILES.len(), "{what}");
    }
    store.close();
    let store = open(copied.path());
    assert!(right_or_absent(&store, FILES) <= FILES.len(), "{what}");
    left
}

/// Positions spread over a file, its first and last bytes among them.
fn positions(len: usize, n: usize) -> Vec<usize> {
    let spread = (0..n).map(|i| i * len / n + (i * 7919) % (len / n).max(1));
    let mut all: Vec<usize> =
        [0, 1, 4, 12, 24, 40, len.saturating_sub(1), len.saturating_sub(5)].into_iter().chain(spread).collect();
    all.retain(|at| *at < len);
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn a_flipped_byte_in_any_file() {
    let root = written();
    let mut left = vec![];
    for file in files_under(root.path()) {
        let name = file.strip_prefix(root.path()).unwrap();
        let len = fs::metadata(&file).unwrap().len() as usize;
        for at in positions(len, 16) {
            let damage = |copied: &Path| {
                let mut bytes = fs::read(copied.join(name)).unwrap();
                bytes[at] ^= 0xff;
                fs::write(copied.join(name), bytes).unwrap();
            };
            left.push(survives(root.path(), &format!("{}, byte {at} of {len}", name.display()), damage));
        }
    }
    assert!(left.len() > 30 && left.iter().any(|n| *n < FILES.len()), "the damage was noticed at all: {left:?}");
}

#[test]
fn a_file_cut_short_or_emptied_or_gone() {
    let root = written();
    for file in files_under(root.path()) {
        let name = file.strip_prefix(root.path()).unwrap();
        let len = fs::metadata(&file).unwrap().len();
        for keep in [0, 1, len / 3, len / 2, len.saturating_sub(1)] {
            let cut =
                |copied: &Path| fs::File::options().write(true).open(copied.join(name)).unwrap().set_len(keep).unwrap();
            survives(root.path(), &format!("{} cut to {keep} of {len}", name.display()), cut);
        }
        survives(root.path(), &format!("{} gone", name.display()), |copied| fs::remove_file(copied.join(name)).unwrap());
    }
}

#[test]
fn an_older_copy_restored() {
    let root = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put_some(&store, 0..5);
    store.close();
    copy(root.path(), older.path());
    let store = open(root.path());
    put_some(&store, 5..10);
    store.sweep(&|path| path != path_of(1));
    store.close();
    // The whole directory, and then each single file of it under the newer rest.
    assert_eq!(survives(older.path(), "an older copy", |_| {}), 5);
    for file in files_under(older.path()) {
        let name = file.strip_prefix(older.path()).unwrap();
        if root.path().join(name).exists() {
            let restore = |copied: &Path| {
                fs::copy(&file, copied.join(name)).unwrap();
            };
            survives(root.path(), &format!("an older {}", name.display()), restore);
        }
    }
}

#[test]
fn the_directory_of_another_table() {
    let root = written();
    let other = TABLE + 1;
    let uuid = |table: u128| uuid::Uuid::from_u128(table).to_string();
    fs::rename(root.path().join(uuid(TABLE)), root.path().join(uuid(other))).unwrap();
    let store = IdStore::open(Some(root.path().into()), other, CACHE);
    assert!(store.is_open());
    assert_eq!(right_or_absent(&store, FILES), 0, "same paths, another table");
}

#[test]
fn a_place_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for place in [file.join("ids"), PathBuf::from("/proc/sluice/ids")] {
        let store = open(&place);
        assert!(!store.is_open());
        put_some(&store, FILES);
        assert_eq!(right_or_absent(&store, FILES), 0);
    }
}

#[test]
fn a_directory_deleted_while_it_is_open_is_begun_anew_once() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put_some(&store, FILES);
    fs::remove_dir_all(root.path()).unwrap();
    assert_eq!(right_or_absent(&store, FILES), 0);
    put_some(&store, FILES);
    assert_eq!(right_or_absent(&store, FILES), FILES.len());
    fs::remove_dir_all(root.path()).unwrap();
    put_some(&store, FILES);
    assert_eq!(right_or_absent(&store, FILES), 0);
    assert!(!store.is_open(), "twice in a short time: without it for a while");
    assert!(matches!(&*store.slot(), Slot::Lost(Lost { retry_at: Some(at), .. }) if *at > Instant::now()));
    // The while is over.
    if let Slot::Lost(lost) = &mut *store.slot() {
        lost.retry_at = Some(Instant::now());
    }
    put_some(&store, FILES);
    assert_eq!(right_or_absent(&store, FILES), FILES.len());
}

#[test]
fn a_value_that_is_not_what_was_put_loses_the_whole_cache() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put_some(&store, FILES);
    let key = FileKey::of(TABLE, &path_of(3)).chunk(0);
    store.run(move |db| db.insert(key, b"something else".as_slice()).map(drop)).unwrap();
    assert_eq!(store.get(&path_of(3)), None);
    assert!(store.is_open());
    assert_eq!(right_or_absent(&store, FILES), 0, "nothing of that database is believed any more");
}
