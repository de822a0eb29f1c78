# SPDX-License-Identifier: Apache-2.0
# rows.sh - the rows of the benchmark over a directory; sourced by run.sh.
#
# A row function runs once per repeat and goes through its peers, so that repeats interleave and a
# slow minute of the machine hits all alike.  A peer that fails loses its remaining steps of that
# repeat and nothing else; run.sh says so at the end.

for_peers () {
  local steps=$1
  shift
  for peer in "$@"; do
    wanted "$peer" || continue
    if peer_init; then
      if $steps; then
        mark_done
      else
        note "$row: $peer gave up"
        failures=$((failures + 1))
      fi
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

# The source is in the page cache for everybody.
warm () { find "$work/src/set" -type f -print0 | xargs -0 cat > /dev/null; }

# Day N of the set SRC: measures the save, and what the store grew by.
save_step () {
  local before after
  before=$(peer_stored)
  warm
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
  save_step write 1 || return 1
  if [ "$set" = innodb ]; then
    with_next_day two_days_end || return 1
    [ "$peer" != coffer ] || by_rsync
  else
    save_step unchanged 2 || return 1
    restore_step 2
  fi
}
two_days_end () { save_step nextday 2 && restore_step 2; }
with_next_day () {
  local rc=0
  put_set innodb
  use_set innodb-next
  "$@" || rc=1
  put_set innodb-next
  use_set innodb
  return $rc
}
# The same two days by `rsync -a`, whose names are temporary while it writes, into a new store.
by_rsync () {
  local copy="rsync -a"
  coffer_end
  rm -rf "$dir"
  mkdir -p "$dir/repo"
  coffer_init && save_step write-rsync 1 && with_next_day save_step nextday-rsync 2
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
  warm
  measure rsync "$bytes" bash -c "$(tree_into 1 "rsync -a $src/ %q/")" || return 1
  [ "$peer" != coffer ] || fact rsync stored "$(coffer_stored)"
  local before=0
  [ "$peer" != coffer ] || before=$(coffer_stored)
  measure link-dest "$bytes" \
    bash -c "$(tree_into 2 "rsync -a --link-dest=../$(tree_name 1) $src/ %q/")" || return 1
  [ "$peer" != coffer ] || {
    fact link-dest stored $(($(coffer_stored) - before))
    fact link-dest new_data "$("$coffer" show --json "$vault/$(tree_name 2)" | jq .new)"
  }
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
