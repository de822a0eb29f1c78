#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: what a snapshot took - files open in the daemon, its working tree - is given back when it
# is removed, and when `mv` has sealed it though the kernel knew its files; and a state directory
# that others can write is refused.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
coffer_mount
for n in {100..159}; do
  T=$VAULT/$(ts "$n").partial
  mkdir "$T" 2> /dev/null || continue
  echo "$n" > "$T/file"
  rm "$T/file"
  rmdir "$T"
done
open_files () { find "/proc/${DAEMONS[$HOST]}/fd" | wc -l; }
before=$(open_files)
wait_for 20 "[ \$(find /proc/${DAEMONS[$HOST]}/fd | wc -l) -lt $((before - 50)) ] ||
  [ \$(find /proc/${DAEMONS[$HOST]}/fd | wc -l) -lt 70 ]" ||
  fail "$before files open after 60 snapshots were removed, $(open_files) later"
T=$VAULT/$(ts 200)
mkdir "$T.partial"
echo here > "$T.partial/file"
seal 200 > /dev/null
assert_eq "$(cat "$T/file")" here

# Some 64 more are open for the directories of the store, whatever the number of snapshots.
for n in {1000..1299}; do
  T=$VAULT/$(printf '20260102T%02d%02d%02dZ' $((n / 3600)) $((n / 60 % 60)) $((n % 60)))
  mkdir "$T.partial"
  echo "$n" > "$T.partial/file"
  assert_eq "$(cat "$T.partial/file")" "$n"
  mv -T "$T.partial" "$T" || fail "not sealed: $T"
done
wait_for 20 "[ \$(find /proc/${DAEMONS[$HOST]}/fd | wc -l) -lt 130 ]" ||
  fail "$(open_files) files open after 300 snapshots were sealed"
assert_eq "$(cat "$T/file")" 1299
coffer_umount

chmod 777 "$TESTDIR/a/state"
assert_fails 'state directory' "$COFFER" mount -f -o \
  "key-file=$KEY,state-dir=$TESTDIR/a/state,cache-dir=$TESTDIR/a/cache" "$URL" "$MNT"
