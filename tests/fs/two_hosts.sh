#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (rulings 3, 14, 24): two hosts on one store: each sees the other's seals within the
# refresh time, neither sees the other's open snapshot, and of two that seal one instant never do
# both win.
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

# One instant, both at once, many times: one wins or none.
for ((n = 10; n < 20; n++)); do
  mkdir "$A/$(ts $n).partial" "$B/$(ts $n).partial" || continue
  echo a > "$A/$(ts $n).partial/who"
  echo b > "$B/$(ts $n).partial/who"
  ra=1 rb=1
  mv "$A/$(ts $n).partial" "$A/$(ts $n)" 2> /dev/null & pa=$!
  mv "$B/$(ts $n).partial" "$B/$(ts $n)" 2> /dev/null & pb=$!
  wait $pa && ra=0
  wait $pb && rb=0
  [ $ra = 1 ] || [ $rb = 1 ] || fail "both sealed $(ts $n)"
  sleep 0.1
  if [ $ra = 0 ]; then assert_eq "$(cat "$A/$(ts $n)/who")" a; fi
  if [ $rb = 0 ]; then assert_eq "$(cat "$B/$(ts $n)/who")" b; fi
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
