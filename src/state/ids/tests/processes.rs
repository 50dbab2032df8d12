//! What another process went through: killed while it wrote, or on a disk that filled up.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::error::Stop;
use crate::ports::Known;
use crate::state::dir::StateDir;

const ROLE: &str = "SLUICE_TEST_ID_STORE_CHILD";
const ROOT: &str = "SLUICE_TEST_ID_STORE_ROOT";

/// This test binary again, running `child` below in the given role.
fn child_of(role: &str, root: &Path) -> Child {
    let name = format!("{}::child", module_path!().split_once("::").expect("a module of the crate").1);
    Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn child() {
    let (Ok(role), Ok(root)) = (std::env::var(ROLE), std::env::var(ROOT)) else { return };
    let root = PathBuf::from(root);
    match role.as_str() {
        "put ten million ids" => super::ten_million_ids(&root),
        "put for ever" => {
            let store = open(&root);
            // As good as for ever: the parent kills long before.
            for i in 0..1_000_000 {
                put_some(&store, i..i + 1);
                println!("put {i}");
                if i % 10 == 9 {
                    store.sweep(&|path| path != path_of(i - 5) && path != path_of(i - 1));
                }
            }
        }
        "put on a full disk" => {
            limit_file_size(3 << 20);
            let store = open(&root);
            put_some(&store, 0..100);
            right_or_absent(&store, 0..100);
            store.close();
        }
        "see a read-only directory" => {
            become_nobody();
            let dir = StateDir::open(&root).unwrap();
            assert!(!dir.is_usable());
            assert_eq!(dir.known().map(|known| known.group), Some("sluice-gold".into()), "what can be read is known");
            dir.remember(&dir.known().unwrap());
            dir.record_stop(&Stop::internal("x"), 0);
            assert_eq!((dir.last_stop(), dir.ids()), (None, None));
            let store = open(&root.join("ids"));
            right_or_absent(&store, 0..10);
            put_some(&store, 0..10);
            right_or_absent(&store, 0..10);
            store.close();
        }
        other => panic!("no role {other}"),
    }
}

/// Writes behind `bytes` of any file fail from here on, as on a full disk.
fn limit_file_size(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: plain calls with values of our own; the signal is replaced by the error that the write returns.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

/// Permissions don't hold root back.
fn become_nobody() {
    // SAFETY: plain calls with constants; the process is a child of the test and serves this role only.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!((libc::setgid(65_534), libc::setuid(65_534)), (0, 0));
        }
    }
}

/// Takes the right to write from all below `root`, or gives it back.
fn set_writable(root: &Path, writable: bool) {
    use std::os::unix::fs::PermissionsExt;
    let entries: Vec<PathBuf> = match root.is_dir() {
        true => fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => vec![],
    };
    let mode = if writable { 0o755 } else { 0o555 };
    fs::set_permissions(root, fs::Permissions::from_mode(mode)).unwrap();
    entries.iter().for_each(|path| set_writable(path, writable));
}

#[test]
fn a_directory_that_can_only_be_read_is_gone_on_without() {
    let root = tempfile::tempdir().unwrap();
    let dir = StateDir::open(root.path()).unwrap();
    dir.remember(&Known {
        table: "market_data.gold".into(),
        table_uuid: uuid::Uuid::from_u128(TABLE),
        group: "sluice-gold".into(),
        topics: ["silver.a".to_string()].into(),
        last_commit: None,
    });
    let store = open(&dir.ids().unwrap());
    put_some(&store, 0..10);
    store.close();
    drop(dir);
    set_writable(root.path(), false);
    let status = child_of("see a read-only directory", root.path()).wait().unwrap();
    set_writable(root.path(), true);
    assert!(status.success(), "{status}");
    assert_eq!(right_or_absent(&open(&root.path().join("ids")), 0..10), 10, "and it is as it was");
}

#[test]
fn a_kill_while_putting_leaves_right_answers_or_none() {
    let root = tempfile::tempdir().unwrap();
    let mut most = 0;
    for round in 0..8 {
        let mut child = child_of("put for ever", root.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let puts = lines.map_while(Result::ok).filter(|line| line.starts_with("put "));
        // Each round is killed behind another put.
        let seen = puts.take(1 + round * 3).count();
        assert_eq!(seen, 1 + round * 3, "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(root.path());
        assert!(store.is_open());
        let found = right_or_absent(&store, 0..seen + 50);
        most = most.max(found);
        store.sweep(&|_| true);
        put_some(&store, 0..2);
        assert!(right_or_absent(&store, 0..2) == 2);
        store.close();
    }
    assert!(most > 5, "of what the killed process had put something was found again: {most}");
}

#[test]
fn a_full_disk_costs_the_cache_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let mut child = child_of("put on a full disk", root.path());
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    let store = open(root.path());
    right_or_absent(&store, 0..100);
    put_some(&store, 0..10);
    assert_eq!(right_or_absent(&store, 0..10), 10, "it works again with space on the disk");
}

#[test]
fn an_id_costs_a_bounded_number_of_bytes_on_disk_and_in_memory() {
    let root = tempfile::tempdir().unwrap();
    let out = child_of("put ten million ids", root.path()).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && said.contains("bytes an id"), "{said}");
}
