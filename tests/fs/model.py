#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""model.py - the same random operations on an ordinary directory and on a mount.

    model.py run REFERENCE MOUNTED [--seed N] [--ops N] [--check N]
    model.py compare REFERENCE MOUNTED

`run` gives both the same operations (also through handles that stay open, with O_DIRECT and with
shared mappings), compares what each call returned or which errno it failed with, and every --check
operations the whole of both trees.  At its end all times are set explicitly, so that `compare`,
after the seal and a new mount with an empty cache, may compare them too.

Exits 1 at the first difference, naming the seed and the operation, so that it can be repeated."""
import argparse
import ctypes
import errno
import hashlib
import mmap
import os
import random
import stat
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
BIG = 3 << 20


def check(rc):
    if rc != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def renameat2(a, b, flags):
    check(libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), flags))


def fallocate(fd, mode, off, length):
    check(libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(length)))


class Side:
    """One of the two trees: its root, and the handles open on it."""

    def __init__(self, root):
        self.root = root
        self.fds = {}

    def path(self, rel):
        return os.path.join(self.root, rel) if rel else self.root


class Difference(Exception):
    pass


# ---- comparing trees

def digest(path):
    h = hashlib.blake2b()
    with open(path, 'rb', buffering=0) as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()


def xattrs(path):
    names = sorted(n for n in os.listxattr(path, follow_symlinks=False) if n != 'security.selinux')
    return [(n, os.getxattr(path, n, follow_symlinks=False)) for n in names]


def describe(path, with_times):
    """What must be the same on both sides."""
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    out = {'mode': oct(st.st_mode), 'uid': st.st_uid, 'gid': st.st_gid, 'xattrs': xattrs(path)}
    if kind != stat.S_IFDIR:
        out['nlink'] = st.st_nlink
        out['size'] = st.st_size
    if kind == stat.S_IFREG:
        out['content'] = digest(path)
    elif kind == stat.S_IFLNK:
        out['target'] = os.readlink(path)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        out['device'] = st.st_rdev
    if with_times:
        out['mtime'] = st.st_mtime_ns
    return out, st


def compare_trees(ref, mounted, with_times):
    inodes = {}
    todo = ['']
    count = 0
    while todo:
        rel = todo.pop()
        a, b = ref.path(rel), mounted.path(rel)
        if rel:
            da, sa = describe(a, with_times)
            db, sb = describe(b, with_times)
            if da != db:
                wrong = {k: (da.get(k), db.get(k)) for k in set(da) | set(db)
                         if da.get(k) != db.get(k)}
                raise Difference(f'{rel}: (reference, mounted) {wrong}')
            if inodes.setdefault(sa.st_ino, sb.st_ino) != sb.st_ino:
                raise Difference(f'{rel}: hard links are not the same file')
            count += 1
            if not stat.S_ISDIR(sa.st_mode):
                continue
        na, nb = sorted(os.listdir(a)), sorted(os.listdir(b))
        if na != nb:
            raise Difference(f'{rel or "."}: names differ: {sorted(set(na) ^ set(nb))}')
        subdirs = sum(e.is_dir(follow_symlinks=False) for e in os.scandir(b))
        if rel and os.lstat(b).st_nlink != 2 + subdirs:
            raise Difference(f'{rel}: a directory with {subdirs} directories has '
                             f'{os.lstat(b).st_nlink} links')
        todo += [os.path.join(rel, n) for n in na]
    return count


# ---- operations: each is a function (model) -> (text, function (side) -> result)

class Model:
    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.names = 0

    def tree(self, side):
        dirs, files, others = [''], [], []
        for base, ds, fs in os.walk(side.root):
            rel = os.path.relpath(base, side.root)
            rel = '' if rel == '.' else rel
            for d in sorted(ds):
                p = os.path.join(rel, d)
                (others if os.path.islink(side.path(p)) else dirs).append(p)
            for f in sorted(fs):
                p = os.path.join(rel, f)
                st = os.lstat(side.path(p))
                (files if stat.S_ISREG(st.st_mode) else others).append(p)
        return sorted(dirs), sorted(files), sorted(others)

    def new_name(self):
        self.names += 1
        style = self.rnd.randrange(8)
        if style == 0:
            return f'.f{self.names}.ibd.Ab{self.names:04d}'
        if style == 1:
            return f'übung {self.names}\n'
        if style == 2:
            return f'{self.names}' + 'x' * (255 - len(str(self.names)))
        return f'f{self.names}' + self.rnd.choice(['', '.ibd', '.sql', '.log'])

    def size(self):
        return self.rnd.choice([0, 1, 100, 4095, 4096, 65536, 200000, 1 << 20, BIG])

    def offset(self):
        r = self.rnd
        return r.choice([0, 0, r.randrange(5000), r.randrange(300000), 65536 * r.randrange(20),
                         r.randrange(BIG)])

    def data(self, n):
        style = self.rnd.randrange(4)
        if style == 0:
            return bytes(n)
        if style == 1:
            return (b'%08d' % self.rnd.randrange(10**8) * (n // 8 + 1))[:n]
        return self.rnd.randbytes(n)


def op_create(m, dirs, files, others):
    p = os.path.join(m.rnd.choice(dirs), m.new_name())
    data, mode = m.data(m.size()), m.rnd.choice([0o600, 0o644, 0o755, 0o400])
    flags = os.O_CREAT | m.rnd.choice([os.O_WRONLY, os.O_RDWR]) | m.rnd.choice([0, os.O_EXCL])
    step = m.rnd.choice([4096, 10240, 65536, 1 << 20])

    def run(s):
        fd = os.open(s.path(p), flags, mode)
        try:
            for i in range(0, len(data), step):
                os.write(fd, data[i:i + step])
        finally:
            os.close(fd)
    return f'create {p!r} {len(data)}', run


def op_write(m, dirs, files, others):
    p, off, data = m.rnd.choice(files), m.offset(), m.data(m.size())
    flags = m.rnd.choice([os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND])
    if not flags & os.O_APPEND and m.rnd.randrange(10) == 0:
        flags |= os.O_TRUNC

    def run(s):
        fd = os.open(s.path(p), flags)
        try:
            return os.write(fd, data) if flags & os.O_APPEND else os.pwrite(fd, data, off)
        finally:
            os.close(fd)
    return f'write {p!r} off={off} n={len(data)} flags={flags:#o}', run


def op_direct(m, dirs, files, others):
    p, off, n = m.rnd.choice(files), 4096 * m.rnd.randrange(100), 4096 * m.rnd.randrange(1, 64)
    data = m.data(n)

    def run(s):
        fd = os.open(s.path(p), os.O_RDWR | os.O_DIRECT)
        try:
            with mmap.mmap(-1, n) as buf:
                buf[:] = data
                wrote = os.pwritev(fd, [buf], off)
                got = os.preadv(fd, [buf], off)
                return wrote, got, hashlib.blake2b(buf[:got]).hexdigest()
        finally:
            os.close(fd)
    return f'direct {p!r} off={off} n={n}', run


def op_map(m, dirs, files, others):
    p, at, data = m.rnd.choice(files), m.rnd.random(), m.data(m.rnd.choice([1, 100, 5000]))

    def run(s):
        fd = os.open(s.path(p), os.O_RDWR)
        try:
            size = os.fstat(fd).st_size
            if size == 0:
                return 0
            with mmap.mmap(fd, size) as area:
                off = int(at * size)
                n = min(len(data), size - off)
                area[off:off + n] = data[:n]
                area.flush()
            return n
        finally:
            os.close(fd)
    return f'map {p!r} at={at:.3f} n={len(data)}', run


def op_handle(m, dirs, files, others):
    """A handle that stays open over other operations, its file perhaps renamed or removed."""
    key = m.rnd.randrange(6)
    p, off, data, act = m.rnd.choice(files), m.offset(), m.data(m.size()), m.rnd.randrange(4)

    def run(s):
        if key not in s.fds:
            s.fds[key] = os.open(s.path(p), os.O_RDWR)
            return 'opened'
        fd = s.fds[key]
        if act == 0:
            os.close(s.fds.pop(key))
            return 'closed'
        if act == 1:
            return os.pwrite(fd, data, off)
        if act == 2:
            return os.ftruncate(fd, off)
        return hashlib.blake2b(os.pread(fd, len(data), off)).hexdigest()
    return f'handle {key} {p!r} act={act} off={off} n={len(data)}', run


def op_tmpfile(m, dirs, files, others):
    """A file without a name, written, perhaps named at the end."""
    p = m.rnd.choice(dirs)
    q = os.path.join(m.rnd.choice(dirs), m.new_name())
    data, off, is_named = m.data(m.size()), m.offset(), m.rnd.randrange(3)

    def run(s):
        fd = os.open(s.path(p) or '.', os.O_RDWR | os.O_TMPFILE, 0o640)
        try:
            os.write(fd, data)
            os.pwrite(fd, data[:1000], off)
            if is_named:
                check(libc.linkat(AT_FDCWD, f'/proc/self/fd/{fd}'.encode(), AT_FDCWD,
                                  os.fsencode(s.path(q)), 0x400))
            return hashlib.blake2b(os.pread(fd, BIG, 0)).hexdigest(), os.fstat(fd).st_nlink
        finally:
            os.close(fd)
    return f'tmpfile {p!r} {len(data)} off={off} as {q!r} {is_named}', run


def op_writers(m, dirs, files, others):
    """Several threads write ranges of one file that do not overlap, one more syncs it."""
    p, count, base = m.rnd.choice(files), m.rnd.randrange(2, 6), m.offset()
    span = m.rnd.choice([3000, 70000, 300000])
    work = [[(base + k * span + a, m.data(min(b, span - a))) for a, b in
             [(m.rnd.randrange(span), m.rnd.choice([10, 4096, 20000, span])) for _ in range(4)]]
            for k in range(count)]
    is_synced = m.rnd.randrange(2)

    def run(s):
        fds = [os.open(s.path(p), os.O_WRONLY if k % 2 else os.O_RDWR) for k in range(count)]
        failed = []

        def write(k):
            try:
                for off, data in work[k]:
                    for a in range(0, len(data), 50000):
                        piece = data[a:a + 50000]
                        if os.pwrite(fds[k], piece, off + a) != len(piece):
                            failed.append('short')
            except OSError as e:
                failed.append(errno.errorcode[e.errno])
        threads = [threading.Thread(target=write, args=(k,)) for k in range(count)]
        for t in threads:
            t.start()
        if is_synced:
            os.fsync(fds[0])
        for t in threads:
            t.join()
        for fd in fds:
            os.close(fd)
        return sorted(failed), os.stat(s.path(p)).st_size
    return f'writers {p!r} {count} base={base} span={span} synced={is_synced}', run


def op_seek(m, dirs, files, others):
    """What is said to be a hole reads as zeros; data and holes alternate and end at the end."""
    p = m.rnd.choice(files)

    def run(s):
        fd = os.open(s.path(p), os.O_RDONLY)
        try:
            size, at = os.fstat(fd).st_size, 0
            while at < size:
                try:
                    data = os.lseek(fd, at, os.SEEK_DATA)
                except OSError as e:
                    if e.errno != errno.ENXIO:
                        raise
                    data = size
                for off in range(at, data, 1 << 20):
                    if os.pread(fd, min(1 << 20, data - off), off).strip(b'\0'):
                        return f'a hole at {at}-{data} that has data'
                if data == size:
                    break
                at = os.lseek(fd, data, os.SEEK_HOLE)
                if at <= data:
                    return f'a hole at {at} where data is'
            return size
        finally:
            os.close(fd)
    return f'seek {p!r}', run


def op_append_twice(m, dirs, files, others):
    """Two handles with O_APPEND, in turn."""
    p, sizes = m.rnd.choice(files), [m.rnd.choice([1, 500, 5000, 140000]) for _ in range(6)]
    data = [m.data(n) for n in sizes]

    def run(s):
        fds = [os.open(s.path(p), os.O_APPEND | f) for f in (os.O_WRONLY, os.O_RDWR)]
        for k, piece in enumerate(data):
            os.write(fds[k % 2], piece)
        for fd in fds:
            os.close(fd)
        return os.stat(s.path(p)).st_size
    return f'append_twice {p!r} {sizes}', run


def op_map_hole(m, dirs, files, others):
    """A mapping that is written while the file below it is cut, grown and punched by calls."""
    p, acts = m.rnd.choice(files), [m.rnd.randrange(4) for _ in range(4)]
    at = [m.rnd.random() for _ in range(4)]
    data = m.data(m.rnd.choice([10, 4096, 9000]))

    def run(s):
        fd = os.open(s.path(p), os.O_RDWR)
        try:
            size = os.fstat(fd).st_size
            if size < 20000:
                os.ftruncate(fd, 20000)
                size = 20000
            with mmap.mmap(fd, size) as area:
                for act, where in zip(acts, at):
                    off = int(where * (size - len(data)))
                    if act == 0:
                        area[off:off + len(data)] = data
                    elif act == 1:
                        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, off, len(data))
                    elif act == 2:
                        os.pwrite(fd, data[::-1], off)
                    else:
                        os.ftruncate(fd, off)
                        os.ftruncate(fd, size)
                return hashlib.blake2b(area[:]).hexdigest()
        finally:
            os.close(fd)
    return f'map_hole {p!r} {acts} n={len(data)}', run


def op_truncate(m, dirs, files, others):
    p, n = m.rnd.choice(files), m.offset()
    return f'truncate {p!r} {n}', lambda s: os.truncate(s.path(p), n)


def op_fallocate(m, dirs, files, others):
    p, off, n = m.rnd.choice(files), m.offset(), m.size() + 1
    mode = m.rnd.choice([0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE])

    def run(s):
        fd = os.open(s.path(p), os.O_RDWR)
        try:
            fallocate(fd, mode, off, n)
        finally:
            os.close(fd)
    return f'fallocate {p!r} mode={mode} off={off} n={n}', run


def op_copy_range(m, dirs, files, others):
    p, q = m.rnd.choice(files), m.rnd.choice(files)
    a, b, n = m.offset(), m.offset(), m.size() + 1
    if p == q:
        b = a + n  # overlapping ranges of one file are refused

    def run(s):
        fa = os.open(s.path(p), os.O_RDONLY)
        try:
            fb = os.open(s.path(q), os.O_WRONLY)
            try:
                done = 0
                while done < n:
                    c = os.copy_file_range(fa, fb, n - done, a + done, b + done)
                    if c == 0:
                        break
                    done += c
                return done
            finally:
                os.close(fb)
        finally:
            os.close(fa)
    return f'copy_file_range {p!r} {a} -> {q!r} {b} n={n}', run


def op_read(m, dirs, files, others):
    p, off, n = m.rnd.choice(files), m.offset(), m.size()

    def run(s):
        fd = os.open(s.path(p), os.O_RDONLY)
        try:
            return hashlib.blake2b(os.pread(fd, n, off)).hexdigest()
        finally:
            os.close(fd)
    return f'read {p!r} off={off} n={n}', run


def op_mkdir(m, dirs, files, others):
    p = os.path.join(m.rnd.choice(dirs), m.new_name())
    mode = m.rnd.choice([0o755, 0o700])
    return f'mkdir {p!r}', lambda s: os.mkdir(s.path(p), mode)


def op_remove(m, dirs, files, others):
    p = m.rnd.choice(dirs[1:] + files + others)
    act = m.rnd.choice([os.unlink, os.rmdir])
    return f'{act.__name__} {p!r}', lambda s: act(s.path(p))


def op_rename(m, dirs, files, others):
    every = dirs[1:] + files + others
    p = m.rnd.choice(every)
    q = os.path.join(m.rnd.choice(dirs), m.new_name())
    if m.rnd.randrange(2):
        q = m.rnd.choice(every)
    flags = m.rnd.choice([0, 0, 0, NOREPLACE, EXCHANGE])
    return f'rename {p!r} {q!r} {flags}', lambda s: renameat2(s.path(p), s.path(q), flags)


def op_link(m, dirs, files, others):
    p = m.rnd.choice(files + others)
    q = os.path.join(m.rnd.choice(dirs), m.new_name())
    return (f'link {p!r} {q!r}',
            lambda s: os.link(s.path(p), s.path(q), follow_symlinks=False))


def op_symlink(m, dirs, files, others):
    q = os.path.join(m.rnd.choice(dirs), m.new_name())
    target = m.rnd.choice(['x', '/nowhere', 'a' * 4095, '../' * 20])
    return f'symlink {q!r}', lambda s: os.symlink(target, s.path(q))


def op_mknod(m, dirs, files, others):
    q = os.path.join(m.rnd.choice(dirs), m.new_name())
    kind = m.rnd.choice([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK])
    device = os.makedev(m.rnd.randrange(200), m.rnd.randrange(70000))
    return f'mknod {q!r} {kind:#o}', lambda s: os.mknod(s.path(q), kind | 0o640, device)


def op_chmod(m, dirs, files, others):
    p = m.rnd.choice(dirs[1:] + files)
    mode = m.rnd.choice([0o755, 0o600, 0o4755, 0o2775, 0o1777, 0])
    return f'chmod {p!r} {mode:#o}', lambda s: os.chmod(s.path(p), mode)


def op_chown(m, dirs, files, others):
    p = m.rnd.choice(dirs[1:] + files + others)
    uid, gid = m.rnd.choice([-1, 0, 1000, 4000000000]), m.rnd.choice([-1, 0, 27])
    return (f'chown {p!r} {uid}:{gid}',
            lambda s: os.chown(s.path(p), uid, gid, follow_symlinks=False))


def op_utime(m, dirs, files, others):
    p = m.rnd.choice(dirs[1:] + files + others)
    t = m.rnd.choice([0, 1, 1234567890123456789, 4102444800000000001, 253402300799999999])

    def run(s):
        os.utime(s.path(p), ns=(t, t), follow_symlinks=False)
        return os.lstat(s.path(p)).st_mtime_ns
    return f'utime {p!r} {t}', run


def op_xattr(m, dirs, files, others):
    p = m.rnd.choice(dirs[1:] + files)
    name = m.rnd.choice(['user.a', 'user.b', 'trusted.t', 'security.s', 'user.' + 'n' * 200])
    value = m.rnd.randbytes(m.rnd.choice([0, 1, 30, 1000]))
    flags = m.rnd.choice([0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])
    if m.rnd.randrange(4) == 0:
        return f'removexattr {p!r} {name}', lambda s: os.removexattr(s.path(p), name)
    return (f'setxattr {p!r} {name} {len(value)} {flags}',
            lambda s: os.setxattr(s.path(p), name, value, flags))


def op_fsync(m, dirs, files, others):
    p = m.rnd.choice(dirs + files)

    def run(s):
        fd = os.open(s.path(p), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    return f'fsync {p!r}', run


OPS = ([op_create] * 8 + [op_write] * 8 + [op_handle] * 6 + [op_read] * 3 + [op_mkdir] * 3
       + [op_remove] * 4 + [op_rename] * 5 + [op_truncate] * 3 + [op_fallocate] * 3
       + [op_direct] * 2 + [op_map] * 2 + [op_copy_range] * 2 + [op_link] * 2
       + [op_symlink, op_mknod, op_chmod, op_tmpfile, op_writers, op_seek, op_append_twice]
       + [op_map_hole]
       + [op_chown, op_utime, op_xattr, op_xattr, op_fsync])
NEED_FILE = {op_write, op_handle, op_read, op_truncate, op_fallocate, op_direct, op_map,
             op_copy_range, op_link, op_writers, op_seek, op_append_twice, op_map_hole}


def has_tmpfile(side):
    """libfuse before 3.17 refuses it: then there is nothing to compare."""
    try:
        os.close(os.open(side.root, os.O_RDWR | os.O_TMPFILE))
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            return False
        raise
    return True


def outcome(run, side):
    try:
        return run(side)
    except OSError as e:
        return f'errno {errno.errorcode.get(e.errno, e.errno)}'


def run_all(ref, mounted, args):
    m = Model(args.seed)
    ops = OPS if has_tmpfile(mounted) else [op for op in OPS if op != op_tmpfile]
    for i in range(args.ops):
        dirs, files, others = m.tree(ref)
        op = m.rnd.choice(ops)
        if (op in NEED_FILE and not files) or (len(dirs) == 1 and op not in NEED_FILE):
            op = op_create if m.rnd.randrange(2) else op_mkdir
        text, run = op(m, dirs, files, others)
        if args.verbose:
            print(i, text)
        a, b = outcome(run, ref), outcome(run, mounted)
        if a != b:
            raise Difference(f'operation {i}: {text}: reference {a!r}, mounted {b!r}')
        if args.check and i % args.check == args.check - 1:
            compare_trees(ref, mounted, False)
    for side in (ref, mounted):
        for fd in side.fds.values():
            os.close(fd)
    stamp(ref, mounted)
    return compare_trees(ref, mounted, True)


def stamp(ref, mounted):
    """Sets all times, so that they can be compared from here on."""
    for n, (base, ds, fs) in enumerate(os.walk(ref.root, topdown=False)):
        rel = os.path.relpath(base, ref.root)
        for k, name in enumerate(sorted(ds) + sorted(fs) + ['.']):
            t = 1_500_000_000_000_000_000 + n * 1_000_000_007 + k
            for side in (ref, mounted):
                p = os.path.normpath(side.path(os.path.join(rel, name)))
                if p != os.path.normpath(side.root):
                    os.utime(p, ns=(t, t), follow_symlinks=False)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('verb', choices=['run', 'compare'])
    ap.add_argument('reference')
    ap.add_argument('mounted')
    ap.add_argument('--seed', type=int, default=1)
    ap.add_argument('--ops', type=int, default=1000)
    ap.add_argument('--check', type=int, default=100)
    ap.add_argument('--verbose', action='store_true')
    args = ap.parse_args()
    ref, mounted = Side(args.reference), Side(args.mounted)
    try:
        if args.verb == 'run':
            count = run_all(ref, mounted, args)
        else:
            count = compare_trees(ref, mounted, True)
    except Difference as e:
        print(f'model.py: seed {args.seed}: {e}', file=sys.stderr)
        return 1
    print(f'{args.verb}: {count} nodes are the same (seed {args.seed})')
    return 0


if __name__ == '__main__':
    sys.exit(main())
