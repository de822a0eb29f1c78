#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 5): nothing is sealed by itself unless asked for; where asked, never a .partial,
# never one with an open file or an interruption in its life, and such a one is not `latest`.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

state () { getfattr --only-values -n user.coffer.state "$1" 2> /dev/null; }
coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1)"
echo x > "$VAULT/$(ts 1)/file"
sleep 3
assert_eq "$(state "$VAULT/$(ts 1)")" open "idle sealing is off"
coffer_remount idle-seal=2
mkdir "$VAULT/$(ts 2)" "$VAULT/$(ts 3).partial" "$VAULT/$(ts 4)"
echo x > "$VAULT/$(ts 2)/file"
echo x > "$VAULT/$(ts 3).partial/file"
exec 5> "$VAULT/$(ts 4)/file"
echo x >&5
wait_for 15 "[ \"\$(getfattr --only-values -n user.coffer.state $VAULT/$(ts 2))\" = sealed ]" ||
  fail "not sealed though idle"
assert_eq "$(state "$VAULT/$(ts 1)")" open "interrupted by an unmount"
assert_eq "$(state "$VAULT/$(ts 3).partial")" open "a partial"
assert_eq "$(state "$VAULT/$(ts 4)")" open "a file is open"
[ ! -e "$VAULT/latest" ] || fail "what idleness sealed is latest"
exec 5>&-
