#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each golden store is mounted with each of its keys; what `lstat`, `read` and `getxattr` give of
# every snapshot is what stands in the list beside it.
# Guards "golden stores of every shipped version stay readable for ever", through the whole stack.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

check_mount () {
  local golden=$1 list vault_and_ts name
  for list in "$golden"/expect.*; do
    vault_and_ts=${list##*/expect.}
    name=${vault_and_ts%.*}/${vault_and_ts##*.}
    "$TOP/tests/lib/tree_list.py" "$REGION/$name" > "$TESTDIR/list" || fail "cannot list $name"
    diff -u "$list" "$TESTDIR/list" | cut -c 1-300 | head -n 20 > "$TESTDIR/diff" || :
    [ ! -s "$TESTDIR/diff" ] || fail "$golden, $name: $(cat "$TESTDIR/diff")"
  done
}

# mount_with OPTIONS GOLDEN: a copy of the store, since a mount may write to its own.
mount_with () {
  local d
  d=$(host_dir)
  mkdir -p "$d/mnt"
  "$COFFER" mount -f -o "$1,state-dir=$d/state,cache-dir=$d/cache" \
    "file://$TESTDIR/store-$HOST" "$d/mnt" >> "$TESTDIR/daemon-$HOST.log" 2>&1 &
  DAEMONS[$HOST]=$!
  at_exit "HOST=$HOST coffer_stop"
  wait_for 20 "mountpoint -q '$d/mnt' || ! kill -0 ${DAEMONS[$HOST]}" || fail "mount hangs"
  mountpoint -q "$d/mnt" || fail "mount: $(tail -n 3 "$TESTDIR/daemon-$HOST.log")"
  REGION=$(echo "$d"/mnt/*/)
  REGION=${REGION%/}
}

n=0
for golden in "$TOP"/tests/golden/v*/*/; do
  golden=${golden%/}
  [ -d "$golden/store" ] || continue
  for key in key paper passphrase; do
    n=$((n + 1))
    HOST=h$n
    cp -r "$golden/store" "$TESTDIR/store-$HOST"
    chmod -R u+w "$TESTDIR/store-$HOST"
    install -m 600 "$golden/$key" "$TESTDIR/$key"
    option=key-file
    [ "$key" != passphrase ] || option=passphrase-file
    mount_with "$option=$TESTDIR/$key" "$golden"
    check_mount "$golden"
    coffer_umount
  done
done
[ $n -gt 0 ] || fail "no golden stores"
