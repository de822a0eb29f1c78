#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 3): an open snapshot survives unmount and crash: after an unmount all is there,
# however it was written; after kill -9 all that was fsynced; both go on being written and seal.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires python3 fallocate

act () {
  cd "$1"
  random stream 3000000 1
  random rewritten 3000000 2
  random "$TESTDIR/patch" 200000 3
  dd if="$TESTDIR/patch" of=rewritten bs=1 seek=777 conv=notrunc status=none iflag=fullblock
  dd if="$TESTDIR/patch" of=rewritten bs=1000 seek=2000 conv=notrunc status=none
  random grown 100 4
  cat "$TESTDIR/patch" >> grown
  random cut 3000000 5
  truncate -s 1234567 cut
  random cut0 3000000 5
  : > cut0
  random holed 3000000 6
  fallocate -p -o 100000 -l 1000000 holed
  random zeroed 3000000 7
  fallocate -z -o 100000 -l 1000000 zeroed
  truncate -s 5M sparse
  printf x | dd of=sparse bs=1 seek=2500000 conv=notrunc status=none
  random mapped 300000 8
  python3 -c 'import mmap, os
fd = os.open("mapped", os.O_RDWR)
with mmap.mmap(fd, 300000) as m:
    m[1000:2000] = b"m" * 1000
    m[250000:250100] = b"n" * 100'
  random backwards 0
  for ((i = 9; i >= 0; i--)); do
    dd if="$TESTDIR/patch" of=backwards bs=20000 skip=$i seek=$i count=1 conv=notrunc status=none
  done
  # Told by one checkpoint, gone in the next.
  random cut-later 3000000 12 && random holed-later 3000000 13
  sync cut-later holed-later
  : > cut-later
  truncate -s 1000000 cut-later
  fallocate -p -o 100000 -l 2000000 holed-later
  sync cut-later holed-later
  mkdir -p dir/sub && mv stream dir/sub/moved && ln dir/sub/moved link && ln -s x symlink
  random gone 100000 9 && rm gone
  random replaced 50000 10 && random new 60000 11 && mv new replaced
  cd "$TESTDIR"
}

compare_all () {
  local f bad=
  while read -r f; do
    cmp -s "$TESTDIR/ref/$f" "$1/$f" || bad+=" $f"
  done < <(cd "$TESTDIR/ref" && find . -type f)
  [ -z "$bad" ] || fail "$2: differ:$bad"
  assert_eq "$(cd "$1" && find . | sort)" "$(cd "$TESTDIR/ref" && find . | sort)" "$2"
}

coffer_init
coffer_mount
mkdir "$TESTDIR/ref"
act "$TESTDIR/ref"
for n in 1 2; do
  snap=$VAULT/$(ts $n).partial
  mkdir "$snap"
  act "$snap"
  compare_all "$snap" "as written"
  if [ $n = 1 ]; then
    coffer_remount
    compare_all "$snap" "after an unmount"
  else
    find "$snap" -type f -exec sync {} +
    sync "$snap"
    echo lost > "$snap/not-synced"
    coffer_kill
    coffer_mount
    rm -f "$snap/not-synced"
    compare_all "$snap" "after kill -9"
    jq -e '.snapshots[] | select(.interrupted)' "$MNT/.coffer/status.json" > /dev/null ||
      fail "not said to be interrupted"
  fi
  echo more >> "$snap/grown"
  rm "$snap/symlink"
  seal $n
  echo more >> "$TESTDIR/ref/grown"
  rm "$TESTDIR/ref/symlink"
  compare_all "$VAULT/$(ts $n)" "sealed"
  ln -s x "$TESTDIR/ref/symlink"
  truncate -s -5 "$TESTDIR/ref/grown"
done
