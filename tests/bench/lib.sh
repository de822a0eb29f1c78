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
