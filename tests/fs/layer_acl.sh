#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise: ACLs, set-group-id directories and set-id bits behave as on a local file system: the
# mode follows the ACL and the ACL the mode, defaults are inherited, a user's write drops set-id
# bits, and an ACL lets in whom it names.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../lib/ramount.sh"
requires_ramount
requires setfacl getfacl setpriv

as () { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }

act () {
  chmod 755 .
  mkdir acl sgid
  setfacl -m d:u:1000:rwx,d:g::r-x acl
  (umask 027; touch acl/f; mkdir acl/d; touch acl/g; mknod acl/p p)
  setfacl -m u:1001:rw acl/g
  chmod 604 acl/g
  touch acl/h
  setfacl -m u::r,g::rw,o::- acl/h
  setfacl -b acl/d
  echo secret > named
  chmod 600 named
  setfacl -m u:1002:r named
  as 1002 cat named
  as 1003 cat named 2> /dev/null || echo refused
  chown 0:27 sgid
  chmod 2777 sgid
  as 1000 sh -c 'umask 022; touch sgid/a; mkdir sgid/b; echo > sgid/s; chmod 6755 sgid/s'
  as 1000 stat -c '%a' sgid/s
  as 1000 sh -c 'echo x >> sgid/s'
  as 1000 stat -c '%a %u %g' sgid/s sgid/a sgid/b
  for i in acl acl/f acl/d acl/g acl/p acl/h named sgid; do
    getfacl -n "$i"
    stat -c '%n %a %u:%g' "$i"
    getfattr -d -m - "$i"
  done
}

mkdir "$TESTDIR/ref"
chmod 755 "$TESTDIR"
ramount allow_other
(cd "$TESTDIR/ref" && act) > "$TESTDIR/want" 2>&1
(cd "$SNAP" && act) > "$TESTDIR/got" 2>&1
diff "$TESTDIR/want" "$TESTDIR/got" || fail "not as on the local file system"
ramount_end
