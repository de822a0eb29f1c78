#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: a full store is said plainly (errno, status, seal, exit status), nothing is sealed as
# if it had been stored, and when there is room again the same snapshot can be written anew and
# sealed.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires jq

mkdir "$TESTDIR/disk"
mount -t tmpfs -o size=40M tmpfs "$TESTDIR/disk" || skip "needs to mount a tmpfs"
at_exit "umount -l $TESTDIR/disk"
URL=file://$TESTDIR/disk/store
coffer_init
coffer_mount retry=quick
mkdir "$VAULT/$(ts 1).partial"
random "$VAULT/$(ts 1).partial/small" 5000000 1
seal 1 > /dev/null

T=$VAULT/$(ts 2)
mkdir "$T.partial"
random "$TESTDIR/big" 80000000 2
# The error comes with a write, the close or the seal, but it comes.
rc=0
timeout 120 cp "$TESTDIR/big" "$T.partial/big" 2> "$TESTDIR/err" || rc=$?
[ $rc = 0 ] || grep -qi 'no space left' "$TESTDIR/err" || fail "cp said: $(cat "$TESTDIR/err")"
rc=0
timeout 120 "$COFFER" seal "$T.partial" > "$TESTDIR/out" 2> "$TESTDIR/err" || rc=$?
assert_eq $rc 1 "seal on a full store: $(cat "$TESTDIR/err")"
grep -qi 'no space left' "$TESTDIR/err" || fail "seal said: $(cat "$TESTDIR/err")"
[ ! -e "$T" ] || fail "a snapshot is sealed whose data is not stored"
"$COFFER" status --json "$MNT" | jq -e '.snapshots[] | select(.state == "open") | .error != ""' \
  > /dev/null || fail "status shows no error"
rc=0
"$COFFER" status --health "$MNT" > "$TESTDIR/out" || rc=$?
assert_eq $rc 3 "health: $(cat "$TESTDIR/out")"
cmp <(random /dev/stdout 5000000 1) "$VAULT/$(ts 1)/small" || fail "what was sealed before is hurt"

rm -rf "$T.partial"
[ ! -e "$T.partial" ] || fail "the failed snapshot cannot be removed"

# Room again: a new snapshot takes it all, and what the failed one had sent is used.
mount -o remount,size=400M "$TESTDIR/disk"
T=$VAULT/$(ts 3)
mkdir "$T.partial"
timeout 120 cp "$TESTDIR/big" "$T.partial/big"
seal 3 > /dev/null
cmp "$TESTDIR/big" "$T/big"
"$COFFER" check --read-data -q --key-file "$KEY" "$URL" || fail "check"
coffer_umount
