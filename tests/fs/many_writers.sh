#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 200
# Writers that each hold part of a chunk must not wait for each other's buffers: 64 streams of
# 8 MiB at once are more unfinished chunks than the buffers hold, and no network or throttle is in
# the way.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
load=$COFFER_BUILD/tests/bench/writeload
[ -x "$load" ] || skip "needs the tools that make check builds"

coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
within 40 "$load" -t 64 -n 64 -z 8M "$VAULT/$(ts 1).partial" > "$TESTDIR/load.log"
jq -e '.files == 64 and .bytes == 64 * 8388608' "$TESTDIR/load.log" > /dev/null ||
  fail "not all was written: $(cat "$TESTDIR/load.log")"
# DESIGN 13 and ruling 11: in a steady state no write is held more than a second; a shared machine
# gets some more.
jq -e '.worst_write_ms < 10000' "$TESTDIR/load.log" > /dev/null ||
  fail "a write was held too long: $(cat "$TESTDIR/load.log")"
within 40 "$COFFER" seal "$VAULT/$(ts 1).partial"
mkdir "$TESTDIR/direct"
"$load" -t 4 -n 64 -z 8M "$TESTDIR/direct" > /dev/null
coffer_umount
coffer_forget_local
coffer_mount
for f in "$TESTDIR"/direct/*; do
  cmp "$f" "$VAULT/$(ts 1)/$(basename "$f")" || fail "$(basename "$f") differs"
done
