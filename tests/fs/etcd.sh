#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise: `etcdctl snapshot save` works straight into an open snapshot, and what is restored from
# the sealed one is a working member with the data.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires etcd etcdctl curl

export ETCDCTL_API=3
port=$((20000 + RANDOM % 20000))
start_etcd () {
  etcd --name x --data-dir "$1" --listen-client-urls "http://127.0.0.1:$port" \
    --advertise-client-urls "http://127.0.0.1:$port" \
    --listen-peer-urls "http://127.0.0.1:$((port + 1))" > "$TESTDIR/etcd.log" 2>&1 &
  etcd_pid=$!
  at_exit "kill -KILL $etcd_pid 2> /dev/null"
  wait_for 30 "curl -sf http://127.0.0.1:$port/health" || fail "etcd does not start"
}
ctl () { etcdctl --endpoints "http://127.0.0.1:$port" "$@"; }

start_etcd "$TESTDIR/etcd"
for ((i = 0; i < 200; i++)); do echo "put key$i value$i"; done | ctl txn > /dev/null 2>&1 ||
  for ((i = 0; i < 200; i++)); do ctl put "key$i" "value$i" > /dev/null; done
ctl put key7 value7 > /dev/null
coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
ctl snapshot save "$VAULT/$(ts 1).partial/snapshot.db" > /dev/null 2>&1 || fail "snapshot save"
kill "$etcd_pid"
wait "$etcd_pid" 2> /dev/null || :
seal 1
coffer_remount
etcdctl snapshot status "$VAULT/latest/snapshot.db" > /dev/null 2>&1 || fail "snapshot status"
etcdctl snapshot restore "$VAULT/latest/snapshot.db" --data-dir "$TESTDIR/restored" \
  > "$TESTDIR/restore.log" 2>&1 || fail "snapshot restore"
start_etcd "$TESTDIR/restored"
assert_eq "$(ctl get key7 --print-value-only)" value7
kill "$etcd_pid"
