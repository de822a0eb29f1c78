# SPDX-License-Identifier: Apache-2.0
# ramount.sh - for the tests of src/fs alone (tests/fs/layer_*.sh): the double of the layer below,
# mounted.  Sets MNT, SNAP (an open snapshot) and RAMOUNT_PID.  After functions.sh.
requires_ramount () {
  requires_root
  [ -c /dev/fuse ] || skip "needs /dev/fuse"
  RAMOUNT=$COFFER_BUILD/tests/fs/ramount
  [ -x "$RAMOUNT" ] || skip "needs $RAMOUNT (make check builds it)"
}

# ramount [OPTION,...]
ramount () {
  MNT=$TESTDIR/mnt
  mkdir -p "$MNT"
  : > "$TESTDIR/ramount.log"
  "$RAMOUNT" ${1:+-o "$1"} "$MNT" > "$TESTDIR/ramount.log" 2>&1 &
  RAMOUNT_PID=$!
  at_exit "kill -KILL $RAMOUNT_PID 2> /dev/null; wait $RAMOUNT_PID 2> /dev/null"
  wait_for 10 "grep -q ready '$TESTDIR/ramount.log'" || fail "ramount does not serve"
  SNAP=$MNT/ram/db/20260101T000000Z.partial
  mkdir -p "$SNAP"
}

# Ends it by umount(8), or by the signal given; it must end with status 0.
ramount_end () {
  local status=0
  if [ -n "${1:-}" ]; then kill "-$1" "$RAMOUNT_PID"; else umount "$MNT"; fi
  wait_for 10 "! kill -0 $RAMOUNT_PID" || fail "ramount goes on after it was ended"
  wait "$RAMOUNT_PID" || status=$?
  [ $status = 0 ] || fail "ramount ended with status $status"
  ! mountpoint -q "$MNT" || fail "ramount left its mount behind"
}
