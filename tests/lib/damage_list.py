#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""damage_list.py EXPECT DIR - reads all of DIR, which may be damaged, beside a golden list.

Each entry must be as expected or give EIO: other bytes, other attributes, a missing or a new name
is an error of the test (promise 3).  Prints how many entries gave EIO; exit 1 with what was wrong.
"""
import errno
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tree_list


def main():
    with open(sys.argv[1]) as f:
        expect = {bytes.fromhex(l.split()[0].replace("-", "")): l.rstrip("\n") for l in f}
    top = os.fsencode(sys.argv[2])
    broken, wrong = 0, []

    def attempt(what, path):
        """The value, or None for EIO."""
        nonlocal broken
        try:
            return what()
        except OSError as e:
            if e.errno == errno.EIO:
                broken += 1
            else:
                wrong.append(f"{path!r}: {e.strerror}, not an input/output error")
            return None

    for path, line in expect.items():
        where = os.path.join(top, path) if path else top
        got = attempt(lambda: tree_list.line(path, where, True), path)
        if got not in (None, line):
            wrong.append(f"{path!r}: got {got[:300]}\n  expected {line[:300]}")
        if line.split()[1] != "dir":
            continue
        names = attempt(lambda: sorted(os.listdir(where)), path)
        prefix = path + b"/" if path else b""
        due = sorted(p[len(prefix):] for p in expect
                     if p.startswith(prefix) and p != path and b"/" not in p[len(prefix):])
        if names is not None and names != due:
            wrong.append(f"{path!r}: has {names}, expected {due}")
    for text in wrong:
        print(text)
    if not wrong:
        print(broken)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
