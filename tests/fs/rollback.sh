#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 21): a store that shows less than it did is noticed, by the host that saw more, by
# a host that was never here where a later snapshot names the hidden one, and by `coffer check`; and
# no mount goes below a format or a feature that it has seen.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
coffer_mount refresh=1
for n in 1 2 3; do
  mkdir "$VAULT/$(ts $n).partial"
  echo $n > "$VAULT/$(ts $n).partial/file"
  seal $n > /dev/null
done
snapshots=$TESTDIR/store/vaults/db/snapshots
hide () { mv "$snapshots/$(ts "$1")".*.sealed "$TESTDIR/hidden"; }
show () { mv "$TESTDIR/hidden" "$snapshots/$name"; }
# health STATUS: what `coffer status --health` ends with, soon.
health () {
  wait_for 8 "ls $VAULT; rc=0; '$COFFER' status --health '$MNT' || rc=\$?; [ \$rc = $1 ]" ||
    fail "health is not $1: $("$COFFER" status --health "$MNT" || :)"
}
check () { "$COFFER" check --key-file "$KEY" "$URL"; }
health 0
check > /dev/null

# The newest one: who has seen it knows, also after a restart.
name=$(basename "$snapshots/$(ts 3)".*.sealed)
hide 3
health 4
grep -q 'shows less' "$MNT/.coffer/health" || fail "health does not say what is wrong"
coffer_remount refresh=1
health 4
assert_fails 'shows less' "$COFFER" check "$MNT"
show
health 0
coffer_umount

# One in the middle, and a host that was never here: the next one names it.
name=$(basename "$snapshots/$(ts 2)".*.sealed)
hide 2
HOST=b coffer_mount refresh=1
assert_eq "$(cat "$VAULT/latest/file")" 3
health 4
grep -q "missing=$(cut -d. -f2 <<< "$name")" "$TESTDIR/daemon-b.log" ||
  fail "the log does not name the hidden snapshot"
rc=0
check > "$TESTDIR/out" 2>&1 || rc=$?
assert_eq $rc 4
assert_eq "$(grep -c "\.$(cut -d. -f2 <<< "$name")\.sealed" "$TESTDIR/out")" 1 \
  "$(cat "$TESTDIR/out")"
show
health 0
HOST=b coffer_umount
check > /dev/null

# A superblock below what was seen of it.
HOST=a
seen=$(echo "$TESTDIR"/a/state/seen/store-*)
cp "$seen" "$TESTDIR/seen"
for more in 'collect something-new' 'format 2'; do
  { cat "$TESTDIR/seen"; echo "$more"; } | sort -r > "$seen"
  rc=0
  "$COFFER" mount -o "key-file=$KEY,state-dir=$TESTDIR/a/state" "$URL" "$TESTDIR/a/mnt" \
    > "$TESTDIR/out" 2>&1 || rc=$?
  assert_eq $rc 4 "$(cat "$TESTDIR/out")"
  grep -q "lost=\"$more\"" "$TESTDIR/out" || fail "not said: $more: $(cat "$TESTDIR/out")"
done
echo garbage > "$seen" # says nothing
coffer_mount
assert_eq "$(cat "$VAULT/latest/file")" 3
coffer_umount
