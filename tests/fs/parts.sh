#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 24): several hosts write one snapshot, each its part, which only it sees; each
# finishes its own; any host's seal joins them, refuses an incomplete set and names whose part is
# missing, unless that is left out by name; what two parts both have is refused; a part whose host
# is lost is taken over.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires jq rsync unshare setfacl setfattr python3

# Each host has a name of its own.
COFFER_REAL=$COFFER
mount_as () {
  HOST=$1
  COFFER=$TESTDIR/as-$1
  printf '#!/bin/sh\nexec unshare -u sh -c '\''hostname db-%s; exec "$@"'\'' sh "%s" "$@"\n' \
    "$1" "$COFFER_REAL" > "$COFFER"
  chmod +x "$COFFER"
  coffer_mount refresh=2
  COFFER=$COFFER_REAL
}
vault () { echo "$TESTDIR/$1/mnt/$(basename "$REGION")/db"; }
attr () { getfattr --absolute-names --only-values -n "user.coffer.$2" "$1"; }
part_of () { attr "$(vault "$1")/$2.partial" part; }

coffer_init
mount_as a
mount_as b
mount_as c
A=$(vault a) B=$(vault b) C=$(vault c)

# --- three parts, one seal
t=$(ts 1)
for h in a b c; do
  mkdir "$(vault $h)/$t.partial"
  make_tree "$TESTDIR/tree-$h"
  mkdir -p "$TESTDIR/tree-$h/common"
  random "$TESTDIR/tree-$h/common/only-$h" 700000 "$h"
  mkdir -p "$TESTDIR/src-$h/node-$h"
  rsync -aHAX "$TESTDIR/tree-$h/" "$TESTDIR/src-$h/node-$h/"
  mv "$TESTDIR/src-$h/node-$h/common" "$TESTDIR/src-$h/common"
  # rsync lets a difference within a second pass.
  find "$TESTDIR/src-$h" -newermt 2025-01-01 -exec touch -h -d '2020-01-01 00:00:00' {} +
  rsync -aHAXS "$TESTDIR/src-$h/" "$(vault $h)/$t.partial/"
  setfattr -n user.coffer.meta.host-of -v "$h" "$(vault $h)/$t.partial"
  setfattr -n user.coffer.meta.cluster -v x "$(vault $h)/$t.partial"
done
assert_eq "$(ls "$A/$t.partial")" "$(printf 'common\nnode-a')" "a sees only its own part"
sync "$B/$t.partial" "$C/$t.partial"
assert_fails 'not finished: db-[bc] .*db-[bc] '  "$COFFER" seal "$A/$t.partial"
assert_fails 'busy' mv "$A/$t.partial" "$A/$t"
"$COFFER" seal --part "$B/$t.partial" > "$TESTDIR/out"
grep -q "finished this host's part" "$TESTDIR/out" || fail "said: $(cat "$TESTDIR/out")"
"$COFFER" seal --part "$B/$t.partial" > /dev/null # once more changes nothing
assert_fails 'read-only' touch "$B/$t.partial/new"
assert_fails 'read-only' rm "$B/$t.partial/common/only-b"
assert_fails 'read-only' setfattr -n user.coffer.meta.late -v 1 "$B/$t.partial"
assert_eq "$("$COFFER" --json status "$B" | jq -r '.snapshots[0].state')" finished
assert_fails "not finished: db-c .part $(part_of c "$t"), last progress 20" \
  "$COFFER" seal "$A/$t.partial"
# Others' parts are told of, with host and progress.
wait_for 10 "'$COFFER' --json status '$A' | jq -e '[.parts_of_others[] | select (.name == \"$t\")
  | .host + \" \" + .state] | sort == [\"db-b finished\", \"db-c open\"]'" ||
  fail "status of a: $("$COFFER" --json status "$A" | jq .parts_of_others)"
"$COFFER" status "$A" | grep -q "host db-c, part $(part_of c "$t"), open, last progress 20" ||
  fail "the text of status does not name the part of c"
"$COFFER" show "$A/$t.partial" | grep -q "^parts .*db-b finished" || fail "show of the open part"
echo more >> "$A/$t.partial/node-a/grown" # it was refused, so it is open

# An unmount in between: finished stays finished.
HOST=c coffer_umount
mount_as c
"$COFFER" seal --part "$C/$t.partial" > /dev/null
HOST=c coffer_kill
mount_as c
assert_fails 'read-only' touch "$C/$t.partial/new"
"$COFFER" seal "$A/$t.partial" > "$TESTDIR/out"
grep -q "^sealed $A/$t" "$TESTDIR/out" || fail "said: $(cat "$TESTDIR/out")"
for h in b c; do
  wait_for 12 "[ -d '$(vault $h)/$t' ] && [ ! -e '$(vault $h)/$t.partial' ]" ||
    fail "$h does not see the seal"
  [ -z "$(ls "$TESTDIR/$h/state/parts" | grep "$t")" ] || fail "$h still thinks it is open"
done
mkdir "$TESTDIR/ref"
for h in a b c; do rsync -aHAXS "$TESTDIR/src-$h/" "$TESTDIR/ref/"; done
rsync -aHAXS "$TESTDIR/src-a/" "$TESTDIR/ref/"
echo more >> "$TESTDIR/ref/node-a/grown"
for f in node-a/grown node-a; do touch -r "$C/$t/$f" "$TESTDIR/ref/$f"; done
for d in common node-a node-b node-c; do
  same_tree "$TESTDIR/ref/$d" "$C/$t/$d"
  same_tree "$TESTDIR/ref/$d" "$A/$t/$d"
