# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/format_mutation_test
TESTS += tests/unit/format_mutation_test
tests_unit_format_mutation_test_SOURCES = tests/unit/format_mutation_test.c
tests_unit_format_mutation_test_LDADD = libfuzz.la $(CMOCKA_LIBS)
tests_unit_format_mutation_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
