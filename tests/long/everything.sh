#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything at once: the third of the tests to write early.  By hand, as root, from a build
# directory:
#
#   ../tests/long/everything.sh [NAME=VALUE...]
#
# 64 writers into one open snapshot - 16 files in order, 16 sparse ones by `cp --sparse=always`, 16
# by `fio` at random past the page cache, 16 trees of small files - while
#   upload-rate is RATE,
#   the state directory is a file system of DISK,
#   the daemon's group may hold MEMORY and there is no swap,
#   the store (MinIO) stands still for STALL seconds from second AT on.
# It fails if a process is killed or out of memory, if the daemon's peak (VmHWM) is above MEMORY, if
# a writer gets an error (ENOSPC), if what is sealed differs from what was written, or if more than
# 1.05 of the bytes go up that a copy in order of the result sends into a new store (both counted by
# a relay, all connections).
#
# SEQ, SPARSE, FIO and TREE are the bytes of each of the 16 writers of a kind, N how many there are
# of each.  The whole takes about (16 * (SEQ + SPARSE + FIO + TREE)) / RATE + STALL and as long
# again without a limit; the disk below TMPDIR holds that three times.
declare -A conf=([RATE]=20MB [DISK]=1G [MEMORY]=256M [STALL]=60 [AT]=40 [N]=16
  [SEQ]=64M [SPARSE]=64M [FIO]=20M [TREE]=8M [OPTS]='')
