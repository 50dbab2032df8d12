//! What is written, and what other engines find of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray, ListArray, TimestampMicrosecondArray};
use arrow::datatypes::{Date32Type, Int32Type};
use iceberg::spec::{Datum, PrimitiveType, TableMetadata};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterProperties;

use super::*;
use crate::error::Exit;
use crate::ports::Down;

#[tokio::test]
async fn what_is_written_is_read_back_value_by_value() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 9_000);
    let given = batches(&ids, HOUR);
    let file = written(&files, &ids).await;
    assert_eq!((file.rows, file.bytes), (9_000, store.get(&file.path).len() as u64));

    let found = read_back(store.get(&file.path));
    let given = arrow::compute::concat_batches(&given[0].schema(), &given).unwrap();
    for (i, column) in given.columns().iter().enumerate() {
        let found = found.column(i);
        match column.as_list_opt::<i32>() {
            Some(list) => {
                let found: &ListArray = found.as_list();
                assert_eq!((list.offsets(), list.values()), (found.offsets(), found.values()), "trade_conditions");
            }
            None => assert_eq!(&column.to_data(), &found.to_data(), "{}", gold::COLUMNS[i].name),
        }
    }
    let sealed: &TimestampMicrosecondArray = found.column(15).as_primitive();
    assert!(sealed.values().iter().all(|t| *t == SEALED));
    assert!(found.column(16).as_primitive::<Date32Type>().values().iter().all(|d| *d == HOUR.exchange_date()));
    assert!(found.column(17).as_primitive::<Int32Type>().values().iter().all(|h| *h == HOUR.exchange_hour()));
}

#[tokio::test]
async fn the_path_is_new_each_time_and_lies_in_the_folder_of_its_partition() {
    let (_, files) = gold_files(&[]);
    let (a, b) = (written(&files, &uuids(1, 10)).await, written(&files, &uuids(1, 10)).await);
    assert_ne!(a.path, b.path);
    let folder = "/lake/gold/data/exchange_date=2026-01-04/exchange_hour=0/sluice-";
    assert_eq!(HOUR.to_string(), "2026-01-04T00Z");
    assert!(a.path.starts_with(folder) && a.path.ends_with("-0.parquet"), "{}", a.path);

    let (_, elsewhere) = gold_files(&[("write.data.path", "/other/place/")]);
    assert!(written(&elsewhere, &uuids(1, 1)).await.path.starts_with("/other/place/exchange_date="));
}

#[tokio::test]
async fn the_columns_are_encoded_plainly_with_a_filter_on_message_id_and_the_tables_field_ids() {
    let (store, files) = gold_files(&[]);
    let file = written(&files, &uuids(1, 5_000)).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let metadata = reader.metadata();
    let roots = metadata.file_metadata().schema_descr().root_schema().get_fields();
    assert_eq!(roots.iter().map(|f| f.get_basic_info().id()).collect::<Vec<_>>(), (1..=18).collect::<Vec<_>>());
    let version = metadata.file_metadata().key_value_metadata().unwrap();
    assert_eq!(version.iter().map(|kv| kv.key.as_str()).collect::<Vec<_>>(), ["sluice.version"]);
    for column in metadata.row_group(0).columns() {
        let name = column.column_path().parts()[0].as_str();
        let encodings: BTreeSet<String> = column.encodings().map(|e| e.to_string()).collect();
        let plain: BTreeSet<String> =
            [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY].iter().map(|e| e.to_string()).collect();
        assert!(encodings.is_subset(&plain), "{name}: {encodings:?}");
        let dictionary = column.dictionary_page_offset().is_some();
        let few = ["symbol", "exchange", "asset_class", "currency", "side", "trade_conditions", "exchange_date"];
        let few = few.contains(&name) || name == "exchange_hour" || name == "gold_ingestion_timestamp";
        assert_eq!(dictionary, few, "dictionary of {name}");
        assert_eq!(column.bloom_filter_offset().is_some(), name == "message_id", "filter of {name}");
        assert!(matches!(column.compression(), Compression::ZSTD(_)));
    }
}

#[tokio::test]
async fn a_tables_own_properties_decide_over_codec_and_filter() {
    let (store, files) =
        gold_files(&[("write.parquet.compression-codec", "snappy"), (gold::BLOOM_FILTER_MESSAGE_ID, "false")]);
    let ids = uuids(1, 500);
    let file = written(&files, &ids).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let column = reader.metadata().row_group(0).column(0).clone();
    assert_eq!((column.compression(), column.bloom_filter_offset()), (Compression::SNAPPY, None));
    assert_eq!(files.probe(&live(&file), HOUR, &asked(&ids[..3])).await.unwrap().hits.len(), 3);
}

