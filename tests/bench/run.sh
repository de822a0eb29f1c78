#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - coffer beside its peers, on the same data, in one run.  See README.md.
#
#   sudo tests/bench/run.sh [--quick | --size full|medium] [--rows A,B] [--peers A,B]
#                           [--repeat N] [--build DIR] [--work DIR] [--root DIR] [--out DIR]
#
# Rows: random binaries innodb small listing memory reread throttle
#       s3-write s3-read s3-small s3-fsync
# Peers: cp restic rustic borg-lz4 borg-zstd s3ql coffer (rows over data sets);
#       ext4 floor coffer (small, listing); rclone s3fs serial (s3-read)
set -euo pipefail
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
row='' peer='' repeat=1 failures=0 set='' bytes=0 vault='' dir='' group='' outside=''
. "$here/lib.sh"
. "$here/data.sh"
. "$here/peers.sh"
. "$here/rows.sh"
. "$here/rows_s3.sh"

size=full rows=random,binaries,innodb,small,listing,memory,reread
rows+=,throttle,s3-write,s3-read,s3-small,s3-fsync
peers=cp,ext4,floor,restic,rustic,borg-lz4,borg-zstd,s3ql,coffer,rclone,s3fs,serial
repeats=3 build='' work=/var/tmp/coffer-bench root='' out=''
while [ $# -gt 0 ]; do
  case $1 in
  --quick) size=quick repeats=1 ;;
  --size) size=$2; shift ;;
  --rows) rows=$2; shift ;;
  --peers) peers=$2; shift ;;
  --repeat) repeats=$2; shift ;;
  --build) build=$2; shift ;;
  --work) work=$2; shift ;;
  --root) root=$2; shift ;;
  --out) out=$2; shift ;;
  *) sed -n '3,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
rows=${rows//,/ } peers=${peers//,/ }
[ "$(id -u)" = 0 ] || die "must be root: caches are dropped, file systems mounted"

case $size in
full)
  random_bytes=$((4 << 30)) binaries_bytes=$((2 << 30)) innodb_rows=3930000 innodb_updates=2000
  small_files=47000 listing_files=100000 listing_snapshots=10000
  memory_mib=64 memory_files=1000000 throttle_s=60 fsync_files=10000 read_mib=1024 ;;
medium)
  random_bytes=$((1 << 30)) binaries_bytes=$((512 << 20)) innodb_rows=980000 innodb_updates=500
  small_files=12000 listing_files=100000 listing_snapshots=1000
  memory_mib=32 memory_files=100000 throttle_s=30 fsync_files=2000 read_mib=512 ;;
quick)
  random_bytes=$((256 << 20)) binaries_bytes=$((128 << 20)) innodb_rows=230000 innodb_updates=100
  small_files=3000 listing_files=20000 listing_snapshots=100
  memory_mib=8 memory_files=20000 throttle_s=10 fsync_files=200 read_mib=128 ;;
*) die "no such size: $size" ;;
esac

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
: > "$results"
root=$(realpath -m "${root:-$work/sid}")

# A run that was interrupted leaves a data set in use.
if [ -e "$work/src/.set" ]; then
  [ ! -d "$work/src/set" ] || mv "$work/src/set" "$work/data/$(cat "$work/src/.set")"
  rm "$work/src/.set"
fi

case " $peers " in
*\ restic\ * | *\ borg-* | *\ s3ql\ * | *\ rclone\ * | *\ s3fs\ *)
  note "Debian root for the peers: $root"
  "$here/../lib/debian-root.sh" make "$root" sid restic borgbackup s3ql rclone s3fs rsync fuse3
  "$here/../lib/debian-root.sh" share "$root" "$work" ;;
esac

inside_env=$base_env
case " $rows " in
*\ s3-* | *\ throttle\ *)
  trap s3_down EXIT
  s3_up || die "no S3 server" ;;
esac
{
  echo "machine: $(nproc) x $(awk '/model name/ { sub (/.*: /, ""); print; exit }' /proc/cpuinfo)"
  echo "memory: $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
  echo "kernel: $(uname -r)"
  echo "file system: $(stat -f -c %T "$work")"
  echo "date: $(date -u +%FT%TZ)"
  echo "size: $size, repeats: $repeats"
  for peer in $peers; do
    ! peer_has "$peer" || echo "$peer: $(peer_version "$peer" | head -n 1)"
  done
} > "$out/machine.txt"
cat "$out/machine.txt" >&2

for ((repeat = 1; repeat <= repeats; repeat++)); do
  for row in $rows; do
    note "== $row, repeat $repeat of $repeats"
    case $row in
    random | binaries | innodb | small | listing | memory | reread) "row_$row" ;;
    throttle | s3-write | s3-read | s3-small | s3-fsync) "row_${row//-/_}" ;;
    *) die "no such row: $row" ;;
    esac
  done
done

python3 "$here/report.py" "$results" "$out/machine.txt" "$out/results.json" | tee "$out/table.txt"
[ "$failures" = 0 ] || die "$failures peers failed in a row: see above"
