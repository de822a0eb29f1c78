# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/cache_blockcache_test
TESTS += tests/unit/cache_blockcache_test
tests_unit_cache_blockcache_test_SOURCES = %D%/cache_blockcache_test.c %D%/cache_util.c \
	%D%/cache_util.h
tests_unit_cache_blockcache_test_LDADD = libcache.la $(CMOCKA_LIBS)
tests_unit_cache_blockcache_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cache_blockcache_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests

check_PROGRAMS += tests/unit/cache_fault_test
TESTS += tests/unit/cache_fault_test
tests_unit_cache_fault_test_SOURCES = %D%/cache_fault_test.c %D%/cache_util.c %D%/cache_util.h
tests_unit_cache_fault_test_LDADD = libcache.la $(CMOCKA_LIBS)
tests_unit_cache_fault_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cache_fault_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
