# SPDX-License-Identifier: Apache-2.0
if HAVE_CMOCKA
include tests/unit/base.mk
include tests/unit/format.mk
include tests/unit/blob.mk
include tests/unit/store.mk
include tests/unit/cache.mk
include tests/unit/snapshot.mk
include tests/unit/fs.mk
endif
include tests/lib/local.mk
include tests/backends/local.mk
include tests/fuzz/local.mk
include tests/bench/local.mk
include tests/build/local.mk
include tests/crash/local.mk
include tests/fs/local.mk
