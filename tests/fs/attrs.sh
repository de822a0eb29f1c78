#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 2, ruling 9): facts about a snapshot are read by name and never listed; only
# user.coffer.meta.* can be set, on an open one, and sealing freezes it.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires getfattr setfattr

get () { getfattr --only-values -n "user.coffer.$1" "$2"; }
coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir "$snap"
random "$snap/file" 100000
mkdir "$snap/dir"
assert_eq "$(get state "$snap")" open
setfattr -n user.coffer.meta.ticket -v 4711 "$snap"
assert_eq "$(get meta.ticket "$snap")" 4711
for name in state created sealed size digest retain-until hold; do
  assert_fails 'not permitted' setfattr -n "user.coffer.$name" -v x "$snap"
done
assert_fails 'not permitted' setfattr -n user.coffer.sha256 -v x "$snap/file"
listed=$(getfattr -d -m - "$snap" 2> /dev/null | grep '^user.coffer' | grep -v meta) || :
assert_eq "$listed" "" "listed attributes"
# One with an attribute of its own beside one without, and a second name of it.
setfattr -n user.own -v mine "$snap/dir"
random "$snap/dir/with" 10
setfattr -n user.own -v "his" "$snap/dir/with"
ln "$snap/dir/with" "$snap/another"
seal 1
s=$VAULT/$(ts 1)
assert_eq "$(get state "$s")" sealed
assert_eq "$(get meta.ticket "$s")" 4711
for name in created sealed size stored files digest region; do
  [ -n "$(get $name "$s")" ] || fail "no user.coffer.$name"
done
[ "$(get size "$s")" -ge 100000 ] || fail "size"
[ -n "$(get digest "$s/file")" ] || fail "no digest of a file"
assert_fails 'no such attribute' getfattr -n user.coffer.nothing "$s"
assert_fails 'read-only' setfattr -n user.coffer.meta.ticket -v 1 "$s"
assert_fails 'read-only' setfattr -n user.coffer.command -v seal "$s"
if get sha256 "$s/file" > "$TESTDIR/sha" 2> /dev/null; then
  assert_eq "$(cut -c1-64 "$TESTDIR/sha")" "$(sha256sum "$s/file" | cut -c1-64)"
fi
own () { getfattr --only-values -n user.own "$1"; }
# What is answered from the node's number alone says the same as the tree, however it was found.
for how in lookup list again; do
  [ $how = lookup ] || ls -lR "$s" > /dev/null
  [ $how != again ] || coffer_remount
  assert_eq "$(own "$s/dir")" mine "own attribute of a directory ($how)"
  assert_eq "$(own "$s/dir/with")" his "own attribute of a file ($how)"
  assert_eq "$(own "$s/another")" his "own attribute by the second name ($how)"
  assert_fails 'no such attribute' own "$s/file"
  assert_fails 'no such attribute' own "$s"
  assert_eq "$(getfattr -d -m - "$s/file")" "" "attributes of a file without"
  [ -n "$(get digest "$s/file")" ] || fail "no digest of a file without attributes ($how)"
done
assert_eq "$(get meta.ticket "$s")" 4711
# By the xattr command.
mkdir "$VAULT/$(ts 2).partial"
setfattr -n user.coffer.command -v seal "$VAULT/$(ts 2).partial"
wait_for 10 "[ -d '$VAULT/$(ts 2)' ]" || fail "user.coffer.command=seal"
wait_for 3 "[ ! -e '$VAULT/$(ts 2).partial' ]" || fail "the partial's name stays"
