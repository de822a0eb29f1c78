#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 17): a second read of a sealed file sends no READ, a second listing of a sealed
# directory no READDIR, and a large directory lists each name once, open and sealed.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir -p "$snap/many"
python3 -c 'import os, sys
os.chdir(sys.argv[1])
for i in range(20000):
    os.close(os.open(f"file{i}", os.O_CREAT | os.O_WRONLY))' "$snap/many"
assert_eq "$(ls -f "$snap/many" | sort -u | wc -l)" 20002
assert_eq "$(ls -f "$snap/many" | wc -l)" 20002
random "$snap/data" 20000000
seal 1
coffer_remount

requests () {
  awk -v op="{op=\"$1\"}" 'index ($1, op) { print $2 }' "$MNT/.coffer/metrics"
}
listings () { echo $(($(requests readdir) + $(requests readdirplus))); }
s=$VAULT/$(ts 1)
cat "$s/data" | cmp - <(random /dev/stdout 20000000)
first=$(requests read)
[ "$first" -gt 0 ] || fail "the first read sends no READ"
cat "$s/data" > /dev/null
assert_eq "$(requests read)" "$first" "READ at the second read"
assert_eq "$(ls -l "$s/many" | wc -l)" 20001
first=$(listings)
assert_eq "$(ls "$s/many" | wc -l)" 20000
assert_eq "$(listings)" "$first" "READDIR at the second listing"
