#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What went in through the mount comes out of the store without coffer: contrib/coffer-extract
# restores every snapshot, and the lists of source and copy are the same to the byte and nanosecond.
# Guards promise 5, and that doc/format/ says what coffer writes.
# timeout: 600
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires rsync setfacl setfattr getfattr python3 openssl
/usr/bin/python3 -c 'import cryptography, zstandard' 2> /dev/null ||
  skip "needs python3-cryptography and python3-zstandard"

extract () { "$TOP/contrib/coffer-extract" "$TESTDIR/store" --key-file "$KEY" "$@"; }
list () { "$TOP/tests/lib/tree_list.py" --no-atime "$1"; }

# Extents of all kinds: pages of a database, a text dump, holes, written zeros, many small pieces.
make_content () {
  local d=$1 i
  mkdir -p "$d/many"
  random "$d/noise" 9000000 1
  seq -f 'INSERT INTO t VALUES (%.0f, "some text");' 1 200000 > "$d/dump.sql"
  random "$d/short" 100000 2
  { head -c 3000000 /dev/zero; cat "$d/short"; } > "$d/zeros-first"
  truncate -s 200M "$d/huge-hole"
  for i in $(seq 0 1 1500); do
    printf 'page %08d' "$i" | dd of="$d/pieces.ibd" bs=65536 seek="$i" conv=notrunc status=none
  done
  for i in $(seq 1 1500); do echo "$i" > "$d/many/$(printf 'file%05d' "$i")"; done
}

# compare NAME SOURCE-LIST: what extract restores of snapshot NAME is what stood in the list.
compare () {
  extract verify "db/$1" > "$TESTDIR/verify" || fail "verify $1: $(cat "$TESTDIR/verify")"
  rm -rf "$TESTDIR/restored"
  extract restore "db/$1" "$TESTDIR/restored" || fail "restore of $1 ended with $?"
  list "$TESTDIR/restored" > "$TESTDIR/list.restored"
  diff -u "$2" "$TESTDIR/list.restored" | cut -c 1-300 | head -n 20 > "$TESTDIR/diff" || :
  [ ! -s "$TESTDIR/diff" ] || fail "$1 came out differently: $(cat "$TESTDIR/diff")"
}

# rsync sets no time that is right to the second: times must not be those of this second.
make_older () { find "$1" -newermt '1 day ago' -exec touch -h -d "$2" {} +; }

src=$TESTDIR/src
make_tree "$src"
make_content "$src/content"
make_older "$src" '3 days ago'
list "$src" > "$TESTDIR/list.1"

coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
cp -a "$src/." "$VAULT/$(ts 1).partial/"
seal 1

# The next day: some files changed, one gone, the rest by --link-dest.
rm "$src/sub/zero"
printf 'changed' | dd of="$src/content/noise" bs=1 seek=5000000 conv=notrunc status=none
printf 'more\n' >> "$src/content/dump.sql"
make_older "$src" '2 days ago'
list "$src" > "$TESTDIR/list.2"
mkdir "$VAULT/$(ts 2).partial"
rsync -aHAXS --link-dest="$VAULT/$(ts 1)" "$src/" "$VAULT/$(ts 2).partial/"
seal 2

# A file's digest follows from its extents (doc/format/tree.md): both must find the same.
(cd "$VAULT/$(ts 2)" && find . -type f ! -path '*/many/*' -printf '%P\0' | sort -z |
  while IFS= read -r -d '' f; do
    printf '%s %s\n' "$(getfattr -n user.coffer.digest --only-values "$f")" "$f"
  done) > "$TESTDIR/digests"
coffer_umount
extract ls -R --json "db/$(ts 2)" | python3 -c '
import json, sys
for e in sorted(map(json.loads, sys.stdin), key=lambda e: e["path"].encode()):
    if e["kind"] == "file" and "/many/" not in e["path"]:
        print(e["digest"], e["path"])' > "$TESTDIR/digests.extract"
[ -s "$TESTDIR/digests" ] || fail "no digests"
diff -u "$TESTDIR/digests" "$TESTDIR/digests.extract" || fail "digests differ"

compare "$(ts 1)" "$TESTDIR/list.1"
compare "$(ts 2)" "$TESTDIR/list.2"
assert_eq "$(extract list | wc -l)" 2
cmp <(extract cat "db/latest" content/dump.sql) "$src/content/dump.sql" ||
  fail "cat gave something else"
[ "$(stat -c %b "$TESTDIR/restored/content/huge-hole")" -lt 100 ] || fail "holes were filled"

# Another key opens nothing.
printf 'coffer-key-v1 %064d 66687aad\n' 0 > "$TESTDIR/wrong"
status=0
"$TOP/contrib/coffer-extract" "$TESTDIR/store" --key-file "$TESTDIR/wrong" list \
  > "$TESTDIR/wrong.log" 2>&1 || status=$?
assert_eq "$status" 77 "exit status with a wrong key"
