#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 8): with file-sha256, user.coffer.sha256 is the right SHA-256 wherever a file came
# in order or whole from one that has it, and is not there otherwise; never is it a wrong one.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires getfattr python3

sha () { getfattr --absolute-names --only-values -n user.coffer.sha256 "$1"; }
right () { assert_eq "$(sha "$1")" "$(sha256sum "$1" | cut -c1-64)" "$1"; }
none () { assert_fails 'no such attribute' sha "$1"; }
coffer_init

# Not asked for: not there.
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
echo hello > "$VAULT/$(ts 1).partial/file"
seal 1 > /dev/null
none "$VAULT/$(ts 1)/file"
coffer_umount

coffer_mount file-sha256=yes
d=$VAULT/$(ts 2).partial
mkdir "$d" "$d/many"
random "$TESTDIR/big" 9000000 3
cp "$TESTDIR/big" "$d/whole"
: > "$d/empty"
echo hello > "$d/small"
dd if=/dev/zero of="$d/zeros" bs=1M count=3 status=none
cp "$TESTDIR/big" "$d/appended" && echo more >> "$d/appended"
cp "$TESTDIR/big" "$d/touched"
printf x | dd of="$d/touched" bs=1 seek=77 conv=notrunc status=none
cp "$TESTDIR/big" "$d/cut" && truncate -s 5000 "$d/cut"
cp "$TESTDIR/big" "$d/grown" && truncate -s 9000001 "$d/grown"
cp "$TESTDIR/big" "$d/punched" && fallocate -p -o 8192 -l 4096 "$d/punched"
cp "$TESTDIR/big" "$d/renewed" && cp "$TESTDIR/big" "$d/renewed"
cp "$TESTDIR/big" "$d/same_size" && truncate -s 9000000 "$d/same_size"
truncate -s 1M "$d/hole"
rsync -a "$TESTDIR/big" "$d/rsynced"
for ((i = 0; i < 300; i++)); do echo "$i" > "$d/many/$i"; done
ln "$d/whole" "$d/second"
python3 - "$d" << 'PY'
import os, random, sys
d = sys.argv[1]
rng = random.Random(8)
# Random orders of writes, overwrites, cuts: the seal must say the right hash or none.
for n in range(60):
    fd = os.open(f"{d}/random{n}", os.O_RDWR | os.O_CREAT, 0o644)
    at = 0
    for k in range(rng.randrange(1, 12)):
        what, size = rng.random(), rng.choice([10, 5000, 70000, 300000])
        data = rng.randbytes(size)
        if what < 0.7:
            at += os.pwrite(fd, data, at)
        elif what < 0.8:
            os.pwrite(fd, data, rng.randrange(at + 1))
        elif what < 0.87:
            os.pwrite(fd, data, at + rng.randrange(200000))
            at = os.fstat(fd).st_size
        elif what < 0.94:
            at = rng.randrange(at + 1)
            os.ftruncate(fd, at)
        else:
            os.fsync(fd)
        if rng.random() < 0.1:
            os.close(fd)
            fd = os.open(f"{d}/random{n}", os.O_RDWR)
    os.close(fd)
# Two handles at a time.
a = os.open(f"{d}/two", os.O_WRONLY | os.O_CREAT, 0o644)
b = os.open(f"{d}/two", os.O_WRONLY)
os.write(a, rng.randbytes(200000))
os.pwrite(b, b"y", 100)
os.close(a)
os.pwrite(b, b"z", 0)
os.close(b)
PY
seal 2 > /dev/null
s=$VAULT/$(ts 2)
for f in whole small zeros renewed rsynced second many/7 many/299; do right "$s/$f"; done
assert_eq "$(sha "$s/whole")" "$(sha256sum "$TESTDIR/big" | cut -c1-64)"
for f in touched cut grown punched hole two; do none "$s/$f"; done
known=0
for f in "$s"/*; do
  if [ -f "$f" ] && sha "$f" > /dev/null 2>&1; then
    right "$f"
    known=$((known + 1))
  fi
done
[ $known -gt 15 ] || fail "only $known of the files have a hash"

# Copied whole, by reference: known; a part, or with something behind: not.
d=$VAULT/$(ts 3).partial
mkdir "$d"
cp --reflink=auto "$s/whole" "$d/copied"
ln "$s/small" "$d/linked"
head -c 100000 "$s/whole" > "$d/head"
cp "$s/whole" "$d/behind" && echo x >> "$d/behind"
python3 - "$s/whole" "$d" << 'PY'
import os, sys
src = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(src).st_size
for name, parts in (("steps", [size // 3, size - size // 3]), ("part", [size // 2])):
    dst = os.open(f"{sys.argv[2]}/{name}", os.O_WRONLY | os.O_CREAT, 0o644)
    at = 0
    for n in parts:
        end = at + n
        while at < end:
            at += os.copy_file_range(src, dst, end - at, at, at)
    os.close(dst)
PY
seal 3 > /dev/null
t=$VAULT/$(ts 3)
for f in copied linked head steps; do right "$t/$f"; done
for f in behind part; do none "$t/$f"; done
coffer_umount
"$TOP/contrib/coffer-extract" --help > /dev/null || fail "coffer-extract"
