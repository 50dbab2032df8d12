//! `NNNNN-<uuid>.metadata.json` files, for catalogs that leave them to their clients.

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;

use crate::error::Stop;
use crate::ports::PortError;
use crate::sink::gold;
use crate::sink::storage::ObjectStore;

/// Where the next metadata file of the table goes; `previous` is the current one, none for a new table.
pub fn next_location(metadata: &TableMetadata, previous: Option<&str>) -> String {
    let version = previous.map_or(0, |location| version_of(location) + 1);
    format!("{}/{version:05}-{}.metadata.json", gold::metadata_folder(metadata), uuid::Uuid::new_v4())
}

/// The number at the beginning of the file's name; 0 where another engine names its files otherwise.
fn version_of(location: &str) -> u64 {
    let name = location.rsplit('/').next().unwrap_or(location).trim_start_matches('v');
    name.split(['-', '.']).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Reads and parses off the async threads: megabytes where many snapshots are kept.
pub async fn read(store: &dyn ObjectStore, location: &str) -> Result<TableMetadata, PortError> {
    let content = store.get(location).await?;
    let unreadable = |fault: String| {
        Stop::inconsistent(
            format!("the table's metadata file {location} cannot be read: {fault}"),
            "restore the file from a backup, or point the catalog at the metadata file before it",
        )
    };
    let parsed = match content.starts_with(&[0x1f, 0x8b]) {
        true => parse_compressed(content).await,
        false => {
            let parse = move || serde_json::from_slice(&content).map_err(|e| e.to_string());
            tokio::task::spawn_blocking(parse).await.unwrap_or_else(|panicked| Err(panicked.to_string()))
        }
    };
    parsed.map_err(|fault| unreadable(fault).into())
}

/// The crate reads gzip only through a `FileIO`.
async fn parse_compressed(content: Bytes) -> Result<TableMetadata, String> {
    let memory = FileIO::new_with_memory();
    let output = memory.new_output("memory://metadata").map_err(|e| e.to_string())?;
    output.write(content).await.map_err(|e| e.to_string())?;
    TableMetadata::read_from(&memory, "memory://metadata").await.map_err(|e| e.to_string())
}

pub fn to_json(metadata: &TableMetadata) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(metadata).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_counted_on_from_every_naming() {
        assert_eq!(version_of("file:///t/metadata/00041-2cd22b57-5127-4198-92ba-e4e67c79821b.metadata.json"), 41);
        assert_eq!(version_of("/t/metadata/v7.metadata.json"), 7);
        assert_eq!(version_of("/t/metadata/00007-x.gz.metadata.json"), 7);
        assert_eq!(version_of("/t/metadata/other.json"), 0);
    }
}
