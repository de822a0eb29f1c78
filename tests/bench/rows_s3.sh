# SPDX-License-Identifier: Apache-2.0
# rows_s3.sh - the rows over S3; sourced by run.sh.
#
# MinIO (tests/lib/servers) serves $s3_direct; in front of it is a relay that counts bytes, and in
# front of that one that delays each reply by 20 ms: $s3_delayed.  All three run outside of the
# group that is measured, on the same cores.  BENCH_S3=http://HOST:PORT uses a server that is there.

s3_bucket=coffer-bench
s3_pids=()

# relay PROGRAM ARGS...: in the background, until s3_down or the next run
relay () {
  "$@" >> "$work/relay.log" 2>&1 &
  s3_pids+=($!)
  echo "$!" >> "$work/relay.pids"
}
stale_relays () {
  local p
  [ -e "$work/relay.pids" ] || return 0
  while read -r p; do
    ! grep -qaE 'flowmeter|delayproxy|faultproxy' "/proc/$p/cmdline" 2> /dev/null || kill "$p"
  done < "$work/relay.pids"
  rm "$work/relay.pids"
}
s3_up () {
  local server=${BENCH_S3:-} minio=$here/../lib/servers/minio.sh
  stale_relays
  : > "$work/relay.log"
  if [ -z "$server" ]; then
    export COFFER_SERVERS=$work/servers
    [ ! -e "$work/s3/minio.pid" ] || "$minio" stop "$work/s3" # of a run that was killed
    rm -rf "$work/s3"
    mkdir -p "$work/s3" "$COFFER_SERVERS"
    # A server that has just started may still refuse the bucket.
    local n=0
    until "$minio" start "$work/s3" 19700 > "$work/s3.log" 2>&1; do
      "$minio" stop "$work/s3"
      [ $((n += 1)) -lt 4 ] || { cat "$work/s3.log" >&2; return 1; }
      sleep 1
    done
    eval "$("$minio" env "$work/s3")"
    server=http://127.0.0.1:19700
  fi
  export AWS_REGION=us-east-1
  base_env+=" AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY"
  # It must not wait for the processor: what it reads late looks like a burst of who sent it.
  relay nice -n -15 "$bin/flowmeter" -l 19701 -t "${server#http://}" -o "$work/flow"
  relay "$bin/../lib/delayproxy" 19702 19701 20
  s3_direct=127.0.0.1:19701 s3_delayed=127.0.0.1:19702
  base_env+=" RCLONE_CONFIG_S3_TYPE=s3 RCLONE_CONFIG_S3_PROVIDER=Minio"
  base_env+=" RCLONE_CONFIG_S3_ENV_AUTH=true"
  base_env+=" RCLONE_CONFIG_S3_ENDPOINT=http://$s3_direct RCLONE_CONFIG=/dev/null"
  inside_env=$base_env
  wait_for 10 inside rclone mkdir "s3:$s3_bucket"
}
s3_down () {
  local p
  for p in "${s3_pids[@]}"; do kill "$p" 2> /dev/null && wait "$p" 2> /dev/null || :; done
  s3_pids=()
  rm -f "$work/relay.pids"
  [ ! -e "$work/s3/minio.pid" ] || "$here/../lib/servers/minio.sh" stop "$work/s3"
}

# s3_url HOST:PORT: the store of coffer in this row
s3_url () { echo "s3://$s3_bucket/coffer?endpoint=http://$1&path-style=1&region=us-east-1"; }
s3_empty () { inside rclone purge "s3:$s3_bucket/$1" 2> /dev/null || :; }
s3_stored () { inside rclone size --json "s3:$s3_bucket/$1" | jq .bytes; }
# Bytes through the relay so far: up or down.  What is younger than 0.2 s is not written down yet.
s3_flow () {
  sleep 0.4
  awk -v c="$1" '{ n += c == "up" ? $2 : $3 } END { printf "%.0f\n", n }' "$work/flow"
}

