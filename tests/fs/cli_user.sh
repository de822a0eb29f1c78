#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: a user who is not root can do it all by fusermount3, with files in his own directories;
# and nobody but who mounted gets in unless allow-other is asked for.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires runuser fusermount3

# As udev makes it on Debian.
mode=$(stat -c %a /dev/fuse)
at_exit "chmod $mode /dev/fuse"
chmod 666 /dev/fuse
chmod 755 "$TESTDIR"
mkdir -m 777 "$TESTDIR/user"
cd "$TESTDIR/user"
cp "$COFFER" "$TESTDIR/coffer"
as_user () {
  timeout 60 runuser -u nobody -- env -u XDG_CONFIG_HOME HOME="$PWD" PATH="$TESTDIR:$PATH" "$@"
}

as_user coffer init "file://$PWD/store" > /dev/null 2>&1 || fail "init"
as_user mkdir mnt
as_user coffer mount "file://$PWD/store" mnt || fail "mount"
at_exit "umount -l $PWD/mnt 2> /dev/null"
T=mnt/local/db/$(ts 1)
as_user mkdir mnt/local/db "$T.partial"
as_user cp /etc/passwd "$T.partial/" || fail "cp"
as_user coffer seal "$T.partial" > /dev/null || fail "seal"
as_user cmp /etc/passwd mnt/local/db/latest/passwd || fail "cmp"
as_user coffer snapshots --short mnt | grep -q "$(ts 1)" || fail "snapshots"
assert_eq "$(as_user stat -c %U "$T/passwd")" nobody "owner"
as_user coffer umount mnt || fail "umount"
! mountpoint -q mnt || fail "still mounted"
[ -d .local/state/coffer ] && [ -d .config/coffer/keys ] || fail "files elsewhere than in the home"
[ "$(stat -c %a mnt)" = 755 ] || fail "the mount point was made unusable for its user"

# Root mounts: others are out, and in with allow-other (as far as modes let them).
coffer_init
MNT=$TESTDIR/mnt
"$COFFER" mount -o "key-file=$KEY,state-dir=$TESTDIR/state" "$URL" "$MNT"
at_exit "umount -l $MNT 2> /dev/null"
assert_fails 'permission denied' as_user ls "$MNT"
"$COFFER" umount "$MNT"
"$COFFER" mount -o "key-file=$KEY,state-dir=$TESTDIR/state,allow_other" "$URL" "$MNT"
as_user ls "$MNT/local" > /dev/null || fail "allow-other"
assert_fails 'permission denied' as_user mkdir "$MNT/local/db"
mkdir -p "$MNT/local/db"
T=$MNT/local/db/$(ts 1)
mkdir "$T.partial"
echo secret > "$T.partial/secret"
chmod 600 "$T.partial/secret"
assert_fails 'permission denied' as_user cat "$T.partial/secret"
assert_fails 'permission denied' as_user coffer seal "$T.partial"
"$COFFER" umount "$MNT"
