//! Ids looked up in files that are as they were written.

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::sink::parquet_writer::ROW_GROUP_ROWS;

#[tokio::test]
async fn a_probe_finds_exactly_the_ids_that_the_file_holds() {
    let (_, files) = gold_files(&[]);
    let ids = uuids(1, 3_000);
    let file = live(&written(&files, &ids).await);
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let absent = uuids(seed + 1000, 200);
        let mut asked = asked(&absent);
        let present: Vec<_> = (0..rng.random_range(0..50)).map(|_| ids[rng.random_range(0..ids.len())].clone()).collect();
        for (i, text) in present.iter().enumerate() {
            // Of every other one only the id is known.
            let known = (i % 2 == 0).then(|| text.as_str().into());
            asked.insert(rng.random_range(0..=asked.len()), ProbeId { id: id_of(text), text: known });
        }
        let hits = files.probe(&file, HOUR, &asked).await.unwrap().hits;
        let mut expected: Vec<MessageId> = Vec::new();
        let held: BTreeSet<_> = present.iter().map(id_of).collect();
        for id in asked.iter().filter(|p| held.contains(&p.id)) {
            if !expected.contains(&id.id) {
                expected.push(id.id);
            }
        }
        assert_eq!(hits, expected, "in the order asked, each once");
    }
}

#[tokio::test]
async fn ids_that_no_filter_knows_cost_no_reading_of_columns() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 60_000);
    let file = live(&written(&files, &ids).await);
    let column = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let column = column.metadata().row_group(0).column(0).byte_range();
    store.take_reads();
    assert_eq!(files.probe(&file, HOUR, &asked(&uuids(77, 1))).await.unwrap(), Probed::default());
    let reads = store.take_reads();
    assert!(reads.len() <= 2, "footer, filter: {reads:?}");
    assert!(reads.iter().all(|r| r.start >= column.0 + column.1), "{reads:?} against the column at {column:?}");

    let mixed = [&asked(&ids[5..6])[..], &asked(&uuids(77, 1))].concat();
    let probed = files.probe(&file, HOUR, &mixed).await.unwrap();
    assert_eq!((probed.hits, probed.read), (vec![id_of(&ids[5])], 1), "the filter still answered for the other one");
    assert!(store.take_reads().iter().any(|r| r.start == column.0));
}

#[tokio::test]
async fn every_row_group_has_its_own_filter_and_only_those_in_question_are_read() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, ROW_GROUP_ROWS + 10_000);
    let file = live(&written(&files, &ids).await);
    let unknown_text = ProbeId { id: id_of(&uuids(77, 1)[0]), text: None };
    let probed = files.probe(&file, HOUR, &[unknown_text]).await.unwrap();
    assert_eq!(probed, Probed { hits: vec![], read: 1 }, "an id that two row groups were read for counts once");
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let groups = reader.metadata().row_groups();
    assert_eq!(groups.iter().map(|g| g.num_rows()).collect::<Vec<_>>(), [ROW_GROUP_ROWS as i64, 10_000]);
    let filters: Vec<_> = groups.iter().map(|g| g.column(0).bloom_filter_length().unwrap()).collect();
    assert!(filters[0] < (256 << 10) + 64 && filters[1] < (32 << 10), "{filters:?}");

    store.take_reads();
    let last = ids.last().unwrap();
    assert_eq!(files.probe(&file, HOUR, &asked(std::slice::from_ref(last))).await.unwrap().hits, [id_of(last)]);
    let (start, length) = groups[0].column(0).byte_range();
    assert!(store.take_reads().iter().all(|r| r.start >= start + length), "the first row group wasn't read");
}

#[tokio::test]
async fn an_id_is_found_in_its_own_hour_only() {
    let (_, files) = gold_files(&[]);
    let ids = uuids(1, 10);
    let file = live(&written(&files, &ids).await);
    assert!(files.probe(&file, EventHour(HOUR.0 + 1), &asked(&ids)).await.unwrap().hits.is_empty());
    assert_eq!(files.probe(&file, HOUR, &asked(&ids)).await.unwrap().hits.len(), 10);
}
