#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 3): hard links and copy_file_range from a sealed snapshot copy references, not
# bytes: rsync --link-dest and cp inside the mount store the tree and nothing else.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires rsync jq

stored () {
  jq --arg s "$(ts "$1")" '.snapshots[] | select(.name | startswith($s)) | .stored' \
    "$MNT/.coffer/status.json"
}
received () {
  jq --arg s "$(ts "$1")" '.snapshots[] | select(.name | startswith($s)) | .received' \
    "$MNT/.coffer/status.json"
}

src=$TESTDIR/src
make_tree "$src"
random "$src/big" 20000000 9
coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial" "$REGION/other"
rsync -aHAX "$src/" "$VAULT/$(ts 1).partial/"
seal 1

mkdir "$VAULT/$(ts 2).partial"
rsync -aHAX --link-dest="../$(ts 1)" "$src/" "$VAULT/$(ts 2).partial/"
assert_eq "$(received 2)" 0 "file data was sent"
same_tree "$src" "$VAULT/$(ts 2).partial"
seal 2
same_tree "$src" "$VAULT/$(ts 2)"
[ "$(stored 2)" -lt 100000 ] || fail "--link-dest stored $(stored 2) bytes"

mkdir "$VAULT/$(ts 3).partial"
cp -a "$VAULT/latest/." "$VAULT/$(ts 3).partial/"
same_tree "$src" "$VAULT/$(ts 3).partial"
# Part of a file, to another place.
python3 - "$VAULT/$(ts 1)/big" "$VAULT/$(ts 3).partial/part" << 'END'
import os, sys
a, b = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
off = 0
while off < 5000000:
    off += os.copy_file_range(a, b, 5000000 - off, 1234567 + off, 777 + off)
END
cmp <(dd if="$src/big" bs=64k iflag=skip_bytes,count_bytes skip=1234567 count=5000000 status=none) \
  <(tail -c +778 "$VAULT/$(ts 3).partial/part")
seal 3
[ "$(stored 3)" -lt 400000 ] || fail "cp within the mount stored $(stored 3) bytes"

# A link refers; writing to the new name must not reach the sealed one.
mkdir "$VAULT/$(ts 4).partial"
ln "$VAULT/$(ts 1)/big" "$VAULT/$(ts 4).partial/big"
echo changed | dd of="$VAULT/$(ts 4).partial/big" conv=notrunc status=none
cmp "$src/big" "$VAULT/$(ts 1)/big"
assert_eq "$(head -c 8 "$VAULT/$(ts 4).partial/big")" changed
seal 4
cmp <(tail -c +9 "$src/big") <(tail -c +9 "$VAULT/$(ts 4)/big")

# Between vaults there is no sharing.
mkdir "$REGION/other/$(ts 1).partial"
assert_fails 'cross-device' ln "$VAULT/$(ts 1)/big" "$REGION/other/$(ts 1).partial/big"
cp "$VAULT/$(ts 1)/big" "$REGION/other/$(ts 1).partial/big"
cmp "$src/big" "$REGION/other/$(ts 1).partial/big"
coffer_umount
coffer_forget_local
coffer_mount
same_tree "$src" "$VAULT/$(ts 2)"
cmp "$src/big" "$VAULT/$(ts 3)/big"
