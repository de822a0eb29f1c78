#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
# Guards: a small overlay, a full disk below it, one that cannot be written at all - random writes
# are slower then, never refused and never lost; and what drains out of a large overlay does not
# pile up in memory while the store is slow.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

# random_writes FILE REFERENCE COUNT [LAST]: the same 4 KiB writes into both.
cat > "$TESTDIR/random_writes.py" << 'PY'
import os, random, sys
a, b = (os.open(p, os.O_RDWR) for p in sys.argv[1:3])
r = random.Random(1)
for _ in range(int(sys.argv[3])):
    data, off = r.randbytes(4096), 4096 * r.randrange(os.fstat(b).st_size // 4096)
    for fd in (a, b):
        os.pwrite(fd, data, off)
PY
random_writes () { within 60 python3 "$TESTDIR/random_writes.py" "$@" || fail "random writes: $1"; }

mkdir "$TESTDIR/disk" "$TESTDIR/a"
mount -t tmpfs -o size=40M,mode=700 tmpfs "$TESTDIR/disk" || skip "needs to mount a tmpfs"
at_exit "umount -l $TESTDIR/disk 2> /dev/null"
ln -s "$TESTDIR/disk" "$TESTDIR/a/state"
coffer_init
coffer_mount overlay-size=16MiB
random "$TESTDIR/ref" 60000000
T=$VAULT/$(ts 1)
mkdir "$T.partial"
cp "$TESTDIR/ref" "$T.partial/file"
random_writes "$T.partial/file" "$TESTDIR/ref" 8000
cmp "$TESTDIR/ref" "$T.partial/file" || fail "a small overlay"

# The disk is full, with much in the overlay and with nothing in it.
dd if=/dev/zero of="$TESTDIR/disk/fill" bs=64k 2> /dev/null && fail "the disk is not full"
random_writes "$T.partial/file" "$TESTDIR/ref" 1000
cmp "$TESTDIR/ref" "$T.partial/file" || fail "a full disk"
cp "$TESTDIR/ref" "$T.partial/other"
cp "$TESTDIR/ref" "$TESTDIR/ref2"
random_writes "$T.partial/other" "$TESTDIR/ref2" 300
cmp "$TESTDIR/ref2" "$T.partial/other" || fail "a full disk, a new overlay"
rm "$TESTDIR/disk/fill"
seal 1 > /dev/null
cmp "$TESTDIR/ref" "$T/file" && cmp "$TESTDIR/ref2" "$T/other" || fail "sealed"
[ "$(grep -c 'become chunks of their own' "$TESTDIR/daemon-$HOST.log")" -lt 10 ] ||
  fail "the log is full of it"
coffer_umount
umount "$TESTDIR/disk"
mounted=false

# 400 MB drain out of an overlay while the store takes 2 MB/s: memory stays where it was.
rm "$TESTDIR/a/state"
coffer_mount overlay-size=1GiB,upload-rate=2MB
T=$VAULT/$(ts 2)
mkdir "$T.partial"
truncate -s 400M "$T.partial/file"
python3 - "$T.partial/file" << 'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for off in range(0, 400 << 20, 32768):
    os.pwrite(fd, os.urandom(32768), off)
PY
"$COFFER" seal "$T.partial" > /dev/null 2>&1 &
sealing=$!
sleep 8
peak=$(awk '/VmHWM/ { print $2 }' "/proc/${DAEMONS[$HOST]}/status")
kill $sealing 2> /dev/null || :
[ "$peak" -lt $((256 << 10)) ] || fail "$peak kB of memory"
