#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 4): any program can write into an open snapshot, however it opens and writes: dd
# with each of its flags gives what it gives on a local file system.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires dd

coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir "$snap" "$TESTDIR/ref"
random "$TESTDIR/data" 5000000
random "$TESTDIR/aligned" 4194304

both () {
  local name=$1 d
  shift
  for d in "$TESTDIR/ref" "$snap"; do
    dd status=none of="$d/$name" "$@" || fail "dd of=$name $*"
  done
  cmp "$TESTDIR/ref/$name" "$snap/$name" || fail "$name differs: $*"
}

data=$TESTDIR/data aligned=$TESTDIR/aligned
both plain if="$data"
both small if="$data" bs=512
both odd if="$data" bs=12345
both direct if="$aligned" bs=1M oflag=direct
both direct4k if="$aligned" bs=4k count=200 oflag=direct
both sync if="$data" bs=1M oflag=sync
both dsync if="$data" bs=1M oflag=dsync
both fsync if="$data" bs=1M conv=fsync
both fdatasync if="$data" bs=1M conv=fdatasync
both append if="$data" bs=100k
both append if="$data" bs=100k oflag=append conv=notrunc
both excl if="$data" bs=1M conv=excl
both sparse if=/dev/zero bs=1M count=3 conv=sparse
both seek if="$data" bs=1000 seek=3000 count=500
both seek if="$data" bs=1000 seek=100 count=500 conv=notrunc
both plain if="$data" bs=1M conv=nocreat
both plain if="$data" bs=777 seek=1234 count=3 conv=notrunc
both swab if="$data" bs=64k conv=swab
both nonblock if="$data" bs=1M oflag=nonblock,noctty,nofollow
both rewritten if="$data" bs=1M
for ((i = 0; i < 20; i++)); do
  both rewritten if="$aligned" bs=4k seek=$(((i * 7919) % 1000)) count=3 skip=$i conv=notrunc
done
both direct if="$aligned" bs=4k seek=17 count=3 conv=notrunc oflag=direct
for d in "$TESTDIR/ref" "$snap"; do
  assert_fails 'file exists' dd if="$data" of="$d/excl" conv=excl status=none
  assert_fails 'no such file' dd if="$data" of="$d/none" conv=nocreat status=none
done

reads () {
  local f
  for f in "iflag=direct bs=1M" "iflag=direct bs=4k" "bs=777 skip=100" "iflag=noatime bs=1M" \
           "iflag=fullblock bs=3M" \
           "iflag=skip_bytes,count_bytes skip=1234567 count=2000001 bs=64k"; do
    # shellcheck disable=SC2086
    cmp <(dd if="$TESTDIR/aligned" $f status=none) <(dd if="$1/direct0" $f status=none) ||
      fail "read with $f"
  done
}
cp "$aligned" "$snap/direct0"
reads "$snap"
seal 1
reads "$VAULT/$(ts 1)"
# Holes stay holes; zeros that were written do not become some.
[ "$(stat -c %b "$VAULT/$(ts 1)/sparse")" -lt 64 ] || fail "conv=sparse leaves data"
for f in "$TESTDIR/ref"/*; do cmp "$f" "$VAULT/$(ts 1)/${f##*/}"; done
