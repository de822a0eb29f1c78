#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make_independent.py DIR - writes the golden store `v1/independent`, with random keys.

The tree and what is expected of it are defined here; tests/lib/synthetic_store.py writes it from
the documents of the format, without coffer's code.
"""
import hashlib
import os
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import synthetic_store
from synthetic_store import Node, tree_of

OWNER = (1000, 100)


def noise(seed, n):
    return random.Random(seed).randbytes(n)


def file_of(*pieces, **more):
    return Node("file", pieces=list(pieces), owner=OWNER, **more)


def main_tree():
    first = file_of(b"linked", nlink=3)
    whole = noise(4, 5000)
    mixed = [noise(1, 20000), ("hole", 1 << 25), ("part", noise(2, 8192), 4096, 2048),
             ("zero", 70000),
             b"text " * 2000, noise(3, 3)]
    many = [piece for i in range(9) for piece in (noise(10 + i, 100 + i), ("hole", 4096))]
    entries = {
        b"block": Node("block", dev=(8, 1048575), owner=OWNER),
        b"char": Node("char", dev=(1, 3), mode=0o666, owner=(0, 0)),
        b"deep": tree_of({b"again": Node("link", to=first), b"sub": tree_of({b"x": file_of()}),
                          b"two": file_of(b"2")}, mtime=(1600000000, 999999999), owner=OWNER),
        b"empty-dir": tree_of({}, owner=OWNER),
        b"fifo": Node("fifo", mode=0o600, owner=OWNER),
        b"first": first,
        b"hole": file_of(tail=1 << 20),
        b"latin-\xe9\n": file_of(b"odd name", mode=0o4711, mtime=(-5, 500000000)),
        b"link": Node("symlink", target=b"deep/../first", mode=0o777, owner=OWNER),
        b"many": file_of(*many, external=3),
        b"mixed": file_of(*mixed, tail=12345),
        b"second": Node("link", to=first),
        b"socket": Node("socket", owner=OWNER),
        b"sum": file_of(whole, sha256=hashlib.sha256(whole).digest(), atime=(1600000001, 2)),
        b"xattrs": file_of(b"x", xattrs={"user.a": b"", "user.b": b"\0\xff",
                                         "trusted.c": b"c" * 300}),
    }
    return tree_of(entries, owner=OWNER, xattrs={"user.on-root": b"r"})


def content_hash(node):
    h = hashlib.sha256()
    for p in node.pieces:
        if isinstance(p, bytes):
            h.update(p)
        elif p[0] == "part":
            h.update(p[1][p[2]:p[2] + p[3]])
        else:
            zeros(h, p[1])
    zeros(h, node.tail)
    return h.hexdigest()


def zeros(h, n):
    for off in range(0, n, 1 << 20):
        h.update(bytes(min(1 << 20, n - off)))


def size_of(node):
    if node.kind == "symlink":
        return len(node.target)
    lengths = [len(p) if isinstance(p, bytes) else p[-1] for p in node.pieces]
    return sum(lengths) + node.tail


def line(path, entry):
    node = entry.to if entry.kind == "link" else entry
    atime = node.atime or node.mtime
    links = node.nlink
    if node.kind == "dir":
        links = 2 + sum(c.kind == "dir" for c in node.entries.values())
    detail = "-"
    if node.kind == "symlink":
        detail = node.target.hex()
    elif node.dev:
        detail = "%d,%d" % node.dev
    xattrs = ",".join(f"{k.encode().hex()}={v.hex()}" for k, v in sorted(node.xattrs.items()))
    return " ".join([path.hex() or "-", node.kind, f"{node.mode:o}", *map(str, node.owner),
                     str(node.mtime[0] * 10**9 + node.mtime[1]), str(atime[0] * 10**9 + atime[1]),
                     str(links), str(size_of(node)), detail,
                     content_hash(node) if node.kind == "file" else "-", xattrs or "-"])


def expected(root):
    lines = [line(b"", root)]

    def below(node, path):
        for name in sorted(node.entries):
            lines.append(line(path + name, node.entries[name]))
        for name in sorted(node.entries):
            if node.entries[name].kind == "dir":
                below(node.entries[name], path + name + b"/")
    below(root, b"")
    return "\n".join(lines) + "\n"


def main():
    out = sys.argv[1]
    os.makedirs(out)
    store = synthetic_store.StoreWriter(os.path.join(out, "store"))
    store.add_passphrase("correct horse", n=1024)
    texts = {"key": synthetic_store.key_file_text(store.add_key_file()),
             "paper": synthetic_store.paper_text(store.add_key_file()),
             "passphrase": "correct horse\n"}
    orders, other = store.vault("orders"), store.vault("other-2.x")
    snapshots = [(orders, "20261121T030000Z", main_tree(), {}),
                 (orders, "20261122T030000Z-label", main_tree(), {"codec": 0, "page_rows": 1}),
                 (other, "20261121T030000Z", tree_of({}, owner=OWNER), {"kind": "log"})]
    for i, (vault, ts, tree, options) in enumerate(snapshots):
        vault.generation = i
        vault.snapshot(ts, tree, **options)
        texts[f"expect.{vault.name}.{ts}"] = expected(tree)
    for name, text in texts.items():
        with open(os.path.join(out, name), "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
