# SPDX-License-Identifier: Apache-2.0
# functions.sh - what the integration tests (tests/fs/*.sh, tests/crash/*.sh) share.  For bash:
#
#   #!/usr/bin/env bash
#   . "$(dirname "$0")/../lib/functions.sh"
#   requires_mount
#   coffer_init
#   coffer_mount
#   mkdir "$VAULT/$(ts 1).partial"
#   ...
#
# A test exits 0 (passed), 77 (skipped; it says why) or else (failed).  It works below $TESTDIR,
# which goes away, with everything mounted there and every process of at_exit, when it ends;
# COFFER_KEEP=1 keeps the directory of a failed test.  tests/run.sh gives COFFER (the command) and
# COFFER_BUILD (the build directory); run by hand, a test looks for them in ./ and ./build.
#
# "# timeout: SECONDS" in the first ten lines of a test changes its limit (300 s).
set -euo pipefail

TOP=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
TEST=$(basename "$0" .sh)

if [ -z "${COFFER_BUILD:-}" ]; then
  for COFFER_BUILD in . build "$TOP" "$TOP/build"; do
    [ ! -x "$COFFER_BUILD/config.status" ] || break
  done
fi
COFFER_BUILD=$(realpath "$COFFER_BUILD")
if [ -z "${COFFER:-}" ]; then
  for COFFER in "$COFFER_BUILD/coffer" "$COFFER_BUILD/tools/coffer"; do
    [ ! -x "$COFFER" ] || break
  done
fi
export COFFER COFFER_BUILD

# The state of a test run must not depend on who runs it.
export LC_ALL=C.UTF-8 TZ=UTC
umask 022

TESTDIR=$(mktemp -d "${TMPDIR:-/tmp}/coffer-$TEST.XXXXXX")
export HOME=$TESTDIR/home XDG_CONFIG_HOME=$TESTDIR/home/.config
mkdir -p "$HOME"

say () { printf '%s: %s\n' "$TEST" "$*" >&2; }
fail () { say "FAILED: $*"; exit 1; }
skip () { say "skipped: $*"; exit 77; }

