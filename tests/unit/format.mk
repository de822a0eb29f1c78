# SPDX-License-Identifier: Apache-2.0
format_tests = \
  tests/unit/format_mutation_test \
  tests/unit/format_units_test \
  tests/unit/format_tree_test \
  tests/unit/format_records_test \
  tests/unit/format_text_test
check_PROGRAMS += $(format_tests)
TESTS += $(format_tests)

tests_unit_format_mutation_test_SOURCES = tests/unit/format_mutation_test.c
tests_unit_format_mutation_test_LDADD = libfuzz.la $(CMOCKA_LIBS)
tests_unit_format_mutation_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

tests_unit_format_units_test_SOURCES = tests/unit/format_units_test.c
tests_unit_format_units_test_LDADD = libfuzz.la $(CMOCKA_LIBS)
tests_unit_format_units_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

tests_unit_format_tree_test_SOURCES = tests/unit/format_tree_test.c
tests_unit_format_tree_test_LDADD = libfuzz.la $(CMOCKA_LIBS)
tests_unit_format_tree_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

tests_unit_format_records_test_SOURCES = tests/unit/format_records_test.c
tests_unit_format_records_test_LDADD = libfuzz.la $(CMOCKA_LIBS)
tests_unit_format_records_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

tests_unit_format_text_test_SOURCES = tests/unit/format_text_test.c
tests_unit_format_text_test_LDADD = libfuzz.la $(CMOCKA_LIBS)
tests_unit_format_text_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

# Both sides of the stand-alone restorer's test are Python: no library of ours.
dist_check_SCRIPTS += tests/unit/extract_test.py
TESTS += tests/unit/extract_test.py
EXTRA_DIST += tests/lib/synthetic_store.py tests/lib/tree_list.py

# Golden stores: a test of the format that needs what seals and opens.
check_PROGRAMS += tests/unit/store_golden_test
TESTS += tests/unit/store_golden_test tests/unit/extract_golden_test.py
tests_unit_store_golden_test_SOURCES = tests/unit/store_golden_test.c
tests_unit_store_golden_test_LDADD = libstore.la $(CMOCKA_LIBS)
tests_unit_store_golden_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
dist_check_SCRIPTS += tests/unit/extract_golden_test.py

check_PROGRAMS += tests/unit/format_oom_test
TESTS += tests/unit/format_oom_test
tests_unit_format_oom_test_SOURCES = tests/unit/format_oom_test.c
tests_unit_format_oom_test_LDADD = libfuzz.la $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_format_oom_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_format_oom_test_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
