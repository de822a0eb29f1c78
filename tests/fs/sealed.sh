#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise 1: a sealed snapshot refuses every change, from root too, and rm -rf destroys none of it;
# an open one is removed only when it is empty, on its own host, with nobody writing (ruling 23).
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires setfattr setfacl fallocate python3

coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
make_tree "$TESTDIR/src"
cp -a "$TESTDIR/src/." "$VAULT/$(ts 1).partial/"
exec 5< "$VAULT/$(ts 1).partial/sub/text"
cd "$VAULT/$(ts 1).partial/sub"
seal 1
# What was found before the seal answers after it.
assert_eq "$(cat <&5)" hello
assert_eq "$(cat text)" hello
assert_fails 'read-only' touch new
cd /
s=$VAULT/$(ts 1)
ro='read-only'
assert_fails "$ro" touch "$s/new"
assert_fails "$ro" mkdir "$s/new"
assert_fails "$ro" ln -s x "$s/new"
assert_fails "$ro" mkfifo "$s/new"
assert_fails "$ro" ln "$s/random" "$s/new"
assert_fails "$ro" rm "$s/random"
assert_fails "$ro" rmdir "$s/empty"
assert_fails "$ro" mv "$s/random" "$s/new"
assert_fails "$ro" chmod 700 "$s/random"
assert_fails "$ro" chmod 700 "$s"
assert_fails "$ro" chown 1 "$s/random"
assert_fails "$ro" touch -d 2001-01-01 "$s/random"
assert_fails "$ro" truncate -s 1 "$s/random"
assert_fails "$ro" fallocate -l 1G "$s/random"
assert_fails "$ro" setfattr -n user.x -v y "$s/random"
assert_fails "$ro" setfattr -x user.note "$s/random"
assert_fails "$ro" setfacl -m u:1:r "$s/random"
assert_fails "$ro" dd if=/dev/null of="$s/random" status=none
assert_fails "$ro" dd if=/dev/zero of="$s/random" conv=notrunc count=1 status=none
rm -rf "$MNT" 2> /dev/null || :
same_tree "$TESTDIR/src" "$s"

# Open ones.
mkdir "$VAULT/$(ts 2).partial"
echo x > "$VAULT/$(ts 2).partial/file"
assert_fails 'not empty' rmdir "$VAULT/$(ts 2).partial"
rm -rf "$VAULT/$(ts 2).partial"
[ ! -e "$VAULT/$(ts 2).partial" ] || fail "an open snapshot could not be removed"
mkdir "$VAULT/$(ts 3).partial"
exec 6> "$VAULT/$(ts 3).partial/file"
rm "$VAULT/$(ts 3).partial/file"
assert_fails 'busy' rmdir "$VAULT/$(ts 3).partial"
exec 6>&-
sleep 0.2
rmdir "$VAULT/$(ts 3).partial"
coffer_remount
assert_eq "$(ls "$VAULT" | tr '\n' ' ')" "$(ts 1) latest "
same_tree "$TESTDIR/src" "$s"