done
# Holes stayed holes.
[ "$(getfattr --absolute-names --only-values -n user.coffer.new "$C/$t")" -lt 20000000 ] ||
  fail "the sparse files were stored in full"
files=$(find "$TESTDIR/ref" ! -type d -printf '%i\n' | sort -u | wc -l)
assert_eq "$(attr "$B/$t" files)" "$files"
assert_eq "$(attr "$B/$t" meta.host-of)" a
assert_eq "$(attr "$B/$t" meta.host-of@db-b)" b
assert_eq "$(attr "$B/$t" meta.host-of@db-c)" c
assert_eq "$(attr "$B/$t" meta.cluster)" x
hosts=$("$COFFER" --json show "$B/$t" | jq -r '.parts | map (split (" ")[1]) | sort | join (" ")')
assert_eq "$hosts" "db-a db-b db-c"
assert_eq "$("$COFFER" --json show --key-file "$KEY" "db/$t" "$URL" | jq -r '.parts | length')" 3

# --- a coordinator without a part; a part left out
t=$(ts 2)
mkdir "$B/$t.partial" "$C/$t.partial"
echo b > "$B/$t.partial/b"
echo c > "$C/$t.partial/c"
sync "$C/$t.partial"
"$COFFER" seal --part "$B/$t.partial" > /dev/null
assert_fails 'not finished: db-c ' "$COFFER" seal "$A/$t.partial"
assert_fails 'not finished: db-c ' "$COFFER" seal --without=db-x --without=db-b "$A/$t.partial"
assert_fails 'usage|give the name' "$COFFER" seal --without=db-c,db-b "$A/$t.partial"
"$COFFER" seal --without=db-c "$A/$t.partial" > /dev/null
assert_eq "$(ls "$A/$t")" b "the part that was finished"
"$COFFER" show "$A/$t" | grep -q '^parts .*db-c missing$' || fail "show tells of no missing part"
wait_for 12 "'$COFFER' --json status '$C' | jq -e '.snapshots[] | select (.name == \"$t.partial\")
  | .error_text | contains (\"without this part\")'" || fail "c is not told that it was left out"
assert_eq "$(cat "$C/$t.partial/c")" c "and nothing of it is lost"
assert_fails 'without this part|exists' "$COFFER" seal "$C/$t.partial"
mv "$C/$t.partial" "$C/$t-late"
assert_eq "$(ls "$C/$t-late")" c

# --- two parts with one name
t=$(ts 3)
mkdir "$A/$t.partial" "$B/$t.partial"
mkdir "$A/$t.partial/dir" "$B/$t.partial/dir"
echo a > "$A/$t.partial/dir/schema.cql"
echo b > "$B/$t.partial/dir/schema.cql"
"$COFFER" seal --part "$B/$t.partial" > /dev/null
assert_fails 'both db-a .*db-b .*dir/schema.cql' "$COFFER" seal "$A/$t.partial"
[ ! -e "$C/$t" ] || fail "sealed although names clash"
"$COFFER" seal --reopen "$B/$t.partial" > /dev/null
rm "$B/$t.partial/dir/schema.cql"
echo late > "$B/$t.partial/late"
"$COFFER" seal --part "$B/$t.partial" > /dev/null
mv "$A/$t.partial" "$A/$t"
assert_eq "$(cat "$A/$t/dir/schema.cql" "$A/$t/late")" "$(printf 'a\nlate')"

# --- a host that is lost for good
t=$(ts 4)
mkdir "$A/$t.partial" "$B/$t.partial"
echo a > "$A/$t.partial/a"
random "$TESTDIR/b-data" 2000000 5
cp "$TESTDIR/b-data" "$B/$t.partial/b"
sync "$B/$t.partial"
lost=$(part_of b "$t")
HOST=b coffer_kill
HOST=b coffer_forget_local
"$COFFER" seal --part "$A/$t.partial" > /dev/null
assert_fails 'give one of them' "$COFFER" adopt "$C/$t.partial"
assert_fails 'may still write' "$COFFER" adopt "$C/$t.partial/$lost"
assert_fails 'own' "$COFFER" adopt --force "$A/$t.partial/$lost"
assert_fails 'no such|not there|exist' "$COFFER" adopt --force "$C/$t.partial/0123456789abcdef"
"$COFFER" adopt --force "$C/$t.partial/$lost" > /dev/null
cmp "$TESTDIR/b-data" "$C/$t.partial/b"
"$COFFER" seal "$C/$t.partial" > /dev/null
assert_eq "$(ls "$C/$t" | tr '\n' ' ')" "a b "
cmp "$TESTDIR/b-data" "$C/$t/b"

# --- another tool reads it, and nothing is damaged
HOST=a coffer_umount
HOST=c coffer_umount
"$COFFER" check --read-data --key-file "$KEY" "$URL" > "$TESTDIR/check.log" 2>&1 ||
  { cat "$TESTDIR/check.log" >&2; fail "check"; }
"$TOP/contrib/coffer-extract" "$TESTDIR/store" --key-file "$KEY" restore "db/$(ts 1)" \
  "$TESTDIR/out-of-it" > "$TESTDIR/extract.log" 2>&1 ||
  { cat "$TESTDIR/extract.log" >&2; fail "coffer-extract"; }
list () { "$TOP/tests/lib/tree_list.py" --no-atime "$1"; }
diff <(list "$TESTDIR/ref") <(list "$TESTDIR/out-of-it") > "$TESTDIR/diff" ||
  fail "coffer-extract restores it differently: $(head -n 5 "$TESTDIR/diff")"
