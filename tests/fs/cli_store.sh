#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: what bad input gets from the commands that work on a store - each a message that says what
# was tried, on what and what to do, the exit status of DESIGN 11, and nothing lost or written; and
# the keys: slots, passphrases, paper and the way back.
. "$(dirname "$0")/../lib/functions.sh"
[ -x "$COFFER" ] || skip "needs a built coffer command (COFFER=PATH)"
requires jq openssl

# says STATUS PATTERN COMMAND...: ends with STATUS, and stderr holds PATTERN.
says () {
  local want=$1 pattern=$2 rc=0
  shift 2
  "$@" > "$TESTDIR/out" 2> "$TESTDIR/err" || rc=$?
  [ $rc = "$want" ] || fail "'$*' ended with $rc, not $want: $(cat "$TESTDIR/err")"
  grep -qE -- "$pattern" "$TESTDIR/err" ||
    fail "'$*' should have said '$pattern', but said: $(cat "$TESTDIR/err")"
}
objects () { (cd "$TESTDIR/store" && find . -type f ! -path './.tmp/*' | sort | xargs sha256sum); }

# --- usage
says 2 'which command' "$COFFER"
says 2 'no command "frobnicate"' "$COFFER" frobnicate
says 2 'no option --frob' "$COFFER" init --frob
says 2 'needs a value' "$COFFER" init --key-file
says 2 'coffer umount needs DIR' "$COFFER" umount
says 2 'does not know what to do with "b"' "$COFFER" umount a b
says 2 'which store' "$COFFER" init
says 2 '"nowhere" is no store' "$COFFER" init nowhere
says 2 'there is no setting "frob"' "$COFFER" init -o frob=1 "file://$TESTDIR/none"
for c in $("$COFFER" help words | awk 'NF == 1'); do
  "$COFFER" "$c" --help | grep -q "^usage: coffer $c" || fail "coffer $c --help"
done
if [ -e /dev/full ]; then
  "$COFFER" version > /dev/full 2> "$TESTDIR/err" && fail "a full disk under the output goes unseen"
  grep -q 'cannot write the output' "$TESTDIR/err" || fail "no word on the output"
fi

# --- init: with nothing configured, then never over what is there
"$COFFER" init "file://$TESTDIR/plain" > "$TESTDIR/out"
default_key=$(sed -n 's/^key file: *\(.*\) (new)$/\1/p' "$TESTDIR/out")
[ "$(stat -c %a "$default_key")" = 600 ] || fail "the key file is open to others"
case $default_key in "$XDG_CONFIG_HOME"/*) ;; *) fail "key file in $default_key" ;; esac
"$COFFER" snapshots "file://$TESTDIR/plain" || fail "the default key is not found"
"$COFFER" snapshots "file://$TESTDIR/plain///" || fail "one place has two names"
says 1 'key file for this URL already' "$COFFER" init "file://$TESTDIR/plain"

coffer_init
before=$(objects)
says 1 'nothing was made' "$COFFER" init --key-file "$KEY" "$URL"
assert_eq "$(objects)" "$before" "a second init changed the store"
says 1 'nothing was made' "$COFFER" init --key-file "$TESTDIR/never" "$URL"
[ ! -e "$TESTDIR/never" ] || fail "a failed init left its key file"

# --- opening: no store, no directory, wrong key, loose key file, newer format, damage
says 1 'no coffer store here' "$COFFER" snapshots --key-file "$KEY" "file://$TESTDIR/home"
says 1 'no such directory' "$COFFER" snapshots --key-file "$KEY" "file://$TESTDIR/missing"
[ ! -e "$TESTDIR/missing" ] || fail "looking made a directory"
"$COFFER" init --key-file "$TESTDIR/other" "file://$TESTDIR/second" > /dev/null 2>&1
says 77 'wrong key' "$COFFER" snapshots --key-file "$TESTDIR/other" "$URL"
says 77 'the key file that coffer init makes' "$COFFER" snapshots "$URL"
says 1 'cannot read the key file' "$COFFER" snapshots --key-file "$TESTDIR/nokey" "$URL"
chmod 644 "$KEY"
says 77 'chmod 600' "$COFFER" snapshots --key-file "$KEY" "$URL"
chmod 600 "$KEY"
cp "$TESTDIR/store/coffer.json" "$TESTDIR/saved.json"
edit () {
  rm -f "$TESTDIR/store/coffer.json"
  sed "$1" "$TESTDIR/saved.json" > "$TESTDIR/store/coffer.json"
}
edit 's|"format": 1|"format": 2|'
says 1 'newer (version|format)' "$COFFER" snapshots --key-file "$KEY" "$URL"
edit 's|"mac": "................|"mac": "0000000000000000|'
says 4 'damaged' "$COFFER" snapshots --key-file "$KEY" "$URL"
echo 'not json' > "$TESTDIR/store/coffer.json"
says 4 'not a coffer superblock' "$COFFER" snapshots --key-file "$KEY" "$URL"
cp "$TESTDIR/saved.json" "$TESTDIR/store/coffer.json"
assert_eq "$(objects)" "$before" "a refused command changed the store"

# --- a dead endpoint and credentials that are not there
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y
says 75 'does not answer|temporary' "$COFFER" snapshots --key-file "$KEY" -o retry=none \
  "s3://bucket/prefix?endpoint=http://127.0.0.1:9&region=us-east-1"

# --- configuration files
cat > "$TESTDIR/conf" <<X
key-file = "$KEY"
region "eu" { url = "$URL" }
X
"$COFFER" snapshots -c "$TESTDIR/conf" || fail "a configuration file"
printf 'speed = 1\n' >> "$TESTDIR/conf"
says 2 'conf:3: there is no setting "speed"' "$COFFER" snapshots -c "$TESTDIR/conf"
sed -i 's/^speed.*/upload-rate = fast/' "$TESTDIR/conf"
says 2 'conf:3: .*20MB' "$COFFER" snapshots -c "$TESTDIR/conf"
says 1 'cannot read the configuration file' "$COFFER" snapshots -c "$TESTDIR/noconf"
sed -i '$d' "$TESTDIR/conf"
chmod o+w "$TESTDIR/conf"
says 77 'anybody can write' "$COFFER" snapshots -c "$TESTDIR/conf"
chmod o-w "$TESTDIR/conf"
says 2 'one of them is enough' "$COFFER" snapshots -c "$TESTDIR/conf" "$URL"
"$COFFER" mount --dump-config -c "$TESTDIR/conf" -o refresh=5s > "$TESTDIR/dumped"
grep -q '^refresh = "5s"' "$TESTDIR/dumped" || fail "dump-config: refresh"
"$COFFER" mount --dump-config -c "$TESTDIR/dumped" | diff - "$TESTDIR/dumped" ||
  fail "a dump does not read back to the same"