for_s3_peers () {
  local steps=$1
  shift
  inside_env=$base_env
  for peer in "$@"; do
    wanted "$peer" || continue
    s3_empty "$peer"
    dir=$work/peers/$peer
    rm -rf "$dir"
    mkdir -p "$dir"
    inside_env="$base_env RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$dir/cache"
    group_new "$peer"
    if $steps; then mark_done; else
      note "$row: $peer gave up"
      failures=$((failures + 1))
    fi
    [ "$peer" != coffer ] || coffer_end
    group_end || failures=$((failures + 1))
    s3_empty "$peer"
    rm -rf "$dir"
  done
}

# A mount of the store through HOST:PORT, as a host that has never seen it.
coffer_through () {
  coffer_umount
  rm -rf "$dir/state" "$dir/cache"
  store_url=$(s3_url "$1") coffer_mount
}
coffer_s3_init () {
  local store_url
  store_url=$(s3_url "$1")
  coffer_init
}

# --- write and seal to a store 20 ms away
s3_write_steps () {
  local before
  if [ "$peer" = restic ]; then
    local repo=s3:http://$s3_delayed/$s3_bucket/restic
    inside restic -q init -r "$repo" > "$work/log" 2>&1 || return 1
    before=$(s3_flow up)
    measure write "$bytes" bash -c "$(inside_cmd restic -q backup -r "$repo" "$work/src/set")" ||
      return 1
  else
    coffer_s3_init "$s3_delayed" || return 1
    before=$(s3_flow up)
    measure write "$bytes" bash -c "$(coffer_save 1 "$work/src/set")" || return 1
  fi
  fact write wire $(($(s3_flow up) - before))
  fact write stored "$(s3_stored "$peer")"
}
row_s3_write () {
  data_once random data_random
  use_set random
  bytes=$(size_of "$work/src/set")
  for_s3_peers s3_write_steps restic coffer
  put_set random
}

# --- one sequential reader, cold
s3_read_steps () {
  local file=$work/object mnt=$root$dir/mnt
  bytes=$((read_mib << 20))
  "$bin/gendata" -s 14 bytes "$bytes" > "$file"
  mkdir -p "$dir/mnt"
  case $peer in
  coffer)
    coffer_s3_init "$s3_direct" || return 1
    bash -c "mkdir $vault/$(coffer_ts 1).partial && cp $file $vault/$(coffer_ts 1).partial &&
      $coffer seal $vault/$(coffer_ts 1).partial" > "$work/log" 2>&1 || return 1
    coffer_through "$s3_delayed" || return 1
    file=$vault/$(coffer_ts 1)/object ;;
  rclone | s3fs)
    inside rclone copyto "$file" "s3:$s3_bucket/$peer/object" || return 1
    if [ "$peer" = rclone ]; then # as its documentation advises for S3
      in_group chroot "$root" env -i $inside_env "RCLONE_CONFIG_S3_ENDPOINT=http://$s3_delayed" \
        rclone mount --daemon --read-only --vfs-read-chunk-streams 16 --vfs-read-chunk-size 4M \
        "s3:$s3_bucket/$peer" "$dir/mnt" || return 1
    else
      in_group chroot "$root" env -i $inside_env s3fs "$s3_bucket:/$peer" "$dir/mnt" -o ro \
        -o compat_dir -o "url=http://$s3_delayed" -o use_path_request_style || return 1
    fi
    wait_for 10 timeout 3 test -s "$mnt/object" || return 1
    file=$mnt/object ;;
  serial) inside rclone copyto "$file" "s3:$s3_bucket/$peer/object" || return 1 ;;
  esac
  drop_caches
  local rc=0
  if [ "$peer" = serial ]; then
    measure read "$bytes" python3 "$here/serial.py" "$s3_delayed" "$s3_bucket/$peer/object" ||
      rc=1
  else
    measure read "$bytes" dd if="$file" of=/dev/null bs=1M || rc=1
  fi
  ! mountpoint -q "$mnt" || umount "$mnt"
  rm -f "$work/object"
  [ $rc = 0 ] && { [ "$peer" = coffer ] || wait_for 10 group_is_empty; }
}
group_is_empty () {
  ! grep -q . "/sys/fs/cgroup/cpuacct/$group/cgroup.procs" "/sys/fs/cgroup/$group/cgroup.procs" \
    2> /dev/null
}
row_s3_read () { for_s3_peers s3_read_steps serial rclone s3fs coffer; }

