#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pages.py OLD NEW: how much of NEW differs from OLD, counted in units of 16, 64 and 512 KiB.

Prints one JSON object: bytes, and per unit the changed fraction.  It is the least that a backup
which deduplicates in such units can store, and says what the benchmark's next day is worth.
"""
import json
import sys

UNITS = (16, 64, 512)


def changed(old, new, unit):
    """Fraction of NEW's units that differ from OLD at the same offset."""
    total = differing = 0
    with open(old, "rb") as a, open(new, "rb") as b:
        while True:
            y = b.read(unit)
            if not y:
                return differing / total if total else 0.0
            total += 1
            differing += a.read(unit) != y


def main():
    old, new = sys.argv[1:3]
    result = {"changed_%dk" % u: round(changed(old, new, u << 10), 4) for u in UNITS}
    print(json.dumps(result))


main()
