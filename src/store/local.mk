# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libstore.la
libstore_la_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(ZSTD_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
libstore_la_LIBADD = libformat.la libblob.la $(CRYPTO_LIBS) $(ZSTD_LIBS) $(SQLITE_LIBS)
libstore_la_SOURCES = \
	%D%/check.c %D%/check.h \
	%D%/chunker.c %D%/chunker.h \
	%D%/class.c \
	%D%/crc32c.c \
	%D%/gear.c \
	%D%/hmac.c %D%/hmac.h \
	%D%/index.c %D%/index.h %D%/index_priv.h \
	%D%/index_delta.c \
	%D%/index_find.c \
	%D%/index_mem.c \
	%D%/index_merge.c \
	%D%/index_packs.c \
	%D%/index_run.c %D%/index_run.h \
	%D%/key_file.c \
	%D%/keys.c %D%/keys.h %D%/keys_priv.h \
	%D%/lanes.c \
	%D%/pace.c \
	%D%/packer.c \
	%D%/packfile.c %D%/packfile.h \
	%D%/pipeline.c %D%/pipeline.h %D%/pipeline_priv.h \
	%D%/probe.c %D%/probe.h \
	%D%/reader.c %D%/reader.h %D%/reader_priv.h \
	%D%/reader_ahead.c \
	%D%/reader_hints.c \
	%D%/reader_load.c \
	%D%/reader_open.c \
	%D%/reader_raw.c \
	%D%/reader_table.c \
	%D%/seal.c %D%/seal.h \
	%D%/secret.c \
	%D%/sha256.c \
	%D%/sha_pair.c %D%/sha_pair.h \
	%D%/slots.c %D%/slots_priv.h \
	%D%/unit_id.c \
	%D%/upload.c \
	%D%/vault_keys.c
