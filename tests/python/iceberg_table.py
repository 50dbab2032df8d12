"""Opens the table under test as another engine does: through Iceberg's SQL catalog in a SQLite file."""
import argparse

from pyiceberg.catalog.sql import SqlCatalog


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--catalog", required=True, help="path of the SQLite file")
    parser.add_argument("--warehouse", required=True)
    parser.add_argument("--table", required=True, help="namespace.name")
    return parser


def catalog(args):
    return SqlCatalog("sluice", uri=f"sqlite:///{args.catalog}", warehouse=args.warehouse)


def load(args):
    return catalog(args).load_table(args.table)
