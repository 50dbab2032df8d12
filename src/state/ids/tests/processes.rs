//! What another process went through: killed while it wrote, or on a disk that filled up.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

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
        "put for ever" => {
            let store = open(&root);
            (0..).for_each(|i| {
                put_some(&store, i..i + 1);
                println!("put {i}");
            });
        }
        "put on a full disk" => {
            limit_file_size(3 << 20);
            let store = open(&root);
            put_some(&store, 0..100);
            right_or_absent(&store, 0..100);
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
