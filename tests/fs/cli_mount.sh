#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: `coffer mount` returns when the mount serves and fails with a message when it does not;
# mount.coffer takes what fstab users write and prints nothing; `coffer umount` waits for the
# daemon's end and refuses while files are open; seal, status, throttle, show, find and snapshots
# work on a path in the mount, with the exit status of DESIGN 11.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires jq

says () {
  local want=$1 pattern=$2 rc=0
  shift 2
  timeout 60 "$@" > "$TESTDIR/out" 2> "$TESTDIR/err" || rc=$?
  [ $rc = "$want" ] || fail "'$*' ended with $rc, not $want: $(cat "$TESTDIR/err")"
  grep -qE -- "$pattern" "$TESTDIR/err" ||
    fail "'$*' should have said '$pattern', but said: $(cat "$TESTDIR/err")"
}
cd "$TESTDIR"
coffer_init
mnt=$TESTDIR/mnt
options=key-file=$KEY,state-dir=$TESTDIR/state,log=$TESTDIR/daemon.log
mount_it () { timeout -k 1 20 "$COFFER" mount -o "$options${1:+,$1}" "$URL" "$mnt"; }
pid_of () { sed -n '1s/^# pid //p' "$mnt/.coffer/config"; }

# --- what does not mount says why, and leaves nothing behind
says 2 'where to mount' "$COFFER" mount "$URL"
: > "$TESTDIR/file"
says 1 'is no directory' "$COFFER" mount -o "$options" "$URL" "$TESTDIR/file"
says 1 'no such directory' "$COFFER" mount -o "$options" "$URL" "$TESTDIR/a/b/c"
says 1 'something else is mounted' "$COFFER" mount -o "$options" "$URL" /proc
says 2 'there is no option "frob"' "$COFFER" mount -o "$options,frob" "$URL" "$mnt"
says 2 'log-level' "$COFFER" mount -o "$options,log-level=loud" "$URL" "$mnt"
"$COFFER" init --key-file "$TESTDIR/otherkey" "file://$TESTDIR/other" > /dev/null 2>&1
says 77 'wrong key' "$COFFER" mount -o "state-dir=$TESTDIR/state,key-file=$TESTDIR/otherkey" \
  "$URL" "$mnt"
says 1 'no coffer store here' "$COFFER" mount -o "$options" "file://$TESTDIR/home" "$mnt"
says 1 'coffer init makes a store' \
  "$COFFER" mount -o "$options" "file://$TESTDIR/missing" "$mnt"
! mountpoint -q "$mnt" || fail "something is mounted"

# --- it returns when the mount serves; the mount point was made, and is of no use when bare
mount_it > "$TESTDIR/out" 2>&1 || fail "mount: $(cat "$TESTDIR/out")"
at_exit "umount -l $mnt 2> /dev/null"
[ ! -s "$TESTDIR/out" ] || fail "a mount that works prints: $(cat "$TESTDIR/out")"
ls "$mnt/local" > /dev/null || fail "the mount does not serve"
grep -q " $mnt fuse.coffer rw,nosuid,nodev" /proc/mounts ||
  fail "options: $(grep "$mnt" /proc/mounts)"
says 1 'mounted there already' "$COFFER" mount -o "$options" "$URL" "$mnt"
daemon=$(pid_of)
[ -d "/proc/$daemon" ] || fail "the daemon's pid is $daemon"
# After PR_SET_DUMPABLE 0 what /proc shows of it belongs to root, and a core has no size.
grep -q '^Max core file size  *0 ' "/proc/$daemon/limits" || fail "the daemon may dump core"
for fd in 0 1 2; do assert_eq "$(readlink "/proc/$daemon/fd/$fd")" /dev/null \
  "fd $fd of the daemon"; done
assert_eq "$(readlink "/proc/$daemon/cwd")" / "the daemon's directory"
! tr '\0' ' ' < "/proc/$daemon/cmdline" | grep -q "$(awk '/coffer-key/ { print $2 }' "$KEY")" ||
  fail "key"

