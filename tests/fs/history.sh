#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 10): `.coffer/history` has a record of each snapshot begun, resumed, sealed or
# not, and removed, and of each check; it survives a remount and a crash, and does not grow for
# ever.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires jq

coffer_init
coffer_mount
H=$MNT/.coffer/history
# has N JQ-CONDITION: so many lines of the history are such.
has () {
  assert_eq "$(jq -s "[.[] | select($2)] | length" "$H")" "$1" "$2: $(cat "$H")"
}
assert_eq "$(cat "$H")" ""
begun=$(date -u +%FT%TZ)
mkdir "$VAULT/$(ts 1).partial"
random "$VAULT/$(ts 1).partial/file" 1000000 1
setfattr -n user.coffer.meta.correlation-id -v job-7 "$VAULT/$(ts 1).partial"
exec 7> "$VAULT/$(ts 1).partial/open"
assert_fails busy seal 1
exec 7>&-
seal 1 > /dev/null
has 1 ".event == \"begin\" and .snapshot == \"local/db/$(ts 1)\" and .uid == $(id -u)"
has 1 '.event == "seal" and .result == "busy" and (.error | test("open for writing"))'
has 1 '.event == "seal" and .result == "done" and .how == "command" and .logical == 1000000 and
  .new == 1000000 and .files == 2 and .stored > 1000000 and .correlation_id == "job-7"'
has 0 ".time < \"$begun\" or .host != \"$(hostname)\""
mkdir "$VAULT/$(ts 2).partial" "$VAULT/$(ts 3).partial"
rmdir "$VAULT/$(ts 2).partial"
has 1 ".event == \"remove\" and .snapshot == \"local/db/$(ts 2)\""
sync "$VAULT/$(ts 3).partial"
coffer_kill
coffer_mount
has 1 ".event == \"resume\" and .snapshot == \"local/db/$(ts 3)\""
mv "$VAULT/$(ts 3).partial" "$VAULT/$(ts 3)"
has 1 '.event == "seal" and .how == "rename"'
"$COFFER" check --read-data "$MNT" > /dev/null
has 1 '.event == "check" and .result == "done" and .snapshots == 2 and .read_data'
find "$TESTDIR/store/vaults/db/packs" -type f -size +900k -delete
! "$COFFER" check "$MNT" > /dev/null 2>&1 || fail "a missing pack is not noticed"
has 1 '.event == "check" and .result == "damage" and .status == 4 and .bad_files == 1'

# Bounded: the oldest go.
coffer_umount
state=$TESTDIR/a/state
head -n 1 "$state/history" > "$TESTDIR/line"
lines=$((1048576 / $(stat -c %s "$TESTDIR/line")))
yes "$(cat "$TESTDIR/line")" | head -n $lines > "$state/history" || :
cp "$state/history" "$state/history.1"
coffer_mount
for n in 4 5 6 7; do mkdir "$VAULT/$(ts $n).partial"; done
[ "$(stat -c %s "$state/history")" -lt 10000 ] || fail "the history is not turned over"
has 1 ".snapshot == \"local/db/$(ts 7)\""
[ "$(wc -c < "$H")" -lt 2200000 ] || fail "the history grows for ever"
coffer_umount
