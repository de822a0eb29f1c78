#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise: src/fs adds nothing to what the layer below answers: random operations give the same as
# on an ordinary directory, also while half of all calls are deferred, and every reference is given
# back.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../lib/ramount.sh"
requires_ramount
requires python3

seed=${SEED:-$((RANDOM + 1))}
for options in read_ahead=128 wait=1,every=2,threads=3; do
  ramount $options
  mkdir -p "$TESTDIR/ref$seed"
  "$TOP/tests/fs/model.py" run "$TESTDIR/ref$seed" "$SNAP" --seed "$seed" --ops 500 ||
    fail "options $options"
  sync
  echo 2 > /proc/sys/vm/drop_caches
  wait_for 5 "grep -qE '^refs [0-9] files 0' '$MNT/.coffer/config'" ||
    fail "not all was given back: $(cat "$MNT/.coffer/config")"
  ramount_end
  seed=$((seed + 1))
done
