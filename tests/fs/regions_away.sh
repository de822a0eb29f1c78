#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise: one region's dead store does not keep the others from being mounted.  Its directory says
# that it is not there; once the store is back it is served, open snapshots and all, by itself.  A
# wrong key stays a refusal, and so does a mount none of whose stores answers.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
US=$TESTDIR/us
"$COFFER" init --key-file "$TESTDIR/us-key" "file://$US" > /dev/null
conf=$TESTDIR/conf
cat > "$conf" << EOF
region "eu" { url = "$URL"
  key-file = "$KEY" }
region "us" { url = "file://$US"
  key-file = "$TESTDIR/us-key" }
region "net" { url = "s3://bucket?endpoint=http://127.0.0.1:1"
  key-file = "$KEY" }
EOF
export AWS_ACCESS_KEY_ID=id AWS_SECRET_ACCESS_KEY=secret AWS_EC2_METADATA_DISABLED=true
MNT=$TESTDIR/a/mnt
mkdir -p "$MNT"
up () {
  "$COFFER" mount -f -c "$conf" -o "state-dir=$TESTDIR/a/state,refresh=1" "$MNT" \
    >> "$TESTDIR/daemon-a.log" 2>&1 &
  DAEMONS[a]=$!
  wait_for 40 "mountpoint -q '$MNT' || ! kill -0 ${DAEMONS[a]}" || fail "the mount hangs"
  mountpoint -q "$MNT" || fail "no mount: $(tail -n 3 "$TESTDIR/daemon-a.log")"
}
at_exit coffer_stop

# With one store dead from the start ("net"), the others are served.
up
mkdir "$MNT/us/db" "$MNT/us/db/$(ts 1).partial"
random "$MNT/us/db/$(ts 1).partial/file" 1000000 1
sync "$MNT/us/db/$(ts 1).partial"
assert_eq "$(ls "$MNT")" "eu
net
us"
assert_fails 'temporarily unavailable' ls "$MNT/net"
assert_fails 'temporarily unavailable' mkdir "$MNT/net/db"
grep -q '^region net is not served' "$MNT/.coffer/health" || fail "$(cat "$MNT/.coffer/health")"
assert_eq "$("$COFFER" status --json "$MNT" | jq -r '.regions[] | select(.away != "") | .name')" net
coffer_umount

# A store that goes before the mount and comes back during it.
mv "$US" "$TESTDIR/gone"
mkdir "$US" # as where a disk is not mounted
up
grep -q '^region us is not served' "$MNT/.coffer/health" || fail "$(cat "$MNT/.coffer/health")"
assert_fails 'temporarily unavailable' ls "$MNT/us"
assert_fails 'temporarily unavailable' stat "$MNT/us/db/$(ts 1).partial/file"
mkdir "$MNT/eu/db" "$MNT/eu/db/$(ts 1).partial"
echo x > "$MNT/eu/db/$(ts 1).partial/file"
"$COFFER" seal "$MNT/eu/db/$(ts 1).partial" > /dev/null
rmdir "$US"
mv "$TESTDIR/gone" "$US"
wait_for 60 "ls '$MNT/us/db'" || fail "us does not come back: $(cat "$MNT/.coffer/health")"
random "$TESTDIR/want" 1000000 1
cmp "$TESTDIR/want" "$MNT/us/db/$(ts 1).partial/file"
"$COFFER" seal "$MNT/us/db/$(ts 1).partial" > /dev/null
cmp "$TESTDIR/want" "$MNT/us/db/$(ts 1)/file"
coffer_umount

refuses () { # refuses STATUS TEXT
  local rc=0
  "$COFFER" mount -c "$conf" -o "state-dir=$TESTDIR/a/state" "$MNT" > "$TESTDIR/out" 2>&1 || rc=$?
  assert_eq $rc "$1" "$(cat "$TESTDIR/out")"
  grep -q "$2" "$TESTDIR/out" || fail "not '$2': $(cat "$TESTDIR/out")"
}
# A wrong key; a key that is not there; nothing answers; the only region's store is away.
cp "$conf" "$TESTDIR/good"
sed -i "s|us-key|key|" "$conf"
refuses 77 'opens none of the key slots'
sed "s|us-key|no-such-key|" "$TESTDIR/good" > "$conf"
refuses 1 'no-such-key'
cp "$TESTDIR/good" "$conf"
mv "$US" "$TESTDIR/gone"
mv "$TESTDIR/store" "$TESTDIR/gone2"
mkdir "$US" "$TESTDIR/store"
refuses 75 "no region's store answers"
sed -n '1,2p' "$TESTDIR/good" > "$conf"
refuses 1 'coffer init makes'
