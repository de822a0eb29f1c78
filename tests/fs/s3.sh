#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Guards: the whole way over a real S3 server (MinIO; with TLS and a CA of its own too): init,
# mount, write, seal, another host with nothing but URL and key; the block cache (warm, drop,
# deleted while mounted); wrong credentials; and a server that goes away: cached reads are served,
# writers wait, and all goes on by itself when it is back.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires jq curl openssl

start_minio

says () {
  local want=$1 pattern=$2 rc=0
  shift 2
  timeout 100 "$@" > "$TESTDIR/out" 2> "$TESTDIR/err" || rc=$?
  [ $rc = "$want" ] || fail "'$*' ended with $rc, not $want: $(cat "$TESTDIR/err")"
  grep -qE -- "$pattern" "$TESTDIR/err" ||
    fail "'$*' should have said '$pattern', but said: $(cat "$TESTDIR/err")"
}

# --- wrong credentials and a bucket that is not there: told apart, nothing made
says 77 'denied|credentials' env AWS_SECRET_ACCESS_KEY=wrong "$COFFER" init \
  --key-file "$TESTDIR/nokey" "$URL"
[ ! -e "$TESTDIR/nokey" ] || fail "a failed init left its key file"
says 1 'bucket' "$COFFER" init --key-file "$TESTDIR/nokey" "${URL/coffer\//nobucket/}"
coffer_init
says 77 'denied|credentials' env AWS_SECRET_ACCESS_KEY=wrong "$COFFER" snapshots \
  --key-file "$KEY" "$URL"

# --- TLS: with the CA's file it works, without it is refused
server start "$TESTDIR/tls" $((PORT + 1)) tls || fail "MinIO does not start with TLS"
at_exit "server stop '$TESTDIR/tls'"
tls="s3://coffer/backups?endpoint=https://127.0.0.1:$((PORT + 1))&region=us-east-1"
"$COFFER" init -q --key-file "$TESTDIR/tlskey" "$tls&ca-file=$TESTDIR/tls/ca.pem" || fail "TLS"
"$COFFER" key list --key-file "$TESTDIR/tlskey" "$tls&ca-file=$TESTDIR/tls/ca.pem" > /dev/null ||
  fail "a CA of our own"
if "$COFFER" key list --key-file "$TESTDIR/tlskey" -o retry=none "$tls" > "$TESTDIR/out" 2>&1; then
  fail "an unknown CA is trusted"
fi
grep -qi certificate "$TESTDIR/out" || fail "an unknown CA: $(cat "$TESTDIR/out")"
server stop "$TESTDIR/tls"

# --- there
coffer_mount stall-timeout=5s,refresh=1s
mkdir "$VAULT/$(ts 1).partial"
make_tree "$TESTDIR/tree"
random "$TESTDIR/tree/big" 40000000 5
cp -a "$TESTDIR/tree/." "$VAULT/$(ts 1).partial/"
touch -r "$TESTDIR/tree" "$VAULT/$(ts 1).partial"
seal 1 > /dev/null
"$COFFER" snapshots --key-file "$KEY" "$URL" | grep -q "$(ts 1) *sealed" || fail "snapshots"
"$COFFER" check --read-data -q --key-file "$KEY" "$URL" || fail "check"

# --- and back, on a host that has nothing
HOST=b
coffer_mount stall-timeout=5s,refresh=1s
same_tree "$TESTDIR/tree" "$VAULT/latest/"
sealed=$VAULT/$(ts 1)
hits () { "$COFFER" cache stats --json "$MNT" | jq ".$1"; }
echo 3 > /proc/sys/vm/drop_caches
coffer_umount
coffer_mount stall-timeout=5s,refresh=1s
fetched=$(hits fetched)
cmp "$TESTDIR/tree/big" "$sealed/big"
[ $(($(hits fetched) - fetched)) -lt 20000000 ] ||
  fail "read again from the store, not from the cache"
"$COFFER" cache drop "$sealed" || fail "cache drop"
"$COFFER" cache warm "$sealed" || fail "cache warm"
"$COFFER" cache pin "$sealed" || fail "cache pin"
"$COFFER" cache unpin "$sealed" || fail "cache unpin"
rm -rf "$(host_dir)"/cache/*
cmp "$TESTDIR/tree/big" "$sealed/big" || fail "reading after the cache was deleted"
coffer_umount
coffer_mount stall-timeout=5s,refresh=1s

# --- the server goes: what is cached is read, what is written waits
cat "$sealed/random" > /dev/null
server stop "$TESTDIR/minio"
within 20 cmp "$TESTDIR/tree/random" "$sealed/random" || fail "a cached file, the server is away"
within 5 ls "$VAULT" > /dev/null || fail "ls while the server is away"
within 5 mkdir "$VAULT/$(ts 2).partial" || fail "mkdir while the server is away"
random "$TESTDIR/more" 30000000 6
cp "$TESTDIR/more" "$VAULT/$(ts 2).partial/more" &
writer=$!
rc=0
timeout -s INT 5 "$COFFER" seal "$VAULT/$(ts 2).partial" > /dev/null 2>&1 || rc=$?
[ $rc != 0 ] || fail "sealed without a server"
[ ! -e "$VAULT/$(ts 2)" ] || fail "a sealed snapshot that is not in the store"
says 75 'does not answer|temporary' "$COFFER" snapshots --key-file "$KEY" -o retry=none "$URL"
server start "$TESTDIR/minio" $PORT || fail "MinIO does not start again"
wait $writer || fail "the writer did not outlast the server's absence"
within 200 "$COFFER" seal "$VAULT/$(ts 2).partial" > "$TESTDIR/out" 2>&1 ||
  fail "$(cat "$TESTDIR/out")"
cmp "$TESTDIR/more" "$VAULT/$(ts 2)/more"
coffer_umount
HOST=a MNT=$TESTDIR/a/mnt
wait_for 60 "[ -e '$MNT/s3/db/$(ts 2)/more' ]" ||
  fail "the other host does not see the new snapshot"
cmp "$TESTDIR/more" "$MNT/s3/db/$(ts 2)/more"
coffer_umount