# --- ending: commands of at_exit run in reverse order, whatever happened
exit_commands=()
at_exit () { exit_commands+=("$*"); }
finish () {
  local status=$? i
  trap - EXIT
  set +e
  for ((i = ${#exit_commands[@]} - 1; i >= 0; i--)); do eval "${exit_commands[i]}"; done
  awk -v top="$TESTDIR/" 'index ($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac |
    while read -r m; do umount -l "$(printf '%b' "$m")"; done
  if [ $status != 0 ] && [ $status != 77 ]; then
    tail -n 40 "$TESTDIR"/*.log >&2 2> /dev/null
    [ -z "${COFFER_KEEP:-}" ] || { say "kept: $TESTDIR"; exit $status; }
  fi
  # A bare mount point is made immutable.
  find "$TESTDIR" -maxdepth 3 -type d -name 'mnt*' -exec chattr -i {} + 2> /dev/null
  rm -rf --one-file-system "$TESTDIR"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# --- what a test needs
requires () {
  local c
  for c in "$@"; do command -v "$c" > /dev/null || skip "needs the command $c"; done
}
requires_root () { [ "$(id -u)" = 0 ] || skip "needs root"; }
requires_mount () {
  requires_root
  [ -c /dev/fuse ] || skip "needs /dev/fuse"
  [ -x "$COFFER" ] || skip "needs a built coffer command (COFFER=PATH)"
}

# --- stores and mounts.  HOST names a host: own state, cache and mount point; the store is one.
HOST=a
host_dir () { echo "$TESTDIR/$HOST"; }
declare -A DAEMONS

# Makes the store: URL (file://$TESTDIR/store) and KEY are set.  Arguments go to `coffer init`.
coffer_init () {
  URL=${URL:-file://$TESTDIR/store}
  KEY=${KEY:-$TESTDIR/key}
  "$COFFER" init --key-file "$KEY" "$@" "$URL" > "$TESTDIR/init.log" 2>&1 ||
    { cat "$TESTDIR/init.log" >&2; fail "coffer init $URL"; }
}

# coffer_mount [OPTION,...]: mounts the store for HOST in the foreground of a child, waits until it
# serves, and sets MNT, REGION and VAULT (the database "db", made if missing).
coffer_mount () {
  local d opts
  d=$(host_dir)
  MNT=$d/mnt
  mkdir -p "$MNT" 2> /dev/null || :
  opts=key-file=$KEY,state-dir=$d/state,cache-dir=$d/cache${1:+,$1}
  "$COFFER" mount -f -o "$opts" "$URL" "$MNT" >> "$TESTDIR/daemon-$HOST.log" 2>&1 &
  DAEMONS[$HOST]=$!
  wait_for 20 "mountpoint -q '$MNT' || ! kill -0 ${DAEMONS[$HOST]}" || fail "mount of $HOST hangs"
  mountpoint -q "$MNT" || fail "mount of $HOST: $(tail -n 3 "$TESTDIR/daemon-$HOST.log")"
  at_exit "HOST=$HOST coffer_stop"
  REGION=$(echo "$MNT"/*/)
  REGION=${REGION%/}
  VAULT=$REGION/db
  [ -d "$VAULT" ] || mkdir "$VAULT"
}

# The daemon is asked to end and must do so with status 0.
coffer_umount () {
  local d status=0
  d=$(host_dir)
  "$COFFER" umount "$@" "$d/mnt" || fail "umount of $HOST"
  wait "${DAEMONS[$HOST]}" || status=$?
  unset "DAEMONS[$HOST]"
  [ $status = 0 ] || fail "the daemon of $HOST ended with status $status"
}

# Power off: nothing is written any more, the dead mount is detached.
coffer_kill () {
  local d
  d=$(host_dir)
  kill -KILL "${DAEMONS[$HOST]}"
  wait "${DAEMONS[$HOST]}" 2> /dev/null || :
  unset "DAEMONS[$HOST]"
  umount -l "$d/mnt" 2> /dev/null || :
}
coffer_stop () { [ -z "${DAEMONS[$HOST]:-}" ] || coffer_kill; }

# The host as it would be when it had never seen the store.
coffer_forget_local () {
  local d
  d=$(host_dir)
  rm -rf "$d/state" "$d/cache"
}
coffer_remount () { coffer_umount; coffer_mount "$@"; }

# A MinIO server of the test's own: URL is set, and what a client needs in the environment; PORT is
# its port.  `server stop "$TESTDIR/minio"` and `server start "$TESTDIR/minio" $PORT` as it likes.
server () { "$TOP/tests/lib/servers/minio.sh" "$@"; }
start_minio () {
  export COFFER_SERVERS=${COFFER_SERVERS:-$COFFER_BUILD/servers}
  server build > "$TESTDIR/build.log" 2>&1 || skip "needs MinIO: $(tail -n 1 "$TESTDIR/build.log")"
  PORT=$((20000 + $$ % 20000))
  server start "$TESTDIR/minio" $PORT || fail "MinIO does not start"
  at_exit "server stop '$TESTDIR/minio'"
  eval "$(server env "$TESTDIR/minio")"
  URL=$(server url "$TESTDIR/minio" backups)
}

# The N-th instant of one day.
ts () { printf '20260101T%06dZ' "$1"; }

# seal N: commits snapshot N by the command.
seal () { "$COFFER" seal "$VAULT/$(ts "$1").partial"; }

# --- checks
assert_eq () { [ "$1" = "$2" ] || fail "expected '$2', got '$1'${3:+ ($3)}"; }

# assert_fails TEXT COMMAND...: the command fails and says TEXT (an errno's text, or a pattern).
assert_fails () {
  local text=$1 out
  shift
  if out=$("$@" 2>&1); then fail "should have failed with '$text': $*"; fi
  grep -qiE -- "$text" <<< "$out" || fail "'$*' should have said '$text', but said: $out"
}

# Same names, kinds, contents, owners, modes, times, links, ACLs and xattrs, by rsync's judgement.
# (Sparseness is compared where it matters: by the tests of holes.)
same_tree () {
  local diff
  diff=$(rsync -aHAXnic --delete "$1/" "$2/") || fail "cannot compare $1 and $2"
  [ -z "$diff" ] || fail "$1 and $2 differ: $(head -n 10 <<< "$diff")"
}

# wait_for SECONDS 'SHELL COMMAND': polls ten times a second.
wait_for () {
  local n=$(($1 * 10))
  for ((; n > 0; n--)); do
    if eval "$2" > /dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  return 1
}

# within SECONDS PROGRAM...: fails if it takes longer, or fails.  (No shell functions.)
within () {
  local limit=$1 rc=0
  shift
  timeout -k 1 "$limit" "$@" || rc=$?
  [ $rc != 124 ] && [ $rc != 137 ] || fail "took more than $limit s: $*"
  return $rc
}

# random FILE BYTES [SEED]: incompressible and the same every time.
random () {
  openssl enc -aes-128-ctr -pass "pass:${3:-1}" -nosalt -md sha256 < /dev/zero 2> /dev/null |
    head -c "$2" > "$1" || [ "$(stat -c %s "$1")" = "$2" ]
}

# make_tree DIR: a small tree with everything that must survive: kinds, modes, links, times, xattrs,
# ACLs, holes, odd names.
make_tree () {
  local d=$1
  mkdir -p "$d/sub/deep/er" "$d/empty"
  random "$d/random" 3000000 7
  echo 'hello' > "$d/sub/text"
  : > "$d/sub/zero"
  ln "$d/sub/text" "$d/hardlink"
  ln -s sub/text "$d/symlink"
  ln -s /nowhere/at/all "$d/sub/dangling"
  mkfifo -m 600 "$d/fifo"
  mknod -m 640 "$d/null" c 1 3
  printf 'odd' > "$d/$(printf 'tab\there')"
  printf 'odd' > "$d/ümlaut and blank"
  truncate -s 5M "$d/sparse"
  printf x | dd of="$d/sparse" bs=1 seek=2500000 conv=notrunc status=none
  chmod 4751 "$d/sub/zero"
  chown 12:34 "$d/sub/text"
  chmod 1777 "$d/empty"
  setfattr -n user.note -v 'a value' "$d/random"
  setfattr -n user.dir -v d "$d/sub"
  setfacl -m u:65534:r-x,g:7:rwx "$d/sub/deep"
  setfacl -d -m u:65534:r-x "$d/sub/deep"
  touch -h -d '2001-02-03 04:05:06.789012345' "$d/symlink" "$d/sub/text"
  touch -d '1999-12-31 23:59:59.000000001' "$d/sub/deep"
}
