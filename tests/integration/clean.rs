//! No fault at all: every trade once, with its values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::trade::{Chance, mix};
use crate::common::*;

/// `count` trades over all partitions of two topics, five per second of event time, over three hours and three schemas.
fn produce_trades(world: &World, seed: u64, count: u64) {
    let producer = world.producer();
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    for n in 0..count {
        let number = mix(seed) ^ n;
        let draft = Draft {
            id: match n % 50 {
                0 => Id::UpperCase(number),
                1 => Id::Braced(number),
                2 => Id::Text(number),
                _ => Id::Uuid(number),
            },
            writer: Writer::ALL[(n % 3) as usize],
            ..Draft::new(number, T0 + (n as i64) * 3 * HOUR / count as i64)
        };
        let (topic, partition) = &partitions[(mix(n) % partitions.len() as u64) as usize];
        producer.trade(topic, *partition, draft);
    }
    producer.settle();
}

#[test]
fn a_clean_run_writes_every_trade_once_and_both_foreign_readers_see_the_same() {
    let world = World::new("clean", &[("binance", 2), ("kraken", 2)]);
    produce_trades(&world, 1, 6_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    // Half of the records arrive while it runs.
    produce_trades(&world, 2, 6_000);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();

    the_log_is_one_json_object_a_line(&sluice);
    world.check();
    world.check_rows("duckdb", &world.expected(Late::Admit));
    the_table_is_as_the_interface_says(&world);
    the_group_offsets_show_the_tables_progress(&world);
}

fn the_log_is_one_json_object_a_line(sluice: &Instance) {
    for line in sluice.lines() {
        for field in ["timestamp", "level", "logger", "message", "job", "layer"] {
            assert!(line.body[field].is_string(), "a line without {field}: {}", line.body);
        }
        assert_eq!(line.body["layer"], "gold");
        assert_eq!(line.body["job"], "gold-aggregation");
        assert_ne!(line.body["level"], "ERROR", "a person must look at a clean run: {}", line.body);
    }
    for event in
        ["service.start", "source.assigned", "event_time.configured", "lane.opened", "iceberg.commit", "service.stop"]
    {
        assert!(sluice.lines().iter().any(|line| line.name() == event), "no event {event}");
    }
}

fn the_table_is_as_the_interface_says(world: &World) {
    let metadata = world.metadata();
    let json = &metadata.0;
    assert_eq!(json["format-version"], 2);
    let schema = json["schemas"].as_array().unwrap().iter().find(|s| s["schema-id"] == json["current-schema-id"]).unwrap();
    let columns: Vec<String> = schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            let kind = match &f["type"] {
                serde_json::Value::String(kind) => kind.clone(),
                list => format!("list<{}>", list["element"].as_str().unwrap()),
            };
            assert!(f["doc"].as_str().is_some_and(|doc| !doc.is_empty()), "a column without doc: {f}");
            format!("{} {kind}{}", f["name"].as_str().unwrap(), if f["required"] == true { " required" } else { "" })
        })
        .collect();
    assert_eq!(
        columns,
        [
            "message_id string required",
            "trade_id string",
            "symbol string",
            "exchange string",
            "asset_class string",
            "timestamp long",
            "price decimal(18, 8)",
            "quantity decimal(18, 8)",
            "currency string",
            "side string",
            "trade_conditions list<string>",
            "source_sequence long",
            "ingestion_timestamp long",
            "platform_sequence long",
            "vendor_data string",
            "gold_ingestion_timestamp timestamptz",
            "exchange_date date required",
            "exchange_hour int required",
        ]
        .map(|c| c.replace("(18, 8)", if columns[6].contains(", ") { "(18, 8)" } else { "(18,8)" }))
    );
    let id = |name: &str| {
        let fields = schema["fields"].as_array().unwrap();
        fields.iter().find(|f| f["name"] == name).map(|f| f["id"].as_i64().unwrap()).unwrap()
    };
    let identifiers: Vec<i64> =
        schema["identifier-field-ids"].as_array().unwrap().iter().map(|i| i.as_i64().unwrap()).collect();
    let mut expected = ["message_id", "exchange_date", "exchange_hour"].map(id);
    expected.sort();
    let mut sorted = identifiers.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "identifier fields");
    let spec = json["partition-specs"].as_array().unwrap().iter().find(|s| s["spec-id"] == json["default-spec-id"]).unwrap();
    let parts: Vec<_> = spec["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["source-id"].as_i64().unwrap(), f["transform"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(parts, [(id("exchange_date"), "identity".to_owned()), (id("exchange_hour"), "identity".to_owned())]);
    for (key, value) in [
        ("comment", "Gold layer - Unified cross-exchange analytics"),
        ("write.parquet.bloom-filter-enabled.column.message_id", "true"),
        ("write.parquet.compression-codec", "zstd"),
        ("history.expire.max-snapshot-age-ms", "21600000"),
        ("history.expire.min-snapshots-to-keep", "100"),
    ] {
        assert_eq!(metadata.property(key), Some(value), "table property {key}");
    }
    assert_eq!(metadata.tag(), metadata.head(), "the tag is on the newest snapshot of Sluice");
}

