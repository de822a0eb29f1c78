#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
# Guards: fsyncs in many open snapshots of a database and the beginning of others in it do not wait
# for each other for ever: a snapshot that begins holds back all chunks of its database until it
# has looked at its parent, and that look must not stand behind those who wait for the chunks.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3

coffer_init
coffer_mount
mkdir "$VAULT/$(ts 1).partial"
echo parent > "$VAULT/$(ts 1).partial/file"
seal 1 > /dev/null
for n in {2..7}; do mkdir "$VAULT/$(ts "$n").partial"; done

within 90 python3 - "$VAULT" << 'PY' || fail "it hangs: $(cat "$MNT/.coffer/status")"
import os, sys, threading, time
vault, end = sys.argv[1], time.monotonic() + 8

def writer(n, k):
    path = f'{vault}/20260101T{n:06d}Z.partial/f{k}'
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    while time.monotonic() < end:
        os.write(fd, os.urandom(3000))
        os.fsync(fd)
    os.close(fd)

threads = [threading.Thread(target=writer, args=(n, k)) for n in range(2, 8) for k in range(3)]
for t in threads:
    t.start()
n = 100
while time.monotonic() < end:
    for _ in range(4):
        os.mkdir(f'{vault}/20260101T{n // 60:04d}{n % 60:02d}Z.partial')
        n += 1
    time.sleep(0.05)
for t in threads:
    t.join()
print(n - 100, 'snapshots begun')
PY
for n in {2..7}; do seal "$n" > /dev/null; done
coffer_umount
