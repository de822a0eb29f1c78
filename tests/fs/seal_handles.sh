#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (ruling 13): a seal with a file open for writing fails EBUSY and names it; --force cuts
# there and later writes get EROFS; a mapping counts as open; a release in flight is waited for.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir "$snap"
exec 5> "$snap/backup.log"
echo before >&5
assert_fails 'busy' mv "$snap" "$VAULT/$(ts 1)"
assert_fails 'backup.log|open for writing|writing' "$COFFER" seal "$snap"
grep -q backup.log "$TESTDIR/daemon-a.log" || "$COFFER" status "$MNT" 2>&1 | grep -q backup.log ||
  fail "the file is not named"
[ -d "$snap" ] || fail "the refused seal changed the snapshot"
echo more >&5
"$COFFER" seal --force "$snap"
assert_fails 'read-only' bash -c 'echo late >&5'
exec 5>&- || :
assert_eq "$(cat "$VAULT/$(ts 1)/backup.log")" "before
more"

# A dirty mapping keeps its file open.
snap=$VAULT/$(ts 2).partial
mkdir "$snap"
random "$snap/mapped" 100000
python3 - "$snap/mapped" << 'END' &
import mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, 100000)
os.close(fd)
m[5000:5005] = b'dirty'
print('mapped', flush=True)
time.sleep(3)
m.close()
END
pid=$!
sleep 1
assert_fails 'busy' mv "$snap" "$VAULT/$(ts 2)"
wait $pid
mv "$snap" "$VAULT/$(ts 2)"
assert_eq "$(dd if="$VAULT/$(ts 2)/mapped" bs=1 skip=5000 count=5 status=none)" dirty

# Closing and committing at once, many times: a release still under way is no open file.
for ((n = 10; n < 30; n++)); do
  mkdir "$VAULT/$(ts $n).partial"
  (for f in 1 2 3 4 5; do echo $n > "$VAULT/$(ts $n).partial/$f" & done; wait)
  mv "$VAULT/$(ts $n).partial" "$VAULT/$(ts $n)"
done
# Sealing twice at once is sealing once.
mkdir "$VAULT/$(ts 40).partial"
random "$VAULT/$(ts 40).partial/file" 3000000
(for ((i = 0; i < 4; i++)); do "$COFFER" seal "$VAULT/$(ts 40).partial" & done; wait) \
  > /dev/null 2>&1
[ -d "$VAULT/$(ts 40)" ] || fail "sealed by four"
wait_for 2 "[ ! -e '$VAULT/$(ts 40).partial' ]" || fail "the partial's name stays"
