#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# quickstart.sh - coffer from nothing to a restored database, on a fresh Debian 12.
#
#   sudo ./contrib/quickstart.sh [--rows N] [--keep] [--no-install]
#
# Installs the packages that are missing, builds coffer in a directory of its own, makes a store in
# a directory, mounts it, starts a private MariaDB server (socket only, own data directory), fills
# it, backs it up twice with mariadb-dump and mariadb-backup straight into the mount, seals,
# changes some rows, backs up again; then, as another host would, mounts the store afresh,
# restores, starts a second server on what came back and compares checksums.
#
# Nothing outside of one directory below /var/tmp is changed, but for the packages; that directory
# goes away at the end (--keep leaves it), and so does everything started here.  Can be run again.
set -euo pipefail

rows=200000 keep= install=1
while [ $# -gt 0 ]; do
  case $1 in
  --rows) rows=$2; shift ;;
  --keep) keep=1 ;;
  --no-install) install= ;;
  *) sed -n '3,16s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
[ "$(id -u)" = 0 ] || { echo "quickstart: must be run as root (sudo)" >&2; exit 77; }
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /var/tmp/coffer-quickstart.XXXXXX)
log=$work/log
mnt=$work/backups
url=file://$work/store
declare -A servers

# --- telling what is done
begun=$SECONDS
step_began=
note () { printf '           %s\n' "$*"; }
done_step () {
  [ -z "$step_began" ] || note "$(awk -v s="$step_began" -v e="${EPOCHREALTIME/,/.}" \
    'BEGIN { printf "took %.1f s", e - s }')"
  step_began=
}
step () {
  done_step
  printf '\n[%4d s] %s\n' $((SECONDS - begun)) "$*"
  step_began=${EPOCHREALTIME/,/.}
}
show () { printf '           $ %s\n' "$*"; "$@" 2>&1 | sed 's/^/           /'; }

