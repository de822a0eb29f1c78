#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise: in an open snapshot locks work, O_TMPFILE works or is refused cleanly, holes are found,
# a direct and a cached handle of one file see the same bytes (ruling 16), a listing survives
# removal meanwhile, odd and long names work, and an unlinked open file lives on.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3 flock

coffer_init
coffer_mount
snap=$VAULT/$(ts 1).partial
mkdir "$snap"
python3 - "$snap" << 'END'
import errno, fcntl, mmap, os, random, subprocess, sys

top = sys.argv[1]
os.chdir(top)


def refused(want, f, *args):
    try:
        f(*args)
    except OSError as e:
        assert e.errno in want, f'{e}, not {[errno.errorcode[w] for w in want]}'
    else:
        raise AssertionError(f'{f} {args} should have failed')


# Locks: BSD and POSIX, between two handles and two processes.
a, b = os.open('lock', os.O_RDWR | os.O_CREAT), os.open('lock', os.O_RDWR)
fcntl.flock(a, fcntl.LOCK_EX)
refused([errno.EWOULDBLOCK], fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.flock(a, fcntl.LOCK_UN)
fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(a, fcntl.LOCK_EX, 10, 5)
other = subprocess.run([sys.executable, '-c', '''
import fcntl, os
fd = os.open("lock", os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0)
try:
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
except BlockingIOError:
    raise SystemExit(7)
'''])
assert other.returncode == 7, 'a POSIX lock is not seen by another process'

# O_TMPFILE: works and can be linked, or EOPNOTSUPP.
try:
    fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b'x')
    os.link(f'/proc/self/fd/{fd}', 'linked', follow_symlinks=True)
    assert open('linked').read() == 'x'
except OSError as e:
    assert e.errno in (errno.EOPNOTSUPP, errno.EISDIR), e

# Holes.
fd = os.open('holes', os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'a' * 65536, 0)
os.pwrite(fd, b'b' * 65536, 1 << 20)
os.ftruncate(fd, 4 << 20)
assert os.lseek(fd, 0, os.SEEK_DATA) == 0
assert os.lseek(fd, 0, os.SEEK_HOLE) == 65536
assert os.lseek(fd, 65536, os.SEEK_DATA) == 1 << 20
assert os.lseek(fd, 1 << 20, os.SEEK_HOLE) == (1 << 20) + 65536
refused([errno.ENXIO], os.lseek, fd, (1 << 20) + 65536, os.SEEK_DATA)
refused([errno.ENXIO], os.lseek, fd, 4 << 20, os.SEEK_HOLE)

# One file through a direct handle (O_WRONLY), a cached one (O_RDWR) and a mapping.
rnd = random.Random(1)
cached = os.open('both', os.O_RDWR | os.O_CREAT)
size = 1 << 20
os.pwrite(cached, bytes(size), 0)
direct = os.open('both', os.O_WRONLY)
area = mmap.mmap(cached, size)
want = bytearray(size)
for i in range(400):
    off, n = rnd.randrange(size - 9000), rnd.randrange(1, 9000)
    data = rnd.randbytes(n)
    how = i % 3
    if how == 0:
        os.pwrite(direct, data, off)
    elif how == 1:
        os.pwrite(cached, data, off)
    else:
        area[off:off + n] = data
        area.flush()
    want[off:off + n] = data
    got = os.pread(cached, 20000, max(0, off - 100))
    assert got == bytes(want[max(0, off - 100):max(0, off - 100) + 20000]), f'step {i}: read'
    assert area[off:off + n] == data, f'step {i}: mapping'
assert open('both', 'rb').read() == bytes(want)
area.close()

# An appender and a reader.
app, rd = os.open('log', os.O_WRONLY | os.O_CREAT | os.O_APPEND), os.open('log', os.O_RDONLY)
for i in range(200):
    os.write(app, b'%05d\n' % i)
    assert os.fstat(rd).st_size == 6 * (i + 1)
    assert os.pread(rd, 6, 6 * i) == b'%05d\n' % i

# An unlinked open file lives on; its name may be taken again.
fd = os.open('gone', os.O_RDWR | os.O_CREAT)
os.write(fd, b'old')
os.unlink('gone')
open('gone', 'w').write('new')
assert os.pread(fd, 3, 0) == b'old' and os.fstat(fd).st_nlink == 0
os.pwrite(fd, b'OLD', 0)
assert os.pread(fd, 3, 0) == b'OLD' and open('gone').read() == 'new'
os.close(fd)

# A listing while names go: each that stays is seen once, none twice.
os.mkdir('many')
for i in range(3000):
    open(f'many/{i}', 'w').close()
seen = []
with os.scandir('many') as it:
    for e in it:
        seen.append(e.name)
        if len(seen) % 2:
            os.unlink(f'many/{e.name}')
assert len(seen) == len(set(seen)) == 3000, len(seen)
assert len(os.listdir('many')) == 1500

# Names.
for name in [b'\xff\xfe\x80', b'a' * 255, b' ', b'-rf', b'a\nb', b'\\', b'*', 'ü'.encode() * 127]:
    open(name, 'w').close()
    assert name in os.listdir(b'.'), name
refused([errno.ENAMETOOLONG], open, b'a' * 256, 'w')
deep = '/'.join(['d' * 50] * 60)
os.makedirs(deep)
open(deep + '/file', 'w').write('deep')
assert open(deep + '/file').read() == 'deep'
st = os.statvfs('.')
assert st.f_bavail > 0 and st.f_namemax == 255
os.sync()
END
rm -r "$snap/many"
seal 1
assert_eq "$(cat "$VAULT/$(ts 1)/gone")" new
assert_eq "$(find "$VAULT/$(ts 1)" -name file -exec cat {} +)" deep
