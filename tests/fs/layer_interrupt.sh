#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise: who waits for the store can be killed at once, whatever it waits for, and the daemon goes
# on (rulings 6, 11): the store of this double takes 20 s for everything.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../lib/ramount.sh"
requires_ramount

killed_within () {
  local start now rc=0
  start=$(date +%s%N)
  { timeout -s KILL 0.3 "$@" || rc=$?; } > /dev/null 2>&1
  now=$(date +%s%N)
  [ $rc = 137 ] || fail "'$*' did not wait (status $rc)"
  [ $((now - start)) -lt 1300000000 ] || fail "killing '$*' took $(((now - start) / 1000000)) ms"
}

ramount wait=20000,every=1000000
echo data > "$SNAP/file"
ln -s x "$SNAP/link"
ramount_end

ramount wait=20000
killed_within ls "$MNT/ram"
killed_within cat "$MNT/ram/db/x"
killed_within stat "$MNT/ram/other"
# Many at once: more than there are threads to wait in.
many () {
  local i
  for ((i = 0; i < 80; i++)); do timeout -s KILL 0.5 stat "$MNT/ram/n$i" & done
  wait
}
start=$(date +%s)
(many) > /dev/null 2>&1
[ $(($(date +%s) - start)) -lt 5 ] || fail "80 waiters were not killed at once"
