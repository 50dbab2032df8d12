//! The id cache of whatever table is loaded: opened when its uuid is known, and anew when another table takes its place.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crash_point::{self, Point};
use crate::ports::DedupStore;
use crate::state::ids::IdStore;
use crate::types::{EventHour, MessageId};

pub struct IdsOfTable {
    root: Option<PathBuf>,
    cache_bytes: u64,
    opened: Mutex<Option<(u128, Arc<IdStore>)>>,
}

impl IdsOfTable {
    /// `root` and `cache_bytes` as [`IdStore::open`] takes them.
    pub fn new(root: Option<PathBuf>, cache_bytes: u64) -> Self {
        Self { root, cache_bytes, opened: Mutex::new(None) }
    }

    fn current(&self) -> Option<Arc<IdStore>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, store)| store.clone())
    }

    /// What the cache holds in memory; 0 before a table is loaded.
    pub fn memory_bytes(&self) -> u64 {
        self.current().map_or(0, |store| store.memory_bytes())
    }

    pub fn close(&self) {
        if let Some((_, store)) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take() {
            store.close();
        }
    }
}

impl DedupStore for IdsOfTable {
    fn use_table(&self, uuid: u128) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_none_or(|(table, _)| *table != uuid) {
            if let Some((_, other)) = opened.take() {
                other.close();
            }
            *opened = Some((uuid, Arc::new(IdStore::open(self.root.clone(), uuid, self.cache_bytes))));
        }
    }

    fn get(&self, path: &str) -> Option<Vec<(MessageId, EventHour)>> {
        self.current()?.get(path)
    }

    fn put(&self, path: &str, ids: &[(MessageId, EventHour)]) {
        if let Some(store) = self.current() {
            crash_point::pass(Point::IdsPutting);
            store.put(path, ids);
            crash_point::pass(Point::IdsPut);
        }
    }

    fn sweep(&self, keep: &dyn Fn(&str) -> bool) {
        if let Some(store) = self.current() {
            store.sweep(keep);
        }
    }
}
