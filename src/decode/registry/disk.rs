//! Schemas on disk, so that a registry's outage holds nobody up: `<state_dir>/schemas/<registry>/<id>.json`, where
//! `<registry>` comes from the registry's URL. A file that isn't what was written counts as absent.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decode::registry::client::Registered;

const FORMAT: u32 = 1;

pub struct Disk {
    folder: PathBuf,
    registry: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    registry: String,
    id: u32,
    schema_type: String,
    schema: Arc<str>,
    references: Vec<Arc<str>>,
    sha256: String,
}

impl Disk {
    /// `registry` is its URL: another registry's ids are other files.
    pub fn new(state_dir: &Path, registry: &str) -> Self {
        let digest = Sha256::digest(registry.as_bytes());
        let folder = state_dir.join("schemas").join(hex(&digest[..8]));
        Self { folder, registry: registry.into() }
    }

    pub fn read(&self, id: u32) -> Option<Registered> {
        let bytes = fs::read(self.path(id)).ok()?;
        let stored: Stored = match serde_json::from_slice(&bytes) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(schema_id = id, %error, "ignoring a cached schema that can't be read");
                return None;
            }
        };
        let registered =
            Registered { schema_type: stored.schema_type, schema: stored.schema, references: stored.references };
        let is_ours = stored.format == FORMAT && stored.registry == self.registry && stored.id == id;
        if !is_ours || stored.sha256 != checksum(id, &registered) {
            tracing::warn!(schema_id = id, "ignoring a cached schema that isn't what was written");
            return None;
        }
        Some(registered)
    }

    /// By tmp file and rename. A failure costs a request after the next start, no more.
    pub fn write(&self, id: u32, registered: &Registered) {
        if let Err(error) = self.try_write(id, registered) {
            tracing::warn!(schema_id = id, %error, folder = %self.folder.display(), "can't cache a schema on disk");
        }
    }

    fn try_write(&self, id: u32, registered: &Registered) -> std::io::Result<()> {
        let stored = Stored {
            format: FORMAT,
            registry: self.registry.clone(),
            id,
            schema_type: registered.schema_type.clone(),
            schema: registered.schema.clone(),
            references: registered.references.clone(),
            sha256: checksum(id, registered),
        };
        fs::create_dir_all(&self.folder)?;
        let path = self.path(id);
        // two chunks may ask for the same id at once: each has a file of its own until the rename
        let tmp = path.with_extension(format!("{:08x}.tmp", rand::random::<u32>()));
        let mut file = File::create(&tmp)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        file.sync_all()?;
        fs::rename(tmp, path)
    }

    /// Ids that have a file, readable or not.
    pub fn ids(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let id = |name: &str| name.strip_suffix(".json")?.parse().ok();
        entries.flatten().filter_map(|entry| id(entry.file_name().to_str()?)).collect()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, id: u32) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

fn checksum(id: u32, registered: &Registered) -> String {
    let mut digest = Sha256::new();
    digest.update(id.to_be_bytes());
    let texts = [registered.schema_type.as_str(), &registered.schema].into_iter();
    for text in texts.chain(registered.references.iter().map(|text| &**text)) {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Registered {
        Registered {
            schema_type: "AVRO".into(),
            schema: r#"{"type":"record","name":"É","fields":[]}"#.into(),
            references: vec!["\"string\"".into(), "{}".into()],
        }
    }

    #[test]
    fn what_was_written_is_read_by_the_same_registry_and_id_only() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), "http://a:8081");
        assert_eq!(disk.read(7), None);
        disk.write(7, &schema());
        disk.write(7, &schema());
        assert_eq!(disk.read(7), Some(schema()));
        assert_eq!(disk.ids(), [7]);
        let other = Disk::new(dir.path(), "http://b:8081");
        assert_eq!(other.read(7), None);
        fs::copy(disk.path(7), disk.path(8)).unwrap();
        assert_eq!(disk.read(8), None);
        fs::create_dir_all(&other.folder).unwrap();
        fs::copy(disk.path(7), other.path(7)).unwrap();
        assert_eq!(other.read(7), None);
    }

    #[test]
    fn every_changed_or_missing_byte_makes_the_file_absent_or_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), "http://a:8081");
        disk.write(7, &schema());
        let bytes = fs::read(disk.path(7)).unwrap();
        for i in 0..bytes.len() {
            fs::write(disk.path(7), &bytes[..i]).unwrap();
            assert_eq!(disk.read(7), None, "cut at {i}");
            let mut flipped = bytes.clone();
            flipped[i] ^= 0x20;
            fs::write(disk.path(7), &flipped).unwrap();
            assert!(disk.read(7).is_none_or(|read| read == schema()), "byte {i} flipped");
        }
    }

    #[test]
    fn a_folder_that_can_t_be_written_costs_nothing_but_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let disk = Disk::new(&file, "http://a:8081");
        disk.write(7, &schema());
        assert_eq!(disk.read(7), None);
        assert!(disk.ids().is_empty());
    }
}
