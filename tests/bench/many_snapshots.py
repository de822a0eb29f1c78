#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""many_snapshots.py DIR COUNT: a store DIR/repo with COUNT snapshots in the database "bench", an
hour apart and each of one small file, and DIR/key.  Written from the format documents, since the
commit of so many by `mv` takes a quarter of an hour.
"""
import datetime
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import synthetic_store  # noqa: E402
from synthetic_store import Node, tree_of  # noqa: E402


def main():
    top, count = sys.argv[1], int(sys.argv[2])
    store = synthetic_store.StoreWriter(os.path.join(top, "repo"))
    with open(os.path.join(top, "key"), "w") as f:
        f.write(synthetic_store.key_file_text(store.add_key_file()))
    os.chmod(os.path.join(top, "key"), 0o600)
    vault = store.vault("bench")
    start = datetime.datetime(2020, 1, 1)
    for i in range(count):
        t = (start + datetime.timedelta(hours=i)).strftime("%Y%m%dT%H%M%SZ")
        vault.snapshot(t, tree_of({b"n": Node("file", pieces=[b"%d" % i])}))


main()
