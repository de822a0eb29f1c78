#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: whatever a file is called, `coffer find`, `show`, `seal` and `check` tell of it: valid
# JSON that leaves none out, nothing that steers a terminal, one line a file in a report, and no
# name of a file in the log.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3 script jq

coffer_init
coffer_mount log-level=info
T=$VAULT/$(ts 1)
mkdir "$T.partial"
names=($'esc\033[31mred' $'line\nline' $'bad\377utf' 'q"uo\te' plain)
for n in "${names[@]}"; do random "$T.partial/$n" 70000 "${#n}"; done

# A file that is open is named, though not in the log.
exec 7>> "$T.partial/${names[2]}"
assert_fails 'open for writing: bad.xffutf' "$COFFER" seal "$T.partial"
"$COFFER" seal --json "$T.partial" > /dev/null 2> "$TESTDIR/err" && fail "sealed an open file"
jq -e '.error | contains ("bad")' "$TESTDIR/err" > /dev/null || fail "$(cat "$TESTDIR/err")"
exec 7>&-
seal 1 > /dev/null
! grep -qE 'bad|utf' "$TESTDIR/daemon-$HOST.log" || fail "a file's name is in the log"

for where in "$MNT" "$URL"; do
  opts=()
  [ "$where" = "$MNT" ] || opts=(--key-file "$KEY")
  "$COFFER" find --json "${opts[@]}" '*' "$where" > "$TESTDIR/found"
  python3 - "$TESTDIR/found" << 'PY' || fail "find --json on $where: $(cat "$TESTDIR/found")"
import json, sys
found = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]
names = {bytes.fromhex(f['path_hex']) if 'path_hex' in f else f['path'].encode() for f in found}
assert names == {b'esc\x1b[31mred', b'line\nline', b'bad\xffutf', b'q"uo\\te', b'plain'}, names
PY
  "$COFFER" find "${opts[@]}" '*' "$where" > "$TESTDIR/found"
  assert_eq "$(wc -l < "$TESTDIR/found")" 6 "to a pipe a name goes as it is"
  script -qec "$COFFER find ${opts[*]} '*' $where" /dev/null > "$TESTDIR/found" < /dev/null
  assert_eq "$(wc -l < "$TESTDIR/found")" 5 "lines on a terminal"
  ! grep -qE $'\033|\377' "$TESTDIR/found" || fail "find steers the terminal"
  grep -qF 'esc\x1b[31mred' "$TESTDIR/found" || fail "$(cat "$TESTDIR/found")"
done
"$COFFER" show --json "$T/${names[2]}" | jq -e '.path_hex' > /dev/null || fail "show --json"
script -qec "$COFFER show $T/esc*" /dev/null > "$TESTDIR/found" < /dev/null
! grep -q $'\033' "$TESTDIR/found" || fail "show steers the terminal"
coffer_umount

# All files are hit: each is one line, each is found in JSON.  The size alone tells.
find "$TESTDIR/store" -path '*/packs/*' -type f -size +60k -exec truncate -s 50000 {} +
"$COFFER" check --key-file "$KEY" "$URL" > "$TESTDIR/out" 2> /dev/null && fail "check of cut packs"
assert_eq "$(grep -c 'behind the end of its pack' "$TESTDIR/out")" 5 "files that are hit, by size"
"$COFFER" check --read-data --key-file "$KEY" "$URL" > "$TESTDIR/out" 2> /dev/null && fail "check"
assert_eq "$(grep -c 'from byte' "$TESTDIR/out")" 5 "files that are hit"
! grep -qE $'\033|\377' "$TESTDIR/out" || fail "check steers the terminal"
"$COFFER" check --json --read-data --key-file "$KEY" "$URL" > "$TESTDIR/out" 2> /dev/null &&
  fail "check --json"
jq -e '[.bad[].files // [] | .[].path_hex | select (.)] | length == 1' "$TESTDIR/out" \
  > /dev/null || fail "check --json: $(cat "$TESTDIR/out")"
