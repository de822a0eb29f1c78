# SPDX-License-Identifier: Apache-2.0
# rows.sh - the rows of the benchmark over a directory; sourced by run.sh.
#
# A row function runs once per repeat and goes through its peers, so that repeats interleave and a
# slow minute of the machine hits all alike.  A peer that fails loses its remaining steps of that
# repeat and nothing else; run.sh says so at the end.

wanted () { peer_has "$1" && [[ " $peers " == *" $1 "* ]]; }

for_peers () {
  local steps=$1
  shift
  for peer in "$@"; do
    wanted "$peer" || continue
    if peer_init; then
      $steps || { note "$row: $peer gave up"; failures=$((failures + 1)); }
    else
      failures=$((failures + 1))
    fi
    peer_end || failures=$((failures + 1))
  done
}

# --- one data set: write, again unchanged, the next day, cold restore
# All peers see every set, and both days of one, under the same path; `.set` says which is there.
use_set () {
  mkdir -p "$work/src"
  echo "$1-$size" > "$work/src/.set"
  mv "$work/data/$1-$size" "$work/src/set"
}
put_set () {
  mv "$work/src/set" "$work/data/$1-$size"
  rm "$work/src/.set"
}

# Day N of the set SRC: measures the save, and what the store grew by.
save_step () {
  local before after
  before=$(peer_stored)
  measure "$1" "$bytes" bash -c "$(peer_save "$2" "$work/src/set")" || return 1
  after=$(peer_stored)
  fact "$1" stored $((after - before))
}

restore_step () {
  rm -rf "$work/restored"
  mkdir "$work/restored"
  peer_cold
  measure restore "$bytes" bash -c "$(peer_restore "$1" "$work/restored")" || return 1
  [ "$repeat" != 1 ] || verify
  rm -rf "$work/restored"
}

# restic and borg restore below the full path of the source
verify () {
  local top=$work/restored
  [ ! -d "$top$work/src/set" ] || top=$top$work/src/set
  [ ! -d "$top/set" ] || top=$top/set
  same "$work/src/set" "$top"
}

set_steps () {
  local last=1
  save_step write 1 || return 1
  if [ "$set" = innodb ]; then
    put_set innodb
    use_set innodb-next
    save_step nextday 2 || { put_set innodb-next; use_set innodb; return 1; }
    restore_step 2 || { put_set innodb-next; use_set innodb; return 1; }
    put_set innodb-next
    use_set innodb
  else
    save_step unchanged 2 || return 1
    restore_step 2
  fi
}

row_set () {
  set=$1
  use_set "$set"
  bytes=$(size_of "$work/src/set")
  for_peers set_steps cp restic rustic borg-lz4 borg-zstd s3ql coffer
  put_set "$set"
}
row_random () { data_once random data_random; row_set random; }
row_binaries () { data_once binaries data_binaries; row_set binaries; }
row_innodb () { data_once innodb data_innodb; row_set innodb; }

# --- many small files: into a directory (ext4, floor, coffer), and read only by the others
tree_name () { [ "$peer" = coffer ] && coffer_ts "$1" || echo "T$1"; }
tree_into () { # NUMBER COMMAND with %s for the target: measured with the seal, if there is one
  local t=$vault/$(tree_name "$1") c=$2
  if [ "$peer" = coffer ]; then
    # shellcheck disable=SC2059 # the command is the format
    printf "mkdir %q && $c && %q seal %q" "$t.partial" "$t.partial" "$coffer" "$t.partial"
  else
    # shellcheck disable=SC2059
    printf "mkdir %q && $c" "$t" "$t"
  fi
}

small_dir_steps () {
  local src=$work/src/set
  measure rsync "$bytes" bash -c "$(tree_into 1 "rsync -a $src/ %q/")" || return 1
  [ "$peer" != coffer ] || fact rsync stored "$(coffer_stored)"
  local before=0
  [ "$peer" != coffer ] || before=$(coffer_stored)
  measure link-dest "$bytes" \
    bash -c "$(tree_into 2 "rsync -a --link-dest=../$(tree_name 1) $src/ %q/")" || return 1
  [ "$peer" != coffer ] || fact link-dest stored $(($(coffer_stored) - before))
  measure cp "$bytes" bash -c "$(tree_into 3 "cp -a $src/. %q/")" || return 1
  rm -rf "$work/restored"
  mkdir "$work/restored"
  peer_cold
  measure restore "$bytes" rsync -a "$vault/$(tree_name 1)/" "$work/restored/" || return 1
  # The floor drops what is in the files: names and sizes must be there, contents are zeros.
  [ "$repeat" != 1 ] || [ "$peer" = floor ] || same "$src" "$work/restored"
  rm -rf "$work/restored"
}

