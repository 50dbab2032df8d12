use apache_avro::types::Value;
use apache_avro::{Decimal, Schema, from_avro_datum, to_avro_datum};

use super::*;
use crate::cli::produce::generator::{Generator, Spec, TopicLayout};
use crate::cli::produce::trade::{ASSET_CLASSES, SIDES};

const IDS: SchemaIds = SchemaIds { plain: 1, silver: 2, lean: 3 };

fn records(malformed: f64) -> impl Iterator<Item = GeneratedRecord> {
    let topics = vec![TopicLayout { name: "a".into(), partitions: 2 }, TopicLayout { name: "b".into(), partitions: 1 }];
    let generator = Generator::new(Spec {
        seed: 11,
        topics,
        start: 1_767_225_600_000_000,
        step_nanos: 1_000_000,
        duplicates: 0.0,
        late: 0.0,
        malformed,
        unknown_schema_ids: true,
        out_of_order: 0,
        straggler: 0,
    });
    (0..4_000).map(move |number| generator.record(number))
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn symbol(symbols: [&str; 4], name: &str) -> Value {
    let index = symbols.iter().position(|symbol| *symbol == name).unwrap();
    Value::Enum(index as u32, name.into())
}

fn optional(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

/// The trade as the general encoder takes it, fields in the order of the schema.
fn as_value(trade: &Trade, version: Version, schema: &Schema) -> Value {
    let Schema::Record(record) = schema else { panic!("{schema:?} is no record") };
    let (sides, classes) = match version {
        Version::Silver => (["UNKNOWN", "SELL_SHORT", "SELL", "BUY"], ["crypto", "equities", "options", "futures"]),
        Version::Plain | Version::Lean => (SIDES, ASSET_CLASSES),
    };
    let decimal = |unscaled: i64| {
        let mut bytes = unscaled.to_be_bytes().to_vec();
        while bytes.len() > 1 && (bytes[0] == 0 && bytes[1] < 0x80 || bytes[0] == 0xff && bytes[1] >= 0x80) {
            bytes.remove(0);
        }
        Value::Decimal(Decimal::from(bytes))
    };
    let value = |name: &str| match name {
        "message_id" => text(&trade.message_id),
        "trade_id" => text(&trade.trade_id),
        "symbol" => text(trade.symbol),
        "exchange" => text(trade.exchange),
        "asset_class" => symbol(classes, ASSET_CLASSES[trade.asset_class]),
        "timestamp" => Value::TimestampMicros(trade.timestamp),
        "price" => decimal(trade.price),
        "quantity" => decimal(trade.quantity),
        "currency" => text(trade.currency),
        "side" => symbol(sides, SIDES[trade.side]),
        "trade_conditions" => Value::Array(trade.trade_conditions.iter().map(|c| text(c)).collect()),
        "source_sequence" => optional(trade.source_sequence.map(Value::Long)),
        "ingestion_timestamp" => Value::TimestampMicros(trade.ingestion_timestamp),
        "platform_sequence" => optional(trade.platform_sequence.map(Value::Long)),
        "vendor_data" => optional(
            trade.vendor_data.as_ref().map(|map| Value::Map(map.iter().map(|(k, v)| ((*k).into(), text(v))).collect())),
        ),
        "schema_id" => Value::Int(IDS.of(version) as i32),
        "bronze_ingestion_timestamp" => Value::TimestampMicros(trade.ingestion_timestamp + 40_000),
        "validation_timestamp" => optional(Some(Value::TimestampMicros(trade.ingestion_timestamp + 90_000))),
        other => panic!("{other} is no field of a trade"),
    };
    Value::Record(record.fields.iter().map(|field| (field.name.clone(), value(&field.name))).collect())
}

#[test]
fn the_direct_writer_says_what_the_general_encoder_says() {
    let mut bytes = Vec::new();
    let schemas = Version::ALL.map(|version| (version, Schema::parse_str(version.schema()).unwrap()));
    let mut compared_bytes = 0;
    for record in records(0.0) {
        let (_, schema) = schemas.iter().find(|(version, _)| *version == record.version).unwrap();
        assert!(encode(&record, IDS, &mut bytes));
        assert_eq!(bytes[..FRAME_BYTES], [0, 0, 0, 0, IDS.of(record.version) as u8]);
        let value = as_value(&record.trade, record.version, schema);
        let mut body = &bytes[FRAME_BYTES..];
        let read = from_avro_datum(schema, &mut body, None).unwrap();
        assert!(body.is_empty(), "{} bytes are left of {record:?}", body.len());
        assert_eq!(read, value);
        // Equal bytes too, where the general encoder has no map to put into an order of its own.
        if record.trade.vendor_data.as_ref().is_none_or(|map| map.len() < 2) || !record.version.has_optional_fields() {
            assert_eq!(bytes[FRAME_BYTES..], to_avro_datum(schema, value).unwrap());
            compared_bytes += 1;
        }
    }
    assert!(compared_bytes > 500, "{compared_bytes}");
}

#[test]
fn what_is_malformed_does_not_decode_whole() {
    let mut bytes = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for record in records(1.0) {
        let Kind::Malformed(kind) = record.kind else { panic!("{record:?}") };
        seen.insert(kind);
        let has_value = encode(&record, IDS, &mut bytes);
        assert_eq!(has_value, kind != Malformed::Null);
        if kind == Malformed::Truncated {
            // The general decoder takes a missing last union for null, which Avro doesn't allow.
            let mut whole = Vec::new();
            encode(&GeneratedRecord { kind: Kind::Fresh, ..record }, IDS, &mut whole);
            assert!(!bytes.is_empty() && bytes.len() < whole.len() && whole.starts_with(&bytes));
            continue;
        }
        let schema = Schema::parse_str(record.version.schema()).unwrap();
        let framed = bytes.len() >= FRAME_BYTES && bytes[0] == 0;
        let mut body = bytes.get(FRAME_BYTES..).unwrap_or_default();
        // The general decoder reserves what a length bomb asks for: it isn't asked.
        let decoded =
            kind != Malformed::LengthBomb && framed && from_avro_datum(&schema, &mut body, None).is_ok() && body.is_empty();
        let reads_as_a_trade =
            matches!(kind, Malformed::EmptyMessageId | Malformed::Future | Malformed::Past | Malformed::UnknownSchemaId);
        assert_eq!(decoded, reads_as_a_trade, "{kind:?} {:02x?}", bytes);
    }
    assert_eq!(seen.len(), Malformed::ALL.len());
}
