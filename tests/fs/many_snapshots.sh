#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: what is asked of the store for one snapshot, begun and sealed, does not follow the number
# of sealed ones before it; and what many renames in a row held open is given back.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

coffer_init
coffer_mount refresh=600s
count=0
# Requests to the store for 20 snapshots.
asked () { "$COFFER" status --json "$MNT" | python3 -c '
import json, sys
def walk (o):
    if isinstance (o, dict):
        return sum (v if k in ("puts", "gets", "lists") else walk (v) for k, v in o.items ())
    return sum (map (walk, o)) if isinstance (o, list) else 0
print (walk (json.load (sys.stdin)))'; }
twenty () {
  local before n
  before=$(asked)
  for n in {1..20}; do
    count=$((count + 1))
    T=$VAULT/$(printf '20260102T00%02d%02dZ' $((count / 60)) $((count % 60)))
    mkdir "$T.partial"
    echo "$count" > "$T.partial/file"
    mv -T "$T.partial" "$T" || fail "not sealed: $T"
  done
  requests=$(($(asked) - before))
}
twenty # the first lists what there is
twenty
few=$requests
[ "$few" -ge 100 ] || fail "$few requests for 20 snapshots: they are not counted"
for i in {1..10}; do twenty; done
twenty
[ "$requests" -le $((few + 20)) ] ||
  fail "20 snapshots ask the store $requests times, at first $few times"
wait_for 20 "[ \$(find /proc/${DAEMONS[$HOST]}/fd | wc -l) -lt 130 ]" ||
  fail "$(find "/proc/${DAEMONS[$HOST]}/fd" | wc -l) files open after $count snapshots were sealed"
assert_eq "$(cat "$VAULT/latest/file")" "$count"
coffer_umount
