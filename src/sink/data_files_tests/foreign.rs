//! Files that somebody else wrote.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{ArrayRef, Int64Array, LargeStringArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::*;

/// A file as another engine may write it: no field ids unless given, large strings with an Arrow schema beside, nulls.
fn foreign(names: [&str; 2], field_ids: Option<[i32; 2]>, rows: &[(Option<&str>, Option<Micros>)]) -> Bytes {
    foreign_under(Compression::UNCOMPRESSED, names, field_ids, rows)
}

fn foreign_under(
    codec: Compression,
    names: [&str; 2],
    field_ids: Option<[i32; 2]>,
    rows: &[(Option<&str>, Option<Micros>)],
) -> Bytes {
    let field = |i: usize, kind: DataType| {
        let field = Field::new(names[i], kind, true);
        match field_ids {
            None => field,
            Some(ids) => field.with_metadata(HashMap::from([(gold::FIELD_ID_KEY.to_string(), ids[i].to_string())])),
        }
    };
    // The columns in another order than ours, one that Gold doesn't know among them.
    let schema = ArrowSchema::new(vec![
        field(1, DataType::Int64),
        Field::new("unknown", DataType::Utf8, true),
        field(0, DataType::LargeUtf8),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(StringArray::from(vec!["x"; rows.len()])),
        Arc::new(rows.iter().map(|r| r.0).collect::<LargeStringArray>()),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

fn listed(path: &str, content: &Bytes, hour: Option<EventHour>) -> LiveFile {
    LiveFile { path: path.into(), hour, rows: 1, bytes: content.len() as u64 }
}

#[tokio::test]
async fn rows_without_an_id_or_a_time_count_as_nothing_whoever_wrote_them() {
    let (store, files) = gold_files(&[]);
    let (from, _) = HOUR.bounds();
    let rows = [
        (Some("a"), Some(from)),
        (None, Some(from - 1)),
        (Some("timeless"), None),
        (Some("b"), Some(from + 1)),
        (None, None),
        (Some(""), Some(from + 2)),
    ];
    for field_ids in [None, Some([1, 6])] {
        let content = foreign(["message_id", "timestamp"], field_ids, &rows);
        store.set("f", content.clone());
        for hour in [Some(HOUR), None] {
            let file = listed("f", &content, hour);
            let counted = ["a", "b", ""].map(|id| (MessageId::of(id), HOUR)).to_vec();
            assert_eq!(files.read_ids(&file).await.unwrap(), counted);
            let asked = asked(&["timeless", "b", "nowhere"].map(String::from));
            assert_eq!(files.probe(&file, HOUR, &asked).await.unwrap().hits, [MessageId::of("b")]);
            assert_eq!(files.hours(&file).await.unwrap(), BTreeSet::from([HOUR]));
        }
    }
}

#[tokio::test]
async fn a_file_of_several_hours_answers_for_the_hour_of_each_row() {
    let (store, files) = gold_files(&[]);
    let (from, to) = HOUR.bounds();
    let content =
        foreign(["message_id", "timestamp"], None, &[(Some("a"), Some(from)), (Some("a"), Some(to)), (Some("b"), Some(to))]);
    store.set("f", content.clone());
    let file = listed("f", &content, None);
    let next = EventHour(HOUR.0 + 1);
    let asked = asked(&["a", "b"].map(String::from));
    assert_eq!(files.probe(&file, HOUR, &asked).await.unwrap().hits, [MessageId::of("a")]);
    assert_eq!(files.probe(&file, next, &asked).await.unwrap().hits, [MessageId::of("a"), MessageId::of("b")]);
    let all = [("a", HOUR), ("a", next), ("b", next)].map(|(id, hour)| (MessageId::of(id), hour));
    assert_eq!(files.read_ids(&file).await.unwrap(), all);
    assert_eq!(files.hours(&file).await.unwrap(), BTreeSet::from([HOUR, next]));
}

#[tokio::test]
async fn rows_are_of_their_own_hour_whatever_the_partition_says() {
    let (store, files) = gold_files(&[]);
    let (from, to) = HOUR.bounds();
    let content = foreign(["message_id", "timestamp"], None, &[(Some("a"), Some(from)), (Some("b"), Some(to))]);
    store.set("f", content.clone());
    let file = listed("f", &content, Some(HOUR));
    let next = EventHour(HOUR.0 + 1);
    assert_eq!(files.hours(&file).await.unwrap(), BTreeSet::from([HOUR, next]), "what the check of foreign files asks");
    let ids = [("a", HOUR), ("b", next)].map(|(id, hour)| (MessageId::of(id), hour));
    assert_eq!(files.read_ids(&file).await.unwrap(), ids);
}

#[tokio::test]
async fn a_file_of_any_codec_is_read() {
    let (store, files) = gold_files(&[]);
    let rows = [(Some("a"), Some(HOUR.bounds().0)), (Some("b"), Some(HOUR.bounds().0))];
    let codecs = [
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(Default::default()),
    ];
    for codec in codecs {
        let content = foreign_under(codec, ["message_id", "timestamp"], None, &rows);
        store.set("f", content.clone());
        assert_eq!(files.read_ids(&listed("f", &content, Some(HOUR))).await.unwrap().len(), 2, "{codec}");
    }
}

#[tokio::test]
async fn columns_are_found_by_field_id_else_by_the_name_mapping_else_by_name() {
    let mapping = r#"[{"field-id":1,"names":["message_id","mid"]},{"field-id":6,"names":["ts"]}]"#;
    let mapped: &[(&str, &str)] = &[("schema.name-mapping.default", mapping)];
    let row = [(Some("a"), Some(HOUR.bounds().0))];
    type Case<'a> = (&'a [(&'a str, &'a str)], [&'a str; 2], Option<[i32; 2]>, usize);
    let cases: [Case<'_>; 8] = [
        (&[], ["message_id", "timestamp"], None, 1),
        (&[], ["renamed", "too"], Some([1, 6]), 1),
        (&[], ["mid", "ts"], None, 0),
        (mapped, ["mid", "ts"], None, 1),
        (mapped, ["message_id", "ts"], None, 1),
        // The mapping doesn't know this name for the event time: to every reader of the table it is null.
        (mapped, ["message_id", "timestamp"], None, 0),
        // A column with the id of another one isn't ours, whatever its name.
        (&[], ["message_id", "timestamp"], Some([3, 6]), 0),
        (&[], ["timestamp", "message_id"], Some([1, 6]), 1),
    ];
    for (properties, names, field_ids, expected) in cases {
        let (store, files) = gold_files(properties);
        let content = foreign(names, field_ids, &row);
        store.set("f", content.clone());
        let found = files.read_ids(&listed("f", &content, Some(HOUR))).await.unwrap();
        assert_eq!(found.len(), expected, "{names:?} with ids {field_ids:?}");
    }
    assert!(matches!(
        FileLayout::of(&table(&[("schema.name-mapping.default", "{")])),
        Err(crate::sink::file_layout::LayoutError::NameMapping(_))
    ));
}
