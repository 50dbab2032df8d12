//! A folder that can be made read-only under a running process, whoever runs the test.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::wait::{LONG, wait_until};

/// Root passes permissions by: for it the folder is a file system of its own that is remounted. For others its
/// permissions are taken away.
pub struct Volume {
    folder: PathBuf,
    mounted: bool,
}

impl Volume {
    /// Makes the folder, which must not have content yet.
    pub fn at(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("a folder for the volume");
        let mounted = !permissions_bind(&folder);
        if mounted {
            mount(&["-t", "tmpfs", "-o", "size=256m", "sluice-test"], &folder).expect("root mounts a tmpfs");
        }
        Self { folder, mounted }
    }

    pub fn make_read_only(&self) {
        self.set("ro", 0o555, 0o444);
    }

    pub fn make_writable(&self) {
        self.set("rw", 0o755, 0o644);
    }

    fn set(&self, option: &str, folders: u32, files: u32) {
        if !self.mounted {
            return set_mode(&self.folder, folders, files);
        }
        // Refused while a file is open for writing.
        let options = format!("remount,{option}");
        wait_until("the volume is remounted", LONG, || mount(&["-o", &options], &self.folder));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        } else {
            set_mode(&self.folder, 0o755, 0o644);
        }
    }
}

fn mount(args: &[&str], at: &Path) -> Result<(), String> {
    let done = Command::new("mount").args(args).arg(at).output().map_err(|e| format!("mount: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

fn permissions_bind(folder: &Path) -> bool {
    let locked = folder.join("permissions-bind");
    fs::create_dir(&locked).expect("a folder");
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).expect("permissions are set");
    let bind = fs::create_dir(locked.join("inside")).is_err();
    fs::remove_dir_all(&locked).expect("the folder is removed");
    bind
}

fn set_mode(path: &Path, folders: u32, files: u32) {
    let is_folder = path.is_dir();
    let mode = if is_folder { folders } else { files };
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions are set");
    if is_folder {
        for entry in fs::read_dir(path).expect("a folder") {
            set_mode(&entry.expect("an entry").path(), folders, files);
        }
    }
}