# --- cleaning up, whatever happened
cleanup () {
  local status=$? name
  trap - EXIT
  set +e
  [ $status = 0 ] ||
    { echo; echo "quickstart: failed; the end of the log:"; tail -n 30 "$log"; } >&2
  for name in "${!servers[@]}"; do stop_server "$name"; done
  for dir in "$mnt" "$work/elsewhere"; do
    if mountpoint -q "$dir" 2> /dev/null; then
      timeout 60 "$work/build/coffer" umount --force "$dir" >> "$log" 2>&1 || umount -l "$dir"
    fi
    [ ! -d "$dir" ] || chattr -i "$dir" 2> /dev/null
  done
  if [ -n "$keep" ]; then echo "kept: $work"; else rm -rf --one-file-system "$work"; fi
  exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- MariaDB: servers of our own, reached by their sockets only
sql () { local name=$1; shift; mariadb --no-defaults -uroot -S "$work/$name.sock" -BN -e "$*"; }
start_server () {
  local name=$1 data=$2 i
  mariadbd --no-defaults --user=root --datadir="$data" --socket="$work/$name.sock" \
    --pid-file="$work/$name.pid" --skip-networking --innodb-buffer-pool-size=128M \
    --log-error="$work/$name.err" >> "$log" 2>&1 &
  servers[$name]=$!
  for ((i = 0; i < 300; i++)); do
    if sql "$name" 'SELECT 1' > /dev/null 2>&1; then return 0; fi
    kill -0 "${servers[$name]}" 2> /dev/null || break
    sleep 0.2
  done
  tail -n 20 "$work/$name.err" >> "$log"
  echo "quickstart: the server \"$name\" does not start" >&2
  return 1
}
stop_server () {
  local pid=${servers[$1]}
  kill "$pid" 2> /dev/null
  wait "$pid" 2> /dev/null
  unset "servers[$1]"
}
checksums () { sql "$1" "CHECKSUM TABLE $2.orders, $2.customers" | sed "s/^$2\\.//"; }

# --- coffer
now () { date -u +%Y%m%dT%H%M%SZ; }
mount_coffer () {
  coffer mount -o "key-file=$work/key,state-dir=$work/state-$1,log=$work/coffer.log" "$url" "$2"
}
# new_snapshot: sets T to the name of a snapshot of this second, and makes it.
new_snapshot () {
  while T=$mnt/local/shop/$(now); [ -e "$T" ]; do sleep 0.2; done
  mkdir "$T.partial"
}

step "Packages"
packages="autoconf automake libtool pkg-config make gcc libc6-dev libfuse3-dev libcurl4-openssl-dev
  libssl-dev libzstd-dev libsqlite3-dev libmariadb-dev libjansson-dev libexpat1-dev libcmocka-dev
  libconfuse-dev fuse3 e2fsprogs mariadb-server-core mariadb-client mariadb-backup"
missing=()
for p in $packages; do
  dpkg-query -W -f '${db:Status-Status}\n' "$p" 2> /dev/null | grep -qx installed || missing+=("$p")
done
if [ ${#missing[@]} = 0 ]; then
  note "all there"
elif [ -z "$install" ]; then
  echo "quickstart: missing, and not to be installed: ${missing[*]}" >&2
  exit 1
else
  note "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update >> "$log" 2>&1
  apt-get -q install -y --no-install-recommends "${missing[@]}" >> "$log" 2>&1
fi
[ -c /dev/fuse ] || modprobe fuse || { echo "quickstart: there is no /dev/fuse" >&2; exit 1; }

step "Build"
mkdir "$work/src" "$work/build"
tar -C "$top" -c --exclude=./.git --exclude=./build --exclude=./autom4te.cache . |
  tar -C "$work/src" -x --no-same-owner
(cd "$work/src" && if [ -e "$top/.git" ] ||
  ! [ -x configure ]; then ./autogen.sh; fi) >> "$log" 2>&1
(cd "$work/build" && ../src/configure && make -j"$(nproc)") >> "$log" 2>&1
PATH=$work/build:$PATH
note "$(coffer version)"

step "A store in a directory, mounted"
show coffer init --key-file "$work/key" "$url"
mkdir "$mnt"
mount_coffer a "$mnt"
mkdir "$mnt/local/shop"
note "mounted on $mnt; the database directory is $mnt/local/shop"

step "A MariaDB server of our own, with $rows orders"
mariadb-install-db --no-defaults --force --user=root --datadir="$work/data" --skip-test-db \
  --auth-root-authentication-method=normal >> "$log" 2>&1
start_server first "$work/data"
sql first "
  CREATE DATABASE shop;
  USE shop;
  CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(64), city VARCHAR(64), note TEXT);
  CREATE TABLE shop.orders (id INT PRIMARY KEY, customer INT, placed DATETIME, amount DECIMAL(9,2),
                            text VARCHAR(255), KEY (customer), KEY (placed));
  INSERT INTO shop.customers SELECT seq, CONCAT('customer ', seq), CONCAT('city ', seq % 997),
    REPEAT(MD5(seq), 4) FROM seq_1_to_$((rows / 10));
  INSERT INTO shop.orders SELECT seq, 1 + (seq * 7919) % $((rows / 10)),
    '2026-01-01' + INTERVAL seq MINUTE, seq % 100000 / 100, CONCAT(SHA2(seq, 256), ' ', SHA1(seq))
    FROM seq_1_to_$rows;"
# As on a server that has been running for a while: what was loaded is in the data files by now.
sql first 'SET GLOBAL innodb_max_dirty_pages_pct = 0'
for ((i = 0; i < 150; i++)); do
  dirty=$(sql first "SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty'" | cut -f2)
  [ "$dirty" -gt 0 ] || break
  sleep 0.2
done
before=$(checksums first shop)
note "$(du -sh "$work/data" | cut -f1) of data"

step "Backup 1: mariadb-dump into the mount"
new_snapshot; dump=$T
mariadb-dump --no-defaults -uroot -S "$work/first.sock" --single-transaction shop > \
  "$T.partial/shop.sql"
show coffer seal "$T.partial"

step "Backup 2: mariadb-backup straight into the mount"
backup () {
  mariadb-backup --no-defaults --backup --user=root --socket="$work/first.sock" \
    --datadir="$work/data" --target-dir="$1" >> "$log" 2>&1
}
new_snapshot; physical=$T
backup "$T.partial/data"
show coffer seal "$T.partial"

step "2,000 orders change; backup 3, of which little is new"
sql first "UPDATE shop.orders SET amount = amount + 1 WHERE id > $((rows - 2000));"
after=$(checksums first shop)
new_snapshot; changed=$T
backup "$T.partial/data"
show coffer seal "$T.partial"

step "What is there now"
show coffer snapshots "$mnt"
show ls -l "$mnt/local/shop"

step "Another host: nothing but the store and the key"
coffer umount "$mnt"
mkdir "$work/elsewhere"
mount_coffer b "$work/elsewhere"
vault=$work/elsewhere/local/shop

step "Restore backup 3 and start a second server on it"
cp -a "$vault/$(basename "$changed")/data" "$work/restored"
mariadb-backup --no-defaults --prepare --target-dir="$work/restored" >> "$log" 2>&1
start_server second "$work/restored"
[ "$(checksums second shop)" = "$after" ] || { echo "quickstart: backup 3 differs" >&2; exit 1; }
note "checksums of all tables are those of the first server:"
printf '%s\n' "$after" | sed 's/^/           /'

step "Restore backup 1 (the dump) into that server, beside it"
sql second 'CREATE DATABASE dumped'
mariadb --no-defaults -uroot -S "$work/second.sock" dumped < "$vault/$(basename "$dump")/shop.sql"
[ "$(checksums second dumped)" = "$before" ] || { echo "quickstart: the dump differs" >&2; exit 1; }
note "checksums are those before the change"
stop_server second

step "Restore backup 2 and start a server on it"
cp -a "$vault/$(basename "$physical")/data" "$work/restored2"
mariadb-backup --no-defaults --prepare --target-dir="$work/restored2" >> "$log" 2>&1
start_server third "$work/restored2"
[ "$(checksums third shop)" = "$before" ] || { echo "quickstart: backup 2 differs" >&2; exit 1; }
note "checksums are those before the change"
stop_server third
stop_server first

step "Every byte in the store, proven"
show coffer check --read-data --key-file "$work/key" "$url"
note "store: $(du -sh "$work/store" | cut -f1); three backups hold" \
  "$(du -shL --apparent-size "$vault"/2* | awk '{ printf "%s%s", n++ ? " + " : "", $1 }')"
coffer umount "$work/elsewhere"
done_step

cat <<X

All of it worked, in $((SECONDS - begun)) s.  To keep coffer, in a build directory:
    ../configure --sbindir=/usr/sbin && make && make install
and then
    coffer init file:///srv/coffer && coffer mount file:///srv/coffer /backups
X
