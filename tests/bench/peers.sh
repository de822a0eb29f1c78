# SPDX-License-Identifier: Apache-2.0
# peers.sh - what each peer does for a step; sourced by run.sh.
#
# Each peer P has P_init, P_save NAME SRC (a shell command line that is measured), P_stored, and
# P_restore NAME DEST (again a command line); P_cold forgets what a fresh host would not have, and
# P_end stops daemons and removes all.  $dir is the peer's directory; programs of the Debian root
# run by `inside`.  All encrypt, with the peer's defaults unless said.

peer_has () {
  case $1 in
  coffer) [ -n "$coffer" ] ;;
  cp | ext4 | serial) true ;;
  floor) [ -x "$bin/floorfs" ] ;;
  rustic) [ -n "$rustic" ] ;;
  *) [ -x "$root/usr/bin/${1%%-*}" ] || [ -x "$root/usr/bin/mount.$1" ] ;;
  esac
}

peer_version () {
  case $1 in
  coffer) "$coffer" version ;;
  serial) python3 --version ;;
  cp | ext4) cp --version | head -n 1 ;;
  rustic) "$rustic" --version ;;
  floor) echo "floorfs, $(uname -r)" ;;
  borg-*) inside borg --version ;;
  s3ql) inside mount.s3ql --version ;;
  s3fs) inside s3fs --version | head -n 1 ;;
  *) inside "$1" version | head -n 1 ;;
  esac 2>&1
}

inside () { chroot "$root" env -i $inside_env "$@"; }
# The same as words for a command line: inside_cmd PROGRAM ARGS...
inside_cmd () { printf '%q ' chroot "$root" env -i $inside_env "$@"; }

base_env="PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root"

peer_init () {
  dir=$work/peers/$peer
  inside_env="$base_env RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$dir/cache
    BORG_PASSPHRASE=bench BORG_BASE_DIR=$dir/base BORG_RELOCATED_REPO_ACCESS_IS_OK=yes"
  rm -rf "$dir"
  mkdir -p "$dir/repo" "$dir/out"
  group_new "$peer"
  "${peer%%-*}_init" || { note "$row: $peer cannot start"; return 1; }
}
peer_save () { "${peer%%-*}_save" "$@"; }
peer_stored () { "${peer%%-*}_stored"; }
peer_restore () { "${peer%%-*}_restore" "$@"; }
peer_cold () { "${peer%%-*}_cold"; drop_caches; }
peer_end () { "${peer%%-*}_end"; group_end; rm -rf "$work/peers/$peer"; }

# --- cp: no protection at all, the least that any of them can cost
cp_init () { :; }
cp_save () { printf 'cp -a %q %q && sync -f %q' "$2" "$dir/repo/$1" "$dir"; }
cp_stored () { size_of "$dir/repo"; }
cp_restore () { printf 'cp -a %q/. %q' "$dir/repo/$1" "$2"; }
cp_cold () { :; }
cp_end () { :; }

# --- restic
restic_init () { inside restic -q init -r "$dir/repo" > "$work/log" 2>&1; }
restic_save () { inside_cmd restic -q backup -r "$dir/repo" "$2"; }
restic_stored () { size_of "$dir/repo"; }
restic_restore () { inside_cmd restic -q restore -r "$dir/repo" latest --target "$2"; }
restic_cold () { rm -rf "$dir/cache"; }
restic_end () { :; }

# --- rustic: the same repository format as restic, another program
rustic_args () { printf '%q ' env RUSTIC_PASSWORD=bench "$rustic" -r "$dir/repo" --no-progress \
  --log-level error --cache-dir "$dir/cache" "$@"; }
rustic_init () { bash -c "$(rustic_args init)" > "$work/log" 2>&1; }
rustic_save () { rustic_args backup "$2"; }
rustic_stored () { size_of "$dir/repo"; }
rustic_restore () { rustic_args restore latest "$2"; }
rustic_cold () { rm -rf "$dir/cache"; }
rustic_end () { :; }

# --- borg, by compression: borg-lz4 (its default), borg-zstd
borg_init () { inside borg init -e repokey "$dir/repo" > "$work/log" 2>&1; }
borg_save () {
  local c=lz4
  [ "$peer" = borg-lz4 ] || c=zstd,1
  inside_cmd borg create -C "$c" "$dir/repo::$1" "$2"
}
borg_stored () { size_of "$dir/repo"; }
borg_restore () { printf 'cd %q && ' "$2"
  inside_cmd sh -c 'cd "$1" && exec borg extract "$2"' - "$2" "$dir/repo::$1"; }
borg_cold () { rm -rf "$dir/base/.cache"; }
borg_end () { :; }

