# SPDX-License-Identifier: Apache-2.0
# One program per decoder.  Plain builds replay the corpus in `make check`; with --enable-fuzz (clang)
# they are libFuzzer programs, which tests/fuzz/run.sh drives.
fuzz_programs = \
	%D%/object_fuzz \
	%D%/pack_fuzz \
	%D%/tree_page_fuzz \
	%D%/extent_page_fuzz \
	%D%/tree_index_fuzz \
	%D%/pack_list_fuzz \
	%D%/gc_record_fuzz \
	%D%/checkpoint_fuzz \
	%D%/index_delta_fuzz \
	%D%/manifest_fuzz \
	%D%/superblock_fuzz \
	%D%/key_slot_fuzz \
	%D%/key_file_fuzz \
	%D%/s3_xml_fuzz \
	%D%/creds_json_fuzz \
	%D%/text_fuzz
check_LTLIBRARIES += libfuzz.la
libfuzz_la_SOURCES = %D%/targets.c %D%/targets.h %D%/examples.c %D%/examples.h
libfuzz_la_LIBADD = libformat.la
check_PROGRAMS += $(fuzz_programs) %D%/make_seeds
TESTS += $(fuzz_programs)
EXTRA_DIST += %D%/run.sh

.PHONY: check-fuzzers
check-fuzzers: $(fuzz_programs)

%C%_make_seeds_SOURCES = %D%/make_seeds.c
%C%_make_seeds_LDADD = libfuzz.la

if FUZZ
fuzz_main =
fuzz_flags = -fsanitize=fuzzer
else
fuzz_main = %D%/replay.c
fuzz_flags =
endif

%C%_object_fuzz_SOURCES = %D%/object_fuzz.c $(fuzz_main)
%C%_object_fuzz_LDADD = libfuzz.la
%C%_object_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_pack_fuzz_SOURCES = %D%/pack_fuzz.c $(fuzz_main)
%C%_pack_fuzz_LDADD = libfuzz.la
%C%_pack_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_tree_page_fuzz_SOURCES = %D%/tree_page_fuzz.c $(fuzz_main)
%C%_tree_page_fuzz_LDADD = libfuzz.la
%C%_tree_page_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_extent_page_fuzz_SOURCES = %D%/extent_page_fuzz.c $(fuzz_main)
%C%_extent_page_fuzz_LDADD = libfuzz.la
%C%_extent_page_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_tree_index_fuzz_SOURCES = %D%/tree_index_fuzz.c $(fuzz_main)
%C%_tree_index_fuzz_LDADD = libfuzz.la
%C%_tree_index_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_pack_list_fuzz_SOURCES = %D%/pack_list_fuzz.c $(fuzz_main)
%C%_pack_list_fuzz_LDADD = libfuzz.la
%C%_pack_list_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_gc_record_fuzz_SOURCES = %D%/gc_record_fuzz.c $(fuzz_main)
%C%_gc_record_fuzz_LDADD = libfuzz.la
%C%_gc_record_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_checkpoint_fuzz_SOURCES = %D%/checkpoint_fuzz.c $(fuzz_main)
%C%_checkpoint_fuzz_LDADD = libfuzz.la
%C%_checkpoint_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_index_delta_fuzz_SOURCES = %D%/index_delta_fuzz.c $(fuzz_main)
%C%_index_delta_fuzz_LDADD = libfuzz.la
%C%_index_delta_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_manifest_fuzz_SOURCES = %D%/manifest_fuzz.c $(fuzz_main)
%C%_manifest_fuzz_LDADD = libfuzz.la
%C%_manifest_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_superblock_fuzz_SOURCES = %D%/superblock_fuzz.c $(fuzz_main)
%C%_superblock_fuzz_LDADD = libfuzz.la
%C%_superblock_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_key_slot_fuzz_SOURCES = %D%/key_slot_fuzz.c $(fuzz_main)
%C%_key_slot_fuzz_LDADD = libfuzz.la
%C%_key_slot_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_key_file_fuzz_SOURCES = %D%/key_file_fuzz.c $(fuzz_main)
%C%_key_file_fuzz_LDADD = libfuzz.la
%C%_key_file_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_s3_xml_fuzz_SOURCES = %D%/s3_xml_fuzz.c $(fuzz_main)
%C%_s3_xml_fuzz_LDADD = libblob.la
%C%_s3_xml_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_creds_json_fuzz_SOURCES = %D%/creds_json_fuzz.c $(fuzz_main)
%C%_creds_json_fuzz_LDADD = libblob.la
%C%_creds_json_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

%C%_text_fuzz_SOURCES = %D%/text_fuzz.c $(fuzz_main)
%C%_text_fuzz_LDADD = libblob.la
%C%_text_fuzz_LDFLAGS = $(AM_LDFLAGS) $(fuzz_flags)

EXTRA_DIST += %D%/corpus tests/golden %D%/replay.c
