use iceberg::TableCreation;
use iceberg::spec::{NestedFieldRef, TableMetadataBuilder};

use super::*;

fn created(schema: Schema, spec: UnboundPartitionSpec, version: FormatVersion) -> TableMetadata {
    let creation = TableCreation::builder()
        .name("gold".into())
        .location("/lake/gold".into())
        .schema(schema)
        .partition_spec(spec)
        .properties(PROPERTIES.map(|(k, v)| (k.to_string(), v.to_string())))
        .format_version(version)
        .build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

/// The table that the replaced job's own statement makes: all optional, ids shifted, no docs, no identifier fields.
fn replaced_jobs_schema() -> Schema {
    let fields = COLUMNS.iter().zip(101..).map(|(c, id)| Arc::new(NestedField::optional(id, c.name, c.kind.iceberg())));
    Schema::builder().with_fields(fields).build().unwrap()
}

fn changed(change: impl Fn(&NestedField) -> Option<NestedField>) -> Schema {
    let fields = table_schema().as_struct().fields().iter().filter_map(|f| change(f).map(Arc::new)).collect::<Vec<_>>();
    Schema::builder().with_fields(fields).build().unwrap()
}

fn differences(schema: Schema) -> String {
    validate(&created(schema, partition_spec(), FormatVersion::V2)).unwrap_err().to_string()
}

#[test]
fn a_table_that_we_create_is_gold_with_docs_keys_and_partitions() {
    let metadata = created(table_schema(), partition_spec(), FormatVersion::V2);
    assert_eq!(validate(&metadata), Ok(()));
    let schema = metadata.current_schema();
    let names: Vec<_> = schema.as_struct().fields().iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, COLUMNS.map(|c| c.name));
    assert!(schema.as_struct().fields().iter().all(|f: &NestedFieldRef| f.doc.is_some()));
    let mut keys: Vec<_> = schema.identifier_field_ids().map(|id| schema.name_by_field_id(id).unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, [EXCHANGE_DATE, EXCHANGE_HOUR, MESSAGE_ID]);
    assert_eq!(property(&metadata, TARGET_FILE_SIZE), Some("134217728"));
}

#[test]
fn the_replaced_jobs_table_is_accepted_with_its_own_field_ids() {
    let schema = replaced_jobs_schema();
    let arrow = arrow_schema(&schema).unwrap();
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(117, EXCHANGE_DATE, Transform::Identity)
        .unwrap()
        .add_partition_field(118, EXCHANGE_HOUR, Transform::Identity)
        .unwrap()
        .build();
    assert_eq!(validate(&created(schema, spec, FormatVersion::V2)), Ok(()));
    assert_eq!(arrow.field(0).metadata()[FIELD_ID_KEY], "101");
    assert!(arrow.fields().iter().all(|f| f.is_nullable()));
}

#[test]
fn the_arrow_schema_is_the_one_that_iceberg_itself_would_make() {
    let schema = table_schema();
    let theirs = iceberg::arrow::schema_to_arrow_schema(&schema).unwrap();
    let ours = arrow_schema(&schema).unwrap();
    for (ours, theirs) in ours.fields().iter().zip(theirs.fields()) {
        assert_eq!(ours.name(), theirs.name());
        assert_eq!(ours.is_nullable(), theirs.is_nullable(), "{}", ours.name());
        assert_eq!(ours.metadata()[FIELD_ID_KEY], theirs.metadata()[FIELD_ID_KEY]);
        assert_eq!(ours.data_type(), theirs.data_type(), "{}", ours.name());
    }
}

#[test]
fn every_difference_that_decides_is_named() {
    let missing = changed(|f| (f.name != "side").then(|| f.clone()));
    assert_eq!(differences(missing), "column side is missing, expected string");

    let retyped = changed(|f| {
        let kind = if f.name == TIMESTAMP { PrimitiveType::Timestamptz.into() } else { (*f.field_type).clone() };
        Some(NestedField { field_type: Box::new(kind), ..f.clone() })
    });
    assert_eq!(differences(retyped), "column timestamp is timestamptz, expected long");

    let required = changed(|f| Some(NestedField { required: f.required || f.name == "vendor_data", ..f.clone() }));
    assert_eq!(differences(required), "column vendor_data is required, and Silver has nulls in it");

    let v3 = created(table_schema(), partition_spec(), FormatVersion::V3);
    assert_eq!(validate(&v3).unwrap_err().to_string(), "format version is 3, expected 2");

    let by_hour = UnboundPartitionSpec::builder().add_partition_field(18, "h", Transform::Identity).unwrap().build();
    assert_eq!(
        validate(&created(table_schema(), by_hour, FormatVersion::V2)).unwrap_err().to_string(),
        "partitioned by (identity(exchange_hour)), expected (identity(exchange_date), identity(exchange_hour))"
    );
}

#[test]
fn a_column_that_another_engine_adds_is_accepted_only_when_optional() {
    let with = |required| {
        let mut fields = table_schema().as_struct().fields().to_vec();
        fields.push(Arc::new(NestedField::new(50, "note", PrimitiveType::String.into(), required)));
        Schema::builder().with_fields(fields).build().unwrap()
    };
    assert_eq!(validate(&created(with(false), partition_spec(), FormatVersion::V2)), Ok(()));
    assert_eq!(arrow_schema(&with(false)).unwrap().fields().len(), 18);
    assert_eq!(differences(with(true)), "column note is not Gold's and is required");
}

#[test]
fn an_hour_goes_into_the_partition_tuple_and_comes_back() {
    let metadata = created(table_schema(), partition_spec(), FormatVersion::V2);
    let (spec, schema) = (metadata.default_partition_spec(), metadata.current_schema());
    for hour in [EventHour(-1), EventHour(0), EventHour(490_896)] {
        assert_eq!(hour_of_partition(spec, schema, &partition_values(hour)), Some(hour));
    }
    let broken = Struct::from_iter([Some(Literal::date(1)), Some(Literal::int(24))]);
    assert_eq!(hour_of_partition(spec, schema, &broken), None);
    assert_eq!(hour_of_partition(&PartitionSpec::unpartition_spec(), schema, &Struct::empty()), None);
}
