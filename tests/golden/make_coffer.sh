#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make_coffer.sh DIR - writes a golden store with coffer itself, through a mount: files of all
# kinds, sparse ones, hard links, xattrs, external extents of two levels, several snapshots, all
# kinds of keys.
. "$(dirname "$0")/../lib/functions.sh"
[ $# = 1 ] && [ ! -e "$1" ] || fail "usage: make_coffer.sh DIR (a new one)"
out=$1
requires_mount
requires rsync setfacl setfattr python3

# Access times in the future: reading the source does not move those (relatime).
set_atimes () { find "$1" -depth -exec touch -h -a -d '30 minutes' {} +; }

# The list is made before anything reads the source again.
list () { "$TOP/tests/lib/tree_list.py" "$1" > "$TESTDIR/expect.db.$2"; }

src=$TESTDIR/src
make_tree "$src"
random "$src/random" 30000 7
mknod "$src/block" b 8 1048575
python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$src/socket"
setfattr -n trusted.t -v "$(printf '%0300d' 0)" "$src/sub/text"
{ head -c 200000 /dev/zero; echo end; } > "$src/zeros"
python3 - "$src" <<'PY'
import os, sys
with open(sys.argv[1] + "/pages.ibd", "wb") as f:
    for i in range(1100):  # more than one extent page holds, with holes between
        f.seek(65536 * i)
        f.write(b"page %08d" % i)
open(os.fsencode(sys.argv[1]) + b"/latin-\xe9\n", "wb").write(b"odd name")
PY
touch -d '1969-12-31 23:59:55.5' "$src/zeros"
set_atimes "$src"

coffer_init
coffer_mount
list "$src" "$(ts 1)"
mkdir "$VAULT/$(ts 1).partial"
cp -a "$src/." "$VAULT/$(ts 1).partial/"
mv "$VAULT/$(ts 1).partial" "$VAULT/$(ts 1)"

rm "$src/zeros" "$src/hardlink"
printf 'changed' | dd of="$src/random" bs=1 seek=20000 conv=notrunc status=none
set_atimes "$src"
list "$src" "$(ts 2)-label"
mkdir "$VAULT/$(ts 2)-label.partial"
cp -a "$src/." "$VAULT/$(ts 2)-label.partial/"
setfattr -n user.coffer.meta.kind -v log "$VAULT/$(ts 2)-label.partial"
"$COFFER" seal "$VAULT/$(ts 2)-label.partial"
coffer_umount

echo 'correct horse' > "$TESTDIR/passphrase"
chmod 600 "$TESTDIR/passphrase"
"$COFFER" key add --key-file "$KEY" --new-passphrase-file "$TESTDIR/passphrase" "$URL"
"$COFFER" key paper --key-file "$KEY" "$URL" | grep -E '^ +([A-Z2-7]{4}-?)+$' > "$TESTDIR/paper"

mkdir -p "$out"
cp -r "$TESTDIR/store" "$TESTDIR"/expect.* "$TESTDIR/key" "$TESTDIR/passphrase" \
  "$TESTDIR/paper" "$out/"
rm -rf "$out/store/.tmp"
chmod -R u+w,a+rX "$out"
