# SPDX-License-Identifier: Apache-2.0

snapshot_test_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(SQLITE_CFLAGS) $(CRYPTO_CFLAGS)
snapshot_tests = tests/unit/snapshot_extmap_test tests/unit/snapshot_life_test \
	tests/unit/snapshot_parts_test tests/unit/snapshot_window_test
check_PROGRAMS += $(snapshot_tests)
TESTS += $(snapshot_tests)
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

tests_unit_snapshot_parts_test_SOURCES = %D%/snapshot_parts_test.c tests/crash/world.c \
	tests/crash/world.h tests/crash/journal.c
tests_unit_snapshot_parts_test_CFLAGS = $(snapshot_test_cflags) -I$(top_srcdir)/tests/crash
tests_unit_snapshot_parts_test_LDADD = libsnapshot.la $(CMOCKA_LIBS)
