#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 2): what cp -a, rsync -aHAXS and tar put in comes out the same: kinds, modes,
# owners, times to the nanosecond, links, holes, xattrs, ACLs; open, sealed, and after a cold mount.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount
requires rsync tar setfacl setfattr

tars () { tar --xattrs --xattrs-include='*' --acls --numeric-owner --sparse "$@"; }

src=$TESTDIR/src
make_tree "$src"
coffer_init
coffer_mount
n=0
for tool in cp rsync tar; do
  n=$((n + 1))
  snap=$VAULT/$(ts $n).partial
  mkdir "$snap"
  case $tool in
  cp) cp -a "$src/." "$snap/" ;;
  rsync) rsync -aHAXS "$src/" "$snap/" ;;
  tar) tars -C "$src" -cf - . | tars -C "$snap" -xpf - ;;
  esac
  same_tree "$src" "$snap"
  seal $n
  same_tree "$src" "$VAULT/$(ts $n)"
done

# Ruling 9: out of a sealed snapshot, into an open one and onto a local file system: the attributes
# that coffer answers by name are not carried along.
sealed=$VAULT/$(ts 1)
assert_eq "$(getfattr --only-values -n user.coffer.state "$sealed")" sealed
getfattr -d -m - "$sealed" 2> /dev/null | grep coffer && fail "listed attributes of coffer"
mkdir "$TESTDIR/out-cp" "$TESTDIR/out-rsync" "$TESTDIR/out-tar"
cp -a "$sealed/." "$TESTDIR/out-cp/"
rsync -aHAXS "$sealed/" "$TESTDIR/out-rsync/"
tars -C "$sealed" -cf - . | tars -C "$TESTDIR/out-tar" -xpf -
for t in cp rsync tar; do same_tree "$src" "$TESTDIR/out-$t"; done
for t in cp rsync; do
  n=$((n + 1))
  snap=$VAULT/$(ts $n).partial
  mkdir "$snap"
  if [ $t = cp ]; then cp -a "$sealed/." "$snap/"; else rsync -aHAXS "$sealed/" "$snap/"; fi
  assert_eq "$(getfattr --only-values -n user.coffer.state "$snap")" open
  same_tree "$src" "$snap"
  seal $n
done

coffer_umount
coffer_forget_local
coffer_mount
for ((i = 1; i <= n; i++)); do same_tree "$src" "$VAULT/$(ts $i)"; done
# Holes are holes, and as large as they were.
[ "$(stat -c %b "$VAULT/$(ts 2)/sparse")" -lt 2000 ] || fail "the sparse file has no holes"
