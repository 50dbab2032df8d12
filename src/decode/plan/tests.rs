//! Writer schemas by hand: what is read, what is refused, and with which reason.

use std::sync::Arc;

use apache_avro::types::Value as Avro;
use apache_avro::{Decimal, Schema, to_avro_datum};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use serde_json::{Value as Json, json};

use super::*;
use crate::decode::rows::{self, COLUMNS};
use crate::decode::{ChunkDecoder, TRADE_V2};

/// TradeV2's own schema, to be changed.
fn trade_v2() -> Json {
    serde_json::from_str(TRADE_V2).unwrap()
}

fn with_type(field: &str, of: Json) -> Json {
    let mut schema = trade_v2();
    let at = index(&schema, field);
    schema["fields"][at]["type"] = of;
    schema["fields"][at].as_object_mut().unwrap().remove("default");
    schema
}

fn index(schema: &Json, field: &str) -> usize {
    schema["fields"].as_array().unwrap().iter().position(|f| f["name"] == field).unwrap()
}

fn compile(schema: &Json) -> Result<Plan, Unusable> {
    Plan::compile(&schema.to_string(), &[])
}

fn refusal(schema: &Json) -> Unusable {
    compile(schema).err().unwrap_or_else(|| panic!("{schema} was taken"))
}

fn trade(i: i64) -> Vec<(&'static str, Avro)> {
    let decimal = |value: i64| Avro::Decimal(Decimal::from(value.to_be_bytes()));
    let text = |text: &str| Avro::String(text.into());
    vec![
        ("message_id", text("0f8fad5b-d9cb-469f-a165-70867728950e")),
        ("trade_id", text("t-1")),
        ("symbol", text("BTCUSDT")),
        ("exchange", text("BINANCE")),
        ("asset_class", Avro::Enum(1, "crypto".into())),
        ("timestamp", Avro::TimestampMicros(1_767_225_600_000_000 + i)),
        ("price", decimal(4_200_000_000_000)),
        ("quantity", decimal(-1)),
        ("currency", text("USDT")),
        ("side", Avro::Enum(2, "SELL_SHORT".into())),
        ("trade_conditions", Avro::Array(vec![text("A"), text("B")])),
        ("source_sequence", Avro::Union(1, Box::new(Avro::Long(7)))),
        ("ingestion_timestamp", Avro::TimestampMicros(5)),
        ("platform_sequence", Avro::Union(0, Box::new(Avro::Null))),
        ("vendor_data", Avro::Union(1, Box::new(Avro::Map([("k".to_owned(), text("v"))].into())))),
    ]
}

fn encode(schema: &Json, fields: Vec<(&str, Avro)>) -> Vec<u8> {
    let schema = Schema::parse(schema).unwrap();
    let value = Avro::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    to_avro_datum(&schema, value).unwrap()
}

/// The trade with one field of another type, decoded.
fn read(field: &str, of: Json, value: Avro) -> Result<RecordBatch, RowError> {
    let schema = with_type(field, of);
    let mut fields = trade(0);
    fields.iter_mut().find(|(name, _)| *name == field).unwrap().1 = value;
    decode(&schema, &encode(&schema, fields))
}

fn decode(schema: &Json, body: &[u8]) -> Result<RecordBatch, RowError> {
    let plan = compile(schema).unwrap_or_else(|why| panic!("{why}: {schema}"));
    let mut chunk = ChunkDecoder::new(1);
    chunk.push(&plan, body)?;
    Ok(chunk.finish())
}

fn text(batch: &RecordBatch, column: &str) -> String {
    batch.column_by_name(column).unwrap().as_string::<i32>().value(0).to_owned()
}

fn long(batch: &RecordBatch, column: &str) -> i64 {
    batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(0)
}

fn decimal(batch: &RecordBatch, column: &str) -> i128 {
    batch.column_by_name(column).unwrap().as_primitive::<Decimal128Type>().value(0)
}

