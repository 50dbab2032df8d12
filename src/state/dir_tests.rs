use super::*;

fn known() -> Known {
    Known {
        table: "market_data.gold".into(),
        table_uuid: uuid::Uuid::from_u128(7),
        group: "sluice-gold".into(),
        topics: ["a".to_string(), "b".to_string()].into(),
        last_commit: Some(uuid::Uuid::from_u128(9)),
    }
}

#[test]
fn what_was_remembered_is_known_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let dir = StateDir::open(root.path()).unwrap();
    assert_eq!(dir.known(), None);
    dir.remember(&known());
    drop(dir);
    let dir = StateDir::open(root.path()).unwrap();
    assert_eq!(dir.known(), Some(known()));
    assert_eq!(read_known(root.path()), Some(known()));
}

#[test]
fn a_second_instance_stops_with_exit_2_and_the_pid_of_the_first() {
    let root = tempfile::tempdir().unwrap();
    let first = StateDir::open(root.path()).unwrap();
    let stop = StateDir::open(root.path()).err().unwrap();
    assert_eq!(stop.exit, Exit::Usage);
    assert!(stop.what.contains(&format!("process {}", std::process::id())), "{stop}");
    drop(first);
    assert!(StateDir::open(root.path()).is_ok(), "free again when its holder is gone");
}

/// `kill -9` and an immediate start ended with exit 2: the killed process held its lock for a moment longer.
#[test]
fn a_directory_whose_holder_is_on_its_way_out_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let mut going = Some(StateDir::open(root.path()).unwrap());
    let mut waited = 0;
    let taken = take_when_let_go(root.path(), 3, || waited += 1).unwrap();
    assert!(matches!(taken, Taken::HeldBy(Some(pid)) if pid == std::process::id()), "it stays");
    assert_eq!(waited, 3);
    let taken = take_when_let_go(root.path(), 1, || drop(going.take())).unwrap();
    assert!(matches!(taken, Taken::Ours(_)), "it was let go while the next one waited");
}

#[test]
fn a_newer_format_stops_with_exit_4_and_an_unreadable_one_does_not() {
    let root = tempfile::tempdir().unwrap();
    drop(StateDir::open(root.path()).unwrap());
    assert_eq!(fs::read_to_string(root.path().join(FORMAT_FILE)).unwrap(), "1\n");
    for (text, stops) in [("2", true), ("1\n", false), ("0", false), ("", false), ("\u{fffd}", false)] {
        fs::write(root.path().join(FORMAT_FILE), text).unwrap();
        match StateDir::open(root.path()) {
            Err(stop) => assert!(stops && stop.exit == Exit::Inconsistent, "{text:?}: {stop}"),
            Ok(dir) => {
                assert!(!stops, "{text:?}");
                assert!(dir.is_usable());
                assert_eq!(fs::read_to_string(root.path().join(FORMAT_FILE)).unwrap(), "1\n");
            }
        }
    }
}

#[test]
fn a_stop_is_kept_until_there_is_progress() {
    let root = tempfile::tempdir().unwrap();
    let dir = StateDir::open(root.path()).unwrap();
    assert_eq!(dir.last_stop(), None);
    let stop = Stop::data("silver:0 [10, 20) is gone", "sluice offsets reset --to-earliest");
    dir.record_stop(&stop, 1_700_000_000_000);
    let expected = Some(LastStop { stop, at_ms: 1_700_000_000_000 });
    assert_eq!(LastStop::read(root.path()), expected, "readable beside the holder");
    drop(dir);
    let dir = StateDir::open(root.path()).unwrap();
    assert_eq!(dir.last_stop(), expected);
    dir.clear_stop();
    dir.clear_stop();
    assert_eq!(dir.last_stop(), None);
}

#[test]
fn a_directory_deleted_while_running_is_made_and_held_again() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state");
    let dir = StateDir::open(&path).unwrap();
    dir.remember(&known());
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(dir.known(), None);
    dir.remember(&known());
    assert_eq!(dir.known(), Some(known()));
    assert!(dir.is_usable());
    assert_eq!(StateDir::open(&path).err().unwrap().exit, Exit::Usage, "the new directory is locked as well");
}

#[test]
fn a_directory_that_another_instance_took_meanwhile_is_left_to_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state");
    let first = StateDir::open(&path).unwrap();
    fs::remove_dir_all(&path).unwrap();
    let second = StateDir::open(&path).unwrap();
    first.remember(&known());
    assert!(!first.is_usable());
    assert_eq!(first.ids(), None);
    assert_eq!(second.known(), None, "nothing was written into the directory of another");
    drop(second);
    first.remember(&known());
    assert!(first.is_usable(), "and it is used again once it is free");
}

#[test]
fn a_place_that_cannot_be_a_directory_is_gone_on_without() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let dir = StateDir::open(file.join("state")).unwrap();
    assert!(!dir.is_usable());
    assert_eq!(dir.ids(), None);
    dir.remember(&known());
    dir.record_stop(&Stop::internal("x"), 0);
    dir.clear_stop();
    assert_eq!((dir.known(), dir.last_stop()), (None, None));
}

#[test]
fn damaged_files_are_as_good_as_absent() {
    let root = tempfile::tempdir().unwrap();
    let dir = StateDir::open(root.path()).unwrap();
    dir.remember(&known());
    dir.record_stop(&Stop::internal("x"), 0);
    fs::write(root.path().join(KNOWN), "{\"table\":").unwrap();
    fs::write(root.path().join(STOP), "{\"exit\":99,\"what\":\"\",\"remedy\":\"\",\"at_ms\":0}").unwrap();
    assert_eq!((dir.known(), dir.last_stop()), (None, None));
}