# --- names that are none
mkdir "$mnt/local/db"
assert_fails 'invalid argument' mkdir "$mnt/local/db/yesterday"
assert_fails 'invalid argument' mkdir "$mnt/local/DB"
assert_fails 'no such file|not permitted|denied|invalid' mkdir "$mnt/mars/db"
says 1 'not in a coffer mount' "$COFFER" status "$TESTDIR"
# Without a path it is the only mount there is; without one a sentence.
elsewhere () { # 0|1 COMMAND...: from /, in a mount namespace with no mount of coffer, or this one
  unshare -m bash -c 'cd /; for m in $(awk '"'"'$3 == "fuse.coffer" { print $2 }'"'"' /proc/mounts)
    do [ "$m" = "$0" ] || umount -l "$m"; done
    [ "$1" = 1 ] || umount -l "$0"
    shift; exec "$@"' "$mnt" "$@"
}
elsewhere 1 "$COFFER" status | grep -q '^region local' || fail "status of the only mount"
elsewhere 1 "$COFFER" snapshots > /dev/null || fail "snapshots of the only mount"
assert_fails 'no coffer mount is here' elsewhere 0 "$COFFER" status
says 2 'is no snapshot' "$COFFER" seal "$mnt/local/db"
says 2 'is no snapshot' "$COFFER" show "$mnt/local/db"
says 1 'Is the name right' "$COFFER" seal "$mnt/local/db/$(ts 9).partial"

# --- a snapshot, from mkdir to find
T=$mnt/local/db/$(ts 1)
mkdir "$T.partial"
make_tree "$TESTDIR/tree"
cp -a "$TESTDIR/tree/." "$T.partial/"
setfattr -n user.coffer.meta.ticket -v 4711 "$T.partial"
"$COFFER" status "$mnt" | grep -q "local/db/$(ts 1).partial" || fail "status"
"$COFFER" status --json "$T.partial" | jq -e '.snapshots[0].state == "open"' > /dev/null ||
  fail "status.json"
"$COFFER" snapshots --open --short "$mnt" | grep -qx "$T.partial" || fail "snapshots --open"
exec 7> "$T.partial/held"
says 1 'open|busy' "$COFFER" umount "$mnt"
mountpoint -q "$mnt" || fail "umount went on although a file is open"
says 1 'busy|open' "$COFFER" seal "$T.partial"
exec 7>&-
within 60 "$COFFER" seal "$T.partial" > "$TESTDIR/out" || fail "seal"
grep -q "^sealed $T$" "$TESTDIR/out" || fail "seal says: $(cat "$TESTDIR/out")"
"$COFFER" seal "$T" 2> "$TESTDIR/err" || fail "a second seal"
grep -q 'sealed already' "$TESTDIR/err" || fail "a second seal says nothing"
rm -f "$TESTDIR/tree/held"; : > "$TESTDIR/tree/held"; touch -r "$T/held" "$TESTDIR/tree/held"
setfattr -n user.coffer.meta.ticket -v 4711 "$TESTDIR/tree"
touch -r "$T" "$TESTDIR/tree"
same_tree "$TESTDIR/tree" "$T"
"$COFFER" show --json "$mnt/local/db/latest" |
  jq -e '.state == "sealed" and .["meta.ticket"] == "4711" and .files > 5' > /dev/null ||
  fail "show --json"
"$COFFER" show "$mnt/local/db/latest" > "$TESTDIR/out"
grep -qE '^state +sealed$' "$TESTDIR/out" && grep -qE '^meta.ticket +4711$' "$TESTDIR/out" ||
  fail "show: $(cat "$TESTDIR/out")"
"$COFFER" show "$T/random" | grep -qE '^digest +[0-9a-f]{32}' || fail "show of a file"
assert_eq "$("$COFFER" find 'tex*' "$mnt")" "$T/sub/text" "find in the mount"
assert_eq "$("$COFFER" find 'tex*' -o "key-file=$KEY" "$URL")" "local/db/$(ts 1)/sub/text" \
  "find in the store"