row_small () {
  data_once small data_small
  use_set small
  bytes=$(size_of "$work/src/set")
  set=small
  for_peers small_dir_steps ext4 floor coffer
  for_peers set_steps restic rustic borg-lz4 s3ql
  put_set small
}

# --- listing: a directory of 100,000 files
listing_steps () {
  local t=$vault/$(tree_name 1) load="-t 4 -n $listing_files -z 16"
  if [ "$peer" = coffer ]; then
    mkdir "$t.partial" "$t.partial/d"
    "$bin/writeload" $load "$t.partial/d" > "$work/log" && "$coffer" seal "$t.partial" || return 1
    peer_cold
  else
    mkdir "$t" "$t/d"
    "$bin/writeload" $load "$t/d" > "$work/log" || return 1
    drop_caches
  fi
  measure "ls-l cold" 0 sh -c "ls -l $t/d | wc -l" || return 1
  measure "ls-l" 0 sh -c "ls -l $t/d | wc -l" || return 1
  measure "ls-f" 0 sh -c "ls -f $t/d | wc -l" || return 1
  measure "find" 0 sh -c "find $t | wc -l" || return 1
  [ "$peer" = coffer ] || return 0
  snapshots_steps
}
# A database with many snapshots: a mount of it, and the list of its names.
snapshots_steps () {
  python3 - "$vault" "$listing_snapshots" <<'PY' || return 1
import datetime, os, sys
vault, n = sys.argv[1], int(sys.argv[2])
start = datetime.datetime(2020, 1, 1)
for i in range(n):
    t = (start + datetime.timedelta(hours=i)).strftime("%Y%m%dT%H%M%SZ")
    os.mkdir(os.path.join(vault, t + ".partial"))
    os.rename(os.path.join(vault, t + ".partial"), os.path.join(vault, t))
PY
  coffer_umount
  drop_caches
  measure "mount" 0 "$coffer" mount -o "$(coffer_opts)" "$(coffer_url)" "$dir/mnt" || return 1
  measure "ls snapshots cold" 0 sh -c "ls $vault | wc -l" || return 1
  measure "ls snapshots" 0 sh -c "ls $vault | wc -l"
}
row_listing () { for_peers listing_steps ext4 floor coffer; }

# --- memory: the daemon alone, with 64 writers, and in a walk over a million sealed files
memory_steps () {
  local t=$vault/$(coffer_ts 1).partial
  mkdir "$t" "$t/many"
  measure_outside "64 writers" $((64 * memory_mib << 20)) \
    "$bin/writeload" -t 64 -n 64 -z "${memory_mib}M" "$t" || return 1
  measure_outside "create" 0 "$bin/writeload" -t 4 -n "$memory_files" -z 0 "$t/many" || return 1
  measure_outside "seal" 0 "$coffer" seal "$t" || return 1
  peer_cold
  measure_outside "find" 0 sh -c "find ${t%.partial} -type f | wc -l"
}
row_memory () { for_peers memory_steps coffer; }

# --- second read of a sealed file: from the page cache of the kernel
reread_steps () {
  local f=$vault/$(coffer_ts 1)/f000000 reads
  mkdir "$vault/$(coffer_ts 1).partial"
  "$bin/writeload" -z 256M "$vault/$(coffer_ts 1).partial" > "$work/log" || return 1
  "$coffer" seal "$vault/$(coffer_ts 1).partial" || return 1
  peer_cold
  measure "first read" $((256 << 20)) dd if="$f" of=/dev/null bs=1M || return 1
  # Outside the group: what is counted is the daemon, which should have nothing to do.
  measure_outside "second read" $((256 << 20)) dd if="$f" of=/dev/null bs=1M
}
row_reread () { for_peers reread_steps coffer; }
