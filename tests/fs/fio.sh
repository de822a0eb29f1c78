#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Promise (DESIGN 4, ruling 15): what fio wrote - in order, at random, past the page cache, through
# a mapping, several at once - it reads back, open and sealed.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires fio

coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir "$snap"
jobs=(
  "--name=seq --rw=write --bs=1M --size=64M --ioengine=psync"
  "--name=seq4k --rw=write --bs=4k --size=8M --ioengine=psync"
  "--name=rand --rw=randwrite --bs=16k --size=32M --ioengine=psync"
  "--name=direct --rw=randwrite --bs=16k --size=32M --ioengine=psync --direct=1"
  "--name=aio --rw=randwrite --bs=16k --size=32M --ioengine=libaio --iodepth=8 --direct=1"
  "--name=mapped --rw=randwrite --bs=4k --size=16M --ioengine=mmap"
  "--name=many --rw=write --bs=64k --size=16M --ioengine=psync --numjobs=4"
  "--name=mixed --rw=randrw --bs=8k --size=16M --ioengine=psync"
)
verify="--verify=crc32c --verify_fatal=1 --verify_backlog=0"
for j in "${jobs[@]}"; do
  # shellcheck disable=SC2086
  fio --directory="$snap" --fallocate=none --verify_state_save=0 $verify --do_verify=1 $j \
    > "$TESTDIR/fio.log" 2>&1 || fail "$j"
done
(cd "$snap" && find . -type f -print0 | sort -z | xargs -0 sha256sum) > "$TESTDIR/sums"
seal 1
coffer_remount
(cd "$VAULT/$(ts 1)" && sha256sum --quiet -c "$TESTDIR/sums") || fail "sealed files differ"
fio --directory="$VAULT/$(ts 1)" --readonly --verify_state_save=0 --name=seq --rw=read --bs=1M \
  --size=64M --ioengine=psync --verify=crc32c --verify_fatal=1 > "$TESTDIR/fio.log" 2>&1 ||
  fail "fio does not read its own file from the sealed snapshot"
