"""Plants what must never be: rows taken out of a file behind the table's back, and rows that are there twice.

Prints one JSON object: what was done.
"""
import json

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import write_manifest, write_manifest_list

import iceberg_table

# Places in a data file's record, whose attributes can only be read.
RECORD_COUNT, FILE_SIZE_IN_BYTES = 4, 5


def holding(table, message_id):
    """The live file that holds this id, and its rows."""
    for task in table.scan().plan_files():
        rows = pq.read_table(local(task.file.file_path), partitioning=None)
        if pc.any(pc.equal(rows["message_id"], message_id)).as_py():
            return task.file.file_path, rows
    raise SystemExit(f"no live file holds {message_id}")


def local(path):
    return path.removeprefix("file://")


def drop_row(table, args):
    """Takes one row out of its file, and has manifest and manifest list say so: as if it had never been written."""
    path, rows = holding(table, args.message_id)
    pq.write_table(rows.filter(pc.not_equal(rows["message_id"], args.message_id)), local(path), compression="zstd")
    size = len(open(local(path), "rb").read())
    snapshot = table.current_snapshot()
    manifests = [with_file(table, m, path, rows.num_rows - 1, size) for m in snapshot.manifests(table.io)]
    with write_manifest_list(2, table.io.new_output(snapshot.manifest_list), snapshot.snapshot_id,
                             snapshot.parent_snapshot_id, snapshot.sequence_number, "deflate") as writer:
        writer.add_manifests(manifests)
    return {"path": path, "rows": rows.num_rows - 1}


def with_file(table, manifest, path, rows, size):
    """The manifest, written again in its place if it lists `path`."""
    entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
    if all(entry.data_file.file_path != path for entry in entries):
        return manifest
    with write_manifest(2, table.specs()[manifest.partition_spec_id], table.schema(),
                        table.io.new_output(manifest.manifest_path), manifest.added_snapshot_id, "deflate") as writer:
        for entry in entries:
            if entry.data_file.file_path == path:
                entry.data_file[RECORD_COUNT] = rows
                entry.data_file[FILE_SIZE_IN_BYTES] = size
            writer.add_entry(entry)
    again = writer.to_manifest_file()
    # Sequence numbers are those that the list had.
    again.sequence_number = manifest.sequence_number
    again.min_sequence_number = manifest.min_sequence_number
    return again


def copy_row(table, args):
    """Appends a row that is there already, as an engine without any deduplication does."""
    _, rows = holding(table, args.message_id)
    copy = rows.filter(pc.equal(rows["message_id"], args.message_id))
    table.append(copy.cast(table.schema().as_arrow()))
    return {"rows": copy.num_rows}


def main():
    parser = iceberg_table.arguments(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in (("drop-row", drop_row), ("copy-row", copy_row)):
        sub = commands.add_parser(name, help=run.__doc__)
        sub.add_argument("--message-id", required=True)
        sub.set_defaults(run=run)
    args = parser.parse_args()
    print(json.dumps(args.run(iceberg_table.load(args), args)))


if __name__ == "__main__":
    main()
