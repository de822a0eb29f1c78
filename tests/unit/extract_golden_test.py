#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""contrib/coffer-extract on every golden store: each key opens it, `verify` finds nothing, and what
`ls` and `cat` say is what stands in the list beside it (tests/golden/README.md).

Guards promise 5 and "golden stores of every shipped version stay readable for ever".
"""
import glob
import hashlib
import json
import os
import subprocess
import sys
import unittest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
EXTRACT = os.path.join(TOP, "contrib", "coffer-extract")

try:
    import cryptography
    import zstandard
except ImportError as e:
    print(f"skipped: {e} (python3-cryptography, python3-zstandard)")
    sys.exit(77)


def run(*args):
    r = subprocess.run([EXTRACT, *args], capture_output=True)
    if r.returncode:
        raise AssertionError(f"{args}: exit {r.returncode}: {r.stderr.decode()}")
    return r.stdout


def line(entry, cat):
    """One entry of `ls --json` in the form of the golden list."""
    content, detail = "-", "-"
    if entry["kind"] == "file":
        content = hashlib.sha256(cat(entry["path"])).hexdigest()
    elif entry["kind"] == "symlink":
        detail = entry["target"].encode("utf-8", "surrogateescape").hex()
    elif "device" in entry:
        detail = "%d,%d" % tuple(entry["device"])
    xattrs = ",".join(f"{k.encode('utf-8', 'surrogateescape').hex()}={v}"
                      for k, v in entry.get("xattrs", {}).items())
    path = entry["path"].encode("utf-8", "surrogateescape").hex()
    return " ".join(map(str, [path or "-", entry["kind"], f"{entry['mode']:o}", entry["uid"],
                              entry["gid"], entry["mtime"], entry["atime"], entry["nlink"],
                              entry["size"], detail, content, xattrs or "-"]))


class Golden(unittest.TestCase):
    def test_every_store(self):
        stores = sorted(glob.glob(os.path.join(TOP, "tests/golden/v*/*/store")))
        self.assertTrue(stores)
        for store in stores:
            with self.subTest(store=store):
                self.check_store(store, os.path.dirname(store))

    def check_store(self, store, where):
        key = ["--key-file", os.path.join(where, "key")]
        listing = run(store, *key, "list")
        self.assertEqual(run(store, "--key-file", os.path.join(where, "paper"), "list"), listing)
        words = os.path.join(where, "passphrase")
        self.assertEqual(run(store, "--passphrase-file", words, "list"), listing)
        expects = sorted(glob.glob(os.path.join(where, "expect.*")))
        self.assertEqual(len(expects), listing.count(b"\n"))
        for path in expects:
            vault, ts = os.path.basename(path).removeprefix("expect.").rsplit(".", 1)
            self.check_snapshot(store, key, f"{vault}/{ts}", path)

    def check_snapshot(self, store, key, name, path):
        run(store, *key, "verify", name)
        listing = run(store, *key, "ls", "-R", "--json", name).decode()
        got = [line(json.loads(text), lambda p: run(store, *key, "cat", name, p))
               for text in listing.splitlines()]
        with open(path) as f:
            self.assertEqual(got, f.read().splitlines(), path)


if __name__ == "__main__":
    unittest.main()
