#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 22): a bare mount point takes no data; a dead mount is detached by the next one;
# umount is refused while files are written; only the mounting user gets in unless allow_other.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires setpriv

coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
chmod 755 "$TESTDIR" "$TESTDIR/a"
assert_fails 'denied' setpriv --reuid 65534 --regid 65534 --clear-groups ls "$MNT"
exec 5> "$VAULT/$(ts 1).partial/file"
assert_fails 'open for writing|writing' "$COFFER" umount "$MNT"
mountpoint -q "$MNT" || fail "a refused umount unmounted"
echo still >&5
exec 5>&-
coffer_umount
assert_fails 'denied|not permitted|read-only' mkdir "$MNT/local"
assert_fails 'denied|not permitted|read-only' setpriv --reuid 65534 --regid 65534 --clear-groups \
  touch "$MNT/x"

# A dead one: the daemon goes, the mount stays, until the next.
coffer_mount allow_other
kill -KILL "${DAEMONS[a]}"
wait "${DAEMONS[a]}" 2> /dev/null || :
unset 'DAEMONS[a]'
assert_fails 'not connected' ls "$MNT"
d=$(host_dir)
opts=key-file=$KEY,state-dir=$d/state,cache-dir=$d/cache,allow_other
"$COFFER" mount -f -o "$opts" "$URL" "$MNT" >> "$TESTDIR/daemon-a.log" 2>&1 &
DAEMONS[a]=$!
wait_for 20 "[ -e '$MNT/.coffer/version' ]" || fail "a dead mount is not replaced"
assert_eq "$(cat "$VAULT/$(ts 1).partial/file")" still
setpriv --reuid 65534 --regid 65534 --clear-groups ls "$MNT" > /dev/null
# A signal ends it too, with what is open made durable and status 0.
echo more >> "$VAULT/$(ts 1).partial/file"
kill -TERM "${DAEMONS[a]}"
wait "${DAEMONS[a]}" || fail "SIGTERM: status $?"
unset 'DAEMONS[a]'
coffer_mount
assert_eq "$(cat "$VAULT/$(ts 1).partial/file")" "still
more"
