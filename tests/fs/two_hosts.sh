#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (rulings 3, 14, 24): two hosts on one store: each sees the other's seals within the
# refresh time, neither sees the other's open snapshot, and two that seal one instant never make
# two snapshots of it.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
HOST=a coffer_mount refresh=2
A=$VAULT
HOST=b
coffer_mount refresh=2
B=$VAULT
mkdir "$A/$(ts 1).partial"
random "$A/$(ts 1).partial/file" 3000000 1
ls "$B" > /dev/null
sync "$A/$(ts 1).partial"
[ ! -e "$B/$(ts 1).partial" ] || fail "b shows a's open snapshot"
mv "$A/$(ts 1).partial" "$A/$(ts 1)"
wait_for 6 "[ \"\$(readlink $B/latest)\" = $(ts 1) ]" || fail "b does not see the seal"
cmp "$A/$(ts 1)/file" "$B/$(ts 1)/file"
# A name never asked for is asked from the store at once.
mkdir "$A/$(ts 2).partial"
mv "$A/$(ts 2).partial" "$A/$(ts 2)"
[ -d "$B/$(ts 2)" ] || fail "an unknown snapshot is not looked up"

# What b writes shares a's chunks.
mkdir "$B/$(ts 3).partial"
cp "$A/$(ts 1)/file" "$B/$(ts 3).partial/file"
mv "$B/$(ts 3).partial" "$B/$(ts 3)"
cmp "$A/$(ts 1)/file" "$B/$(ts 3)/file"

# One instant, both parts finished, both sealed at once, many times: one seal or none, never two;
# then it has both parts, whoever made it.
for ((n = 10; n < 20; n++)); do
  t=$(ts $n)
  mkdir "$A/$t.partial" "$B/$t.partial"
  echo a > "$A/$t.partial/a"
  echo b > "$B/$t.partial/b"
  sync "$B/$t.partial" # its part is in the store
  assert_fails 'not finished' "$COFFER" seal "$A/$t.partial"
  "$COFFER" -q seal --part "$A/$t.partial"
  "$COFFER" -q seal --part "$B/$t.partial"
  mv "$A/$t.partial" "$A/$t" 2> /dev/null & pa=$!
  mv "$B/$t.partial" "$B/$t" 2> /dev/null & pb=$!
  wait $pa || :
  wait $pb || :
  sealed=$(find "$TESTDIR/store/vaults/db/snapshots" -name "$t.*.sealed" | wc -l)
  [ "$sealed" -le 1 ] || fail "$t was sealed twice"
  [ "$sealed" = 1 ] || "$COFFER" -q seal "$A/$t.partial" # both had withdrawn
  wait_for 12 "[ -d '$A/$t' ] && [ ! -e '$A/$t.partial' ] && [ -d '$B/$t' ]" ||
    fail "$t is not there"
  assert_eq "$(cat "$A/$t/a" "$A/$t/b" | tr '\n' ' ')" "a b "
  assert_eq "$(cat "$B/$t/a" "$B/$t/b" | tr '\n' ' ')" "a b "
done
HOST=b coffer_umount
HOST=a coffer_umount
HOST=c coffer_mount
cmp "$VAULT/$(ts 1)/file" "$VAULT/$(ts 3)/file"

# A database made by one is seen by the other, and after a remount, before anything is in it.
mkdir "$REGION/empty"
HOST=d coffer_mount refresh=1
wait_for 10 "ls '$REGION' | grep -qx empty" || fail "an empty database is not seen by others"
HOST=c coffer_remount
[ -d "$REGION/empty" ] || fail "an empty database does not survive a remount"
assert_eq "$(ls -A "$REGION/empty")" ""
