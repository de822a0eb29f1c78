#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: while the store is away `coffer umount` waits and says what is left, Ctrl-C ends the wait
# and not the work, and --force ends in seconds; what was durable is there after the next mount.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
mnt=$TESTDIR/mnt
options=key-file=$KEY,state-dir=$TESTDIR/state,log=$TESTDIR/daemon.log
mount_away () {
  COFFER_FAULTS=$1 "$COFFER" mount -o "$options" "fault+$URL" "$mnt"
  daemon=$(sed -n '1s/^# pid //p' "$mnt/.coffer/config")
}
at_exit "umount -l $mnt 2> /dev/null"
is_gone () { [ ! -d "/proc/$1" ] || [[ $(ps -o stat= -p "$1") = Z* ]]; }

# The pack of the fsync gets through, then none does.
mount_away 'put:packs@2+0=fail:again'
mkdir "$mnt/local/db"
T=$mnt/local/db/$(ts 1)
mkdir "$T.partial"
echo durable > "$T.partial/durable"
sync "$T.partial/durable"
random "$TESTDIR/big" 30000000
timeout 60 cp "$TESTDIR/big" "$T.partial/big"

rc=0
timeout -s INT 3 "$COFFER" umount "$mnt" 2> "$TESTDIR/err" || rc=$?
grep -q 'not waiting any more' "$TESTDIR/err" || fail "Ctrl-C ($rc): $(cat "$TESTDIR/err")"
ls "$mnt/local/db" > /dev/null || fail "the mount does not serve while it drains"
kill -0 "$daemon" || fail "the daemon has gone"

rc=0
within 60 "$COFFER" umount --force "$mnt" 2> "$TESTDIR/err" || rc=$?
[ $rc = 3 ] || [ $rc = 0 ] || fail "umount --force ended with $rc: $(cat "$TESTDIR/err")"
[ $rc = 0 ] || grep -q 'without waiting for the store' "$TESTDIR/err" ||
  fail "$(cat "$TESTDIR/err")"
! mountpoint -q "$mnt" || fail "still mounted"
is_gone "$daemon" || fail "the daemon lives"

"$COFFER" mount -o "$options" "$URL" "$mnt"
assert_eq "$(cat "$T.partial/durable")" durable "what was fsynced"
timeout 60 cp "$TESTDIR/big" "$T.partial/big"
within 60 "$COFFER" seal "$T.partial" > /dev/null || fail "seal after the store is back"
cmp "$TESTDIR/big" "$T/big"
within 60 "$COFFER" umount "$mnt" || fail "umount"
