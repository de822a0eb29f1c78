#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise: a request is answered as long as fewer than fuse-threads others keep a thread each (as a
# slow disk does), whatever the number of processors; and threads that were added park again.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../lib/ramount.sh"
requires_ramount

workers () { ls "/proc/$RAMOUNT_PID/task" | wc -l; }

stuck_while_others_work () {
  local i pids=() most=$1
  # In directories of their own: older kernels look up one name of a directory at a time.
  for ((i = 1; i < most; i++)); do mkdir "$SNAP/d$i"; done
  for ((i = 1; i < most; i++)); do
    stat "$SNAP/d$i/stuck" > /dev/null 2>&1 &
    pids+=($!)
  done
  sleep 0.5
  for i in "${pids[@]}"; do kill -0 "$i" || fail "a lookup of 'stuck' did not wait"; done
  timeout 20 stat "$SNAP/free" > /dev/null 2>&1 && fail "'free' exists"
  for i in "${pids[@]}"; do
    wait_for 20 "! kill -0 $i" || fail "with $most threads, $((most - 1)) at work: no answer"
  done
}

ramount stuck,threads=10
few=$(workers)
stuck_while_others_work 10
many=$(workers)
[ "$many" -gt "$few" ] || fail "no thread was added: $few, then $many"
# All of them serve, and end.
for i in {1..50}; do (echo "$i" > "$SNAP/f$i"; cat "$SNAP/f$i" > /dev/null) & done
wait %% 2> /dev/null || :
wait_for 20 "[ \$(ls '$SNAP' | grep -c ^f) = 50 ]" || fail "50 clients at once"
[ "$(workers)" -le $((many + 10)) ] || fail "threads grow: $many, then $(workers)"
ramount_end

ramount threads=1
echo x > "$SNAP/alone"
assert_eq "$(cat "$SNAP/alone")" x "one thread"
ramount_end TERM