#[tokio::test]
async fn the_manifest_entry_says_what_icebergs_own_writer_would_say() {
    use iceberg::writer::file_writer::{FileWriter, FileWriterBuilder, ParquetWriterBuilder};

    let (store, files) = gold_files(&[]);
    let ids = uuids(3, 4_000);
    let ours = written(&files, &ids).await.data_file;

    let schema = table(&[]).current_schema().clone();
    let path = "memory:///oracle.parquet";
    let output = iceberg::io::FileIO::new_with_memory().new_output(path).unwrap();
    let properties = WriterProperties::builder().set_statistics_truncate_length(None).build();
    let mut oracle = ParquetWriterBuilder::new(properties, schema.clone()).build(output).await.unwrap();
    let content = read_back(store.get(ours.file_path()));
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&schema).unwrap());
    let columns = content.columns().iter().zip(arrow.fields()).map(|(c, f)| arrow::compute::cast(c, f.data_type()).unwrap());
    oracle.write(&RecordBatch::try_new(arrow.clone(), columns.collect()).unwrap()).await.unwrap();
    let theirs = oracle.close().await.unwrap().remove(0).build().unwrap();

    assert_eq!(ours.record_count(), theirs.record_count());
    assert_eq!(ours.value_counts(), theirs.value_counts());
    assert_eq!(ours.null_value_counts(), theirs.null_value_counts());
    let scalar = |bounds: &HashMap<i32, Datum>| -> BTreeMap<i32, Datum> {
        let scalars = bounds.iter().filter(|(_, d)| *d.data_type() != PrimitiveType::String);
        scalars.map(|(id, d)| (*id, d.clone())).collect()
    };
    assert_eq!(scalar(ours.lower_bounds()), scalar(theirs.lower_bounds()));
    assert_eq!(scalar(ours.upper_bounds()), scalar(theirs.upper_bounds()));
    // Strings are cut to 16 characters; elements of lists have no bounds; columns of nulls neither.
    assert_eq!(ours.lower_bounds()[&2], Datum::string("trade-with-a-lon"));
    assert_eq!(ours.upper_bounds()[&2], Datum::string("trade-with-a-loo"));
    assert_eq!(ours.lower_bounds()[&3], theirs.lower_bounds()[&3]);
    assert!(!ours.lower_bounds().contains_key(&14) && !ours.lower_bounds().contains_key(&19));
    assert_eq!(ours.partition(), &gold::partition_values(HOUR));
    assert_eq!(ours.column_sizes().len(), 18);
    assert_eq!(ours.split_offsets(), Some(&[4i64][..]));
}

