# SPDX-License-Identifier: Apache-2.0

snapshot_test_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(SQLITE_CFLAGS) $(CRYPTO_CFLAGS)
check_PROGRAMS += tests/unit/snapshot_extmap_test tests/unit/snapshot_life_test \
	tests/unit/snapshot_window_test
TESTS += tests/unit/snapshot_extmap_test tests/unit/snapshot_life_test \
	tests/unit/snapshot_window_test
tests_unit_snapshot_extmap_test_SOURCES = %D%/snapshot_extmap_test.c
tests_unit_snapshot_extmap_test_CFLAGS = $(snapshot_test_cflags)
tests_unit_snapshot_extmap_test_LDADD = libsnapshot.la $(CMOCKA_LIBS)

tests_unit_snapshot_life_test_SOURCES = %D%/snapshot_life_test.c tests/crash/world.c \
	tests/crash/world.h tests/crash/journal.c
tests_unit_snapshot_life_test_CFLAGS = $(snapshot_test_cflags) -I$(top_srcdir)/tests/crash
tests_unit_snapshot_life_test_LDADD = libsnapshot.la $(CMOCKA_LIBS)

tests_unit_snapshot_window_test_SOURCES = %D%/snapshot_window_test.c tests/crash/world.c \
	tests/crash/world.h tests/crash/journal.c
tests_unit_snapshot_window_test_CFLAGS = $(snapshot_test_cflags) -I$(top_srcdir)/tests/crash
tests_unit_snapshot_window_test_LDADD = libsnapshot.la $(CMOCKA_LIBS)