says 1 'nothing found' "$COFFER" find nowhere "$mnt"
a=$("$COFFER" snapshots --json "$mnt" |
  jq -c '.[0] | [.name, .state, .files, .logical, .new, .stored, .digest]')
b=$("$COFFER" snapshots --json --key-file "$KEY" "$URL" |
    jq -c '.[0] | [.name, .state, .files, .logical, .new, .stored, .digest]')
assert_eq "$a" "$b" "mount and store tell different things"
assert_eq "$("$COFFER" snapshots --since 2026-01-02 --short "$mnt")" "" "--since"
assert_eq "$("$COFFER" snapshots -d 'x*' --short "$mnt")" "" "--db"

# --- for programs: JSON lines of a watched status, errors as JSON, one at a time
timeout -s INT 2 "$COFFER" status --watch --interval 0.3 --json "$mnt" > "$TESTDIR/out" || :
[ "$(jq -c .version "$TESTDIR/out" | wc -l)" -ge 3 ] || fail "status --watch --json"
rc=0
"$COFFER" seal --json "$mnt/local/db" 2> "$TESTDIR/err" || rc=$?
assert_eq $rc 2
jq -e '.status == 2 and (.error | contains("no snapshot"))' "$TESTDIR/err" > /dev/null ||
  fail "an error as JSON: $(cat "$TESTDIR/err")"

# --- throttle: by command and by control file, and what is wrong is refused
"$COFFER" throttle "$mnt" local 20MB > /dev/null
assert_eq "$(cat "$mnt/.coffer/throttle/local")" "up=20MB down=20MB"
"$COFFER" throttle "$mnt/local" up=off > /dev/null
assert_eq "$(cat "$mnt/.coffer/throttle/local")" "up=off down=20MB"
echo '08:00-18:00=1MB,*=2MB' > "$mnt/.coffer/throttle/host"
"$COFFER" throttle --json "$mnt" | jq -e '.host.up == "08:00-18:00=1MB,*=2MB"' > /dev/null ||
  fail "json"
says 2 'is no rate' "$COFFER" throttle "$mnt" local fast
says 2 'no region "mars"' "$COFFER" throttle "$mnt" mars 1MB
"$COFFER" throttle "$mnt" host off > /dev/null
"$COFFER" cache stats "$mnt" > /dev/null || fail "cache stats"
says 2 'does not know "shake"' "$COFFER" cache shake "$mnt"
"$COFFER" check "$mnt" > /dev/null || fail "check of a mount"
"$COFFER" check --read-data --json "$mnt" | jq -e '.ok and .files > 5' > /dev/null ||
  fail "check --read-data"

# --- an interrupted `coffer seal` leaves the seal running and says so
T=$mnt/local/db/$(ts 2)
mkdir "$T.partial"
random "$TESTDIR/big" 6000000 3
"$COFFER" throttle "$mnt" local up=1MB > /dev/null
timeout 60 cp "$TESTDIR/big" "$T.partial/"
setsid "$COFFER" seal "$T.partial" 2> "$TESTDIR/err" &
sealer=$!
sleep 0.7
kill -INT $sealer 2> /dev/null || :
rc=0; wait $sealer || rc=$?
if [ $rc != 0 ]; then
  assert_eq $rc 75 "an interrupted seal"
  grep -q 'goes on in the background' "$TESTDIR/err" ||
    fail "interrupted seal: $(cat "$TESTDIR/err")"
fi
"$COFFER" throttle "$mnt" local off > /dev/null
within 60 "$COFFER" seal "$T.partial" > /dev/null || fail "waiting again"
cmp "$TESTDIR/big" "$T/big"

