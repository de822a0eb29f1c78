#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""contrib/coffer-extract against stores written by tests/lib/synthetic_store.py.

Guards promise 5 (you can always get out) and promise 3 (damage is an error, never data) for the
stand-alone restorer, and that doc/format/ is complete: both programs were written from it alone.
"""
import hashlib
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
EXTRACT = os.path.join(HERE, "..", "..", "contrib", "coffer-extract")

try:
    import synthetic_store
    import zstandard
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from synthetic_store import Node, tree_of
except ImportError as e:
    print(f"skipped: {e} (python3-cryptography, python3-zstandard)")
    sys.exit(77)

TS = "20261121T030000Z-before-upgrade"
EXTENDED = "2026-11-21T03:00:00Z-before-upgrade"


def noise(seed, n):
    return random.Random(seed).randbytes(n)


def sample():
    """A tree with every kind of thing in it, and what its files must read as."""
    big = [noise(1, 65536), ("hole", 200000), ("part", noise(2, 65536), 16384, 16384),
           ("zero", 70000),
           b"text " * 5000, noise(3, 3)]
    first = Node("file", mode=0o640, pieces=[b"linked"], nlink=3)
    deep = tree_of({b"a": Node("file", pieces=[b"A"]), b"sub": tree_of({b"x": Node("file")}),
                    b"z": Node("link", to=first)}, mtime=(1600000000, 999999999))
    whole = noise(4, 10000)
    entries = {
        b"big": Node("file", pieces=big, tail=12345),
        b"deep": deep,
        b"empty": Node("file", mode=0o400, mtime=(-5, 500000000),
                       xattrs={"user.on-readonly": b"1"}),
        b"external": Node("file", pieces=big, external=2),
        b"fifo": Node("fifo", mode=0o600),
        b"first": first,
        b"hole": Node("file", tail=1 << 20),
        b"latin-\xe9\n": Node("file", pieces=[b"odd name"]),
        b"link": Node("symlink", target=b"deep/../first", mode=0o777),
        b"second": Node("link", to=first),
        b"setgid": tree_of({}, xattrs={"user.a": b"", "user.b": b"\0\xff"}, atime=(1500000000, 7)),
        b"socket": Node("socket"),
        b"sum": Node("file", pieces=[whole], sha256=hashlib.sha256(whole).digest(),
                     atime=(1600000001, 2)),
    }
    entries[b"setgid"].mode = 0o2750
    if os.geteuid() == 0:
        entries[b"null"] = Node("char", dev=(1, 3), owner=(12, 34), mode=0o666)
        entries[b"owned"] = Node("file", mode=0o4755, owner=(1234, 4321))
    root = tree_of(entries)
    content = big[0] + bytes(200000) + big[2][1][16384:32768] + bytes(70000) + big[4] + big[5]
    return root, {b"big": content + bytes(12345), b"external": content, b"empty": b"",
                  b"hole": bytes(1 << 20), b"first": b"linked", b"second": b"linked",
                  b"deep/z": b"linked", b"deep/a": b"A", b"deep/sub/x": b"", b"sum": whole,
                  b"latin-\xe9\n": b"odd name"}


class Base(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="coffer-extract.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.root = self.path("store")
        self.store = synthetic_store.StoreWriter(self.root)
        self.secret = self.store.add_key_file()
        self.key = self.write("key", synthetic_store.key_file_text(self.secret))

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def run_it(self, *args, key=None, expect=0, store=None):
        key = key or ("--key-file", self.key)
        r = subprocess.run([EXTRACT, store or self.root, *key, *args], capture_output=True)
        self.assertEqual(r.returncode, expect, (r.stdout + r.stderr).decode("latin1"))
        self.assertNotIn(b"Traceback", r.stderr)
        return r

    def make(self, ts=TS, **options):
        self.tree, self.contents = sample()
        vault = self.store.vault("orders")
        return vault.snapshot(ts, self.tree, **options)

    def objects(self, under):
        found = []
        for top, _, names in os.walk(os.path.join(self.root, under)):
            found += [os.path.join(top, n) for n in names]
        return sorted(found)

    def compare(self, node, path):
        """A restored thing with the node it was made from."""
        st = os.lstat(path)
        kinds = {"file": stat.S_ISREG, "dir": stat.S_ISDIR, "symlink": stat.S_ISLNK,
                 "fifo": stat.S_ISFIFO, "socket": stat.S_ISSOCK, "char": stat.S_ISCHR}
        if node.kind == "link":
            return self.compare(node.to, path)
        self.assertTrue(kinds[node.kind](st.st_mode), path)
        self.assertEqual(st.st_mtime_ns, node.mtime[0] * 10**9 + node.mtime[1], path)
        if node.atime and node.kind != "dir":  # looking into a directory may move its atime
            self.assertEqual(st.st_atime_ns, node.atime[0] * 10**9 + node.atime[1], path)
        self.assertEqual((st.st_uid, st.st_gid), node.owner, path)
        if node.kind != "symlink":
            self.assertEqual(stat.S_IMODE(st.st_mode), node.mode, path)
        xattrs = {n: os.getxattr(path, n, follow_symlinks=False)
                  for n in os.listxattr(path, follow_symlinks=False) if n.startswith("user.")}
        self.assertEqual(xattrs, node.xattrs, path)
        if node.kind == "symlink":
            self.assertEqual(os.readlink(path), node.target)
        if node.kind == "char":
            self.assertEqual((os.major(st.st_rdev), os.minor(st.st_rdev)), node.dev)
        if node.kind == "dir":
            self.assertEqual(sorted(os.listdir(path)), sorted(node.entries))
            for name, child in node.entries.items():
                self.compare(child, os.path.join(path, name))


class Restore(Base):
    def check_restored(self, dest):
        self.compare(self.tree, os.fsencode(dest))
        for name, content in self.contents.items():
            with open(os.path.join(os.fsencode(dest), name), "rb") as f:
                self.assertEqual(f.read(), content, name)

    def test_everything_comes_back(self):
        self.make()
        dest = self.path("out")
        self.run_it("restore", f"orders/{TS}", dest)
        self.check_restored(dest)
        inodes = {os.stat(os.path.join(dest, n)).st_ino for n in ("first", "second", "deep/z")}
        self.assertEqual(len(inodes), 1)
        self.assertLess(os.stat(os.path.join(dest, "hole")).st_blocks, 100)
        self.assertLess(os.stat(os.path.join(dest, "big")).st_blocks * 512, 250000)

    def test_raw_chunks_generation_and_latest(self):
        vault = self.store.vault("orders")
        self.tree, self.contents = sample()
        vault.generation = 7
        vault.snapshot("20261121T030000Z", self.tree, codec=0, page_rows=1)
        vault.snapshot("20261122T030000Z", tree_of({}), kind="log")
        self.run_it("restore", "orders/latest", self.path("out"))
        self.check_restored(self.path("out"))

    def test_path_and_cat(self):
        self.make()
        self.run_it("restore", f"orders/{EXTENDED}", self.path("sub"), "--path", "deep/sub")
        self.assertEqual(os.listdir(self.path("sub")), ["x"])
        os.mkdir(self.path("into"))
        self.run_it("restore", f"orders/{TS}", self.path("into"), "--path", "/second")
        with open(self.path("into", "second"), "rb") as f:
            self.assertEqual(f.read(), b"linked")
        for name, content in self.contents.items():
            r = self.run_it("cat", f"orders/{TS}", name)
            self.assertEqual(r.stdout, content)
        r = self.run_it("cat", f"orders/{TS}", "nowhere", expect=1)
        self.assertIn(b"no such file", r.stderr)
        self.run_it("cat", f"orders/{TS}", "first/x", expect=1)

    def test_lists(self):
        self.make()
        r = self.run_it("list")
        self.assertIn(f"orders/{TS}  full".encode(), r.stdout)
        m = json.loads(self.run_it("list", "orders", "--json").stdout)
        self.assertEqual((m["vault"], m["ts"], m["meta"]), ("orders", TS, {"k": "v"}))
        r = self.run_it("ls", "-R", "--json", f"orders/{TS}")
        rows = {e["path"]: e for e in map(json.loads, r.stdout.splitlines())}
        self.assertEqual(rows["deep/z"]["inode"], rows["first"]["inode"])
        self.assertEqual(rows["link"]["target"], "deep/../first")
        self.assertEqual(rows["deep/sub/x"]["size"], 0)
        self.assertEqual(rows["setgid"]["xattrs"], {"user.a": "", "user.b": "00ff"})
        # tree.md: two spellings of the same extents, inline and external, have one digest
        self.assertNotEqual(rows["big"]["digest"], rows["external"]["digest"])  # the tail
        self.assertEqual(rows["empty"]["digest"], hashlib.sha256().hexdigest())
        hole = hashlib.sha256(b"\2" + (1 << 20).to_bytes(8, "little")).hexdigest()
        self.assertEqual(rows["hole"]["digest"], hole)
        self.assertIn(b"-> deep/../first", self.run_it("ls", f"orders/{TS}").stdout)
        self.assertEqual(self.run_it("ls", f"orders/{TS}", "deep").stdout.count(b"\n"), 3)

    def test_moved_chunks_are_found(self):
        """A collector put the chunks into another pack: the references in the tree are stale."""
        self.make()
        data = [p for p in self.objects("vaults/orders/packs") if self.kind_of(p) == 1]
        self.assertEqual(len(data), 1)
        with open(data[0], "rb") as f:
            old = f.read()
        vault = self.store.vault("orders")
        pack = synthetic_store.PackWriter(vault, 1)
        pack.add(1, b"something else in front")
        off, length, n = struct.unpack("<QII", old[-32:-16])
        table = vault_table(vault, old, off, length)
        at = 64
        for i in range(n):
            entry = table[44 * i:44 * i + 44]
            sealed = int.from_bytes(entry[36:40], "little")
            pack.body += old[at:at + sealed]
            pack.table += entry
            pack.refs.append([None] * 5)
            at += sealed
        pack.finish()
        os.unlink(data[0])
        self.run_it("restore", f"orders/{TS}", self.path("out"))
        self.check_restored(self.path("out"))

    def kind_of(self, path):
        with open(path, "rb") as f:
            return f.read(17)[16]

    def test_destination_is_not_overwritten(self):
        self.make()
        os.mkdir(self.path("out"))
        self.write("out/mine", "mine")
        self.run_it("restore", f"orders/{TS}", self.path("out"), expect=1)
        self.assertEqual(os.listdir(self.path("out")), ["mine"])
        self.run_it("restore", f"orders/{TS}", self.path("out", "mine"), "--path", "first",
                    expect=3)
        with open(self.path("out", "mine")) as f:
            self.assertEqual(f.read(), "mine")

    def test_verify(self):
        self.make()
        r = self.run_it("verify", f"orders/{TS}")
        self.assertIn(b"no problems", r.stdout)


def vault_table(vault, pack, off, length):
    sealed = pack[off:off + length]
    unit_id = synthetic_store.sha(b"coffer pack table" + pack[32:64])
    generation, = struct.unpack("<I", sealed[4:8])
    key = synthetic_store.hm(vault.derive(f"meta {generation}"), unit_id)
    plain = AESGCM(key).decrypt(sealed[12:24], sealed[24:], sealed[:24] + unit_id)
    return zstandard.decompress(plain)


class Keys(Base):
    def test_wrong_key(self):
        self.make()
        wrong = self.write("wrong", synthetic_store.key_file_text(b"x" * 32))
        r = self.run_it("list", key=("--key-file", wrong), expect=77)
        self.assertIn(b"no key slot opens", r.stderr)
        text = synthetic_store.key_file_text(self.secret)
        typo = self.write("typo", text.replace(text[-3], "0" if text[-3] != "0" else "1"))
        self.run_it("list", key=("--key-file", typo), expect=77)
        self.run_it("list", key=("--key-file", self.write("junk", "hello\n")), expect=77)
        self.run_it("list", key=("--key-file", self.path("absent")), expect=1)

    def test_paper(self):
        self.make()
        text = synthetic_store.paper_text(self.secret)
        typed = "# typed\n" + text.lower().replace("-", " ").replace("o", "0").replace("b", "8")
        self.run_it("list", key=("--key-file", self.write("paper", text)))
        self.run_it("list", key=("--key-file", self.write("typed", typed)))
        broken = text[:10] + ("A" if text[10] != "A" else "B") + text[11:]
        self.run_it("list", key=("--key-file", self.write("broken", broken)), expect=77)

    def test_passphrase(self):
        self.make()
        self.store.add_passphrase("correct hörse")
        good = self.write("good", "correct hörse\n")
        self.run_it("list", key=("--passphrase-file", good))
        bad = self.write("bad", "correct horse\n")
        self.run_it("list", key=("--passphrase-file", bad), expect=77)
        r = subprocess.run([EXTRACT, "file://" + self.root, "--passphrase-file", "-", "list"],
                           input="correct hörse".encode(), capture_output=True)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_key_of_one_vault(self):
        self.make()
        self.store.vault("other").snapshot(TS, tree_of({}))
        secret = self.store.add_key_file("vault:orders")
        key = ("--key-file", self.write("scoped", synthetic_store.key_file_text(secret)))
        r = self.run_it("list", key=key)
        self.assertIn(b"orders/", r.stdout)
        self.assertNotIn(b"other/", r.stdout)
        self.run_it("verify", f"orders/{TS}", key=key)
        self.run_it("verify", f"other/{TS}", key=key, expect=77)

    def test_not_a_store(self):
        self.run_it("list", store=self.dir, expect=1)
        self.run_it("list", store=self.key, expect=1)
        self.run_it("nonsense", expect=2)

    def test_newer_format(self):
        with open(os.path.join(self.root, "coffer.json")) as f:
            obj = json.load(f)
        for change in ({"format": 2}, {"read": ["erasure-codes"]}):
            self.store.put("coffer.json", json.dumps({**obj, **change}).encode())
            self.assertIn(b"newer", self.run_it("list", expect=1).stderr)
        self.store.put("coffer.json", json.dumps({**obj, "created": "then"}).encode())
        self.assertIn(b"altered", self.run_it("list", expect=4).stderr)


class Damaged(Base):
    """Any changed byte is found: by `verify` always, by `restore` where it matters to a file."""

    def flip(self, path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x20]))

    def test_flipped_bytes(self):
        self.make()
        rng = random.Random(5)
        for path in self.objects("vaults"):
            size = os.path.getsize(path)
            for at in rng.sample(range(size), 6) + [0, size - 1]:
                if path.endswith(".sealed") and 8 <= at < 16:
                    continue  # version and bits that may be ignored: another answer
                with self.subTest(path=path, at=at):
                    self.flip(path, at)
                    r = self.run_it("verify", f"orders/{TS}", expect=4)
                    self.flip(path, at)
                    self.assertIn(b"damaged", r.stderr)
        self.run_it("verify", f"orders/{TS}")

    def test_restore_leaves_damaged_files_out(self):
        self.make()
        data = [p for p in self.objects("vaults/orders/packs")][0]
        for path in self.objects("vaults/orders/packs"):
            with open(path, "rb") as f:
                if f.read(17)[16] == 1:
                    data = path
        self.flip(data, 64 + 24 + 100)  # in the first chunk, of `big`
        r = self.run_it("restore", f"orders/{TS}", self.path("out"), expect=4)
        self.assertIn(os.path.basename(data).encode(), r.stderr)
        self.assertIn(b"/big", r.stderr)
        there = set(map(os.fsencode, os.listdir(self.path("out"))))
        self.assertEqual(set(self.tree.entries) - there, {b"big"})
        with open(self.path("out", "sum"), "rb") as f:
            self.assertEqual(f.read(), self.contents[b"sum"])

    def test_missing_and_cut(self):
        sealed = self.make()
        for path in self.objects("vaults/orders/packs"):
            with self.subTest(path=path):
                os.rename(path, path + ".away")
                self.run_it("verify", f"orders/{TS}", expect=4)
                shutil.copy(path + ".away", path)
                os.truncate(path, os.path.getsize(path) - 40)
                self.run_it("verify", f"orders/{TS}", expect=4)
                os.rename(path + ".away", path)
        path = os.path.join(self.root, sealed)
        for size in (0, 15, 47, 60, os.path.getsize(path) - 1):
            os.truncate(path, size)
            self.run_it("verify", f"orders/{TS}", expect=4)

    def test_a_manifest_under_another_name(self):
        """Ruling 21: T1's manifest as T2, or in another vault, is refused."""
        sealed = self.make()
        path = os.path.join(self.root, sealed)
        other = path.replace(TS, "20271121T030000Z")
        os.rename(path, other)
        self.run_it("verify", "orders/20271121T030000Z", expect=4)
        os.makedirs(os.path.join(self.root, "vaults/evil/snapshots"))
        shutil.copytree(os.path.join(self.root, "vaults/orders/packs"),
                        os.path.join(self.root, "vaults/evil/packs"))
        os.rename(other, path.replace("/orders/", "/evil/"))
        self.run_it("verify", f"evil/{TS}", expect=4)

    def test_wrong_whole_file_sum(self):
        self.tree, _ = sample()
        self.tree.entries[b"sum"].sha256 = bytes(32)
        self.store.vault("orders").snapshot(TS, self.tree)
        self.run_it("verify", f"orders/{TS}", expect=4)
        self.run_it("restore", f"orders/{TS}", self.path("out"), expect=4)
        self.assertFalse(os.path.exists(self.path("out", "sum")))


if __name__ == "__main__":
    unittest.main()
