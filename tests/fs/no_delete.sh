#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 29): a writer needs PUT, GET and LIST on its vault and never DELETE: with
# credentials that are denied it, snapshots are written, fsynced, resumed after a crash, sealed,
# removed while open and read; and a seal that fails on the way can be tried again.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
# Every DELETE is denied, and the first `.sealed` does not arrive.
URL="fault+$URL?rules=delete@1%2B0=fail:denied;put:.sealed=fail:denied"
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
make_tree "$TESTDIR/tree"
cp -a "$TESTDIR/tree/." "$VAULT/$(ts 1).partial/"
sync "$VAULT/$(ts 1).partial"
coffer_kill
coffer_mount
same_tree "$TESTDIR/tree" "$VAULT/$(ts 1).partial"
echo more > "$VAULT/$(ts 1).partial/more"
echo more > "$TESTDIR/tree/more"
touch -r "$TESTDIR/tree/more" "$VAULT/$(ts 1).partial/more"
touch -r "$TESTDIR/tree" "$VAULT/$(ts 1).partial"
assert_fails 'denied' seal 1
[ "$(find "$TESTDIR/store" -name '*.pending' | wc -l)" = 1 ] ||
  fail "a withdrawn manifest is what a writer without DELETE leaves"
seal 1
same_tree "$TESTDIR/tree" "$VAULT/$(ts 1)"

mkdir "$VAULT/$(ts 2).partial"
echo x > "$VAULT/$(ts 2).partial/x"
sync "$VAULT/$(ts 2).partial"
rm "$VAULT/$(ts 2).partial/x"
rmdir "$VAULT/$(ts 2).partial"
[ ! -e "$VAULT/$(ts 2).partial" ] || fail "an open snapshot without DELETE cannot be removed"
coffer_umount

# Another host sees one whole snapshot, and the removed one does not come back.
coffer_forget_local
coffer_mount
assert_eq "$(ls "$VAULT")" "$(ts 1)
latest"
same_tree "$TESTDIR/tree" "$VAULT/$(ts 1)"
