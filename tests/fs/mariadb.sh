#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Promise: `mariadb-backup --target-dir` works straight into an open snapshot, --prepare too, and a
# server starts from what is copied out of the sealed one, with every row.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires mariadbd mariadb mariadb-backup mariadb-install-db

d=$TESTDIR/db sock=$TESTDIR/db.sock
start_server () {
  mariadbd --no-defaults --user=root --datadir="$1" --socket="$sock" --skip-networking \
    --innodb-buffer-pool-size=64M --pid-file="$TESTDIR/db.pid" > "$TESTDIR/mariadbd.log" 2>&1 &
  db_pid=$!
  at_exit "kill -KILL $db_pid 2> /dev/null"
  wait_for 60 "mariadb --no-defaults -S '$sock' -e 'select 1'" || fail "the server does not start"
}
stop_server () { kill "$db_pid"; wait "$db_pid" 2> /dev/null || :; }
sql () { mariadb --no-defaults -S "$sock" -N -e "$1"; }
sums () { sql 'checksum table shop.orders; select count(*), sum(n) from shop.orders'; }

mariadb-install-db --no-defaults --user=root --datadir="$d" \
  --auth-root-authentication-method=normal > "$TESTDIR/install.log" 2>&1
start_server "$d"
sql "create database shop; use shop;
     create table orders (id int primary key auto_increment, n int, t varchar(200)) engine=innodb;
     insert into orders (n, t) select seq, repeat(md5(seq), 5) from seq_1_to_50000"
before=$(sums)
coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir "$snap"
mariadb-backup --no-defaults --backup --target-dir="$snap/data" --datadir="$d" --socket="$sock" \
  --user=root > "$TESTDIR/backup.log" 2>&1 || fail "mariadb-backup --backup"
mariadb-backup --no-defaults --prepare --target-dir="$snap/data" > "$TESTDIR/prepare.log" 2>&1 ||
  fail "mariadb-backup --prepare"
stop_server
seal 1
coffer_umount
coffer_forget_local
coffer_mount
cp -a "$VAULT/latest/data" "$TESTDIR/restored"
start_server "$TESTDIR/restored"
assert_eq "$(sums)" "$before"
stop_server