#[tokio::test]
async fn a_file_is_closed_when_it_has_grown_to_the_tables_size() {
    let (store, files) = gold_files(&[(gold::TARGET_FILE_SIZE, "300000")]);
    let ids = uuids(1, 20_000);
    let written = files.write(HOUR, "w", SEALED, batches(&ids, HOUR)).await.unwrap();
    assert!(written.len() >= 3, "{} files", written.len());
    assert_eq!(written.iter().map(|f| f.path.as_ref()).collect::<BTreeSet<_>>().len(), written.len());
    assert_eq!(written.iter().map(|f| f.rows).sum::<u64>(), 20_000);
    let mut found = Vec::new();
    for file in &written {
        assert_eq!(file.bytes, store.get(&file.path).len() as u64);
        found.extend(files.read_ids(&live(file)).await.unwrap());
    }
    assert_eq!(found, ids.iter().map(|id| (id_of(id), HOUR)).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_batch_of_many_rows_is_rolled_too() {
    let (_, files) = gold_files(&[(gold::TARGET_FILE_SIZE, "300000")]);
    let ids = uuids(1, 40_000);
    let written = files.write(HOUR, "w", SEALED, vec![rows(&ids, HOUR)]).await.unwrap();
    assert_eq!(written.iter().map(|f| f.rows).collect::<Vec<_>>(), [16_384, 16_384, 7_232]);
}

#[tokio::test]
async fn no_rows_make_no_file() {
    let (store, files) = gold_files(&[]);
    assert!(files.write(HOUR, "w", SEALED, vec![rows(&[], HOUR)]).await.unwrap().is_empty());
    assert!(store.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn rows_of_another_hour_or_without_an_id_are_never_written() {
    let (store, files) = gold_files(&[]);
    let other = rows(&uuids(1, 5), EventHour(HOUR.0 + 1));
    let mut columns = rows(&uuids(1, 5), HOUR).columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("c"), Some("d")]));
    let without_id = RecordBatch::try_new(rows(&uuids(1, 5), HOUR).schema(), columns).unwrap();
    for (bad, says) in [(other, "rows of 2026-01-04T00Z have event times from"), (without_id, "message_id")] {
        match files.write(HOUR, "w", SEALED, vec![bad]).await {
            Err(PortError::Stop(stop)) => {
                assert_eq!(stop.exit, Exit::Internal);
                assert!(stop.what.contains(says), "{}", stop.what);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(store.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let (store, files) = gold_files(&[]);
    store.fail([Fault::Unavailable]);
    let answer = files.write(HOUR, "w", SEALED, batches(&uuids(1, 5), HOUR)).await;
    assert!(matches!(answer, Err(PortError::Down(Down { dependency: "object store", .. }))), "{answer:?}");
    assert_eq!(written(&files, &uuids(1, 5)).await.rows, 5);
}

/// Rows of a committed table that Iceberg's own reader finds for a filter. It prunes by the bounds in our manifests.
async fn scanned(metadata: &TableMetadata, filter: iceberg::expr::Predicate) -> usize {
    let table = iceberg::table::Table::builder()
        .metadata(metadata.clone())
        .identifier(iceberg::TableIdent::from_strs(["market_data", "gold"]).unwrap())
        .file_io(iceberg::io::FileIO::new_with_fs())
        .runtime(iceberg::Runtime::current())
        .build()
        .unwrap();
    let rows = table.scan().with_filter(filter).build().unwrap().to_arrow().await.unwrap();
    rows.try_fold(0, |n, batch| async move { Ok(n + batch.num_rows()) }).await.unwrap()
}

#[tokio::test]
async fn another_engine_finds_every_committed_row_by_filters_that_prune_files() {
    use crate::sink::testing::{World, batch, view};
    use iceberg::expr::Reference;

    let world = World::new().await;
    let files = GoldFiles::new(Arc::new(crate::sink::local_fs::LocalFs));
    files.use_layout(FileLayout::of(&world.loaded().await.metadata).unwrap());
    let hours = [HOUR, EventHour(HOUR.0 + 1), EventHour(HOUR.0 + 30)];
    let mut written = Vec::new();
    for (seed, hour) in hours.iter().enumerate() {
        written.extend(files.write(*hour, "w", SEALED, batches(&uuids(seed as u64, 500), *hour)).await.unwrap());
    }
    world.commit(&batch(1, "g", 1_500, 1_500), &written).await;

    let listed = view(&world.table).await;
    assert_eq!(listed.live.len(), 3);
    for (seed, hour) in hours.iter().enumerate() {
        let file = listed.live.of_hour(*hour).next().unwrap();
        let ids = uuids(seed as u64, 500);
        assert_eq!(files.read_ids(file).await.unwrap(), ids.iter().map(|id| (id_of(id), *hour)).collect::<Vec<_>>());
        assert_eq!(files.probe(file, *hour, &asked(&ids[7..9])).await.unwrap().hits.len(), 2);
        assert!(files.exists(&file.path).await.unwrap());
    }
    let metadata = world.loaded().await.metadata;
    let found = async |filter| scanned(&metadata, filter).await;
    for id in uuids(1, 500).iter().step_by(50) {
        assert_eq!(found(Reference::new("message_id").equal_to(Datum::string(id))).await, 1);
    }
    let (from, to) = hours[1].bounds();
    let time = || Reference::new("timestamp");
    let of_hour = time().greater_than_or_equal_to(Datum::long(from)).and(time().less_than(Datum::long(to)));
    assert_eq!(found(of_hour).await, 500);
    assert_eq!(found(Reference::new("trade_id").equal_to(Datum::string("trade-with-a-long-name-000000499"))).await, 3);
    assert_eq!(found(Reference::new("price").equal_to(Datum::decimal_from_str("-0.00000005").unwrap())).await, 3);
    let date = Datum::date(hours[2].exchange_date());
    assert_eq!(found(Reference::new("exchange_date").equal_to(date)).await, 500);
    assert_eq!(found(Reference::new("vendor_data").is_null()).await, 1_200);
    assert_eq!(found(Reference::new("gold_ingestion_timestamp").equal_to(Datum::timestamptz_micros(SEALED))).await, 1_500);
}
