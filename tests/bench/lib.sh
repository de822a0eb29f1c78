# SPDX-License-Identifier: Apache-2.0
# lib.sh - how the benchmark measures; sourced by run.sh.
#
# Sizes are bytes.  $bin holds the C tools, $work everything that is written, $results the JSON
# lines, $group the control group of the peer that is measured.

note () { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }
die () { note "run.sh: $*"; exit 1; }

# Page cache, dentries and inodes of all file systems go; dirty pages first.
drop_caches () { sync; echo 3 > /proc/sys/vm/drop_caches; }

# Runs a command in the group without measuring it: starting daemons, preparing.
in_group () { "$bin/cgrun" -g "$group" -o /dev/null -- "$@"; }

group_new () { group=coffer-bench-$$-$1; }
group_end () { [ ! -d "/sys/fs/cgroup/cpuacct/$group" ] && [ ! -d "/sys/fs/cgroup/$group" ] \
  || "$bin/cgrun" -d "$group"; }

# measure STEP BYTES COMMAND...: runs COMMAND in the group and adds a line to the results.  BYTES is
# what the step moved, for the figures per GiB.  More facts: `fact KEY NUMBER` before or after.
measure () {
  local step=$1 bytes=$2 rc=0
  shift 2
  sync
  "$bin/cgrun" -g "$group" ${outside:+-x} -o "$work/cost.json" -- "$@" > "$work/log" 2>&1 || rc=$?
  [ $rc = 0 ] || { tail -n 20 "$work/log" >&2; note "$row/$step: $peer failed ($rc): $*"; }
  jq -c --arg row "$row" --arg step "$step" --arg peer "$peer" --argjson repeat "$repeat" \
    --argjson bytes "$bytes" '{row: $row, step: $step, peer: $peer, repeat: $repeat,
      bytes: $bytes} + .' "$work/cost.json" >> "$results"
  note "$row/$step $peer: $(jq -r '"wall \(.wall) cpu \(.cpu) peak \(.peak_memory / 1048576 |
    floor) MiB"' "$work/cost.json")"
  return $rc
}
measure_outside () { local outside=1; measure "$@"; }

# fact STEP KEY NUMBER: a figure that no clock gives: stored bytes, packs, bytes on the wire.
fact () {
  jq -nc --arg row "$row" --arg step "$1" --arg peer "$peer" --argjson repeat "$repeat" \
    --arg key "$2" --argjson value "$3" \
    '{row: $row, step: $step, peer: $peer, repeat: $repeat} + {($key): $value}' >> "$results"
  note "$row/$1 $peer: $2 $3"
}

# Bytes below a directory: the sum of the file sizes.
size_of () { find "$1" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%.0f\n", n }'; }

# same A B: fails if the trees differ in names or contents (special files compare by name only).
same () {
  diff -rq --no-dereference "$1" "$2" > "$work/diff" 2>&1 || {
    grep -v 'is a \(fifo\|character\|block\|socket\)' "$work/diff" > "$work/diff.real" || return 0
    head -n 5 "$work/diff.real" >&2
    note "$row $peer: restored data differ from the source"
    fact verify differs 1
    return 1
  }
}

# waits up to N seconds for a command to succeed
wait_for () {
  local n=$1
  shift
  for ((n *= 10; n > 0; n--)); do "$@" > /dev/null 2>&1 && return 0; sleep 0.1; done
  note "waited in vain for: $*"
  return 1
}

# --- a run: its rows, what of them is done, and what is left of the time

# Rows that are about memory, rates and answers, not about noise: once is enough.
once_rows=" stalled throttle memory pagefile "
# Peers that no bar is about: once, after everything else.
extra_peers=" cp rustic s3ql random/borg-zstd binaries/borg-lz4 innodb/borg-lz4 "
is_extra () { [[ "$extra_peers" == *" $1 "* || "$extra_peers" == *" $row/$1 "* ]]; }

# Is the peer asked for, there, of this pass, not done yet, and is there time?
wanted () {
  peer_has "$1" && [[ " $peers " == *" $1 "* ]] || return 1
  if is_extra "$1"; then [ $pass = extra ]; else [ $pass = bars ]; fi || return 1
  ! grep -qxF "$row $repeat $1" "$out/done" || return 1
  [ -z "$deadline" ] || [ $SECONDS -lt "$deadline" ] || { cut=1; return 1; }
}
mark_done () { echo "$row $repeat $peer" >> "$out/done"; }
needs_s3 () { [[ " $rows " =~ \ (s3-[a-z]*|throttle|stalled)\  ]]; }
row_is_wanted () {
  local p
  [[ $repeat = 1 || "$once_rows" != *" $row "* ]] || return 1
  for p in $peers; do ! wanted "$p" || return 0; done
  return 1
}

run_rows () {
  local name start
  for name in $rows; do
    row=$name
    row_is_wanted || continue
    note "== $row, $1"
    start=$SECONDS
    case $row in
    random | binaries | innodb | small | listing | reread | stalled | throttle | memory | \
      pagefile | s3-write | s3-read | s3-small | s3-fsync) "row_${row//-/_}" ;;
    *) die "no such row: $row" ;;
    esac
    note "== $row took $((SECONDS - start)) s"
    report > "$out/table.txt"
  done
}
report () { python3 "$here/report.py" "$results" "$out/machine.txt" "$out/results.json"; }

# A fresh run, or the last one without what it left half done.
resume_or_start () {
  [ -n "$resume" ] && [ -s "$results" ] || : > "$out/done"
  [ -s "$results" ] || : > "$results"
  jq -c --rawfile done "$out/done" '($done | split ("\n")) as $d
    | select ("\(.row) \(.repeat) \(.peer)" as $k | $d | index ($k))' "$results" \
    > "$results.tmp"
  mv "$results.tmp" "$results"
}

# What a run that was killed left: mounts, and a data set in use.
put_back () {
  awk -v a="$work/peers/" -v b="$root$work/peers/" \
    'index ($5, a) == 1 || index ($5, b) == 1 { print $5 }' /proc/self/mountinfo | sort -u |
    while read -r m; do umount -l "$m" 2> /dev/null || :; done
  find "$work/peers" -maxdepth 2 -name mnt -exec chattr -i {} + 2> /dev/null || :
  [ -e "$work/src/.set" ] || return 0
  [ ! -d "$work/src/set" ] || mv "$work/src/set" "$work/data/$(cat "$work/src/.set")"
  rm "$work/src/.set"
}

clean_up () {
  local p
  trap - EXIT INT TERM
  set +e
  # What a mount still has to send waits for its store; here it is thrown away.
  if dir=$work/peers/coffer && mountpoint -q "$dir/mnt"; then
    p=$(daemon_pid) || p=''
    timeout 15 "$coffer" umount --force "$dir/mnt" > /dev/null 2>&1 || [ -z "$p" ] ||
      kill -KILL "$p"
  fi
  s3_down
  put_back
}

machine () {
  local p
  echo "machine: $(nproc) x $(awk '/model name/ { sub (/.*: /, ""); print; exit }' /proc/cpuinfo)"
  echo "memory: $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
  echo "kernel: $(uname -r)"
  echo "file system: $(stat -f -c %T "$work")"
  echo "load at the start: $(cut -d ' ' -f 1-3 /proc/loadavg)"
  echo "date: $(date -u +%FT%TZ)"
  echo "size: $size, repeats: $repeats"
  for p in $peers; do ! peer_has "$p" || echo "$p: $(peer_version "$p" | head -n 1)"; done
}
