"""Another engine at work on Sluice's table, by pyiceberg. Prints one JSON object: what it did."""
import datetime
import json
import sys

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import TableProperties

import iceberg_table

ATTEMPTS = 30


def head(table):
    snapshot = table.current_snapshot()
    return {"head": snapshot.snapshot_id if snapshot else None}


def data_files(table):
    return [task.file for task in table.scan().plan_files()]


def files(table, _args):
    """Lists the live data files."""
    return {"files": [{"path": f.file_path, "rows": f.record_count} for f in data_files(table)]}


def rollback(table, args):
    """Moves main back to an ancestor; the tag `sluice` stays where it is."""
    table.manage_snapshots().rollback_to_snapshot(args.to).commit()
    return head(table)


def delete_files(table, args):
    """Copy-on-write delete of every row of these files, in one snapshot."""
    victims = [f for f in data_files(table) if f.file_path in args.path]
    if len(victims) != len(args.path):
        raise SystemExit(f"of {args.path} only {[f.file_path for f in victims]} are live")
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as producer:
        for victim in victims:
            producer.delete_data_file(victim)
    return {**head(table), "rows": sum(f.record_count for f in victims)}


def append(table, args):
    """Rows of a writer that knows nothing of Sluice: `foreign-N` at `--timestamp`."""
    moment = datetime.datetime.fromtimestamp(args.timestamp / 1e6, datetime.timezone.utc)
    columns = {
        "message_id": [f"foreign-{args.first + n}" for n in range(args.count)],
        "timestamp": [args.timestamp] * args.count,
        "exchange_date": [moment.date()] * args.count,
        "exchange_hour": [moment.hour] * args.count,
    }
    schema = table.schema().as_arrow()
    rows = [columns[f.name] if f.name in columns else [None] * args.count for f in schema]
    table.append(pa.table([pa.array(values, f.type) for values, f in zip(rows, schema)], schema=schema))
    return head(table)


def rewrite(table, _args):
    """Compaction: one file for each partition instead of all that are there, in one snapshot."""
    before = data_files(table)
    rows = table.scan().to_arrow()
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as producer:
        for file in before:
            producer.delete_data_file(file)
        for file in _dataframe_to_data_files(transaction.table_metadata, rows, table.io):
            producer.append_data_file(file)
    return {**head(table), "before": len(before), "after": len(data_files(table))}


def expire(table, _args):
    """Expires every snapshot that no branch or tag names."""
    kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
    gone = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id not in kept]
    if gone:
        table.maintenance.expire_snapshots().by_ids(gone).commit()
    return {**head(table), "expired": gone}


def drop_tag(table, args):
    """Removes a tag."""
    table.manage_snapshots().remove_tag(args.name).commit()
    return head(table)


def drop(_table, args):
    """Drops the table; its files stay."""
    iceberg_table.catalog(args).drop_table(args.table)
    return {}


def arguments():
    parser = iceberg_table.arguments(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run):
        sub = commands.add_parser(name, help=run.__doc__)
        sub.set_defaults(run=run)
        return sub

    command("files", files)
    command("rollback", rollback).add_argument("--to", type=int, required=True)
    command("delete-files", delete_files).add_argument("--path", action="append", required=True)
    sub = command("append", append)
    sub.add_argument("--count", type=int, required=True)
    sub.add_argument("--first", type=int, default=0)
    sub.add_argument("--timestamp", type=int, required=True, help="microseconds")
    command("rewrite", rewrite)
    command("expire", expire)
    command("drop-tag", drop_tag).add_argument("--name", required=True)
    command("drop", drop)
    return parser.parse_args()


def main():
    args = arguments()
    for attempt in range(1, ATTEMPTS + 1):
        table = iceberg_table.load(args)
        # Retries are done here, on a fresh load: pyiceberg's own would re-base what was computed on the old one.
        table.metadata.properties[TableProperties.COMMIT_NUM_RETRIES] = "0"
        try:
            print(json.dumps({**args.run(table, args), "attempts": attempt}))
            return
        except CommitFailedException as lost:
            print(f"attempt {attempt}: {lost}", file=sys.stderr)
    raise SystemExit(f"gave up after {ATTEMPTS} attempts")


if __name__ == "__main__":
    main()