# --- keys
key () { local verb=$1; shift; "$COFFER" key "$verb" --key-file "$KEY" "$@"; }
printf 'correct horse\n' > "$TESTDIR/pass"
chmod 600 "$TESTDIR/pass"
key add --new-passphrase-file "$TESTDIR/pass" --label people "$URL" > "$TESTDIR/out"
slot=$(sed -n 's/^added slot //p' "$TESTDIR/out")
"$COFFER" key list --passphrase-file "$TESTDIR/pass" "$URL" | grep -q "$slot.*passphrase.*people" ||
  fail "the passphrase does not open the store"
"$COFFER" key list --passphrase-file - "$URL" < "$TESTDIR/pass" > /dev/null ||
  fail "passphrase on stdin"
printf 'wrong horse\n' > "$TESTDIR/wrong"
chmod 600 "$TESTDIR/wrong"
says 77 'wrong key or passphrase' "$COFFER" key list --passphrase-file "$TESTDIR/wrong" "$URL"
says 2 'one of them is enough' "$COFFER" key list --key-file "$KEY" --passphrase-file \
  "$TESTDIR/pass" "$URL"

key paper "$URL" > "$TESTDIR/paper"
grep -E '^    ([A-Z2-7]{4}-?){7}$' "$TESTDIR/paper" > "$TESTDIR/typed" ||
  fail "no paper key printed"
tr 'A-Z' 'a-z' < "$TESTDIR/typed" | tr '-' ' ' | "$COFFER" key restore "$TESTDIR/restored" ||
  fail "the way back from paper"
"$COFFER" key list --key-file "$TESTDIR/restored" "$URL" > /dev/null ||
  fail "the restored key does not open"
tr 'ABCDEFG' 'BCDEFGA' < "$TESTDIR/typed" > "$TESTDIR/mistyped"
says 77 'no recovery key' "$COFFER" key restore "$TESTDIR/restored2" < "$TESTDIR/mistyped"
[ ! -e "$TESTDIR/restored2" ] || fail "a mistyped key left a file"

key add --new-key-file "$TESTDIR/vaultkey" --scope vault:db "$URL" > /dev/null 2>&1
"$COFFER" key list --key-file "$TESTDIR/vaultkey" --json "$URL" |
  jq -e 'map(select(.in_use)) | .[0].scope == "vault:db"' > /dev/null ||
    fail "scope of a vault's slot"

"$COFFER" key rotate-slot --key-file "$KEY" --new-key-file "$TESTDIR/newkey" "$URL" > /dev/null 2>&1
says 77 'wrong key' "$COFFER" key list --key-file "$KEY" "$URL"
KEY=$TESTDIR/newkey
says 1 'the one that opened the store just now' key remove \
  "$("$COFFER" key list --key-file "$KEY" --json "$URL" | jq -r '.[] | select(.in_use) | .slot')" \
    "$URL"
says 1 'has no slot "0123456789abcdef"' key remove 0123456789abcdef "$URL"
key remove "$slot" "$URL" 2> /dev/null
says 77 'wrong key or passphrase' "$COFFER" key list --passphrase-file "$TESTDIR/pass" "$URL"
for s in $("$COFFER" key list --key-file "$KEY" --json "$URL" |
           jq -r '.[] | select(.scope == "master" and (.in_use | not)) | .slot'); do
  key remove "$s" "$URL" 2> /dev/null
done
last=$("$COFFER" key list --key-file "$KEY" --json "$URL" | jq -r '.[] | select(.in_use) | .slot')
says 1 'the last one that opens the whole store' key remove --force "$last" "$URL"

# --- no secret in what is printed or in the process list
secret=$(awk '/coffer-key/ { print $2 }' "$KEY")
[ ${#secret} = 64 ] || fail "unexpected key file"
"$COFFER" -vv -D debug snapshots --key-file "$KEY" "$URL" > "$TESTDIR/out" 2>&1
! grep -qi "$secret" "$TESTDIR/out" || fail "the key stands in the log"
