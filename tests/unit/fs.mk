# SPDX-License-Identifier: Apache-2.0
# src/fs with the double of tests/fs/local.mk below it.
fs_test_LDADD = libfsonly.la libfsdouble.la libbase.la $(CMOCKA_LIBS)
fs_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(FUSE_CFLAGS)

check_PROGRAMS += tests/unit/fs_acl_test tests/unit/fs_session_test
TESTS += tests/unit/fs_acl_test tests/unit/fs_session_test
tests_unit_fs_acl_test_SOURCES = %D%/fs_acl_test.c
tests_unit_fs_acl_test_LDADD = $(fs_test_LDADD)
tests_unit_fs_acl_test_CFLAGS = $(fs_test_CFLAGS)
tests_unit_fs_session_test_SOURCES = %D%/fs_session_test.c
tests_unit_fs_session_test_LDADD = $(fs_test_LDADD)
tests_unit_fs_session_test_CFLAGS = $(fs_test_CFLAGS)
