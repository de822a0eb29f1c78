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
#   pagefile.py sees a page that is not the one written, and data where a hole was
#   report.py  a bar is met, missed or not measured; the minimum of the repeats counts
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

pagefile_compares () {
  local f=$TESTDIR/huge at
  python3 "$here/pagefile.py" write "$f" 1 $$ > "$TESTDIR/seen"
  jq -e '.peak_rss > 0 and .peak_rss_at_1tib >= .peak_rss' "$TESTDIR/seen" > /dev/null ||
    fail "$(cat "$TESTDIR/seen")"
  [ "$(($(stat -c %b "$f") * 512))" -lt $((700 << 20)) ] || fail "no holes were left"
  python3 "$here/pagefile.py" read "$f" 1
  # 1,000 of the 8,192 places are looked at: an error in every page, then in every hole, is seen.
  for at in 100 100000; do
    cp --sparse=always "$f" "$f.bad"
    python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
for i in range(8192):
    os.pwrite(fd, b"x", i * 131072 + int(sys.argv[2]))' "$f.bad" $at
    ! python3 "$here/pagefile.py" read "$f.bad" 1 2> /dev/null || fail "not seen: byte $at"
  done
}

report_judges () {
  local bars=$TESTDIR/bars
  echo "size: test" > "$TESTDIR/machine"
  cat > "$TESTDIR/results" <<'JSON'
{"row":"random","step":"write","peer":"restic","repeat":1,"bytes":1073741824,"wall":9,"cpu":9}
{"row":"random","step":"write","peer":"restic","repeat":2,"bytes":1073741824,"wall":6,"cpu":10}
{"row":"random","step":"write","peer":"coffer","repeat":1,"bytes":1073741824,"wall":3.1,"cpu":4}
{"row":"random","step":"write","peer":"coffer","repeat":2,"bytes":1073741824,"wall":8,"cpu":3}
{"row":"random","step":"daemon","peer":"coffer","repeat":1,"peak_rss":100000000}
{"row":"random","step":"daemon","peer":"coffer","repeat":2,"peak_rss":300000000}
{"row":"random","step":"daemon","peer":"coffer","repeat":2,"peak_rss":1000}
{"row":"reread","step":"second read","peer":"coffer","repeat":1,"reads":0}
JSON
  python3 "$here/report.py" "$TESTDIR/results" "$TESTDIR/machine" "$TESTDIR/out.json" > "$bars"
  grep -q 'random write: cpu at most 0.42 of restic .* met 0.33' "$bars" || fail "$(cat "$bars")"
  grep -q 'random write: wall at most 0.5 of restic .* MISSED 0.52' "$bars" ||
    fail "$(cat "$bars")"
  grep -q 'random write: cpu at most 0.65 of borg-lz4 .* not measured' "$bars" ||
    fail "$(cat "$bars")"
  grep -q 'reads at most 0 .* met 0' "$bars" || fail "$(cat "$bars")"
  grep -q 'memory at most 256 MiB; most in random .*MISSED 286' "$bars" || fail "$(cat "$bars")"
  grep -q '^innodb' "$bars" && fail "a bar of a row that was not run"
  echo '{"row":"random","step":"verify","peer":"coffer","repeat":1,"differs":1}' \
    >> "$TESTDIR/results"
  python3 "$here/report.py" "$TESTDIR/results" "$TESTDIR/machine" "$TESTDIR/out.json" |
    grep -q 'is what was saved .*MISSED: random (coffer)' || fail "a difference goes unseen"
}

floor_keeps_a_tree
cgrun_counts_daemons
gendata_repeats
windows_sees
pages_counts
pagefile_compares
report_judges
