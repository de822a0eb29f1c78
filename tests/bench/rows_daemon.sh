# SPDX-License-Identifier: Apache-2.0
# rows_daemon.sh - rows about answers and memory, with no peer but the floor; sourced by run.sh.

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
  asks_nothing "warm" "ls -l $t/d; ls $vault; readlink $vault/latest" && snapshots_steps
}
# Within the refresh time what was listed once is answered without the store.
asks_nothing () {
  local before
  sh -c "$2" > "$work/log" || return 1
  before=$(store_requests)
  sh -c "$2" > "$work/log" || return 1
  fact "$1" store_requests $(($(store_requests) - before))
}

# A database with many snapshots: a mount of it, and the list of its names.
snapshots_steps () {
  local many=$work/data/snapshots-$size store_url
  coffer_umount
  rm -rf "$dir/state" "$dir/cache"
  cp "$many/key" "$dir/key"
  store_url=file://$many/repo
  drop_caches
  measure "mount" 0 "$coffer" mount -o "$(coffer_opts)" "$(coffer_url)" "$dir/mnt" || return 1
  measure "ls snapshots cold" 0 sh -c "ls $vault | wc -l" || return 1
  measure "ls snapshots" 0 sh -c "ls $vault | wc -l" || return 1
  asks_nothing "warm snapshots" "ls $vault; readlink $vault/latest"
}
row_listing () { data_once snapshots data_snapshots; for_peers listing_steps ext4 floor coffer; }

# --- memory: the daemon alone, with 64 writers, and in a walk over a million sealed files
memory_steps () {
  local t=$vault/$(coffer_ts 1).partial
  mkdir "$t" "$t/many"
  measure_outside "64 writers" $((64 * memory_mib << 20)) \
    "$bin/writeload" -t 64 -n 64 -z "${memory_mib}M" "$t" || return 1
  measure_outside "create" 0 "$bin/writeload" -t 4 -n "$memory_files" -z 0 "$t/many" || return 1
  measure_outside "seal" 0 "$coffer" seal "$t" || return 1
  peer_cold
  measure_outside "find" 0 sh -c "find ${t%.partial} -type f | wc -l" || return 1
  [ "$(cat "$work/log")" = $((memory_files + 64)) ] || {
    note "find saw $(cat "$work/log") files"
    return 1
  }
}
row_memory () { for_peers memory_steps coffer; }

# --- pagefile: what the extents of a huge file of pages cost (ruling 26).  Of each 128 KiB the
# first 64 are written, a page of a small pool, so the store gets next to nothing; the rest is a
# hole.  That is an extent for each 64 KiB, as many as a dense file of 64 KiB chunks has.
pagefile_steps () {
  local t=$vault/$(coffer_ts 1) f
  f=$t.partial/huge.ibd
  mkdir "$t.partial"
  measure_outside write $((pagefile_gib << 29)) \
    python3 "$here/pagefile.py" write "$f" "$pagefile_gib" "$(daemon_pid)" || return 1
  fact write peak_rss "$(jq .peak_rss "$work/log")"
  fact write peak_rss_at_1tib "$(jq .peak_rss_at_1tib "$work/log")"
  fact write overlay "$(metric coffer_overlay_bytes)"
  measure_outside seal 0 "$coffer" seal "$t.partial" || return 1
  fact seal peak_rss "$(peak_of "$(daemon_pid)")"
  fact seal stored "$(coffer_stored)"
  peer_cold
  measure_outside read 0 python3 "$here/pagefile.py" read "$t/huge.ibd" "$pagefile_gib" || return 1
  fact read peak_rss "$(peak_of "$(daemon_pid)")"
}
row_pagefile () { for_peers pagefile_steps coffer; }

# --- second read of a sealed file: from the page cache of the kernel
reread_steps () {
  local f=$vault/$(coffer_ts 1)/f000000 before
  mkdir "$vault/$(coffer_ts 1).partial"
  "$bin/writeload" -z 256M "$vault/$(coffer_ts 1).partial" > "$work/log" || return 1
  "$coffer" seal "$vault/$(coffer_ts 1).partial" || return 1
  peer_cold
  before=$(reads)
  measure "first read" $((256 << 20)) dd if="$f" of=/dev/null bs=1M || return 1
  fact "first read" reads $(($(reads) - before))
  before=$(reads)
  # Outside the group: what is counted is the daemon, which should have nothing to do.
  measure_outside "second read" $((256 << 20)) dd if="$f" of=/dev/null bs=1M || return 1
  fact "second read" reads $(($(reads) - before))
}
reads () { metric coffer_requests_total '"read"'; }
row_reread () { for_peers reread_steps coffer; }

# --- stalled: a store takes requests and says nothing.  What goes on in the database meanwhile?
stalled_steps () {
  local rules=$work/stalled.rules rc=0
  : > "$rules"
  relay python3 "$here/../lib/faultproxy.py" 19703 19701 "$rules"
  wait_for 10 grep -q ready "$work/relay.log" || return 1
  coffer_extra=stall-timeout=10s coffer_s3_init 127.0.0.1:19703 || return 1
  mkdir "$vault/$(coffer_ts 1).partial"
  "$bin/writeload" -z 1M "$vault/$(coffer_ts 1).partial" > "$work/log" &&
    "$coffer" seal "$vault/$(coffer_ts 1).partial" > "$work/log" 2>&1 || return 1
  stalled_while seal 2 "$coffer" seal "$vault/$(coffer_ts 2).partial" || rc=1
  stalled_while mv 4 mv -T "$vault/$(coffer_ts 4).partial" "$vault/$(coffer_ts 4)" || rc=1
  return $rc
}
# stalled_while NAME N COMMAND...: COMMAND commits snapshot N while the store is stalled.
stalled_while () {
  local name=$1 n=$2 t=$vault/$(coffer_ts "$2") pid rc=0
  shift 2
  mkdir "$t.partial"
  "$bin/writeload" -n 4 -z 1M "$t.partial" > "$work/log" || return 1
  sync
  echo "* . 1 0 stall" > "$rules"
  "$@" > "$work/commit.log" 2>&1 &
  pid=$!
  sleep 1
  kill -0 $pid 2> /dev/null || { note "$name does not wait: $(cat "$work/commit.log")"; rc=1; }
  echo 2 > /proc/sys/vm/drop_caches # names: what the kernel remembers is answered by nobody
  measure "ls while $name" 0 timeout 60 ls "$vault" || rc=1
  measure "readlink while $name" 0 timeout 60 readlink "$vault/latest" || rc=1
  measure "mkdir while $name" 0 timeout 60 mkdir "$vault/$(coffer_ts $((n + 1))).partial" || rc=1
  [ ! -e "$t" ] || { note "sealed, though the store says nothing"; rc=1; }
  : > "$rules"
  wait $pid || [ "$name" = mv ] || { cat "$work/commit.log" >&2; rc=1; }
  # A rename that took too long was answered EAGAIN: it goes on, and this waits for it.
  [ -d "$t" ] || timeout 120 "$coffer" seal "$t.partial" > "$work/commit.log" 2>&1 ||
    { cat "$work/commit.log" >&2; rc=1; }
  [ "$(ls "$t" | wc -l)" = 4 ] || { note "not all of it is sealed"; rc=1; }
  return $rc
}
row_stalled () { for_s3_peers stalled_steps coffer; }
