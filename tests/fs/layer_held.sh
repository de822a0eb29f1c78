#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 11): a held write is answered in turn, can be killed at once, fails with EIO after
# the write timeout, and does not keep the daemon from ending.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../lib/ramount.sh"
requires_ramount

ramount held,admit=4
start=$(date +%s%N)
dd if=/dev/zero of="$SNAP/slow" bs=1M count=5 status=none
took=$((($(date +%s%N) - start) / 1000000))
[ $took -ge 900 ] || fail "5 held writes at 4 a second took only $took ms"
assert_eq "$(stat -c %s "$SNAP/slow")" 5242880
ramount_end

ramount held,admit=0,timeout=3600
for ((i = 0; i < 64; i++)); do
  dd if=/dev/zero of="$SNAP/held$i" bs=1M count=4 2> /dev/null &
  disown
  pids+=($!)
done
wait_for 5 "grep -q '64 answers held back' '$MNT/.coffer/status'" || fail "not all writes are held"
kill -KILL "${pids[0]}"
within 1 tail --pid="${pids[0]}" -f /dev/null
within 1 ls "$SNAP" > /dev/null
# Ending answers the rest: nobody hangs.
ramount_end TERM
for p in "${pids[@]}"; do within 2 tail --pid="$p" -f /dev/null; done

ramount held,admit=0,timeout=1
assert_fails 'input/output error' dd if=/dev/zero of="$SNAP/late" bs=1M count=1 status=none
grep -q 'waited too long for the store' "$TESTDIR/ramount.log" || fail "the log does not say why"
ramount_end
