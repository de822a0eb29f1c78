#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Promise: an open snapshot is an ordinary directory, and what is sealed is what was there: random
# operations give the same results and errors as on a local file system; sealed and mounted again
# with an empty cache and no local state, every byte, time and attribute is the same.
# SEED=N and OPS=N repeat a failed run.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

seed=${SEED:-$((RANDOM + 1))}
coffer_init
coffer_mount
for ((n = 1; n <= ${ROUNDS:-2}; n++)); do
  snap=$VAULT/$(ts $n).partial
  mkdir "$snap" "$TESTDIR/ref$n"
  "$TOP/tests/fs/model.py" run "$TESTDIR/ref$n" "$snap" --seed $((seed + n)) --ops "${OPS:-600}" ||
    fail "SEED=$seed"
  if [ $((n % 2)) = 1 ]; then
    seal $n
  else
    coffer_remount # open snapshots are resumed
    "$TOP/tests/fs/model.py" compare "$TESTDIR/ref$n" "$VAULT/$(ts $n).partial" || fail "resumed"
    seal $n
  fi
  "$TOP/tests/fs/model.py" compare "$TESTDIR/ref$n" "$VAULT/$(ts $n)" || fail "sealed, SEED=$seed"
done
coffer_umount
coffer_forget_local
coffer_mount
for ((n = 1; n <= ${ROUNDS:-2}; n++)); do
  "$TOP/tests/fs/model.py" compare "$TESTDIR/ref$n" "$VAULT/$(ts $n)" || fail "cold, SEED=$seed"
done