#[test]
fn the_columns_are_those_of_the_embedded_schema_and_of_the_table() {
    let Schema::Record(reader) = Schema::parse_str(TRADE_V2).unwrap() else { panic!() };
    let names: Vec<&str> = reader.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, COLUMNS.map(|(name, _)| name));
    for (field, (name, column)) in reader.fields.iter().zip(COLUMNS) {
        assert_eq!(field.is_nullable(), column.is_optional(), "{name}");
    }
    let schema = rows::schema();
    let required: Vec<&str> = schema.fields().iter().filter(|f| !f.is_nullable()).map(|f| f.name().as_str()).collect();
    assert_eq!(required, ["message_id"]);
    assert_eq!(schema.field_with_name("price").unwrap().data_type(), &DataType::Decimal128(18, 8));
    let DataType::List(element) = schema.field_with_name("trade_conditions").unwrap().data_type() else { panic!() };
    assert_eq!((element.name().as_str(), element.is_nullable()), ("element", true));
}

#[test]
fn trade_v2_itself_is_read_in_every_column() {
    let schema = trade_v2();
    let batch = decode(&schema, &encode(&schema, trade(3))).unwrap();
    assert_eq!(text(&batch, "message_id"), "0f8fad5b-d9cb-469f-a165-70867728950e");
    assert_eq!(text(&batch, "asset_class"), "crypto");
    assert_eq!(text(&batch, "side"), "SELL_SHORT");
    assert_eq!(long(&batch, "timestamp"), 1_767_225_600_000_003);
    assert_eq!((decimal(&batch, "price"), decimal(&batch, "quantity")), (4_200_000_000_000, -1));
    assert_eq!(long(&batch, "source_sequence"), 7);
    assert!(batch.column_by_name("platform_sequence").unwrap().is_null(0));
    assert_eq!(text(&batch, "vendor_data"), r#"{"k":"v"}"#);
    let conditions = batch.column_by_name("trade_conditions").unwrap().as_list::<i32>().value(0);
    assert_eq!(conditions.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn blocks_with_a_byte_size_and_several_blocks_are_read() {
    let schema = with_type("vendor_data", json!({"type": "map", "values": "string"}));
    let schema_of_no_more = {
        let mut schema = schema.clone();
        schema["fields"].as_array_mut().unwrap().retain(|f| f["name"] == "trade_conditions" || f["name"] == "vendor_data");
        schema["fields"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"name": "ignored", "type": {"type": "array", "items": "long"}}));
        schema
    };
    // ignored: -2 elements in 2 bytes, then 1; trade_conditions: -1 element in 2 bytes, then 1; vendor_data: 1, then -1 in 4.
    let sequences = b"\x03\x04\x02\x04\x02\x06\x00\x01\x04\x02A\x02\x02B\x00\x02\x02k\x02v\x01\x08\x02a\x02b\x00";
    let mut fields = schema["fields"].as_array().unwrap().clone();
    fields.retain(|f| f["name"] != "trade_conditions" && f["name"] != "vendor_data");
    let head = json!({"type": "record", "name": "Head", "fields": fields});
    let head_values: Vec<_> =
        trade(0).into_iter().filter(|(name, _)| *name != "trade_conditions" && *name != "vendor_data").collect();
    let mut body = encode(&head, head_values);
    body.extend_from_slice(sequences);
    fields.extend(schema_of_no_more["fields"].as_array().unwrap().iter().cloned());
    let whole = json!({"type": "record", "name": "Whole", "fields": fields});
    let batch = decode(&whole, &body).unwrap();
    let conditions = batch.column_by_name("trade_conditions").unwrap().as_list::<i32>().value(0);
    assert_eq!(conditions.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(text(&batch, "vendor_data"), r#"{"a":"b","k":"v"}"#);

    let wrong_size = body.len() - sequences.len() + 1;
    body[wrong_size] = 0x06;
    assert_eq!(decode(&whole, &body).unwrap_err().reason, Reason::BlockSize);
}

#[test]
fn missing_fields_take_their_default_or_make_the_schema_unusable() {
    for (name, column) in COLUMNS {
        let mut schema = trade_v2();
        schema["fields"].as_array_mut().unwrap().retain(|f| f["name"] != name);
        match (name, column.is_optional()) {
            ("trade_conditions", _) | (_, true) => {
                let fields = trade(0).into_iter().filter(|(known, _)| *known != name).collect();
                let batch = decode(&schema, &encode(&schema, fields)).unwrap();
                match name {
                    "trade_conditions" => assert_eq!(batch.column_by_name(name).unwrap().as_list::<i32>().value(0).len(), 0),
                    _ => assert!(batch.column_by_name(name).unwrap().is_null(0), "{name}"),
                }
            }
            _ => assert_eq!(refusal(&schema).field, name),
        }
    }
}

#[test]
fn types_that_would_be_read_wrongly_are_refused_with_field_and_type() {
    let logical = |base: &str, logical: &str| json!({"type": base, "logicalType": logical});
    let cases = [
        ("message_id", json!("long"), "long"),
        (
            "message_id",
            json!({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}),
            "fixed com.k2.marketdata.U",
        ),
        ("trade_id", json!({"type": "record", "name": "R", "fields": []}), "record com.k2.marketdata.R"),
        ("symbol", json!("null"), "null"),
        ("symbol", json!(["null", "long"]), "[null, long]"),
        ("timestamp", json!("string"), "string"),
        ("timestamp", logical("int", "date"), "int (date)"),
        ("timestamp", logical("long", "timestamp-nanos"), "long (timestamp-nanos)"),
        ("timestamp", logical("long", "local-timestamp-micros"), "long (local-timestamp-micros)"),
        ("timestamp", logical("long", "time-micros"), "long (time-micros)"),
        ("price", json!("double"), "double"),
        ("price", json!("long"), "long"),
        ("price", json!("bytes"), "bytes"),
        ("price", logical("bytes", "decimal"), "bytes"),
        ("price", logical("bytes", "big-decimal"), "bytes (big-decimal)"),
        ("price", json!({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 8}), "bytes"),
        ("source_sequence", json!("double"), "double"),
        ("source_sequence", logical("long", "timestamp-micros"), "long (timestamp-micros)"),
        ("trade_conditions", json!("string"), "string"),
        ("trade_conditions", json!({"type": "array", "items": "long"}), "array of long"),
        ("vendor_data", json!({"type": "map", "values": "double"}), "map of double"),
        ("vendor_data", json!("bytes"), "bytes"),
    ];
    for (field, of, named) in cases {
        let why = refusal(&with_type(field, of.clone()));
        assert_eq!(why.field, field, "{of}");
        assert!(why.reason.ends_with(named), "{of}: {}", why.reason);
        assert_eq!(why.row_error(7).reason, Reason::Schema);
        assert_eq!(why.row_error(7).schema_id, Some(7));
    }
}

#[test]
fn a_change_envelope_is_named_as_one() {
    let mut row = trade_v2();
    row["name"] = json!("Row");
    let schema = json!({"type": "record", "name": "Envelope", "fields": [
        {"name": "before", "type": ["null", row]}, {"name": "after", "type": ["null", "com.k2.marketdata.Row"]},
        {"name": "op", "type": "string"}]});
    let why = refusal(&schema);
    assert_eq!(why.kind, Reason::ChangeEnvelope);
    assert_eq!(why.row_error(1).reason.as_str(), "change_envelope");
}

#[test]
fn spark_s_own_records_are_read() {
    let name = |of: &str| format!("topLevelRecord.{of}");
    let fixed = |of: &str| json!([{"type": "fixed", "name": "fixed", "namespace": name(of), "size": 8, "logicalType": "decimal", "precision": 18, "scale": 8}, "null"]);
    let long_time = json!([{"type": "long", "logicalType": "timestamp-micros"}, "null"]);
    let text_of = text;
    let text = json!(["string", "null"]);
    let schema = json!({"type": "record", "name": "topLevelRecord", "fields": [
        {"name": "message_id", "type": text}, {"name": "trade_id", "type": text}, {"name": "symbol", "type": text},
        {"name": "exchange", "type": text}, {"name": "asset_class", "type": text}, {"name": "timestamp", "type": long_time},
        {"name": "price", "type": fixed("price")}, {"name": "quantity", "type": fixed("quantity")},
        {"name": "currency", "type": text}, {"name": "side", "type": text},
        {"name": "trade_conditions", "type": [{"type": "array", "items": ["string", "null"]}, "null"]},
        {"name": "source_sequence", "type": ["long", "null"]}, {"name": "ingestion_timestamp", "type": long_time},
        {"name": "platform_sequence", "type": ["long", "null"]}, {"name": "vendor_data", "type": ["string", "null"]}]});
    let values = trade(0).into_iter().map(|(name, value)| {
        let value = match (name, value) {
            ("asset_class" | "side", Avro::Enum(_, symbol)) => Avro::String(symbol),
            ("vendor_data", _) => Avro::String(r#"{"b": 1, "a": [null]}"#.into()),
            ("trade_conditions", _) => Avro::Array(vec![Avro::Union(0, Box::new(Avro::String("A".into())))]),
            ("source_sequence", _) => Avro::Long(7),
            ("platform_sequence", _) => return (name, Avro::Union(1, Box::new(Avro::Null))),
            (_, value) => value,
        };
        (name, Avro::Union(0, Box::new(value)))
    });
    let batch = decode(&schema, &encode(&schema, values.collect())).unwrap();
    assert_eq!(decimal(&batch, "price"), 4_200_000_000_000);
    assert_eq!(decimal(&batch, "quantity"), -1);
    assert_eq!(text_of(&batch, "side"), "SELL_SHORT");
    assert_eq!(text_of(&batch, "vendor_data"), r#"{"b": 1, "a": [null]}"#);
}

#[test]
fn other_representations_give_the_same_value() {
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    assert_eq!(
        long(&read("timestamp", millis, Avro::TimestampMillis(1_767_225_600_123)).unwrap(), "timestamp"),
        1_767_225_600_123_000
    );
    assert_eq!(long(&read("timestamp", json!("long"), Avro::Long(42)).unwrap(), "timestamp"), 42);
    assert_eq!(text(&read("side", json!("string"), Avro::String("buy it".into())).unwrap(), "side"), "buy it");
    let venues = json!({"type": "enum", "name": "Venue", "symbols": ["KRAKEN", "BINANCE"]});
    assert_eq!(text(&read("exchange", venues, Avro::Enum(0, "KRAKEN".into())).unwrap(), "exchange"), "KRAKEN");
    assert_eq!(long(&read("source_sequence", json!("int"), Avro::Int(-3)).unwrap(), "source_sequence"), -3);
    let scale_2 = json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2});
    let cents = Avro::Decimal(Decimal::from(123i64.to_be_bytes()));
    assert_eq!(decimal(&read("price", scale_2, cents).unwrap(), "price"), 123_000_000);
}

#[test]
fn an_optional_field_may_be_of_type_null() {
    for (of, value) in [(json!("null"), Avro::Null), (json!(["null"]), Avro::Union(0, Box::new(Avro::Null)))] {
        for field in ["vendor_data", "source_sequence"] {
            let batch = read(field, of.clone(), value.clone()).unwrap();
            assert!(batch.column_by_name(field).unwrap().is_null(0), "{field} {of}");
        }
        assert_eq!(refusal(&with_type("symbol", of)).field, "symbol");
    }
}

#[test]
fn values_that_gold_can_t_hold_are_refused_one_by_one() {
    let reason = |field: &str, of: Json, value: Avro| read(field, of, value).unwrap_err().reason;
    let scale_10 = json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 10});
    let inexact = Avro::Decimal(Decimal::from(123i64.to_be_bytes()));
    assert_eq!(reason("price", scale_10, inexact), Reason::Decimal);
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    assert_eq!(reason("timestamp", millis, Avro::TimestampMillis(i64::MAX)), Reason::Timestamp);
    assert_eq!(reason("vendor_data", json!("string"), Avro::String("[1]".into())), Reason::VendorData);
    assert_eq!(reason("message_id", json!("string"), Avro::String(String::new())), Reason::EmptyMessageId);
    assert_eq!(reason("symbol", json!("bytes"), Avro::Bytes(vec![0xff])), Reason::Utf8);
    let nullable = json!(["null", "string", "long"]);
    assert_eq!(reason("symbol", nullable.clone(), Avro::Union(0, Box::new(Avro::Null))), Reason::NullField);
    assert_eq!(reason("symbol", nullable, Avro::Union(2, Box::new(Avro::Long(1)))), Reason::UnionBranch);
    let element = json!({"type": "array", "items": ["null", "string"]});
    let null = Avro::Array(vec![Avro::Union(0, Box::new(Avro::Null))]);
    assert_eq!(reason("trade_conditions", element, null), Reason::NullField);
}

#[test]
fn a_renamed_field_is_found_by_the_alias_that_its_writer_gives_it() {
    let mut schema = trade_v2();
    let at = index(&schema, "symbol");
    schema["fields"][at]["name"] = json!("instrument");
    assert_eq!(refusal(&schema).field, "symbol");
    schema["fields"][at]["aliases"] = json!(["sym", "symbol"]);
    let fields: Vec<_> =
        trade(0).into_iter().map(|(name, value)| (if name == "symbol" { "instrument" } else { name }, value)).collect();
    let body = encode(&schema, fields);
    assert_eq!(text(&decode(&schema, &body).unwrap(), "symbol"), "BTCUSDT");
    schema["fields"].as_array_mut().unwrap().push(json!({"name": "other", "type": "string", "aliases": ["symbol"]}));
    let why = refusal(&schema);
    assert_eq!((why.field.as_str(), why.reason.contains("instrument, other")), ("symbol", true), "{why}");
}

#[test]
fn referenced_schemas_define_the_names_that_a_schema_uses() {
    let mut schema = trade_v2();
    let (asset, side, price) = (index(&schema, "asset_class"), index(&schema, "side"), index(&schema, "price"));
    let asset_class = std::mem::replace(&mut schema["fields"][asset]["type"], json!("com.k2.marketdata.AssetClass"));
    let trade_side = std::mem::replace(&mut schema["fields"][side]["type"], json!("ref.Side"));
    let mut trade_side = trade_side;
    (trade_side["name"], trade_side["namespace"]) = (json!("Side"), json!("ref"));
    schema["fields"][price]["type"] = json!("ref.Money");
    let money =
        json!({"type": "fixed", "name": "ref.Money", "size": 12, "logicalType": "decimal", "precision": 18, "scale": 6});
    let extra = json!({"type": "record", "name": "ref.Extra", "fields": [{"name": "side", "type": "Side"}, {"name": "next", "type": ["null", "Extra"]}]});
    schema["fields"].as_array_mut().unwrap().insert(0, json!({"name": "extra", "type": "ref.Extra"}));
    let references: Vec<Arc<str>> = [asset_class, trade_side, money, extra].iter().map(|of| of.to_string().into()).collect();
    let plan = Plan::compile(&schema.to_string(), &references).unwrap();

    let mut body = b"\x04\x02\x00\x00".to_vec();
    let mut inline = with_type("price", serde_json::from_str(&references[2]).unwrap());
    inline["fields"][side]["type"] = serde_json::from_str(&references[1]).unwrap();
    body.extend(encode(&inline, trade(0)));
    let mut chunk = ChunkDecoder::new(1);
    chunk.push(&plan, &body).unwrap();
    let batch = chunk.finish();
    assert_eq!((text(&batch, "side"), text(&batch, "asset_class")), ("SELL_SHORT".into(), "crypto".into()));
    assert_eq!(decimal(&batch, "price"), 420_000_000_000_000);

    let why = Plan::compile(&schema.to_string(), &references[..2]).unwrap_err();
    assert_eq!(why.field, "schema");
    assert!(why.reason.contains("ref."), "{why}");
}

#[test]
fn what_is_no_schema_of_a_record_is_refused_without_a_panic() {
    let texts = [
        "",
        "nonsense",
        "{}",
        "[]",
        "null",
        "7",
        "\"string\"",
        "\"a.b.C\"",
        "{\"type\":\"record\"}",
        r#"{"type":"record","name":"9 bad name","fields":[]}"#,
        r#"{"type":"record","name":"R","fields":[7]}"#,
        r#"{"type":"record","name":"R","fields":{}}"#,
        r#"{"type":"9bad!"}"#,
        r#"{"type":"array","items":"string"}"#,
        r#"["null","string"]"#,
        r#"{"type":"record","name":"R","aliases":["9 bad"],"fields":[]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"Nowhere"}]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"a","type":"long"}]}"#,
        r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{}}"#,
        "syntax = \"proto3\"; message Trade {}",
    ];
    for schema in texts {
        assert!(Plan::compile(schema, &[]).is_err(), "{schema}");
    }
    let deep = format!("{}\"long\"{}", r#"{"type":"array","items":"#.repeat(5_000), "}".repeat(5_000));
    assert_eq!(Plan::compile(&deep, &[]).unwrap_err().field, "schema");
}

#[test]
fn a_name_with_two_meanings_is_refused() {
    let mut schema = trade_v2();
    let side = json!({"type": "enum", "name": "X", "symbols": ["A"]});
    let other = json!({"type": "enum", "name": "X", "symbols": ["B", "A"]});
    schema["fields"]
        .as_array_mut()
        .unwrap()
        .extend([json!({"name": "x", "type": side}), json!({"name": "y", "type": other})]);
    assert!(refusal(&schema).reason.contains("defined twice"));
    let without_namespace = |outer: &str, of: &str| {
        let inner = json!({"type": "record", "name": "N", "namespace": "", "fields": [{"name": "v", "type": of}]});
        json!({"name": outer, "type": {"type": "record", "name": outer, "namespace": outer, "fields": [{"name": "n", "type": inner}]}})
    };
    let mut schema = trade_v2();
    schema["fields"].as_array_mut().unwrap().extend([without_namespace("p", "long"), without_namespace("q", "double")]);
    assert!(refusal(&schema).reason.contains("defined twice"));
    let mut scales = trade_v2();
    let fixed = |scale: u32| json!({"type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 18, "scale": scale});
    let (price, quantity) = (index(&scales, "price"), index(&scales, "quantity"));
    scales["fields"][price]["type"] = fixed(8);
    scales["fields"][quantity]["type"] = fixed(6);
    assert!(refusal(&scales).reason.contains("defined twice"));
    scales["fields"][quantity]["type"] = json!("D");
    assert!(compile(&scales).is_ok());
}

#[test]
fn a_uuid_and_a_duration_keep_the_wire_format_of_their_base() {
    let mut schema = trade_v2();
    let extras = [
        json!({"name": "u", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}}),
        json!({"name": "d", "type": {"type": "fixed", "name": "D", "size": 20, "logicalType": "duration"}}),
    ];
    for extra in extras.into_iter().rev() {
        schema["fields"].as_array_mut().unwrap().insert(0, extra);
    }
    let mut body = vec![0x20; 36];
    body.extend(encode(&trade_v2(), trade(0)));
    assert_eq!(text(&decode(&schema, &body).unwrap(), "symbol"), "BTCUSDT");
    let uuid = with_type("message_id", json!({"type": "string", "logicalType": "uuid"}));
    let mut fields = trade(0);
    fields[0].1 = Avro::String("not a uuid".into());
    let body = encode(&trade_v2(), fields);
    assert_eq!(text(&decode(&uuid, &body).unwrap(), "message_id"), "not a uuid");
}

#[test]
fn a_default_that_is_wrong_or_a_logical_type_that_is_unknown_doesn_t_refuse_a_writer() {
    let mut schema = with_type("trade_id", json!({"type": "string", "logicalType": "made-up"}));
    let at = index(&schema, "symbol");
    schema["fields"][at]["default"] = json!(null);
    let body = encode(&trade_v2(), trade(0));
    assert_eq!(text(&decode(&schema, &body).unwrap(), "trade_id"), "t-1");
}