# --- s3ql: a mount; its save ends with the umount, which is when the data are in the store.
# zlib-6, because its default, lzma, takes ten times as long.
s3ql_opts () { echo "--authfile $dir/auth --cachedir $dir/cache"; }
s3ql_init () {
  mkdir -p "$dir/cache" "$root$dir/mnt"
  printf '[local]\nstorage-url: local://%s\nfs-passphrase: bench\n' "$dir/repo" > "$dir/auth"
  chmod 600 "$dir/auth"
  echo bench | inside mkfs.s3ql $(s3ql_opts) --quiet "local://$dir/repo" > "$work/log" 2>&1
}
s3ql_up () {
  inside_cmd mount.s3ql $(s3ql_opts) --compress zlib-6 --quiet "local://$dir/repo" "$dir/mnt"
}
s3ql_save () {
  in_group bash -c "$(s3ql_up)" >> "$work/log" 2>&1
  printf 'cp -a %q %q && ' "$2" "$root$dir/mnt/$1"
  inside_cmd umount.s3ql "$dir/mnt"
}
s3ql_stored () { size_of "$dir/repo"; }
s3ql_restore () {
  in_group bash -c "$(s3ql_up)" >> "$work/log" 2>&1
  printf 'cp -a %q/. %q && ' "$root$dir/mnt/$1" "$2"
  inside_cmd umount.s3ql "$dir/mnt"
}
s3ql_cold () { rm -rf "$dir/cache"/*-cache; }
s3ql_end () { ! mountpoint -q "$root$dir/mnt" || inside umount.s3ql "$dir/mnt"; }

# --- coffer: the daemon stays up through the steps; cold is a mount without state and cache
coffer_url () { echo "${store_url:-file://$dir/repo}"; }
coffer_opts () {
  echo "key-file=$dir/key,state-dir=$dir/state,cache-dir=$dir/cache${coffer_extra:+,$coffer_extra}"
}
coffer_mount () {
  mkdir -p "$dir/mnt"
  in_group "$coffer" mount -o "$(coffer_opts)" "$(coffer_url)" "$dir/mnt" >> "$work/log" 2>&1 || {
    tail -n 5 "$work/log" >&2; return 1; }
  vault=$(echo "$dir"/mnt/*/)bench
  [ -d "$vault" ] || mkdir "$vault"
}
coffer_umount () {
  mountpoint -q "$dir/mnt" || return 0
  daemon_peak
  "$coffer" umount "$@" "$dir/mnt"
}
# The most memory the daemon ever held, as the kernel counts it: VmHWM, libraries included.
daemon_pid () {
  local p
  for p in $(cat "/sys/fs/cgroup/cpuacct/$group/cgroup.procs" \
    "/sys/fs/cgroup/$group/cgroup.procs" 2> /dev/null); do
    [ "$(readlink "/proc/$p/exe")" != "$coffer" ] || { echo "$p"; return 0; }
  done
  return 1
}
peak_of () { awk '/^VmHWM/ { print $2 * 1024 }' "/proc/$1/status"; }
daemon_peak () {
  local p
  p=$(daemon_pid) || return 0
  fact daemon peak_rss "$(peak_of "$p")"
}
# metric NAME [TEXT]: the sum of a counter's values, of those whose label holds TEXT.
metric () {
  awk -v m="$1" -v t="${2:-}" '($1 == m || index ($1, m "{") == 1) && index ($1, t) {
    n += $2 } END { printf "%.0f\n", n }' "$dir/mnt/.coffer/metrics"
}
store_requests () {
  echo $(($(metric coffer_region_puts_total) + $(metric coffer_region_gets_total) +
    $(metric coffer_region_lists_total)))
}
coffer_init () {
  "$coffer" init --key-file "$dir/key" "$(coffer_url)" > "$work/log" 2>&1 && coffer_mount
}
# Steps are named 1, 2, ...: the instants of one day.
coffer_ts () { printf '20260101T%06dZ' "$1"; }
coffer_save () {
  local t
  t=$vault/$(coffer_ts "$1")
  printf "mkdir %q && ${copy:-cp -a} %q/. %q && %q seal %q" "$t.partial" "$2" "$t.partial" \
    "$coffer" "$t.partial"
}
coffer_stored () { size_of "$dir/repo"; }
coffer_restore () { printf 'cp -a %q/. %q' "$vault/$(coffer_ts "$1")" "$2"; }
coffer_cold () { coffer_umount; rm -rf "$dir/state" "$dir/cache"; coffer_mount; }
coffer_end () {
  coffer_umount
  # A mount point of coffer is made unusable while bare.
  chattr -i "$dir/mnt" 2> /dev/null || :
}

# --- floor and ext4: directories to copy into (row small only)
floor_init () {
  mkdir -p "$dir/mnt"
  in_group "$bin/floorfs" -o clone_fd,allow_other,default_permissions "$dir/mnt" && vault=$dir/mnt
}
floor_cold () { :; }
floor_end () { umount "$dir/mnt"; }
ext4_init () { vault=$dir/repo; }
ext4_cold () { :; }
ext4_end () { :; }
