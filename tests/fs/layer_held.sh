#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 11): a held write is taken in turn and in full, can be killed at once, fails with
# EIO after the write timeout, and does not keep the daemon from ending.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../lib/ramount.sh"
requires_ramount
requires strace python3

# 2 MiB in parts of 128 KiB; a short count never shows.
ramount held,admit=16
start=$(date +%s%N)
random "$TESTDIR/data" 2097152
assert_eq "$(strace -f -e trace=write -e write=none dd if="$TESTDIR/data" of="$SNAP/slow" bs=1M \
  status=none 2>&1 | grep -c 'write(1, .* = 1048576')" 2 "whole counts"
took=$((($(date +%s%N) - start) / 1000000))
[ $took -ge 800 ] || fail "16 parts at 16 a second took only $took ms"
cmp "$TESTDIR/data" "$SNAP/slow"
# Pages of a mapping go the same way.
timeout 20 python3 - "$SNAP/slow" << 'END' || fail "a mapping"
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
with mmap.mmap(fd, 1 << 20) as m:
    m[:] = b'm' * (1 << 20)
    m.flush()
os.close(fd)
END
assert_eq "$(head -c 1048576 "$SNAP/slow" | tr -d m | wc -c)" 0
ramount_end

ramount held,admit=0,timeout=3600
for ((i = 0; i < 64; i++)); do
  dd if=/dev/zero of="$SNAP/held$i" bs=1M count=4 2> /dev/null &
  disown
  pids+=($!)
done
wait_for 5 "grep -q '64 answers held back' '$MNT/.coffer/status'" || fail "not all writes are held"
kill -KILL "${pids[0]}"
wait_for 1 "! kill -0 ${pids[0]}" || fail "kill -9 of a writer takes more than 1 s"
within 1 ls "$SNAP" > /dev/null
# Ending answers the rest: nobody hangs.
ramount_end TERM
for p in "${pids[@]}"; do wait_for 2 "! kill -0 $p" || fail "a writer hangs"; done

ramount held,admit=0,timeout=1
assert_fails 'input/output error' dd if=/dev/zero of="$SNAP/late" bs=1M count=1 status=none
grep -q 'waited too long for the store' "$TESTDIR/ramount.log" || fail "the log does not say why"
ramount_end
