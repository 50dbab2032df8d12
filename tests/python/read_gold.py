"""Writes the table's rows, as a reader sees them, to a Parquet file in one fixed Arrow schema.

Two readers that share no code with Sluice nor with each other: pyiceberg and DuckDB.
"""
import os

import pyarrow as pa
import pyarrow.parquet as pq

import iceberg_table

COLUMNS = pa.schema([
    ("message_id", pa.string()), ("trade_id", pa.string()), ("symbol", pa.string()), ("exchange", pa.string()),
    ("asset_class", pa.string()), ("timestamp", pa.int64()), ("price", pa.decimal128(18, 8)),
    ("quantity", pa.decimal128(18, 8)), ("currency", pa.string()), ("side", pa.string()),
    ("trade_conditions", pa.list_(pa.string())), ("source_sequence", pa.int64()), ("ingestion_timestamp", pa.int64()),
    ("platform_sequence", pa.int64()), ("vendor_data", pa.string()),
    ("gold_ingestion_timestamp", pa.timestamp("us", tz="UTC")), ("exchange_date", pa.date32()),
    ("exchange_hour", pa.int32()),
])


def with_pyiceberg(table, snapshot):
    return table.scan(snapshot_id=snapshot).to_arrow()


def with_duckdb(table, snapshot):
    import duckdb
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    packages = os.path.dirname(os.path.dirname(duckdb.__file__))
    for name in ("httpfs", "avro", "iceberg"):
        connection.execute(f"LOAD '{packages}/duckdb_extension_{name}/extensions/v1.5.5/{name}.duckdb_extension'")
    connection.execute("SET TimeZone = 'UTC'")
    location = table.metadata_location.removeprefix("file://")
    at = f", snapshot_from_id = {snapshot}" if snapshot else ""
    return connection.execute(f"SELECT * FROM iceberg_scan('{location}'{at})").to_arrow_table()


def main():
    parser = iceberg_table.arguments(__doc__)
    parser.add_argument("--engine", choices=["pyiceberg", "duckdb"], required=True)
    parser.add_argument("--snapshot", type=int)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    table = iceberg_table.load(args)
    read = {"pyiceberg": with_pyiceberg, "duckdb": with_duckdb}[args.engine]
    rows = read(table, args.snapshot)
    if rows.column_names != COLUMNS.names:
        raise SystemExit(f"columns of Gold are {rows.column_names}, expected {COLUMNS.names}")
    pq.write_table(rows.cast(COLUMNS), args.out, compression="none")


if __name__ == "__main__":
    main()
