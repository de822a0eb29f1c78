#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The benchmark's own tools: a measurement is worth what they are.
#   floorfs    what goes in by rsync -aHAX, --link-dest and cp -a comes out the same; the kernel's
#              caches may go in between
#   cgrun      charges a daemon's work to the command that waits for it; says the exit status; the
#              memory is that of the command
#   gendata    the same seed gives the same bytes, on every machine
#   windows.py finds a burst of 100 ms, a wrong mean, and the moment of a change
#   pages.py   counts changed pages
. "$(dirname "$0")/../lib/functions.sh"
requires rsync jq python3 setfacl
requires_root
bin=$COFFER_BUILD/tests/bench
here=$TOP/tests/bench
[ -x "$bin/floorfs" ] || skip "needs the tools that make check builds"

floor_keeps_a_tree () {
  local m=$TESTDIR/floor
  mkdir "$m"
  "$bin/floorfs" -o "keep,clone_fd,default_permissions,stats=$TESTDIR/stats" "$m"
  at_exit "! mountpoint -q $m || umount $m"
  make_tree "$TESTDIR/src"
  rsync -aHAX "$TESTDIR/src/" "$m/T1/"
  same_tree "$TESTDIR/src" "$m/T1"
  rsync -aHAX --link-dest=../T1 "$TESTDIR/src/" "$m/T2/"
  assert_eq "$(stat -c %i "$m/T1/random")" "$(stat -c %i "$m/T2/random")" "link-dest links"
  cp -a "$TESTDIR/src" "$m/T3"
  echo 3 > /proc/sys/vm/drop_caches
  same_tree "$TESTDIR/src" "$m/T3"
  rm -rf "$m/T1"
  same_tree "$TESTDIR/src" "$m/T2"
  mkdir "$m/many"
  "$bin/writeload" -t 4 -n 5000 -z 10 "$m/many" > /dev/null
  assert_eq "$(ls -f "$m/many" | wc -l)" 5002
  mv "$m/many" "$m/T3/moved"
  rm -rf "$m/T3/moved"
  umount "$m"
  grep -q '^create ' "$TESTDIR/stats" || fail "no statistics"
}

cgrun_counts_daemons () {
  local g=coffer-test-$$ cpu
  # The daemon burns 0.3 s of CPU when told to; the command only waits.
  cat > "$TESTDIR/daemon.py" <<'PY'
import os, sys, time
os.chdir(sys.argv[1])
while not os.path.exists("go"):
    time.sleep(0.01)
start = time.process_time()
while time.process_time() - start < 0.3:
    pass
open("done", "w")
PY
  "$bin/cgrun" -g $g -o /dev/null -- \
    sh -c "python3 '$TESTDIR/daemon.py' '$TESTDIR' > /dev/null 2>&1 &"
  "$bin/cgrun" -g $g -o "$TESTDIR/cost" -- \
    sh -c "touch '$TESTDIR/go'; until [ -e '$TESTDIR/done' ]; do sleep 0.05; done"
  cpu=$(jq .cpu "$TESTDIR/cost")
  jq -e '.cpu > 0.28 and .cpu < 1 and .status == 0' "$TESTDIR/cost" > /dev/null ||
    fail "the daemon's 0.3 s were charged as $cpu: $(cat "$TESTDIR/cost")"
  wait_for 5 "'$bin/cgrun' -d $g" || fail "the group stays"
  "$bin/cgrun" -o "$TESTDIR/cost" -- dd if=/dev/zero of=/dev/null bs=100M count=3 2> /dev/null
  jq -e '.peak_anon > 95e6 and .peak_memory < 250e6' "$TESTDIR/cost" > /dev/null ||
    fail "100 MB of memory were seen as $(cat "$TESTDIR/cost")"
  "$bin/cgrun" -o /dev/null -- sh -c 'exit 7' && fail "status lost" || assert_eq $? 7
}

gendata_repeats () {
  assert_eq "$("$bin/gendata" -s 5 bytes 1M | sha256sum | cut -c 1-16)" bf1f317c5a286aae
  assert_eq "$("$bin/gendata" -s 5 rows 1000 | sha256sum | cut -c 1-16)" 651fc2fb91602411
  assert_eq "$("$bin/gendata" bytes 3000001 | wc -c)" 3000001
}

windows_sees () {
  # 20 MB/s for 4 s in steps of 10 ms, one burst of 100 kB at 2 s, then 40 MB/s.
  awk 'BEGIN { for (i = 0; i < 600; i++) { b = i < 400 ? 200000 : 400000
    if (i == 200) b += 1000000
    print 1000000 + i * 10000, b, 0 } }' > "$TESTDIR/flow"
  python3 "$here/windows.py" "$TESTDIR/flow" 20e6 --change 5 40e6 > "$TESTDIR/seen"
  jq -e '.worst_window_percent == 150 and (.error_percent > 1.2 and .error_percent < 1.3)
    and .seconds_to_effect < 0.02' "$TESTDIR/seen" > /dev/null || fail "$(cat "$TESTDIR/seen")"
}

pages_counts () {
  random "$TESTDIR/a" 1048576
  cp "$TESTDIR/a" "$TESTDIR/b"
  printf x | dd of="$TESTDIR/b" bs=1 seek=20000 conv=notrunc status=none
  assert_eq "$(python3 "$here/pages.py" "$TESTDIR/a" "$TESTDIR/b" | jq -c '[.[]]')" \
    '[0.0156,0.0625,0.5]'
}

floor_keeps_a_tree
cgrun_counts_daemons
gendata_repeats
windows_sees
pages_counts
