#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (rulings 6, 11): 64 writers behind a throttle of 1 MB/s: kill -9 of one ends within 1 s;
# ls, readlink and mkdir beside them answer within 1 s, also while a seal waits; mv answers "try
# again".
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
echo small > "$VAULT/$(ts 1).partial/file"
seal 1
coffer_remount upload-rate=1MB
snap=$VAULT/$(ts 2).partial
mkdir "$snap"
random "$TESTDIR/data" 20000000
pids=()
for ((i = 0; i < 64; i++)); do
  dd if="$TESTDIR/data" of="$snap/file$i" bs=1M skip=$((i * 100000)) iflag=skip_bytes 2> /dev/null &
  pids+=($!)
  disown
done
wait_for 30 "! grep -q ' 0 answers held back' '$MNT/.coffer/status'" || fail "nothing is held"
kill -KILL "${pids[0]}"
wait_for 1 "! kill -0 ${pids[0]}" || fail "kill -9 of a writer takes more than 1 s"
within 1 ls "$VAULT" "$snap" > /dev/null
within 1 readlink "$VAULT/latest" > /dev/null
within 1 cat "$VAULT/latest/file" > /dev/null
kill -KILL "${pids[@]:1}"
for p in "${pids[@]}"; do wait_for 2 "! kill -0 $p" || fail "a writer hangs"; done

# The seal has megabytes to send: mv gives up within its time, and nobody waits meanwhile.
start=$(date +%s)
assert_fails 'try again|temporarily' mv "$snap" "$VAULT/$(ts 2)"
[ $(($(date +%s) - start)) -le 8 ] || fail "mv took $(($(date +%s) - start)) s"
within 1 ls "$VAULT" > /dev/null
within 1 readlink "$VAULT/latest" > /dev/null
within 1 mkdir "$VAULT/$(ts 3).partial"
mv "$snap" "$VAULT/$(ts 2)" 2> /dev/null & mover=$!
sleep 0.5
within 1 ls "$VAULT/$(ts 1)" > /dev/null
kill -KILL $mover 2> /dev/null || :
wait_for 1 "! kill -0 $mover" || fail "kill -9 of a writer takes more than 1 s"
echo off > "$MNT/.coffer/throttle/${REGION##*/}"
within 60 "$COFFER" seal "$snap" > /dev/null
[ -d "$VAULT/$(ts 2)" ] || fail "not sealed"
