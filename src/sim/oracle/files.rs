//! Data files: what the live ones hold, and what a commit may add.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use super::Invariant::*;
use super::pass::{Origin, Pass};
use super::sets::{KeyNumber, KeySet, Keys};
use super::stated::Fault;
use crate::sim::history::*;
use crate::types::*;

/// A file as it was when it was first seen live.
struct Judged {
    rows: Arc<Vec<Row>>,
    keys: Vec<KeyNumber>,
}

#[derive(Default)]
pub(super) struct JudgedFiles {
    files: BTreeMap<FilePath, Judged>,
    /// Every row that a commit of ours ever brought: other engines may carry them to other files.
    rows: HashMap<Serial, Origin>,
}

impl JudgedFiles {
    /// The keys that live files hold. Each has to be there as it was.
    pub fn present(&self, history: &History, live: &BTreeSet<FilePath>) -> Result<KeySet, Fault> {
        let mut present = KeySet::default();
        // Both are ordered by path, as the live ones are: one walk instead of two look-ups a file.
        let (mut stored, mut judged) = (history.files.iter(), self.files.iter());
        for path in live {
            let Some(rows) = walk_to(&mut stored, path) else {
                return Err((FilesThere, format!("{path} is live and gone")));
            };
            let file = walk_to(&mut judged, path).expect("a file is judged when it becomes live");
            if !Arc::ptr_eq(rows, &file.rows) && *rows != file.rows {
                return Err((FilesThere, format!("{path} holds something else than when it landed")));
            }
            for key in &file.keys {
                present.insert(*key);
            }
        }
        Ok(present)
    }

    /// The files that a commit of ours adds: each row of a record of its ranges, for a key that had none. Counts them.
    pub fn judge_added(
        &mut self,
        history: &History,
        pass: &mut Pass<'_>,
        added: &[FilePath],
        present: &KeySet,
    ) -> Result<u64, Fault> {
        let mut written = 0;
        let mut twice = KeySet::default();
        for path in added {
            let rows = stored(history, path)?;
            let mut keys = Vec::with_capacity(rows.len());
            for row in rows.iter() {
                let from = row.from.and_then(|serial| Some((serial, *pass.origins.get(&serial)?)));
                let made = |origin: &Origin| origin.time == row.time && pass.keys.key(origin.key).1 == row.id;
                let Some((serial, origin)) = from.filter(|(_, origin)| made(origin)) else {
                    return Err((NothingInvented, format!("{path} has {row:?}, which no record of the ranges makes")));
                };
                if present.contains(origin.key) || !twice.insert(origin.key) {
                    return Err((EachKeyOnce, format!("{path} has another row for {:?}", pass.keys.key(origin.key))));
                }
                self.rows.insert(serial, origin);
                keys.push(origin.key);
            }
            written += rows.len() as u64;
            self.enter(path, rows, keys)?;
        }
        Ok(written)
    }

    /// A file that another engine brought: rows of its own, and rows that we once wrote.
    pub fn judge_foreign(&mut self, history: &History, keys: &mut Keys, path: &FilePath) -> Result<(), Fault> {
        let rows = stored(history, path)?;
        let numbers = number(keys, &rows);
        for (row, key) in rows.iter().zip(&numbers) {
            let written = |serial| self.rows.get(&serial) == Some(&Origin { key: *key, time: row.time });
            if !row.from.is_none_or(written) {
                return Err((NothingInvented, format!("{path} has {row:?}, which no commit wrote")));
            }
        }
        self.enter(path, rows, numbers)
    }

    fn enter(&mut self, path: &FilePath, rows: Arc<Vec<Row>>, keys: Vec<KeyNumber>) -> Result<(), Fault> {
        let file = self.files.entry(path.clone()).or_insert_with(|| Judged { rows: rows.clone(), keys });
        match Arc::ptr_eq(&file.rows, &rows) || file.rows == rows {
            true => Ok(()),
            false => Err((FilesThere, format!("{path} was written again with other rows"))),
        }
    }
}

/// The value of `path`, if it is among what is still to come.
fn walk_to<'a, V>(files: &mut impl Iterator<Item = (&'a FilePath, &'a V)>, path: &FilePath) -> Option<&'a V> {
    for (at, value) in files {
        // Mostly they share one string.
        let order = if Arc::ptr_eq(at, path) { Ordering::Equal } else { at.cmp(path) };
        match order {
            Ordering::Less => {}
            Ordering::Equal => return Some(value),
            Ordering::Greater => return None,
        }
    }
    None
}

fn stored(history: &History, path: &FilePath) -> Result<Arc<Vec<Row>>, Fault> {
    history.files.get(path).cloned().ok_or_else(|| (FilesThere, format!("{path} was added and isn't there")))
}

fn number(keys: &mut Keys, rows: &[Row]) -> Vec<KeyNumber> {
    rows.iter().map(|row| keys.number(row.key())).collect()
}

/// A commit of ours only appends: it takes no file away, and brings none but its own.
pub(super) fn only_added(landed: &Landed, before: &BTreeSet<FilePath>) -> Result<(), Fault> {
    let mut kept = before.iter().peekable();
    let is_kept = |path: &&FilePath| kept.next_if(|at| Arc::ptr_eq(at, path) || at == path).is_some();
    let (_, mut brought): (Vec<&FilePath>, Vec<&FilePath>) = landed.live.iter().partition(is_kept);
    let mut added: Vec<&FilePath> = landed.added.iter().collect();
    added.sort();
    brought.sort();
    match kept.next().is_none() && added == brought {
        true => Ok(()),
        false => Err((FilesThere, "the live files are not those of the snapshot before and the added ones".into())),
    }
}
