//! The id cache of whatever table is loaded: opened when its uuid is known, and anew when another table takes its place.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::crash_point::{self, Point};
use crate::ports::{DedupStore, FileIds, Keep};
use crate::state::ids::IdStore;
use crate::types::FilePath;

/// A table by its uuid, and its store.
type Opened = (u128, Arc<IdStore>);

pub struct IdsOfTable {
    root: Option<PathBuf>,
    cache_bytes: u64,
    opened: Arc<Mutex<Option<Opened>>>,
}

impl IdsOfTable {
    /// `root` and `cache_bytes` as [`IdStore::open`] takes them.
    pub fn new(root: Option<PathBuf>, cache_bytes: u64) -> Self {
        Self { root, cache_bytes, opened: Arc::default() }
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

/// sled blocks: each call runs beside the loop. One that panics is a cache that is lost.
#[async_trait]
impl DedupStore for IdsOfTable {
    async fn use_table(&self, uuid: u128) {
        if self.opened.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|(table, _)| *table == uuid) {
            return;
        }
        let (opened, root, cache_bytes) = (self.opened.clone(), self.root.clone(), self.cache_bytes);
        let open = move || {
            let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, other)) = opened.take() {
                other.close();
            }
            *opened = Some((uuid, Arc::new(IdStore::open(root, uuid, cache_bytes))));
        };
        let _ = tokio::task::spawn_blocking(open).await;
    }

    async fn get(&self, path: &FilePath) -> Option<FileIds> {
        let (store, path) = (self.current()?, path.clone());
        tokio::task::spawn_blocking(move || store.get(&path)).await.ok().flatten()
    }

    async fn put(&self, path: &FilePath, ids: FileIds) {
        let Some(store) = self.current() else { return };
        let path = path.clone();
        crash_point::pass(Point::IdsPutting);
        let _ = tokio::task::spawn_blocking(move || store.put(&path, &ids)).await;
        crash_point::pass(Point::IdsPut);
    }

    async fn sweep(&self, keep: Keep) {
        let Some(store) = self.current() else { return };
        let _ = tokio::task::spawn_blocking(move || store.sweep(&*keep)).await;
    }
}
