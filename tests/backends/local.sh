#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The conformance test on the backends that need no server.  Part of `make check`.
set -e
dir=$(mktemp -d "${TMPDIR:-/tmp}/coffer-conformance.XXXXXX")
trap 'rm -rf "$dir"' EXIT
rc=0
tests/backends/conformance memory: || rc=1
tests/backends/conformance --big "file://$dir/store" || rc=1
left=$(find "$dir/store" -type f | wc -l)
if [ "$left" != 0 ]; then
  echo "not ok - $left files left in the directory store"
  find "$dir/store" -type f | head
  rc=1
fi
if find "$dir/store" -perm /077 | grep .; then
  echo "not ok - others may read the store"
  rc=1
fi
tests/backends/conformance --preset=none --expect=again \
  "fault+file://$dir/store?rules=*@1%2B0%3Dfail:again" || rc=1
tests/backends/conformance --preset=none --expect=denied \
  "fault+file://$dir/store?rules=*@1%2B0%3Dfail:denied" || rc=1
exit $rc