for arg; do
  [ -n "${conf[${arg%%=*}]+x}" ] || { echo "everything: no such size: $arg" >&2; exit 2; }
  conf[${arg%%=*}]=${arg#*=}
done
set --
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires fio jq openssl mkfs.ext4 numfmt
meter=$COFFER_BUILD/tests/bench/flowmeter
[ -x "$meter" ] || skip "needs the tools that make check builds"
server () { "$TOP/tests/lib/servers/minio.sh" "$@"; }
export COFFER_SERVERS=${COFFER_SERVERS:-$COFFER_BUILD/servers}
server build > "$TESTDIR/build.log" 2>&1 || skip "needs MinIO: $(tail -n 1 "$TESTDIR/build.log")"
bytes () { numfmt --from=iec "${conf[$1]}"; }
n=${conf[N]}
awk 'NR > 1 { exit 1 }' /proc/swaps || skip "needs swap off"

# --- the group.  "Killed" and "out of memory" are what the kernel counts there.
name=coffer-everything-$$
if [ -e /sys/fs/cgroup/memory/cgroup.procs ]; then
  group=/sys/fs/cgroup/memory/$name
  limit=memory.limit_in_bytes peak=memory.max_usage_in_bytes events=memory.oom_control
elif grep -qw memory /sys/fs/cgroup/cgroup.controllers 2> /dev/null; then
  group=/sys/fs/cgroup/$name
  limit=memory.max peak=memory.peak events=memory.events
  echo +memory > /sys/fs/cgroup/cgroup.subtree_control
else
  skip "needs the memory controller of control groups"
fi
mkdir "$group"
at_exit "sleep 1; rmdir '$group'"
bytes MEMORY > "$group/$limit"
ooms () { awk '$1 == "oom" || $1 == "oom_kill" { n += $2 } END { print n + 0 }' "$group/$events"; }
real=$COFFER
cat > "$TESTDIR/coffer-inside" << END
#!/bin/bash
[ "\$1" != mount ] || echo \$\$ > '$group/cgroup.procs' || exit 1
exec '$real' "\$@"
END
chmod +x "$TESTDIR/coffer-inside"

# --- the disk of the state directory
mkdir -p "$TESTDIR/a/state"
truncate -s "${conf[DISK]}" "$TESTDIR/disk"
mkfs.ext4 -q -m 0 "$TESTDIR/disk"
mount -o loop "$TESTDIR/disk" "$TESTDIR/a/state" || skip "needs loop devices"
at_exit "umount '$TESTDIR/a/state' 2> /dev/null"
chmod 700 "$TESTDIR/a/state"
rmdir "$TESTDIR/a/state/lost+found"

# --- the store, and a relay that counts in front of it
port=$((20000 + $$ % 20000))
server start "$TESTDIR/minio" $port || fail "MinIO does not start"
at_exit "server stop '$TESTDIR/minio'"
at_exit "kill -CONT \$(cat '$TESTDIR/minio/minio.pid')"
eval "$(server env "$TESTDIR/minio")"
"$meter" -l $((port + 1)) -t 127.0.0.1:$port -o "$TESTDIR/flow" &
at_exit "kill $!"
sent () { sleep 1; awk '{ n += $2 } END { printf "%d\n", n }' "$TESTDIR/flow"; }
url () { server url "$TESTDIR/minio" "$1" | sed "s/127.0.0.1:$port/127.0.0.1:$((port + 1))/"; }

# --- what is written
ref=$TESTDIR/ref
mkdir -p "$ref"/{seq,sparse,fio}
for ((i = 0; i < n; i++)); do
  random "$ref/seq/$i" "$(bytes SEQ)" "seq$i"
  # Pieces of 384 KiB, each followed by as many zeros.
  random "$TESTDIR/piece" "$(bytes SPARSE)" "sparse$i"
  split -b 384K --filter='cat; head -c 384K /dev/zero' "$TESTDIR/piece" > "$ref/sparse/$i"
  mkdir -p "$ref/tree/$i"
  random "$TESTDIR/piece" "$(bytes TREE)" "tree$i"
  split -a 5 -b 20000 "$TESTDIR/piece" "$ref/tree/$i/"
done
rm "$TESTDIR/piece"
fio_into () { # the same bytes at the same places in the same order each time
  fio --name=random --directory="$1" --filename="$2" --rw=randwrite --bs=16k --direct="$3" \
    --ioengine=psync --size="$(bytes FIO)" --fallocate=none --randseed=$((1000 + $2)) \
    --randrepeat=0 --refill_buffers=1 --output="$TESTDIR/fio-$2.log"
}
for ((i = 0; i < n; i++)); do fio_into "$ref/fio" $i 0; done

# --- all at once
URL=$(url one)
coffer_init
COFFER=$TESTDIR/coffer-inside
coffer_mount "upload-rate=${conf[RATE]}${conf[OPTS]:+,${conf[OPTS]}}"
COFFER=$real
daemon=${DAEMONS[$HOST]}
grep -qx "$daemon" "$group/cgroup.procs" || fail "the daemon is not in its group"
T=$VAULT/$(ts 1)
mkdir "$T.partial" "$T.partial"/{seq,sparse,fio,tree}
echo 3 > /proc/sys/vm/drop_caches
before=$(sent)
start=$SECONDS
writers=()
writer () { "$@" 2> "$TESTDIR/writer-${#writers[@]}.log" & writers+=($!); }
for ((i = 0; i < n; i++)); do
  writer dd if="$ref/seq/$i" of="$T.partial/seq/$i" bs=1M status=none
  writer cp --sparse=always "$ref/sparse/$i" "$T.partial/sparse/$i"
  writer fio_into "$T.partial/fio" $i 1
  writer cp -r "$ref/tree/$i" "$T.partial/tree/$i"
done
(
  sleep "${conf[AT]}"
  kill -STOP "$(cat "$TESTDIR/minio/minio.pid")"
  jobs=$(pgrep -c -P $$ || :)
  say "the store stands still; processes at work: $jobs"
  sleep "${conf[STALL]}"
  kill -CONT "$(cat "$TESTDIR/minio/minio.pid")"
  say "the store goes on"
) &
staller=$!
at_exit "kill $staller 2> /dev/null"
(
  most=0
  while used=$(df --output=used -B1 "$TESTDIR/a/state" | tail -n 1); do
    [ "$used" -le "$most" ] || most=$used
    echo "$most" > "$TESTDIR/disk-used"
    sleep 1
  done 2> /dev/null
) &
at_exit "kill $! 2> /dev/null"
for i in "${!writers[@]}"; do
  wait "${writers[i]}" ||
    fail "writer $i: $(cat "$TESTDIR/writer-$i.log" "$TESTDIR/fio-$((i / 4)).log")"
done
written=$((SECONDS - start))
"$COFFER" seal "$T.partial" || fail "seal"
sealed=$((SECONDS - start))
wait $staller || fail "the store did not stand still: make the writers slower or AT smaller"
[ "$sealed" -gt $((conf[AT] + conf[STALL])) ] || fail "all was sealed before the store stood still"
wire=$(($(sent) - before))
kill -0 "$daemon" 2> /dev/null || fail "the daemon was killed"
hwm=$(awk '/VmHWM/ { print $2 }' "/proc/$daemon/status")
say "written in $written s, sealed after $sealed s, $wire bytes up"
say "memory: VmHWM $hwm kB, the group's $(cat "$group/$peak") of $(cat "$group/$limit")," \
  "ooms $(ooms); the state's disk: at most $(cat "$TESTDIR/disk-used") bytes"
assert_eq "$(ooms)" 0 "out of memory"
# The peak counts the pages of mapped files too, which the group does not count as the daemon's.
[ "$hwm" -le $(($(bytes MEMORY) / 1024)) ] || fail "the daemon's peak is above ${conf[MEMORY]}"
if grep -iE 'no space|ENOSPC' "$TESTDIR"/writer-*.log "$TESTDIR"/fio-*.log; then fail ENOSPC; fi

# --- is it all there, on a host that has nothing
coffer_umount
HOST=b
coffer_mount
for kind in seq sparse fio tree; do
  diff -r "$ref/$kind" "$VAULT/$(ts 1)/$kind" > "$TESTDIR/diff" ||
    fail "$kind differs: $(head -n 3 "$TESTDIR/diff")"
done
coffer_umount

# --- and what would a copy in order have sent
HOST=c URL=$(url two)
rm "$KEY"
coffer_init
coffer_mount
T=$VAULT/$(ts 1)
mkdir "$T.partial"
before=$(sent)
cp -r --sparse=always "$ref/." "$T.partial/"
"$COFFER" seal "$T.partial" || fail "seal of the copy"
copy=$(($(sent) - before))
coffer_umount
say "$wire bytes up at once, $copy in order: $((wire * 1000 / copy)) thousandths"
[ "$wire" -le $((copy * 105 / 100)) ] || fail "more than 1.05 of what a copy in order sends"
