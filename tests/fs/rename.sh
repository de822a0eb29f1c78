#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 12): of a snapshot's directory only the commit renames exist; all else is EINVAL
# or EEXIST and never EXDEV (mv would copy 5 TB and delete the source); within a snapshot rename is
# POSIX.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

# ren FLAGS FROM TO: renameat2, prints "ok" or the errno's name.
ren () {
  python3 - "$@" << 'END'
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
flags, a, b = int(sys.argv[1]), os.fsencode(sys.argv[2]), os.fsencode(sys.argv[3])
rc = libc.renameat2(-100, a, -100, b, flags)
print('ok' if rc == 0 else errno.errorcode[ctypes.get_errno()])
END
}

coffer_init
coffer_mount
mkdir "$REGION/other"
t1=$VAULT/$(ts 1) t2=$VAULT/$(ts 2) t3=$VAULT/$(ts 3)
mkdir "$t1.partial" "$t2.partial" "$t3"
echo 1 > "$t1.partial/file"
echo 2 > "$t2.partial/file"
for flags in 0 1; do
  assert_eq "$(ren $flags "$t1.partial" "$t2")" EINVAL "another instant"
  assert_eq "$(ren $flags "$t1.partial" "$REGION/other/$(ts 1)")" EINVAL "another vault"
  assert_eq "$(ren $flags "$t1.partial" "$t2.partial/x")" EINVAL "into another snapshot"
  assert_eq "$(ren $flags "$t1.partial" "$VAULT/name")" EINVAL "no timestamp"
  assert_eq "$(ren $flags "$VAULT" "$REGION/db2")" EINVAL "a vault"
  assert_eq "$(ren $flags "$REGION" "$MNT/eu")" EINVAL "a region"
done
assert_eq "$(ren 2 "$t1.partial" "$t2.partial")" EINVAL "exchange"
assert_eq "$(ren 0 "$t1.partial/file" "$t2.partial/file2")" EXDEV "a file between snapshots"
mv "$t1.partial/file" "$t2.partial/moved" # mv then copies
assert_eq "$(cat "$t2.partial/moved")" 1
[ ! -e "$t1.partial/file" ] || fail "mv left its source"
assert_eq "$(ren 0 "$t2.partial/file" "$VAULT/file")" EINVAL "a file out of its snapshot"

# With T there, mv T.partial T would be a rename into T.
assert_eq "$(ren 0 "$t2.partial" "$t3")" EINVAL
assert_fails 'invalid|exists|subdirectory' mv "$t1.partial" "$t3"
mv "$t2.partial" "$t2"
assert_eq "$(cat "$t2/moved")" 1
assert_eq "$(readlink "$VAULT/latest")" "$(ts 2)"
assert_fails 'exists' mkdir "$t2.partial"
assert_fails 'exists' mkdir "$t2"
assert_eq "$(ren 0 "$t2" "$VAULT/$(ts 4)")" EINVAL "a sealed one"
assert_eq "$(ren 0 "$VAULT/latest" "$VAULT/x")" EINVAL latest
assert_fails 'read-only' mv "$t2/file" "$t2/file2"
# A label may be added by the commit.
mkdir "$VAULT/$(ts 5).partial"
mv "$VAULT/$(ts 5).partial" "$VAULT/$(ts 5)-before-upgrade"
[ -d "$VAULT/$(ts 5)-before-upgrade" ] || fail "no labelled snapshot"

# Within one: POSIX, NOREPLACE, EXCHANGE.
cd "$t1.partial"
echo a > a
echo b > b
mkdir d e
echo x > d/x
assert_eq "$(ren 1 a b)" EEXIST
assert_eq "$(ren 2 a b)" ok
assert_eq "$(cat a b)" "b
a"
assert_eq "$(ren 2 a none)" ENOENT
assert_eq "$(ren 2 a d)" ok
assert_eq "$(cat d a/x)" "b
x"
assert_eq "$(ren 0 e a)" ENOTEMPTY
assert_eq "$(ren 0 e b)" ENOTDIR
assert_eq "$(ren 0 b e)" EISDIR
assert_eq "$(ren 0 a a/y)" EINVAL
assert_eq "$(ren 0 a e)" ok
assert_eq "$(cat e/x)" x
ln d d2
assert_eq "$(ren 0 d d2)" ok "two names of one file: nothing happens"
assert_eq "$(ls | tr '\n' ' ')" "b d d2 e "
