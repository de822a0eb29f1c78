#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# Promise: the cache directory may be full, filled with garbage, read-only or on a disk that dies,
# at any time, over a real S3 server: the mount keeps serving the right bytes.  A state directory
# whose disk dies costs the mount its new snapshots, never a byte of the sealed, and what a seal
# then reports as done is whole on another host.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires jq python3 mkfs.ext4

start_minio

# disk DIR MIB: a small disk of its own, mounted on DIR.
disk () {
  mkdir -p "$1"
  truncate -s "$2M" "$1.img"
  mkfs.ext4 -q -m 0 "$1.img" || fail "mkfs"
  mount -o loop "$1.img" "$1" || skip "needs a loop device"
  at_exit "umount -l '$1'"
}
# disk_dies DIR: from now on its file system answers EIO to everything that needs the disk
# (EXT4_IOC_SHUTDOWN, without flushing).
disk_dies () {
  python3 - "$1" << 'PY'
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))
PY
}
cold () { echo 3 > /proc/sys/vm/drop_caches; }

coffer_init
mkdir -p "$TESTDIR/tree"
for i in 1 2 3 4; do random "$TESTDIR/tree/f$i" 20000000 $i; done
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
cp "$TESTDIR"/tree/* "$VAULT/$(ts 1).partial/"
seal 1 > /dev/null
coffer_umount

# --- a cache whose disk is smaller than what it may hold
HOST=b
disk "$TESTDIR/b/cache" 48
sealed=$TESTDIR/b/mnt/s3/db/$(ts 1)
coffer_mount cache-size=1GiB
cmp_all () {
  local i
  for i in 1 2 3 4; do
    cold
    within 60 cmp "$TESTDIR/tree/f$i" "$sealed/f$i" || fail "f$i, $1"
  done
}
cmp_all "the disk under the cache is full"
cmp_all "the disk under the cache is full, again"

# --- garbage while it is mounted
for f in "$TESTDIR"/b/cache/*; do
  [ -f "$f" ] || continue
  dd if=/dev/urandom of="$f" bs=64k count=200 conv=notrunc status=none 2> /dev/null ||
    : # the disk is full
done
cmp_all "garbage in the cache"

# --- read-only while it is mounted, then across a mount
mount -o remount,ro "$TESTDIR/b/cache" 2> /dev/null || : # busy: open for writing
cmp_all "a read-only cache"
coffer_umount
mount -o remount,ro "$TESTDIR/b/cache" || fail "remount"
coffer_mount cache-size=1GiB
cmp_all "a read-only cache from the start"
coffer_umount
mount -o remount,rw "$TESTDIR/b/cache"

# --- a disk that dies below the mounted cache
coffer_mount cache-size=32MiB
cmp_all "before the disk dies"
disk_dies "$TESTDIR/b/cache"
cmp_all "the disk under the cache has died"
coffer_umount

# --- a disk that dies below the state: sealed data are read, what is called sealed is whole
HOST=c
disk "$TESTDIR/c/state" 64
coffer_mount
sealed=$TESTDIR/c/mnt/s3/db/$(ts 1)
mkdir "$VAULT/$(ts 2).partial"
cp "$TESTDIR/tree/f1" "$VAULT/$(ts 2).partial/"
disk_dies "$TESTDIR/c/state"
cmp_all "the disk under the state has died"
timeout 60 cp "$TESTDIR/tree/f2" "$VAULT/$(ts 2).partial/" 2> "$TESTDIR/cp.err" ||
  grep -q . "$TESTDIR/cp.err" || fail "a write hangs when the state's disk has died"
rc=0
timeout 100 "$COFFER" seal "$VAULT/$(ts 2).partial" > "$TESTDIR/seal.out" 2>&1 || rc=$?
[ $rc != 124 ] || fail "a seal hangs when the state's disk has died"
cat "$TESTDIR/seal.out" >&2
timeout 60 "$COFFER" umount -f "$MNT" || fail "umount when the disk under the state has died"
wait "${DAEMONS[c]}" || : # it says that not all is durable
unset "DAEMONS[c]"
coffer_stop
HOST=d
coffer_mount
cmp "$TESTDIR/tree/f1" "$VAULT/$(ts 1)/f1"
if [ $rc = 0 ]; then
  cmp "$TESTDIR/tree/f1" "$VAULT/$(ts 2)/f1" || fail "sealed, but not whole"
else
  [ ! -e "$VAULT/$(ts 2)" ] || fail "the seal failed, but the snapshot is there"
fi
coffer_umount
