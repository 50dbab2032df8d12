//! The local disk as an object store. A file appears under its name only when its content is on the disk, and its name is
//! on the disk when `put` returns: temporary file, fsync, rename, fsync of the folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use super::storage::{ObjectStore, StorageError};
use crate::crash_point::{self, Point};

/// Takes absolute paths, plain or as `file:` URIs without escapes.
#[derive(Clone, Copy, Default, Debug)]
pub struct LocalFs;

/// A folder as other engines read it in a table: a `file://` URI of the absolute path. One that has a scheme stays as it
/// is. Relative paths are taken from the working directory.
pub fn folder_uri(folder: &str) -> io::Result<String> {
    if has_scheme(folder) {
        return Ok(folder.trim_end_matches('/').to_string());
    }
    let absolute = std::path::absolute(folder)?;
    let text = absolute.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))?;
    Ok(format!("file://{}", text.trim_end_matches('/')))
}

fn has_scheme(path: &str) -> bool {
    path.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

/// `file:///a/b`, `file:/a/b` and `/a/b` are the same file.
pub fn local_path(path: &str) -> Result<PathBuf, StorageError> {
    let plain = match path.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => path,
    };
    match plain.starts_with('/') {
        true => Ok(PathBuf::from(plain)),
        false => Err(StorageError::Foreign { path: path.into(), reason: "is not a path on the local disk".into() }),
    }
}

#[async_trait]
impl ObjectStore for LocalFs {
    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        on_disk(path, move |file| write_durably(file, &content)).await.map_err(not_written)
    }

    async fn get(&self, path: &str) -> Result<Bytes, StorageError> {
        on_disk(path, |file| fs::read(file).map(Bytes::from)).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        on_disk(path, move |file| read_range(file, range)).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        on_disk(path, |file| match fs::metadata(file) {
            Ok(found) => Ok(Some(found.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        on_disk(path, |file| match fs::remove_file(file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        })
        .await
    }
}

async fn on_disk<T: Send + 'static>(
    path: &str,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, StorageError> {
    let file = local_path(path)?;
    let done = tokio::task::spawn_blocking(move || work(&file)).await;
    let done = done.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
    done.map_err(|e| storage_error(path, &e))
}

fn storage_error(path: &str, error: &io::Error) -> StorageError {
    let path = path.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => StorageError::NotFound { path },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            StorageError::Refused { path, reason: error.to_string() }
        }
        _ => StorageError::Unavailable { path, reason: error.to_string() },
    }
}

/// What is written need not be there before: where a write finds nothing, a folder on its way can't be made.
fn not_written(error: StorageError) -> StorageError {
    match error {
        StorageError::NotFound { path } => {
            StorageError::Refused { path, reason: "can't be written: its folder can't be made".into() }
        }
        other => other,
    }
}

fn read_range(file: &Path, range: Range<u64>) -> io::Result<Bytes> {
    let file = File::open(file)?;
    let end = range.end.min(file.metadata()?.len());
    let mut content = vec![0; end.saturating_sub(range.start) as usize];
    file.read_exact_at(&mut content, range.start)?;
    Ok(content.into())
}

/// Writes a whole file that is either there with its full content or not at all, whatever stops the process or the host.
pub fn write_durably(file: &Path, content: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not a file in a folder");
    let (folder, name) = (file.parent().ok_or_else(invalid)?, file.file_name().ok_or_else(invalid)?);
    create_folder_durably(folder)?;
    let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), uuid::Uuid::new_v4().simple()));
    let written = write_and_rename(&temporary, file, content);
    if written.is_err() {
        // Nobody knows its name: what stays behind after a failed removal costs space only.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

fn write_and_rename(temporary: &Path, file: &Path, content: &[u8]) -> io::Result<()> {
    let mut out = File::create_new(temporary)?;
    out.write_all(content)?;
    out.sync_all()?;
    crash_point::pass(synced(file));
    fs::rename(temporary, file)
}

fn synced(file: &Path) -> Point {
    match file.extension().and_then(|e| e.to_str()) {
        Some("parquet") => Point::DataFileSynced,
        Some("avro") => Point::ManifestSynced,
        _ => Point::MetadataSynced,
    }
}

fn create_folder_durably(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no root folder"))?;
    create_folder_durably(parent)?;
    match fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => sync_folder(parent),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::ports::PortError;

    #[tokio::test]
    async fn a_file_is_written_into_new_folders_and_read_back_under_every_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let plain = format!("{}/a/b c/file", dir.path().display());
        LocalFs.put(&format!("file://{plain}"), Bytes::from_static(b"0123456789")).await.unwrap();
        for spelling in [plain.clone(), format!("file://{plain}"), format!("file:{plain}")] {
            assert_eq!(LocalFs.get(&spelling).await.unwrap(), "0123456789");
            assert_eq!(LocalFs.size(&spelling).await.unwrap(), Some(10));
        }
        assert_eq!(LocalFs.get_range(&plain, 2..5).await.unwrap(), "234");
        assert_eq!(LocalFs.get_range(&plain, 8..50).await.unwrap(), "89");
        let left: Vec<_> = fs::read_dir(dir.path().join("a/b c")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["file"], "no temporary file stays behind");
    }

    #[tokio::test]
    async fn what_is_missing_is_told_apart_from_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = format!("{}/none", dir.path().display());
        assert_eq!(LocalFs.get(&path).await, Err(StorageError::NotFound { path: path.clone() }));
        assert_eq!(LocalFs.size(&path).await, Ok(None));
        assert_eq!(LocalFs.delete(&path).await, Ok(()));
        assert!(matches!(LocalFs.get("s3://lake/a").await, Err(StorageError::Foreign { .. })));
        assert!(matches!(LocalFs.get("relative/a").await, Err(StorageError::Foreign { .. })));
        let folder_in_the_way = format!("{}/file/below", dir.path().display());
        LocalFs.put(&format!("{}/file", dir.path().display()), Bytes::new()).await.unwrap();
        assert!(LocalFs.put(&folder_in_the_way, Bytes::new()).await.is_err());
    }

    /// A warehouse below /proc was reported as a file that the table names and that has to be restored.
    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_a_refusal_and_no_missing_file() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path().join("nothing"), dir.path().join("lake")).unwrap();
        let mut folders = vec![dir.path().join("lake")];
        folders.extend(cfg!(target_os = "linux").then(|| "/proc/lake".into()));
        for folder in folders {
            let path = format!("{}/file", folder.display());
            let error = PortError::from(LocalFs.put(&path, Bytes::new()).await.unwrap_err());
            let PortError::Stop(stop) = &error else { panic!("{error}") };
            assert_eq!(stop.exit, Exit::Usage);
            assert!(stop.what.contains(&path) && stop.remedy.contains("check iceberg.warehouse"), "{stop}");
        }
    }

    #[test]
    fn a_warehouse_folder_becomes_a_uri_that_other_engines_read() {
        assert_eq!(folder_uri("/data/lake/").unwrap(), "file:///data/lake");
        assert_eq!(folder_uri("file:///data/lake/").unwrap(), "file:///data/lake");
        assert_eq!(folder_uri("s3://lake/x").unwrap(), "s3://lake/x");
        let here = std::env::current_dir().unwrap();
        assert_eq!(folder_uri("./lake").unwrap(), format!("file://{}/lake", here.display()));
    }
}