# --- umount ends the daemon; the bare mount point takes nothing
within 30 "$COFFER" umount "$mnt" || fail "umount"
! kill -0 "$daemon" 2> /dev/null || [[ $(ps -o stat= -p "$daemon") = Z* ]] ||
  fail "the daemon lives"
! mountpoint -q "$mnt" || fail "still mounted"
[ "$(stat -c %a "$mnt")" = 0 ] || fail "the bare mount point has mode $(stat -c %a "$mnt")"
says 1 'not in a coffer mount' "$COFFER" umount "$mnt"
grep -q ' info ' "$TESTDIR/daemon.log" || fail "nothing in the log file"

# --- a dead daemon: the next mount detaches what is left, and so does umount
mount_it
kill -KILL "$(pid_of)"
wait_for 5 "! ls '$mnt/local' 2> /dev/null"
says 1 'daemon has gone' "$COFFER" status "$mnt"
mount_it || fail "mounting over a dead mount"
ls "$mnt/local/db" > /dev/null || fail "the mount after a dead one"
kill -KILL "$(pid_of)"
wait_for 5 "! ls '$mnt/local' 2> /dev/null"
"$COFFER" umount "$mnt" 2> "$TESTDIR/err" || fail "umount of a dead mount"
grep -q 'dead mount was detached' "$TESTDIR/err" || fail "umount of a dead mount says nothing"

# --- as mount(8) calls it
ln -s "$COFFER" "$TESTDIR/mount.coffer"
"$TESTDIR/mount.coffer" "$URL" "$mnt" -o "rw,nofail,_netdev,x-systemd.automount,noatime,$options" \
  > "$TESTDIR/out" 2>&1 || fail "mount.coffer: $(cat "$TESTDIR/out")"
[ ! -s "$TESTDIR/out" ] || fail "mount.coffer prints: $(cat "$TESTDIR/out")"
grep -q " $mnt fuse.coffer rw,nosuid,nodev,noatime" /proc/mounts ||
  fail "$(grep "$mnt" /proc/mounts)"
"$COFFER" umount "$mnt"
cat > "$TESTDIR/conf" <<X
key-file = "$KEY"
state-dir = "$TESTDIR/state"
log = "$TESTDIR/daemon.log"
region "eu" { url = "$URL" }
X
"$TESTDIR/mount.coffer" "$TESTDIR/conf" "$mnt" -o ro ||
  fail "mount.coffer with a configuration file"
ls "$mnt/eu/db" > /dev/null || fail "the region's name"
assert_fails 'read-only' mkdir "$mnt/eu/db/$(ts 5).partial"
assert_fails 'read-only' mkdir "$mnt/eu/other"
"$COFFER" umount "$mnt"

# --- told to stop by a signal, in the foreground; systemd is told when it serves and when it ends
python3 - "$TESTDIR/notify" > "$TESTDIR/told" <<'X' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
for _ in range(2):
    print(s.recv(100).decode(), flush=True)
X
wait_for 5 "[ -S '$TESTDIR/notify' ]" || fail "no socket"
NOTIFY_SOCKET=$TESTDIR/notify "$COFFER" mount -f -o "$options" "$URL" "$mnt" 2> "$TESTDIR/fg.log" &
fg=$!
wait_for 20 "mountpoint -q '$mnt'" || fail "foreground"
wait_for 5 "grep -qx READY=1 '$TESTDIR/told'" || fail "systemd is not told of the start"
mkdir "$mnt/local/db/$(ts 7).partial"
echo kept > "$mnt/local/db/$(ts 7).partial/file"
kill -TERM $fg
rc=0; wait $fg || rc=$?
assert_eq $rc 0 "SIGTERM"
wait_for 5 "grep -qx STOPPING=1 '$TESTDIR/told'" || fail "systemd is not told of the end"
! mountpoint -q "$mnt" || fail "still mounted after SIGTERM"
mount_it
assert_eq "$(cat "$mnt/local/db/$(ts 7).partial/file")" kept "what was open at SIGTERM"
"$COFFER" umount "$mnt"
