//! Files that can't be read.

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{Rng, SeedableRng};

use super::*;
use crate::error::Exit;

async fn all_answers(files: &GoldFiles, file: &LiveFile) -> Vec<Result<usize, PortError>> {
    vec![
        files.probe(file, HOUR, &asked(&uuids(1, 1))).await.map(|probed| probed.hits.len()),
        files.read_ids(file).await.map(|ids| ids.len()),
        files.hours(file).await.map(|_| 0),
    ]
}

fn stops_with(answers: Vec<Result<usize, PortError>>, says: &str) {
    for answer in answers {
        match answer {
            Err(PortError::Stop(stop)) => {
                assert_eq!(stop.exit, Exit::Inconsistent);
                assert!(stop.what.contains("/lake/gold/data/") && stop.what.contains(says), "{}", stop.what);
            }
            other => panic!("{says}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_live_file_that_is_missing_cut_or_garbage_stops_with_its_path_and_is_never_a_no() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 20_000);
    let file = live(&written(&files, &ids).await);
    let whole = store.get(&file.path);

    store.delete(&file.path).await.unwrap();
    stops_with(all_answers(&files, &file).await, "does not exist");
    for (broken, says) in [
        (whole.slice(..whole.len() - 1000), "can't be read"),
        (vec![7; whole.len()].into(), "can't be read"),
        (Bytes::new(), "can't be read"),
        ([&vec![0x5a; whole.len() - 60_000][..], &whole[whole.len() - 60_000..]].concat().into(), "can't be read"),
    ] {
        store.set(&file.path, broken);
        stops_with(all_answers(&files, &file).await, says);
    }
    store.set(&file.path, whole);
    assert_eq!(files.read_ids(&file).await.unwrap().len(), 20_000);
}

#[tokio::test]
async fn a_fault_of_the_moment_is_asked_again_and_a_store_that_is_down_is_waited_for() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 100);
    let file = live(&written(&files, &ids).await);
    for faults in [vec![Fault::Garbage], vec![Fault::Missing], vec![Fault::Garbage, Fault::Missing]] {
        store.fail(faults);
        assert_eq!(files.probe(&file, HOUR, &asked(&ids[..1])).await.unwrap().hits.len(), 1);
    }
    store.fail([Fault::Unavailable]);
    let answer = files.probe(&file, HOUR, &asked(&ids[..1])).await;
    assert!(matches!(answer, Err(PortError::Down(_))), "{answer:?}");
}

#[tokio::test]
async fn a_manifest_that_is_wrong_about_the_length_is_overruled() {
    let (_, files) = gold_files(&[]);
    let ids = uuids(1, 100);
    let file = live(&written(&files, &ids).await);
    for bytes in [file.bytes - 10, file.bytes + 10, 0] {
        assert_eq!(files.read_ids(&LiveFile { bytes, ..file.clone() }).await.unwrap().len(), 100);
    }
}

#[tokio::test]
async fn a_filter_that_is_not_whole_is_not_asked() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 20_000);
    let file = live(&written(&files, &ids).await);
    let whole = store.get(&file.path);
    let reader = ParquetRecordBatchReaderBuilder::try_new(whole.clone()).unwrap();
    let column = reader.metadata().row_group(0).column(0);
    let start = column.bloom_filter_offset().unwrap() as usize;
    let length = column.bloom_filter_length().unwrap() as usize;
    // Zeros; then a header (a varint of the bytes behind 0x15) that says less than there is.
    let mut zeros = whole.to_vec();
    zeros[start..start + length].fill(0);
    let mut short = whole.to_vec();
    short[start + 1] ^= 0x40;
    for broken in [zeros, short] {
        store.set(&file.path, broken);
        stops_with(vec![files.probe(&file, HOUR, &asked(&ids[..1])).await.map(|probed| probed.hits.len())], "can't be read");
    }
}

#[tokio::test]
async fn no_damage_of_a_file_makes_the_reader_panic() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 400);
    let file = live(&written(&files, &ids).await);
    let whole = store.get(&file.path);
    let mut refused = 0;
    for seed in 0..400 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut damaged = whole.to_vec();
        // Mostly in the footer, where it hurts.
        let from = if seed % 4 == 0 { 0 } else { damaged.len().saturating_sub(9000) };
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(from..damaged.len());
            damaged[at] ^= 1 << rng.random_range(0..8);
        }
        store.set(&file.path, damaged);
        refused += all_answers(&files, &file).await.iter().filter(|answer| answer.is_err()).count();
    }
    assert!(refused > 100, "{refused} of 1,200 answers were refusals");
}
