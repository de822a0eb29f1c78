#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guards the guards: check-layers, check-style and check-headers must refuse what they are for, and
# name file and line.  Each case plants one violation in a small tree that passes otherwise.
set -u
top=$(cd "${srcdir:-.}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/checks.XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
failed=0

plant () {
  rm -rf tree
  (mkdir tree && cd tree && mkdir -p src/base src/blob src/format include tools tests contrib)
  cp "$top/src/LAYERS" tree/src
  printf '/* SPDX-License-Identifier: X */\n#include <stdio.h>\n' > tree/src/base/a.c
  printf '/* SPDX-License-Identifier: X */\n#include "base/b.h"\n' > tree/src/blob/a.c
  printf '/* SPDX-License-Identifier: X */\nint b;\n' > tree/src/base/b.h
}
# refuses CHECK WHAT: the check fails on the planted tree and its output holds WHAT.
refuses () {
  if "$top/tools/$1" tree > out 2>&1; then
    echo "not refused by $1: $2"; failed=1
  elif ! grep -qF -- "$2" out; then
    echo "$1 refused, but did not say '$2':"; cat out; failed=1
  fi
}

plant
for check in check-layers check-style; do
  "$top/tools/$check" tree || { echo "$check refuses a good tree"; failed=1; }
done

plant; echo '#include "blob/x.h"' >> tree/src/base/a.c
refuses check-layers 'src/base/a.c:3: layer base may not include "blob/x.h"'
plant; echo '#  include <fuse_lowlevel.h>' >> tree/src/blob/a.c
refuses check-layers 'src/blob/a.c:3: <fuse_lowlevel.h> is granted to others only'
plant; echo '#include <unheard/of.h>' >> tree/src/blob/a.c
refuses check-layers 'src/blob/a.c:3: <unheard/of.h> stands nowhere'
plant; mkdir tree/src/new; echo '#include <stdio.h>' > tree/src/new/a.c
refuses check-layers 'src/new/a.c:1: folder new is no layer'

plant; printf '%0101d\n' 0 >> tree/src/base/a.c
refuses check-style 'src/base/a.c:3: line of 101 columns'
plant; yes 'int x;' | head -n 600 >> tree/src/base/a.c
refuses check-style 'src/base/a.c: 602 lines'
plant; echo 'int x;' > tree/src/base/c.c
refuses check-style 'src/base/c.c: no SPDX'
plant; echo 'void f (char *a, char *b) { strcpy (a, b); }' >> tree/src/base/a.c
refuses check-style 'src/base/a.c:3: banned call'
plant; echo 'void *f (int n) { return malloc (n); }' >> tree/src/format/a.c
refuses check-style 'src/format/a.c:1: allocation in a codec'
plant; echo 'int x; ' >> tree/src/base/a.c
refuses check-style 'src/base/a.c:3: blank at the end'
plant; printf '/* strcpy (a, b) */\nconst char *s = "atoi (";\n' >> tree/src/base/a.c
"$top/tools/check-style" tree || { echo "check-style reads comments and strings"; failed=1; }

plant; echo 'size_t missing;' >> tree/src/base/b.h
"$top/tools/check-headers" tree "${CC:-cc}" -Itree/src > out 2>&1 && {
  echo "check-headers accepts a header that needs another"; failed=1; }
plant
"$top/tools/check-headers" tree "${CC:-cc}" -Itree/src || {
  echo "check-headers refuses a good tree"; failed=1; }
exit $failed
