//! Another engine on the same table: pyiceberg, as a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::table::TableFile;

#[derive(Clone)]
pub struct Engine {
    pub python: PathBuf,
    pub warehouse: PathBuf,
    pub table: TableFile,
}

/// A live data file.
#[derive(Clone, Debug)]
pub struct DataFile {
    pub path: String,
}

impl Engine {
    fn script(&self, script: &str, args: &[&str]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
        let done = Command::new(&self.python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(&path)
            .arg("--catalog")
            .arg(&self.table.catalog)
            .arg("--warehouse")
            .arg(&self.warehouse)
            .args(["--table", &format!("{}.{}", self.table.namespace, self.table.name)])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("python runs");
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{script} {args:?}: {}\n{errors}", done.status);
        String::from_utf8(done.stdout).expect("UTF-8")
    }

    fn act(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.script("engine.py", args)).expect("engine.py prints JSON")
    }

    /// Rows into a Parquet file; see `gold::read`.
    pub fn read(&self, reader: &str, out: &Path) {
        self.script("read_gold.py", &["--engine", reader, "--out", out.to_str().expect("UTF-8")]);
    }

    pub fn files(&self) -> Vec<DataFile> {
        let answer = self.act(&["files"]);
        let file = |f: &Value| DataFile { path: f["path"].as_str().expect("a path").to_owned() };
        answer["files"].as_array().expect("a list").iter().map(file).collect()
    }

    /// Moves main back to an ancestor.
    pub fn roll_back(&self, to: i64) {
        self.act(&["rollback", "--to", &to.to_string()]);
    }

    /// Deletes all rows of these files in one snapshot, and returns it.
    pub fn delete_files(&self, files: &[&DataFile]) -> i64 {
        let paths = files.iter().flat_map(|f| ["--path", f.path.as_str()]);
        self.act(&[&["delete-files"], &paths.collect::<Vec<_>>()[..]].concat())["head"].as_i64().expect("a head")
    }

    /// Appends `count` rows with ids `foreign-N`.
    pub fn append(&self, first: u64, count: u64, timestamp: i64) {
        let [first, count, timestamp] = [first.to_string(), count.to_string(), timestamp.to_string()];
        self.act(&["append", "--first", &first, "--count", &count, "--timestamp", &timestamp]);
    }

    /// One file for each partition; returns the snapshot that did it.
    pub fn rewrite(&self) -> i64 {
        self.act(&["rewrite"])["head"].as_i64().expect("a head")
    }

    /// Expires all that no branch or tag names; returns how many.
    pub fn expire(&self) -> usize {
        self.act(&["expire"])["expired"].as_array().expect("a list").len()
    }

    /// Takes a row out of its file, as if it had never been written.
    pub fn plant_missing_row(&self, message_id: &str) {
        self.script("plant.py", &["drop-row", "--message-id", message_id]);
    }

    /// Appends a row that is there already.
    pub fn plant_doubled_row(&self, message_id: &str) {
        self.script("plant.py", &["copy-row", "--message-id", message_id]);
    }

    pub fn drop_table(&self) {
        self.act(&["drop"]);
    }
}
