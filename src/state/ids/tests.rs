use super::*;

use crate::state::memory::resident_bytes;

const TABLE: u128 = 0xa;
const CACHE: u64 = 16 << 20;

fn open(root: &std::path::Path) -> IdStore {
    IdStore::open(Some(root.into()), TABLE, CACHE)
}

/// Ids of one file: made up from its name, the same at every call.
fn ids_of(path: &str, n: usize) -> Vec<(MessageId, EventHour)> {
    use rand::{RngCore, SeedableRng};
    let seed = crc32fast::hash(path.as_bytes());
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed.into());
    let hour = EventHour(490_000 + i64::from(seed % 48));
    (0..n).map(|_| (MessageId(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())), hour)).collect()
}

#[test]
#[ignore = "a measurement: run alone, with --nocapture"]
fn measure() {
    let dir = tempfile::tempdir_in(std::env::var("MEASURE_DIR").unwrap_or("/tmp".into())).unwrap();
    let n: usize = std::env::var("MEASURE_FILES").map_or(10, |v| v.parse().unwrap());
    let per: usize = 1_000_000;
    let rss = || resident_bytes().unwrap() >> 20;
    let start = rss();
    let t = Instant::now();
    let store = open(dir.path());
    println!("open empty {:?} rss {start} -> {} MiB", t.elapsed(), rss());
    for i in 0..n {
        let path = format!("file {i}");
        let ids = ids_of(&path, per);
        let t = Instant::now();
        store.put(&path, &ids);
        println!("put {i}: {:?}, rss {} MiB", t.elapsed(), rss());
    }
    println!("size {:?} B/id", store.disk_bytes() as f64 / (n * per) as f64);
    let t = Instant::now();
    store.close();
    println!("close {:?}, rss {}", t.elapsed(), rss());
    let t = Instant::now();
    let store = open(dir.path());
    println!("open full {:?} rss {}", t.elapsed(), rss());
    for i in 0..n {
        let path = format!("file {i}");
        let expected = ids_of(&path, per);
        let t = Instant::now();
        let got = store.get(&path);
        println!("get {i}: {:?}, rss {} MiB", t.elapsed(), rss());
        assert_eq!(got, Some(expected));
    }
    let t = Instant::now();
    store.sweep(&|path| path.ends_with('1'));
    println!("sweep {:?} rss {} size {}", t.elapsed(), rss(), store.disk_bytes() >> 20);
    store.close();
    let t = Instant::now();
    let store = open(dir.path());
    println!("open swept {:?} rss {} size {}", t.elapsed(), rss(), store.disk_bytes() >> 20);
}
