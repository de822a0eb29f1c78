# SPDX-License-Identifier: Apache-2.0
"""Writes a coffer store in a directory, from doc/format/ alone: no C code, no coffer-extract.

    store = StoreWriter(path); key = store.add_key_file(...); vault = store.vault("orders")
    vault.snapshot("20261121T030000Z", tree)

A tree is a dict name -> Node; Node("dir", entries={...}), Node("file", pieces=[...]) and so on.
"""
import base64
import hashlib
import hmac
import json
import os
import struct

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

KINDS = {"file": 1, "dir": 2, "symlink": 3, "link": 4, "fifo": 5, "socket": 6, "char": 7,
         "block": 8}


def hkdf(ikm, salt, info, n=32):
    return HKDF(SHA256(), n, salt, info).derive(ikm)


def hm(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def sha(data):
    return hashlib.sha256(data).digest()


def uv(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def sv(n):
    return uv(2 * n if n >= 0 else -2 * n - 1)


def vb(data):
    return uv(len(data)) + data


def canonical(obj):
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def header(magic):
    return magic + struct.pack("<HHI", 1, 0, 0)


class Node:
    """PIECES of a file: bytes (a chunk), ("part", bytes, off, length), ("hole", n), ("zero", n)."""

    def __init__(self, kind, mode=0o644, mtime=(1700000000, 1), atime=None, owner=None, xattrs=(),
                 **more):
        self.kind, self.mode, self.mtime, self.atime = kind, mode, mtime, atime
        self.owner = owner or (os.getuid(), os.getgid())
        self.xattrs = dict(xattrs)
        self.entries = more.pop("entries", {})
        self.pieces = more.pop("pieces", [])
        self.tail = more.pop("tail", 0)            # hole at the end, by size alone
        self.target = more.pop("target", None)     # symlink
        self.dev = more.pop("dev", None)
        self.to = more.pop("to", None)             # link: the Node meant
        self.sha256 = more.pop("sha256", None)
        self.nlink = more.pop("nlink", 1)
        self.external = more.pop("external", 0)    # 0 inline, n: levels of extent pages
        assert not more, more


def tree_of(entries, **attributes):
    return Node("dir", mode=0o755, entries=entries, **attributes)


class StoreWriter:
    def __init__(self, root):
        self.root = root
        self.id, self.master, self.config = os.urandom(16), os.urandom(32), os.urandom(32)
        obj = {"coffer": "store", "format": 1, "id": self.id.hex(),
               "created": "2026-11-21T03:00:00Z", "read": [], "write": [], "collect": []}
        obj["mac"] = hm(self.config, canonical(obj)).hex()
        self.put("coffer.json", json.dumps(obj, indent=2).encode())

    def put(self, key, data):
        path = os.path.join(self.root, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def vault_key(self, name):
        return hkdf(self.master, self.id, f"coffer v1 vault {name}".encode())

    def add_slot(self, slot, keys, scope):
        payload_key = self.master if scope == "master" else self.vault_key(scope[6:])
        nonce = os.urandom(12)
        slot.update(version=1, label="läbel", created="now", scope=scope)
        slot["payload"] = (nonce + AESGCM(keys[:32]).encrypt(
            nonce, b"\1" + self.config + payload_key, f"coffer v1 slot {scope}".encode())).hex()
        slot["commit"] = hm(keys[32:], canonical(slot)).hex()
        self.put(f"keys/{os.urandom(8).hex()}", json.dumps(slot).encode())

    def add_key_file(self, scope="master"):
        """The secret."""
        secret, salt = os.urandom(32), os.urandom(32)
        self.add_slot({"type": "keyfile", "salt": salt.hex()},
                      hkdf(secret, salt, b"coffer v1 slot", 64), scope)
        return secret

    def add_passphrase(self, text, scope="master", n=1024):
        salt = os.urandom(32)
        self.add_slot({"type": "scrypt", "salt": salt.hex(), "n": n, "r": 8, "p": 1},
                      Scrypt(salt, 64, n, 8, 1).derive(text.encode()), scope)

    def vault(self, name):
        return VaultWriter(self, name)


def key_file_text(secret):
    return f"# a comment\ncoffer-key-v1 {secret.hex()} {sha(secret)[:4].hex()}\n"


def paper_text(secret):
    digits = base64.b32encode(secret + sha(secret)[:3]).decode()
    return "-".join(digits[i:i + 4] for i in range(0, 56, 4)) + "\n"


class PackWriter:
    def __init__(self, vault, kind):
        self.vault, self.kind, self.salt = vault, kind, os.urandom(32)
        self.body, self.table, self.refs = b"", b"", []

    def add(self, kind, plain, codec=1):
        """A reference without the pack's name, which finish() fills in."""
        key = self.vault.ids if kind == 1 else self.vault.mids
        chunk_id = hm(key, plain if kind == 1 else bytes([kind]) + plain)
        sealed = self.vault.seal(kind, chunk_id, plain, codec)
        ref = [chunk_id, None, 64 + len(self.body), len(sealed), len(plain)]
        self.body += sealed
        self.table += struct.pack("<32sBBHII", chunk_id, kind, codec, 0, len(sealed), len(plain))
        self.refs.append(ref)
        return ref

    def finish(self):
        if not self.refs:
            return None
        data = header(b"COFRPACK") + bytes([self.kind]) + bytes(15) + self.salt + self.body
        table = self.vault.seal(32, sha(b"coffer pack table" + self.salt), self.table)
        data += table + struct.pack("<QIIQ8s", len(data), len(table), len(self.refs), 0,
                                    b"COFREND1")
        name = sha(data)
        self.vault.store.put(f"{self.vault.dir}/packs/{name.hex()[:2]}/{name.hex()}", data)
        for ref in self.refs:
            ref[1] = name
        return name


class Packs:
    """The pack table of a page under construction."""

    def __init__(self):
        self.names = []

    def ref(self, ref):
        if ref[1] not in self.names:
            self.names.append(ref[1])
        return ref[0] + uv(self.names.index(ref[1])) + uv(ref[2]) + uv(ref[3]) + uv(ref[4])

    def head(self):
        return uv(len(self.names)) + b"".join(self.names)


class VaultWriter:
    def __init__(self, store, name):
        self.store, self.name, self.dir = store, name, f"vaults/{name}"
        self.key = store.vault_key(name)
        self.generation = 0
        self.ids, self.mids = self.derive("ids"), self.derive("meta ids")

    def derive(self, label):
        return hkdf(self.key, self.store.id, f"coffer v1 {label}".encode())

    def seal(self, kind, unit_id, plain, codec=1):
        label = "data" if kind == 1 else "meta"
        key = hm(self.derive(f"{label} {self.generation}"), unit_id)
        body = zstandard.ZstdCompressor(level=1).compress(plain) if codec else plain
        frame = struct.pack("<BBBBII", 1, kind, codec, 1, self.generation, len(plain))
        frame += os.urandom(12)
        return frame + AESGCM(key).encrypt(frame[12:], body, frame + unit_id)

    def snapshot(self, ts, root, kind="full", page_rows=3, codec=1):
        self.data, self.used = PackWriter(self, 1), set()
        rows = self.number(root)
        pieces = {id(n): self.store_pieces(n, codec) for n, _ in rows if n.kind == "file"}
        self.use(self.data.finish())
        levels = [(n, self.extent_pages(n, pieces[id(n)])) for n, _ in rows if n.external]
        roots = {id(n): ref for n, ref in levels}
        tree = PackWriter(self, 2)
        pages = [rows[i:i + page_rows] for i in range(0, len(rows), page_rows)]
        refs = [tree.add(16, self.page(p, rows, pieces, roots), codec) for p in pages]
        self.use(tree.finish())
        packs = Packs()
        listed = b"".join(uv(len(p)) + packs.ref(r) for p, r in zip(pages, refs))
        index = packs.head() + uv(len(rows)) + uv(len(pages)) + listed
        last = PackWriter(self, 2)
        index_ref = last.add(18, index)
        self.use(last.finish())
        names = PackWriter(self, 2)
        uses = b"".join(n + uv(1) for n in sorted(self.used))
        list_ref = names.add(19, uv(len(self.used)) + uses)
        self.use(names.finish())
        return self.publish(ts, kind, len(rows), index_ref, list_ref)

    def use(self, name):
        if name:
            self.used.add(name)

    def number(self, root):
        """[(node, name)] in the order of rows; sets node.row, node.first."""
        rows = [(root, b"")]
        root.row = 0

        def below(node):
            node.first = len(rows)
            for name in sorted(node.entries):
                child = node.entries[name]
                child.row = len(rows)
                rows.append((child, name))
            for name in sorted(node.entries):
                if node.entries[name].kind == "dir":
                    below(node.entries[name])
        below(root)
        return rows

    def store_pieces(self, node, codec):
        out = []
        for p in node.pieces:
            if isinstance(p, bytes):
                out.append(("data", self.data.add(1, p, codec), 0, len(p)))
            elif p[0] == "part":
                out.append(("data", self.data.add(1, p[1], codec), p[2], p[3]))
            else:
                out.append((p[0], None, 0, p[1]))
        return out

    def extent(self, piece, packs):
        what, ref, off, length = piece
        if what == "hole":
            return b"\2" + uv(length)
        if what == "zero":
            return b"\3" + uv(length)
        if off == 0 and length == ref[4]:
            return b"\0" + packs.ref(ref)
        return b"\1" + packs.ref(ref) + uv(off) + uv(length)

    def extent_pages(self, node, pieces):
        """(level, count, ref) of the root; two extents a leaf, two children a branch."""
        writer = PackWriter(self, 2)
        level = []
        for i in range(0, len(pieces), 2):
            packs, some = Packs(), pieces[i:i + 2]
            body = b"".join(self.extent(p, packs) for p in some)
            ref = writer.add(17, b"\0" + packs.head() + uv(len(some)) + body)
            level.append((sum(p[3] for p in some), len(some), ref))
        self.use(writer.finish())
        for depth in range(1, node.external + 1):
            writer, above = PackWriter(self, 2), []
            step = 2 if depth < node.external else len(level)
            for i in range(0, len(level), step):
                packs, some = Packs(), level[i:i + step]
                body = b"".join(uv(n) + uv(c) + packs.ref(r) for n, c, r in some)
                ref = writer.add(17, bytes([depth]) + packs.head() + uv(len(some)) + body)
                above.append((sum(s[0] for s in some), sum(s[1] for s in some), ref))
            self.use(writer.finish())
            level = above
        assert len(level) == 1
        return node.external, level[0][1], level[0][2]

    def row(self, node, name, pieces, roots, packs):
        flags = (1 if node.xattrs else 0) | (8 if node.sha256 else 0) | (16 if node.external else 0)
        flags |= (2 if node.atime else 0) | (4 if node.nlink > 1 else 0)
        if node.kind == "link":
            return bytes([4, 0]) + vb(name) + sv(node.to.row - node.row)
        out = bytes([KINDS[node.kind], flags]) + vb(name)
        out += uv(node.mode) + uv(node.owner[0]) + uv(node.owner[1])
        out += sv(node.mtime[0]) + uv(node.mtime[1])
        if node.atime:
            out += sv(node.atime[0]) + uv(node.atime[1])
        if node.nlink > 1:
            out += uv(node.nlink)
        if node.kind == "dir":
            n = len(node.entries)
            out += sv(node.first - node.row if n else 0) + uv(n)
            out += uv(sum(c.kind == "dir" for c in node.entries.values()))
        elif node.kind == "symlink":
            out += vb(node.target)
        elif node.kind in ("char", "block"):
            out += uv(node.dev[0]) + uv(node.dev[1])
        elif node.kind == "file":
            list_ = pieces[id(node)]
            out += uv(sum(p[3] for p in list_) + node.tail)
            if node.external:
                level, count, ref = roots[id(node)]
                out += bytes([level]) + uv(count) + packs.ref(ref)
            else:
                out += uv(len(list_)) + b"".join(self.extent(p, packs) for p in list_)
        if node.xattrs:
            out += uv(len(node.xattrs))
            out += b"".join(vb(k.encode()) + vb(v) for k, v in sorted(node.xattrs.items()))
        return out + (node.sha256 or b"")

    def page(self, some, rows, pieces, roots):
        packs = Packs()
        body = b"".join(vb(self.row(node, name, pieces, roots, packs)) for node, name in some)
        return packs.head() + uv(len(some)) + body

    def publish(self, ts, kind, rows, index, pack_list):
        def named(ref):
            return {"id": ref[0].hex(), "pack": ref[1].hex(), "off": ref[2], "len": ref[3],
                    "plain": ref[4]}
        m = {"format": 1, "ts": ts, "kind": kind, "created": 1, "finished": 2,
             "sealed_by": "rename", "host": "h", "host_id": "00" * 16, "session": "11" * 8,
             "tree": named(index), "rows": rows, "packs": [named(pack_list)], "parts": [],
             "newest": [],
             "meta": {"k": "v"},
             "counts": {"files": 0, "dirs": 0, "logical": 0, "new": 0, "dedup": 0, "stored": 0}}
        unit_id = sha(b"coffer manifest\0" + self.store.id + self.name.encode() + b"\0"
                      + ts.encode() + b"\0" + kind.encode())
        pending = header(b"COFRMANI") + self.seal(34, unit_id, json.dumps(m).encode())
        digest = sha(pending)
        key = f"{self.dir}/snapshots/{ts}.{digest[:16].hex()}.sealed"
        self.store.put(key, header(b"COFRSEAL") + digest + pending)
        return key
