#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tree_list.py [--no-atime] DIR - lists a directory in the form of tests/golden/README.md.

Looks with lstat before it reads, and reads with O_NOATIME, so that a list of the source can be
compared with a list of what was restored.  user.coffer.* is left out (answered, not stored).
"""
import hashlib
import os
import stat
import sys

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "char", stat.S_IFBLK: "block"}


def content(path):
    h = hashlib.sha256()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    except PermissionError:  # not ours
        fd = os.open(path, os.O_RDONLY)
    with os.fdopen(fd, "rb", buffering=0) as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def xattrs(path):
    found = []
    for name in os.listxattr(path, follow_symlinks=False):
        if not name.startswith("user.coffer."):
            value = os.getxattr(path, name, follow_symlinks=False)
            found.append(f"{os.fsencode(name).hex()}={value.hex()}")
    return ",".join(sorted(found)) or "-"


def line(name, path, keep_atime):
    st = os.lstat(path)
    kind = KINDS[stat.S_IFMT(st.st_mode)]
    size, links, detail = st.st_size, st.st_nlink, "-"
    if kind == "dir":
        size, links = 0, 2 + sum(e.is_dir(follow_symlinks=False) for e in os.scandir(path))
    elif kind == "symlink":
        detail = os.readlink(path).hex()
    elif kind in ("char", "block"):
        detail = f"{os.major(st.st_rdev)},{os.minor(st.st_rdev)}"
    return " ".join(map(str, [name.hex() or "-", kind, f"{stat.S_IMODE(st.st_mode):o}", st.st_uid,
                              st.st_gid, st.st_mtime_ns, st.st_atime_ns if keep_atime else "-",
                              links, size, detail, content(path) if kind == "file" else "-",
                              xattrs(path)]))


def listing(top, keep_atime=True):
    """Lines in the order of the tree: a directory's entries, then what is below each."""
    yield line(b"", top, keep_atime)

    def below(where, path):
        names = sorted(os.listdir(path))
        for name in names:
            yield line(where + name, os.path.join(path, name), keep_atime)
        for name in names:
            child = os.path.join(path, name)
            if stat.S_ISDIR(os.lstat(child).st_mode):
                yield from below(where + name + b"/", child)
    yield from below(b"", top)


if __name__ == "__main__":
    args = [a for a in sys.argv[1:] if a != "--no-atime"]
    for text in listing(os.fsencode(args[0]), "--no-atime" not in sys.argv):
        print(text)
