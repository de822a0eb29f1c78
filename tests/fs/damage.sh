#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each object of a store is damaged in turn: a flipped byte, a cut, gone.  Whatever is read through
# a mount is right or EIO - never other bytes, never zeros, never ENOENT - and the log names the
# object.
# Guards promise 3 through the whole stack, without a cache in between.
# timeout: 600
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

GOLDEN=$TOP/tests/golden/v1/coffer-0.1.0
install -m 600 "$GOLDEN/key" "$TESTDIR/key"
KEY=$TESTDIR/key
URL=file://$TESTDIR/store
RANDOM=4711

# damage HOW FILE
damage () {
  local size at
  size=$(stat -c %s "$2")
  case $1 in
  flip)
    at=$(((RANDOM * 32768 + RANDOM) % size))
    python3 - "$2" "$at" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    byte = f.read(1)[0] ^ 0x10
    f.seek(int(sys.argv[2]))
    f.write(bytes([byte]))
PY
    ;;
  cut) truncate -s $((size * 2 / 3)) "$2" ;;
  gone) rm "$2" ;;
  esac
}

# try_damage HOW OBJECT: prints nothing; counts mounts that showed the damage.
shown=0 silent=0
try_damage () {
  local how=$1 object=$2 list name broken=0 n
  rm -rf "$TESTDIR/store"
  cp -r "$GOLDEN/store" "$TESTDIR/store"
  chmod -R u+w "$TESTDIR/store"
  damage "$how" "$TESTDIR/store/$object"
  coffer_forget_local
  : > "$TESTDIR/daemon-$HOST.log"
  coffer_mount
  for list in "$GOLDEN"/expect.*; do
    name=${list##*/expect.}
    n=$("$TOP/tests/lib/damage_list.py" "$list" "$REGION/${name%.*}/${name##*.}") ||
      fail "$how $object, ${name##*.}: $n"
    broken=$((broken + n))
  done
  coffer_umount
  if [ $broken -gt 0 ]; then
    shown=$((shown + 1))
    grep -q "$(basename "$object" | cut -c 1-16)" "$TESTDIR/daemon-$HOST.log" ||
      fail "$how $object: $broken times EIO, but the log does not name the object"
  else
    silent=$((silent + 1))
  fi
}

while IFS= read -r object; do
  for how in flip flip cut gone; do
    # A .sealed that is gone is a snapshot that is not: that is what the name means.
    case $how-$object in gone-*.sealed) continue ;; esac
    try_damage $how "$object"
  done
done < <(cd "$GOLDEN/store" && find vaults/*/packs vaults/*/snapshots -type f | LC_ALL=C sort)
say "$shown kinds of damage were noticed, $silent touched nothing that is read"
[ $shown -gt $silent ] || fail "too little damage was noticed for this to be a test"
