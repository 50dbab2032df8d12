//! Where the database of one table lies: `ids/<table uuid>/<number>`, the greatest number counting.
//!
//! A lost database is never opened under its old path again: what sled left behind in this process may still write there.
//! A marker beside it counts the opens that didn't come back, so that a directory on which sled brings the process down is
//! given up after two of them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Opens that may end without coming back before the directory is taken to be the cause.
const OPENS_LOST_MAX: u32 = 2;

const MARKER: &str = "opening";

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Generation {
    pub(super) path: PathBuf,
    marker: PathBuf,
}

impl Generation {
    /// The directory to open, made where it is missing; everything else under `root`, of this and of other tables, is
    /// removed. `root` belongs to this process alone.
    pub(super) fn current(root: &Path, table: u128) -> io::Result<Generation> {
        let home = home(root, table);
        fs::create_dir_all(&home)?;
        let newest = numbers(&home)?.into_iter().max();
        let marker = home.join(MARKER);
        let usable = opens_lost(&marker) < OPENS_LOST_MAX;
        let number = match newest {
            Some(newest) if usable => newest,
            Some(newest) => newest + 1,
            None => 1,
        };
        let generation = Self::make(&home, number)?;
        for other in numbers(&home)?.into_iter().filter(|n| *n != number) {
            remove(&home.join(other.to_string()));
        }
        remove_other_tables(root, &home);
        Ok(generation)
    }

    /// A new directory behind this one, whatever is left of this one.
    pub(super) fn successor(&self) -> io::Result<Generation> {
        let home = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(home)?;
        let number = self.path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
        Self::make(home, number.unwrap_or(0) + 1)
    }

    fn make(home: &Path, number: u64) -> io::Result<Generation> {
        let path = home.join(number.to_string());
        fs::create_dir_all(&path)?;
        Ok(Generation { path, marker: home.join(MARKER) })
    }

    /// Before the database is opened.
    pub(super) fn opening(&self) -> io::Result<()> {
        fs::write(&self.marker, (opens_lost(&self.marker) + 1).to_string())
    }

    /// The open came back, with whatever outcome.
    pub(super) fn opened(&self) {
        let _ = fs::remove_file(&self.marker);
    }

    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    pub(super) fn remove(&self) {
        remove(&self.path);
    }
}

fn home(root: &Path, table: u128) -> PathBuf {
    root.join(uuid::Uuid::from_u128(table).to_string())
}

fn numbers(home: &Path) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(home)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

/// How often in a row an open didn't come back. A marker that can't be read counts as one.
fn opens_lost(marker: &Path) -> u32 {
    match fs::read_to_string(marker) {
        Ok(text) => text.trim().parse().unwrap_or(1),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(_) => 1,
    }
}

fn remove_other_tables(root: &Path, home: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let is_table = entry.file_name().to_str().is_some_and(|name| uuid::Uuid::parse_str(name).is_ok());
        if is_table && entry.path() != home {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => tracing::warn!(
            event = "dedup.cache_leftover", path = %path.display(), exception = %error,
            "an unused directory of the id cache can't be removed; it may be deleted by hand"
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_directory_of_the_own_table_stays_and_all_others_go() {
        let root = tempfile::tempdir().unwrap();
        let of = |table: u128| uuid::Uuid::from_u128(table).to_string();
        for dir in [format!("{}/2", of(1)), format!("{}/10", of(1)), format!("{}/1", of(2)), "notes".into()] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let current = Generation::current(root.path(), 1).unwrap();
        assert_eq!(current.path, root.path().join(of(1)).join("10"));
        assert!(!root.path().join(of(1)).join("2").exists());
        assert!(!root.path().join(of(2)).exists());
        assert!(root.path().join("notes").exists(), "what isn't a table's is left alone");
        assert_eq!(current.successor().unwrap().path, root.path().join(of(1)).join("11"));
    }

    #[test]
    fn a_directory_on_which_two_opens_died_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let first = Generation::current(root.path(), 1).unwrap();
        first.opening().unwrap();
        assert_eq!(Generation::current(root.path(), 1).unwrap(), first, "one may have been an unlucky kill");
        first.opening().unwrap();
        let second = Generation::current(root.path(), 1).unwrap();
        assert_ne!(second, first);
        assert!(!first.exists());
        second.opening().unwrap();
        second.opened();
        assert_eq!(Generation::current(root.path(), 1).unwrap(), second);
    }
}