# --- many small files, cold: with and without the delay
s3_small_steps () {
  local stored before wall=() at
  coffer_s3_init "$s3_direct" || return 1
  bash -c "$(coffer_save 1 "$work/src/set")" > "$work/log" 2>&1 || return 1
  stored=$(s3_stored coffer)
  for at in direct delayed; do
    [ $at = direct ] && coffer_through "$s3_direct" || coffer_through "$s3_delayed" || return 1
    rm -rf "$work/restored"
    mkdir "$work/restored"
    drop_caches
    before=$(s3_flow down)
    measure "$([ $at = direct ] && echo undelayed || echo restore)" "$bytes" \
      rsync -a "$vault/$(coffer_ts 1)/" "$work/restored/" || return 1
    wall+=("$(jq .wall "$work/cost.json")")
    [ $at = direct ] || fact restore fetched_of_stored \
      "$(jq -n "$(($(s3_flow down) - before)) / $stored")"
    [ "$repeat" != 1 ] || same "$work/src/set" "$work/restored" || return 1
  done
  fact restore wall_of_undelayed "$(jq -n "${wall[1]} / ${wall[0]}")"
  rm -rf "$work/restored"
}
row_s3_small () {
  data_once small data_small
  use_set small
  bytes=$(size_of "$work/src/set")
  for_s3_peers s3_small_steps coffer
  put_set small
}

# --- small files, each fsynced
s3_fsync_steps () {
  local t
  coffer_s3_init "$s3_delayed" || return 1
  t=$vault/$(coffer_ts 1)
  mkdir "$t.partial"
  measure write $((fsync_files << 13)) \
    "$bin/writeload" -t 8 -n "$fsync_files" -z 8K -s "$t.partial" || return 1
  note "$(tail -n 1 "$work/log")"
  measure seal 0 "$coffer" seal "$t.partial" || return 1
  # The packs in use are what coffer-extract counts in a copy of the store.
  inside rclone copy "s3:$s3_bucket/coffer" "$dir/copy" || return 1
  fact write packs "$("$top/contrib/coffer-extract" --key-file "$dir/key" "$dir/copy" \
    verify "bench/$(coffer_ts 1)" | sed -n 's/.* \([0-9]*\) packs of.*/\1/p')"
}
row_s3_fsync () { for_s3_peers s3_fsync_steps coffer; }

# --- the throttle: what reaches the store in each 100 ms, and how fast a change takes effect
throttle_steps () {
  local t writer start changed
  coffer_extra=upload-rate=20MB coffer_s3_init "$s3_direct" || return 1
  t=$vault/$(coffer_ts 1).partial
  mkdir "$t"
  "$bin/writeload" -t 8 -n 8 -z 1G -d $((throttle_s + 8)) "$t" > "$work/log" &
  writer=$!
  sleep 3 # the first packs fill
  start=$(cut -d ' ' -f 1 /proc/uptime)
  sleep "$throttle_s"
  changed=$(cut -d ' ' -f 1 /proc/uptime)
  echo 40MB > "$dir/mnt/.coffer/throttle/$(basename "$(dirname "$vault")")"
  wait "$writer" || return 1
  python3 "$here/windows.py" "$work/flow" 20e6 --from "$start" --change "$changed" 40e6 \
    > "$work/throttle.json" || return 1
  fact steady mean "$(jq .mean "$work/throttle.json")"
  fact steady error_percent "$(jq .error_percent "$work/throttle.json")"
  fact steady worst_window_percent "$(jq .worst_window_percent "$work/throttle.json")"
  fact change seconds_to_effect "$(jq .seconds_to_effect "$work/throttle.json")"
}
row_throttle () { for_s3_peers throttle_steps coffer; }
