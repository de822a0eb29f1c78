#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 10): .coffer is listed, read by cat, its JSON parses, a setting takes effect, a
# wrong one is refused with an errno and a sentence; `umount` refuses while files are written.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../lib/ramount.sh"
requires_ramount
requires python3 setfattr jq

# order LINE: prints the answer.
order () {
  python3 - "$MNT/.coffer/command" "$1" << 'END'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
failed = None
try:
    os.write(fd, sys.argv[2].encode() + b'\n')
except OSError as e:
    failed = e
print(os.read(fd, 4096).decode().strip())
if failed:
    sys.exit(f'{failed.strerror}')
END
}

chmod 755 "$TESTDIR"
ramount allow_other
ls "$MNT" | grep -qx .coffer && fail "ls shows a dot file"
ls -a "$MNT" | grep -qx .coffer || fail ".coffer is not listed"
assert_eq "$(ls "$MNT/.coffer" | tr '\n' ' ')" \
  "command config health metrics status status.json throttle version "
ls -l "$MNT/.coffer" "$MNT/.coffer/throttle" > /dev/null
assert_eq "$(cat "$MNT/.coffer/health")" ok
grep -q '^coffer [0-9]' "$MNT/.coffer/version" || fail "no version"
grep -q '20260101T000000Z.partial' "$MNT/.coffer/status" || fail "status does not name the snapshot"
assert_eq "$(jq -r '.snapshots[0].state' "$MNT/.coffer/status.json")" open
bad=$(grep -vE '^#|^coffer_[a-z_]+({[^}]*})? [0-9]+$' "$MNT/.coffer/metrics") || :
assert_eq "$bad" "" metrics

# Settings.
assert_eq "$(cat "$MNT/.coffer/throttle/ram")" off
echo 20MB > "$MNT/.coffer/throttle/ram"
assert_eq "$(cat "$MNT/.coffer/throttle/ram")" 20MB
assert_fails 'invalid argument' bash -c "echo '!' > '$MNT/.coffer/throttle/ram'"
assert_fails 'denied|not permitted' bash -c "echo x > '$MNT/.coffer/version'"
assert_fails 'not permitted|exists' mkdir "$MNT/.coffer/x"
assert_fails 'not permitted' rm -r "$MNT/.coffer"
assert_fails 'not permitted|exists' mkdir "$MNT/.coffer"
assert_fails 'not permitted' mv "$MNT/.coffer" "$MNT/x"
# Others may look, and not order.
setpriv --reuid 65534 --regid 65534 --clear-groups cat "$MNT/.coffer/status" > /dev/null
assert_fails 'denied' setpriv --reuid 65534 --regid 65534 --clear-groups \
  bash -c "echo umount > '$MNT/.coffer/command'"

# Orders.
assert_eq "$(order 'log debug')" ok
assert_fails 'error: usage' order 'log nonsense'
assert_fails 'unknown command' order 'frobnicate'
assert_fails 'no such file' order 'seal ram/db/none'
exec 5> "$SNAP/file"
assert_fails 'open for writing' order umount
assert_fails 'open for writing' order "seal $SNAP"
exec 5>&-
assert_fails 'not permitted' setfattr -n user.coffer.command -v seal "$MNT/ram/db"
assert_fails 'invalid' setfattr -n user.coffer.command -v dance "$SNAP"
assert_eq "$(order "seal $SNAP/")" "ok sealing ram/db/20260101T000000Z.partial"
assert_fails 'read-only' touch "$SNAP/file2"
mkdir "$MNT/ram/db/20260102T000000Z.partial"
setfattr -n user.coffer.command -v seal "$MNT/ram/db/20260102T000000Z.partial"
assert_fails 'read-only' touch "$MNT/ram/db/20260102T000000Z.partial/x"

# The log is opened again on SIGHUP, and the daemon goes on.
kill -HUP "$RAMOUNT_PID"
wait_for 5 "grep -q 'log reopened' '$TESTDIR/ramount.log'" || fail "SIGHUP"
assert_eq "$(order umount)" ok
wait_for 5 "! mountpoint -q '$MNT'" || fail "still mounted after umount"
