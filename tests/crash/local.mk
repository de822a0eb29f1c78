# SPDX-License-Identifier: Apache-2.0
# Programs that drive the snapshot layer without FUSE, over stores that die.
crash_tests = tests/crash/collector tests/crash/crash_points tests/crash/join_points \
	tests/crash/moved tests/crash/overlap tests/crash/seams
# Sanitizers stand in front of the same calls as disk.c.
if !SANITIZED
crash_tests += tests/crash/file_points
endif
check_PROGRAMS += $(crash_tests)
TESTS += $(crash_tests)
crash_world = %D%/world.c %D%/world.h %D%/journal.c
crash_cflags = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS) $(ZSTD_CFLAGS)

crash_scenario = %D%/scenario.c %D%/scenario.h $(crash_world)

tests_crash_crash_points_SOURCES = %D%/crash_points.c $(crash_scenario)
tests_crash_crash_points_CFLAGS = $(crash_cflags)
tests_crash_crash_points_LDADD = libsnapshot.la

# The calls that disk.c stands in front of.
crash_wrapped = openat mkdir mkdirat write pread fstatat fsync fdatasync renameat renameat2 linkat \
  unlinkat
tests_crash_file_points_SOURCES = %D%/file_points.c %D%/disk.c %D%/disk.h $(crash_scenario)
tests_crash_file_points_CFLAGS = $(crash_cflags)
tests_crash_file_points_LDFLAGS = $(AM_LDFLAGS) $(crash_wrapped:%=-Wl,--wrap=%)
tests_crash_file_points_LDADD = libsnapshot.la

tests_crash_collector_SOURCES = %D%/collector.c $(crash_world)
tests_crash_collector_CFLAGS = $(crash_cflags)
tests_crash_collector_LDADD = libsnapshot.la

tests_crash_moved_SOURCES = %D%/moved.c $(crash_world)
tests_crash_moved_CFLAGS = $(crash_cflags)
tests_crash_moved_LDADD = libsnapshot.la

tests_crash_overlap_SOURCES = %D%/overlap.c $(crash_world)
tests_crash_overlap_CFLAGS = $(crash_cflags)
tests_crash_overlap_LDADD = libsnapshot.la

tests_crash_join_points_SOURCES = %D%/join_points.c $(crash_world)
tests_crash_join_points_CFLAGS = $(crash_cflags)
tests_crash_join_points_LDADD = libsnapshot.la

tests_crash_seams_SOURCES = %D%/seams.c $(crash_world)
tests_crash_seams_CFLAGS = $(crash_cflags)
tests_crash_seams_LDADD = libsnapshot.la
