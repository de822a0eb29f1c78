#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Promise 2 and DESIGN 4: the daemon is killed at random moments while files are written,
# rewritten and fsynced: after each new mount every file whose fsync had returned is whole, and
# what is sealed in the end is what was there - also for a host that has lost its local state.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

cat > "$TESTDIR/writer.py" << 'END'
# writer.py SNAPSHOT JOURNAL SEED: writes until the mount dies; a line for each durable file.
import hashlib, os, random, sys
top, journal, seed = sys.argv[1], open(sys.argv[2], 'a'), int(sys.argv[3])
rnd = random.Random(seed)
try:
    d = os.path.join(top, f'dir{seed}')
    os.mkdir(d)
    for i in range(10000):
        p = os.path.join(d, f'{i}' + rnd.choice(['', '.ibd', '.sql']))
        data = bytearray(rnd.randbytes(rnd.choice([10, 5000, 100000, 1500000])))
        fd = os.open(p, os.O_CREAT | rnd.choice([os.O_WRONLY, os.O_RDWR]))
        os.pwrite(fd, data, 0)
        for _ in range(rnd.randrange(3)):
            off, more = rnd.randrange(len(data)), rnd.randbytes(3000)
            os.pwrite(fd, more, off)
            data[off:off + len(more)] = more
        if rnd.randrange(4) == 0:
            n = rnd.randrange(len(data))
            os.ftruncate(fd, n)
            del data[n:]
        os.fsync(fd)
        os.close(fd)
        dfd = os.open(d, os.O_RDONLY)
        os.fsync(dfd)
        os.close(dfd)
        rel = os.path.relpath(p, top)
        journal.write(f'{hashlib.sha256(data).hexdigest()}  {rel}\n')
        journal.flush()
except OSError:
    pass
END

verify () {
  [ -s "$TESTDIR/journal" ] || return 0
  (cd "$1" && sha256sum --quiet -c "$TESTDIR/journal") > "$TESTDIR/verify.txt" 2>&1 ||
    fail "$2: $(head -n 3 "$TESTDIR/verify.txt")"
}

coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir "$snap"
: > "$TESTDIR/journal"
for ((n = 1; n <= ${ROUNDS:-6}; n++)); do
  python3 "$TESTDIR/writer.py" "$snap" "$TESTDIR/journal" $n &
  writer=$!
  sleep "$((RANDOM % 3)).$((RANDOM % 10))"
  coffer_kill
  wait $writer || :
  coffer_mount
  verify "$snap" "after kill $n ($(wc -l < "$TESTDIR/journal") files)"
done
[ "$(wc -l < "$TESTDIR/journal")" -gt 5 ] || fail "hardly anything was durable: no test"
# The host loses its state directory only now: what is sealed needs none.
seal 1
verify "$VAULT/$(ts 1)" sealed
coffer_kill
coffer_forget_local
coffer_mount
verify "$VAULT/$(ts 1)" "cold"
"$COFFER" check --read-data -o "key-file=$KEY" "$URL" > "$TESTDIR/check.log" 2>&1 ||
  fail "coffer check: $(tail -n 3 "$TESTDIR/check.log")"
say "$(wc -l < "$TESTDIR/journal") durable files survived"
