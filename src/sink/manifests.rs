//! The live files of a head, read from its manifests. A manifest never changes, so each is read and checked once, and kept
//! as long as the head lists it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestList, Snapshot, TableMetadata,
};

use super::foreign::{self, RowHours};
use super::storage::ObjectStore;
use super::{gold, is_ours};
use crate::core::table::{LiveFile, LiveFiles};
use crate::error::Stop;
use crate::ports::PortError;
use crate::types::{FilePath, SnapshotId};

/// Manifests read at once.
const READ_AT_ONCE: usize = 8;
/// Manifest lists that are kept: those of the bases that a commit may still be built on.
const LISTS_KEPT: usize = 4;

pub type ManifestFiles = Arc<Vec<ManifestFile>>;
type Listed = Arc<Vec<LiveFile>>;

#[derive(Default)]
struct Known {
    /// By path of the manifest list, newest last.
    lists: Vec<(String, ManifestFiles)>,
    /// By path of the manifest.
    manifests: HashMap<String, Listed>,
    /// Foreign files whose rows were read and found right.
    read: HashSet<FilePath>,
    live: Option<(SnapshotId, Arc<LiveFiles>)>,
}

impl Known {
    /// Those whose files are known, and those that must be read.
    fn split<'a>(&self, list: impl Iterator<Item = &'a ManifestFile>) -> (HashMap<String, Listed>, Vec<ManifestFile>) {
        let (mut listed, mut unread) = (HashMap::new(), Vec::new());
        for manifest in list {
            match self.manifests.get(&manifest.manifest_path) {
                Some(files) => drop(listed.insert(manifest.manifest_path.clone(), files.clone())),
                None => unread.push(manifest.clone()),
            }
        }
        (listed, unread)
    }
}

pub struct Manifests {
    store: Arc<dyn ObjectStore>,
    known: Mutex<Known>,
}

impl Manifests {
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, known: Mutex::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("no panic holds it")
    }

    /// What a snapshot lists, in its order.
    pub async fn list(&self, snapshot: &Snapshot) -> Result<ManifestFiles, PortError> {
        let path = snapshot.manifest_list();
        if let Some((_, list)) = self.known().lists.iter().find(|(known, _)| known == path) {
            return Ok(list.clone());
        }
        let list = Arc::new(read_list(&*self.store, path).await?);
        self.remember_list(path, list.clone());
        Ok(list)
    }

    fn remember_list(&self, path: &str, list: ManifestFiles) {
        let lists = &mut self.known().lists;
        lists.retain(|(known, _)| known != path);
        lists.push((path.to_string(), list));
        let too_many = lists.len().saturating_sub(LISTS_KEPT);
        lists.drain(..too_many);
    }

    /// What a commit of ours has just listed needs no reading.
    pub fn remember(&self, list: &str, manifests: Vec<ManifestFile>, added: Option<(String, Vec<LiveFile>)>) {
        self.remember_list(list, Arc::new(manifests));
        self.known().manifests.extend(added.map(|(path, files)| (path, Arc::new(files))));
    }

    /// The live data files of the head of main. Those that Sluice didn't write are checked when they are first seen:
    /// a stop names the file whose rows lie outside its partition's hour.
    pub async fn live(&self, table: &TableMetadata, rows: &dyn RowHours) -> Result<Arc<LiveFiles>, PortError> {
        let Some(head) = table.current_snapshot() else { return Ok(Arc::default()) };
        let id = SnapshotId(head.snapshot_id());
        if let Some((_, live)) = self.known().live.iter().find(|(known, _)| *known == id) {
            return Ok(live.clone());
        }
        let list = self.list(head).await?;
        let with_files = list
            .iter()
            .filter(|m| m.content == ManifestContentType::Data && (m.has_added_files() || m.has_existing_files()));
        let (mut listed, unread) = self.known().split(with_files);
        let read = unread.into_iter().map(|manifest| async move {
            let files = self.files_of(table, &manifest, rows).await?;
            Ok::<_, PortError>((manifest.manifest_path, files))
        });
        let read: Vec<_> = futures::stream::iter(read).buffered(READ_AT_ONCE).try_collect().await?;
        listed.extend(read);
        let live: Arc<LiveFiles> = Arc::new(listed.values().flat_map(|files| files.iter().cloned()).collect());
        let known = &mut *self.known();
        known.manifests = listed;
        known.read.retain(|path| live.contains(path));
        known.live = Some((id, live.clone()));
        Ok(live)
    }

    async fn files_of(
        &self,
        table: &TableMetadata,
        manifest: &ManifestFile,
        rows: &dyn RowHours,
    ) -> Result<Listed, PortError> {
        let content = read_manifest(&*self.store, manifest).await?;
        let spec = table.partition_spec_by_id(manifest.partition_spec_id);
        let is_gold = spec.filter(|spec| gold::is_gold_spec(spec, table.current_schema()));
        let mut files = Vec::with_capacity(content.entries().len());
        for entry in content.entries().iter().filter(|e| e.is_alive() && e.content_type() == DataContentType::Data) {
            let data = entry.data_file();
            let hour = is_gold.and_then(|spec| gold::hour_of_partition(spec, table.current_schema(), data.partition()));
            let (path, rows_in_file, bytes) = (data.file_path().into(), data.record_count(), data.file_size_in_bytes());
            let file = LiveFile { path, hour, rows: rows_in_file, bytes };
            if !is_ours(data.file_path()) && !self.known().read.contains(&file.path) {
                let in_hour = is_gold.is_some();
                if foreign::check(table.current_schema(), data, &file, in_hour, rows).await? == foreign::Checked::ByReading {
                    self.known().read.insert(file.path.clone());
                }
            }
            files.push(file);
        }
        let files = Arc::new(files);
        // Kept at once: when a later manifest can't be read yet, this one isn't read again.
        self.known().manifests.insert(manifest.manifest_path.clone(), files.clone());
        Ok(files)
    }
}

/// The entries of a manifest list.
pub async fn read_list(store: &dyn ObjectStore, path: &str) -> Result<Vec<ManifestFile>, PortError> {
    let content = store.get(path).await?;
    let parse = move || ManifestList::parse_with_version(&content, FormatVersion::V2).map_err(|e| e.to_string());
    let parsed = tokio::task::spawn_blocking(parse).await.unwrap_or_else(|panicked| Err(panicked.to_string()));
    Ok(parsed.map_err(|fault| unreadable(path, &fault))?.consume_entries().into_iter().collect())
}

/// A manifest; its entries have not inherited the sequence number of its entry in the list.
pub async fn read_manifest(store: &dyn ObjectStore, manifest: &ManifestFile) -> Result<Manifest, PortError> {
    let path = &manifest.manifest_path;
    if manifest.key_metadata.is_some() {
        return Err(unreadable(path, "it is encrypted").into());
    }
    let content = store.get(path).await?;
    let parse = move || Manifest::parse_avro(&content).map_err(|e| e.to_string());
    let parsed = tokio::task::spawn_blocking(parse).await.unwrap_or_else(|panicked| Err(panicked.to_string()));
    parsed.map_err(|fault| unreadable(path, &fault).into())
}

fn unreadable(path: &str, fault: &str) -> Stop {
    Stop::inconsistent(
        format!("{path} is named by the table and cannot be read: {fault}"),
        "restore the file, or roll the table back to a snapshot that does not need it",
    )
}