fn the_group_offsets_show_the_tables_progress(world: &World) {
    let metadata = world.metadata();
    let lane = metadata.lane(&world.group).unwrap();
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    let mirrored = world.kafka.group_offsets(&world.group, &partitions);
    for (partition, offset) in &lane.offsets {
        let group = &mirrored[partition];
        assert_eq!(group.offset, *offset, "group offset of {partition:?}");
        let expected = format!("table={};commit=", metadata.uuid());
        assert!(group.metadata.starts_with(&expected), "metadata of {partition:?}: {}", group.metadata);
    }
}

#[test]
fn two_percent_duplicates_in_the_same_and_in_other_partitions_and_topics_are_written_once() {
    let world = World::new("duplicates", &[("binance", 2), ("kraken", 2)]);
    let producer = world.producer();
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    let mut sluice = world.start(1);
    let mut chance = Chance(7);
    let mut sent: Vec<(usize, Draft)> = Vec::new();
    for n in 0..10_000u64 {
        let time = T0 + n as i64 * 2 * HOUR / 10_000;
        let at = chance.below(4) as usize;
        sent.push((at, Draft::new(n, time)));
        producer.trade(&partitions[at].0, partitions[at].1, Draft::new(n, time));
        if chance.one_in(50) {
            let (from, copy) = sent[chance.below(n + 1) as usize];
            let to = if chance.one_in(2) { from } else { chance.below(4) as usize };
            // The copy may say something else: which payload survives isn't promised.
            producer.trade(&partitions[to].0, partitions[to].1, Draft { payload: copy.payload ^ chance.below(2), ..copy });
        }
        if n % 2_500 == 0 {
            producer.settle();
        }
    }
    producer.settle();
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
    let totals = world.metadata().lane(&world.group).unwrap().totals;
    assert!(totals.duplicate > 150, "about 200 duplicates were sent: {totals:?}");
}

#[test]
fn the_same_id_under_another_hour_is_a_re_send_that_is_written_and_listed_by_verify() {
    let world = World::new("resend", &[("binance", 2)]);
    let producer = world.producer();
    for n in 0..500 {
        producer.trade(&world.topic("binance"), 0, Draft::new(n, T0 + n as i64));
        producer.trade(&world.topic("binance"), 1, Draft::new(n, T0 + n as i64 + HOUR));
    }
    producer.settle();
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
    assert_eq!(world.expected(Late::Admit).rows.len(), 1000);
}

#[test]
fn until_caught_up_commits_what_was_there_and_ends_with_zero() {
    let world = World::new("caught-up", &[("binance", 2), ("kraken", 2)]);
    produce_trades(&world, 3, 4_000);
    world.run_expecting(0, &["run", "--until-caught-up"]);
    world.check();
    // Nothing new: it ends as well, and adds nothing.
    world.run_expecting(0, &["run", "--until-caught-up"]);
    world.check();
}

/// It waited until nothing was on its way, which never is where records keep coming, and committed at every look.
#[test]
fn until_caught_up_ends_while_records_keep_coming() {
    let world = World::new("caught-up-trickle", &[("binance", 2)]);
    produce_trades(&world, 3, 1_000);
    let end = Arc::new(AtomicBool::new(false));
    let (producer, topic, ended) = (world.producer(), world.topic("binance"), end.clone());
    let trickle = std::thread::spawn(move || {
        for n in 1_000_000.. {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            producer.trade(&topic, (n % 2) as i32, Draft::new(n, T0 + n as i64));
            producer.settle();
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    world.run_expecting(0, &["run", "--until-caught-up"]);
    end.store(true, Ordering::Relaxed);
    trickle.join().expect("the producer ends well");
    let commits = world.metadata().commits(&world.group).len();
    assert!(commits <= 10, "{commits} commits for what was there at the start");
    world.run_expecting(0, &["run", "--until-caught-up"]);
    world.check();
}
