#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: `coffer check` names each bad object and exactly the snapshots and files it hits, and ends
# with status 4; a whole store passes; damage of one snapshot leaves the others as they were.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires jq

coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
random "$VAULT/$(ts 1).partial/one" 3000000 1
random "$VAULT/$(ts 1).partial/two" 3000000 2
seal 1 > /dev/null
coffer_remount # so that the second snapshot gets packs of its own
mkdir "$VAULT/$(ts 2).partial"
cp "$VAULT/$(ts 1)/one" "$VAULT/$(ts 2).partial/one"
random "$VAULT/$(ts 2).partial/three" 3000000 3
seal 2 > /dev/null
mkdir "$VAULT/$(ts 3).partial"
random "$VAULT/$(ts 3).partial/four" 3000000 4
seal 3 > /dev/null
coffer_umount

check () { "$COFFER" check --json --key-file "$KEY" "$@" "$URL"; }
copy () { rm -rf "$TESTDIR/store"; cp -a "$TESTDIR/whole" "$TESTDIR/store"; }
# finds STATUS JQ-CONDITION ARGUMENT...
finds () {
  local want=$1 condition=$2 rc=0
  shift 2
  check "$@" > "$TESTDIR/found" 2> "$TESTDIR/err" || rc=$?
  [ $rc = "$want" ] ||
    fail "check $* ended with $rc, not $want: $(cat "$TESTDIR/found" "$TESTDIR/err")"
  jq -e "$condition" "$TESTDIR/found" > /dev/null ||
    fail "not '$condition': $(cat "$TESTDIR/found")"
}
# flip FILE OFFSET
flip () {
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\$(printf %o $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
mv "$TESTDIR/store" "$TESTDIR/whole"

copy
finds 0 '.ok and .snapshots == 3 and .files == 5 and .bad == []'
finds 0 '.ok and .read_data and .snapshots == 3' --read-data
finds 0 '.snapshots == 1' --last 1

# A byte of a data pack: seen only where data is read; which files it hits is found out.
data=$(find "$TESTDIR/store/vaults/db/packs" -type f -size +2M | sort | head -n 1)
flip "$data" 1000000
finds 0 '.ok'
finds 4 '.bad_objects == 1 and .bad_files >= 1 and .bad_snapshots >= 1' --read-data
jq -e --arg pack "$(basename "$data")" '.bad[0].object | endswith($pack)' "$TESTDIR/found" > \
  /dev/null ||
  fail "the bad pack is not named: $(cat "$TESTDIR/found")"
# What check says is what a reader meets.
jq -r '.bad[] | select(.snapshot) | .snapshot as $s | .files[] | "\($s) \(.path)"' \
  "$TESTDIR/found" |
  sort > "$TESTDIR/said"
coffer_mount
: > "$TESTDIR/met"
for f in "$VAULT"/2*/*; do
  cat "$f" > /dev/null 2>&1 || echo "${f#"$MNT"/}" | sed 's|/\([^/]*\)$| \1|' >> "$TESTDIR/met"
done
coffer_umount
sort "$TESTDIR/met" | diff "$TESTDIR/said" - || fail "check and readers disagree"

# A pack that is gone: seen without reading data.
copy
rm "$data"
finds 4 '.bad_snapshots >= 1 and .bad_files >= 1'
jq -r '.bad[] | select(.snapshot) | .snapshot as $s | .files[] | "\($s) \(.path)"' \
  "$TESTDIR/found" |
  sort | diff "$TESTDIR/said" - > /dev/null || [ -s "$TESTDIR/said" ] ||
    fail "a missing pack hits nothing"

# A manifest, a cut pack, a pack under another's name.
copy
manifest=$(find "$TESTDIR/store/vaults/db/snapshots" -name "$(ts 2).*.sealed")
flip "$manifest" 200
finds 4 ".bad_objects == 1 and .bad_snapshots == 1 and .bad[1].snapshot == \"local/db/$(ts 2)\""
assert_fails damaged "$COFFER" snapshots --key-file "$KEY" "$URL"
copy
truncate -s -1 "$data"
finds 4 '.bad_objects == 1' --read-data
copy
cp "$data" "$TESTDIR/swapped"
other=$(find "$TESTDIR/store/vaults/db/packs" -type f -size +2M | sort | tail -n 1)
cat "$other" > "$data"
finds 4 '.bad_objects == 1 and .bad_files >= 1' --read-data

# For people: the same in words, and what to do.
rc=0
"$COFFER" check --read-data --key-file "$KEY" "$URL" > "$TESTDIR/out" 2> "$TESTDIR/err" || rc=$?
assert_eq $rc 4
grep -q '^damaged ' "$TESTDIR/out" && grep -q '^hit ' "$TESTDIR/out" &&
  grep -q 'back from a copy' "$TESTDIR/err" || fail "in words: $(cat "$TESTDIR/out" "$TESTDIR/err")"

# An extent that does not say what its pack's table says: every pack is whole, and yet a restore and
# a collector would not find the same chunk.
PYTHONPATH=$TOP/tests/lib /usr/bin/python3 - "$TESTDIR/wrong" "$TESTDIR/wrong-key" << 'END'
import sys
import synthetic_store
from synthetic_store import Node, tree_of

class Wrong(synthetic_store.PackWriter):
    def add(self, kind, plain, codec=1):
        ref = super().add(kind, plain, codec)
        ref[4] += plain == b"wrong" * 1000
        return ref

synthetic_store.PackWriter = Wrong
store = synthetic_store.StoreWriter(sys.argv[1])
with open(sys.argv[2], "w") as f:
    f.write(synthetic_store.key_file_text(store.add_key_file()))
files = {b"good": Node("file", pieces=[b"good" * 1000]),
         b"bad": Node("file", pieces=[b"good" * 2000, b"wrong" * 1000])}
store.vault("db").snapshot("20260101T000001Z", tree_of(files))
END
chmod 600 "$TESTDIR/wrong-key"
URL=file://$TESTDIR/wrong KEY=$TESTDIR/wrong-key
finds 0 '.ok'
finds 4 '.bad_objects == 0 and .bad_files == 1 and .bad[0].files[0].path == "bad" and
  .bad[0].files[0].offset == 8000 and (.bad[0].files[0].reason | test("table"))' --read-data
