#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - coffer beside its peers, on the same data, in one run.  See README.md.
#
#   sudo tests/bench/run.sh [--quick | --size full|medium] [--rows A,B] [--peers A,B]
#                           [--repeat N] [--minutes N] [--resume] [--prepare]
#                           [--build DIR] [--work DIR] [--root DIR] [--out DIR]
#
# Rows: random binaries innodb small s3-read s3-write s3-small s3-fsync listing reread stalled
#       throttle memory pagefile
# Peers: cp restic rustic borg-lz4 borg-zstd s3ql coffer (rows over data sets);
#       ext4 floor coffer (small, listing); rclone s3fs serial (s3-read)
# --prepare only makes what a run needs: data, the peers' root, the S3 server.
# --minutes: no peer begins later than that; --resume goes on where the last run in DIR ended.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
pass=bars deadline='' cut=''
row='' peer='' repeat=1 failures=0 set='' bytes=0 vault='' dir='' group='' outside=''
. "$here/lib.sh"
. "$here/data.sh"
. "$here/peers.sh"
. "$here/rows.sh"
. "$here/rows_s3.sh"
. "$here/rows_daemon.sh"

size=full rows=random,binaries,innodb,small,s3-read,s3-write,s3-small,s3-fsync
rows+=,listing,reread,stalled,throttle,memory,pagefile
peers=cp,ext4,floor,restic,rustic,borg-lz4,borg-zstd,s3ql,coffer,rclone,s3fs,serial
repeats=3 minutes=0 resume='' prepare='' build='' work=/var/tmp/coffer-bench root='' out=''
while [ $# -gt 0 ]; do
  case $1 in
  --quick) size=quick repeats=1 ;;
  --size) size=$2; shift ;;
  --rows) rows=$2; shift ;;
  --peers) peers=$2; shift ;;
  --repeat) repeats=$2; shift ;;
  --minutes) minutes=$2; shift ;;
  --resume) resume=1 ;;
  --prepare) prepare=1 ;;
  --build) build=$2; shift ;;
  --work) work=$2; shift ;;
  --root) root=$2; shift ;;
  --out) out=$2; shift ;;
  *) sed -n '3,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
rows=${rows//,/ } peers=${peers//,/ }
[ "$(id -u)" = 0 ] || die "must be root: caches are dropped, file systems mounted"

case $size in
full)
  random_bytes=$((4 << 30)) binaries_bytes=$((2 << 30)) innodb_rows=3930000 innodb_updates=2000
  small_files=47000 listing_files=100000 listing_snapshots=10000
  memory_mib=64 memory_files=1000000 throttle_s=60 fsync_files=10000 read_mib=1024
  pagefile_gib=64 ;;
medium)
  random_bytes=$((1 << 30)) binaries_bytes=$((512 << 20)) innodb_rows=980000 innodb_updates=500
  small_files=12000 listing_files=100000 listing_snapshots=1000
  memory_mib=32 memory_files=100000 throttle_s=30 fsync_files=2000 read_mib=512
  pagefile_gib=32 ;;
quick)
  random_bytes=$((256 << 20)) binaries_bytes=$((128 << 20)) innodb_rows=230000 innodb_updates=100
  small_files=3000 listing_files=20000 listing_snapshots=100
  memory_mib=8 memory_files=20000 throttle_s=10 fsync_files=200 read_mib=128
  pagefile_gib=4 ;;
*) die "no such size: $size" ;;
esac
pagefile_gib=${BENCH_PAGEFILE_GIB:-$pagefile_gib}

for build in "$build" "$top/build" "$top" ""; do
  [ -n "$build" ] || die "no build with tests/bench/cgrun: make check there, or --build DIR"
  [ ! -x "$build/tests/bench/cgrun" ] || break
done
bin=$(realpath "$build/tests/bench")
coffer=${COFFER:-}
[ -n "$coffer" ] || for c in "$build/coffer" "$build/tools/coffer"; do
  [ ! -x "$c" ] || coffer=$(realpath "$c")
done
rustic=$(command -v rustic || ls ~/.cargo/bin/rustic 2> /dev/null || :)
mkdir -p "$work/data" "$work/peers"
work=$(realpath "$work")
out=${out:-$work/results}
mkdir -p "$out"
results=$out/results.jsonl
root=$(realpath -m "${root:-$work/sid}")
resume_or_start
put_back

case " $peers " in
*\ restic\ * | *\ borg-* | *\ s3ql\ * | *\ rclone\ * | *\ s3fs\ *)
  note "Debian root for the peers: $root"
  "$here/../lib/debian-root.sh" make "$root" sid restic borgbackup s3ql rclone s3fs rsync fuse3
  "$here/../lib/debian-root.sh" share "$root" "$work" ;;
esac

inside_env=$base_env
if [ -n "$prepare" ]; then
  prepare_data
  ! needs_s3 || COFFER_SERVERS=$work/servers "$here/../lib/servers/minio.sh" build
  note "prepared: $(ls "$work/data" | tr '\n' ' ')"
  exit 0
fi

trap clean_up EXIT
trap 'note "interrupted: go on with --resume"; exit 130' INT TERM
! needs_s3 || s3_up || die "no S3 server"
machine > "$out/machine.txt"
cat "$out/machine.txt" >&2

# First what the bars need, in interleaved repeats; then the peers that only fill the table.
[ "$minutes" = 0 ] || deadline=$((SECONDS + minutes * 60))
for ((repeat = 1; repeat <= repeats; repeat++)); do run_rows "$repeat of $repeats"; done
pass=extra repeat=1
run_rows "the other peers"

report | tee "$out/table.txt"
[ -z "$cut" ] || note "time is up; --resume does the rest"
[ "$failures" = 0 ] || die "$failures peers failed in a row: see above"
