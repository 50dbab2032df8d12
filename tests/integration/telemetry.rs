//! What a running service says of itself, against Kafka, the table and what was produced.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::*;

/// Status of one partition by topic and number.
type ByPartition = BTreeMap<(String, i64), Value>;

fn by_partition(answer: &Value) -> ByPartition {
    let partitions = answer["partitions"].as_array().expect("partitions are a list");
    let key = |p: &Value| (p["topic"].as_str().expect("a topic").to_owned(), p["partition"].as_i64().expect("a number"));
    partitions.iter().map(|p| (key(p), p.clone())).collect()
}

fn status(sluice: &Instance) -> Value {
    let (code, text) = sluice.get("/status").unwrap_or_else(|| panic!("{} serves no status", sluice.name));
    assert_eq!(code, 200, "/status of {}", sluice.name);
    serde_json::from_str(&text).expect("JSON")
}

/// What differs between the status of an instance and `sluice offsets describe`, if anything does.
fn differences(world: &World, sluice: &Instance) -> Vec<String> {
    let described = world.run_expecting(0, &["offsets", "describe", "--output", "json"]);
    let described = by_partition(&serde_json::from_str(&described).expect("JSON"));
    let shown = by_partition(&status(sluice));
    let mut differences = Vec::new();
    if !shown.keys().eq(described.keys()) {
        differences.push(format!("{:?} against {:?}", shown.keys(), described.keys()));
    }
    for (partition, fields) in &described {
        for (name, value) in fields.as_object().expect("an object") {
            let here = shown.get(partition).map_or(&Value::Null, |p| &p[name]);
            if here != value {
                differences.push(format!("{partition:?} {name}: {here} against {value}"));
            }
        }
    }
    differences
}

/// Instances of two client ids, each with a partition.
fn two_instances(world: &World) -> [Instance; 2] {
    let with_id = |number: usize| {
        let id = format!("worker-{number}");
        world.start_with(number, &world.config.clone().set_in(&["kafka", "properties", "client.id"], id))
    };
    let mut both = [with_id(1), with_id(2)];
    for instance in &mut both {
        instance.wait_ready();
    }
    wait_until("each owns a partition", LONG, || {
        let owned: Vec<f64> = both.iter().map(|i| i.metric("sluice_assigned_partitions", "")).collect();
        if owned == [1.0, 1.0] { Ok(()) } else { Err(format!("{owned:?}")) }
    });
    both
}

#[test]
fn every_instance_shows_all_partitions_as_offsets_describe_does_with_kafkas_group_offsets_and_owners() {
    let world = World::new("status", &[("binance", 2)]);
    let [mut one, mut two] = two_instances(&world);
    let producer = world.producer();
    for n in 0..300 {
        producer.trade(&world.topic("binance"), (n % 2) as i32, Draft::new(n, T0 + n as i64));
    }
    producer.settle();
    world.drain(&mut [&mut one, &mut two]);
    for sluice in [&one, &two] {
        wait_until(&format!("{} shows what offsets describe shows", sluice.name), LONG, || {
            let differences = differences(&world, sluice);
            if differences.is_empty() { Ok(()) } else { Err(format!("{differences:?}")) }
        });
    }
    let shown = by_partition(&status(&one));
    let mut owners: Vec<&str> = shown.values().map(|p| p["owner"].as_str().expect("an owner")).collect();
    owners.sort_unstable();
    assert_eq!(owners, ["worker-1", "worker-2"]);
    for (partition, shown) in &shown {
        assert_eq!(shown["group_offset"], 150, "{partition:?}: {shown}");
    }
    one.terminate();
    two.terminate();
}

#[test]
fn phases_lookups_and_latencies_are_those_of_what_was_done() {
    let mut world = World::new("telemetry", &[("binance", 2)]);
    world.config = world.config.clone().set("dead_letter.rate_max", 1.0);
    let topic = world.topic("binance");
    let [mut one, mut two] = two_instances(&world);
    let producer = world.producer();
    let sum = |both: [&Instance; 2], name: &str, labels: &str| both.iter().map(|i| i.metric(name, labels)).sum::<f64>();
    const PHASES: &str = "sluice_commit_phase_duration_seconds_count";
    const LOOKUPS: &str = "sluice_dedup_lookups_total";
    let mut n = 0;
    // The same ids to both, each with some of its own: whoever commits second looks them up in the other's new file, where
    // the filter says no to its own and the column says yes to the others.
    wait_until("filters and columns of the other's files are asked", LONG, || {
        for _ in 0..200 {
            for partition in 0..2u64 {
                producer.trade(&topic, partition as i32, Draft::new(3 * n, T0 + n as i64));
                producer.trade(&topic, partition as i32, Draft::new(3 * n + 1 + partition, T0 + n as i64));
            }
            n += 1;
        }
        let garbage = Some(b"not avro at all".to_vec());
        let trade = Record::trade(&world.registry, Draft::new(0, T0));
        producer.send(&topic, 0, Record { what: What::Malformed("garbage"), value: garbage, ..trade });
        producer.settle();
        world.drain(&mut [&mut one, &mut two]);
        let asked = ["bloom", "column"].map(|tier| sum([&one, &two], LOOKUPS, &format!("tier=\"{tier}\"")));
        if asked.iter().all(|lookups| *lookups > 0.0) { Ok(()) } else { Err(format!("{asked:?}")) }
    });
    let both = [&one, &two];
    for phase in ["load", "probe", "letters", "files", "post"] {
        let times = sum(both, PHASES, &format!("phase=\"{phase}\""));
        assert!(times > 0.0, "phase {phase} was never measured");
    }
    let [fetched, letters, written] =
        ["sluice_records_fetched_total", "sluice_records_dead_lettered_total", "sluice_records_written_total"]
            .map(|name| sum(both, name, ""));
    assert!(sum(both, LOOKUPS, "tier=\"hot\"") >= fetched - letters, "every record with an id is looked up in memory");
    let seen = sum(both, "sluice_event_to_commit_latency_seconds_count", "");
    assert_eq!(seen, written, "the latency of every record written, and of no other");
    the_log_says_it_in_json(&topic, both);
    one.terminate();
    two.terminate();
    world.check();
}

fn the_log_says_it_in_json(topic: &str, both: [&Instance; 2]) {
    let lines: Vec<Value> = both.iter().flat_map(|i| i.lines()).map(|event| event.body).collect();
    let named = |name: &str| lines.iter().filter(|l| l["event"] == name).cloned().collect::<Vec<_>>();
    for line in named("iceberg.commit") {
        let ranges = line["ranges"].as_object().unwrap_or_else(|| panic!("ranges are an object: {line}"));
        let ends: Vec<i64> =
            ranges[topic].as_object().expect("partitions").values().map(|r| r[1].as_i64().unwrap()).collect();
        assert!(!ends.is_empty(), "{line}");
    }
    assert!(named("dead_letter.sent").iter().all(|line| line["reasons"].is_object()), "reasons with their counts");
    assert!(named("source.positioned").iter().all(|line| line["partitions"][topic].is_object()), "offsets by partition");
    assert!(named("source.assigned").iter().all(|line| line["partitions"].is_object()), "partitions by topic");
    assert!(named("event_time.configured").iter().all(|line| line["late"] == "admit"), "as it is configured");
    assert!(lines.iter().all(|line| line.get("event") != Some(&Value::Null)), "no event is no field");
}
