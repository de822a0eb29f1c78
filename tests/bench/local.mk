# SPDX-License-Identifier: Apache-2.0
# Tools of the benchmark.  Built by `make check`, so that they stay free of warnings.
check_PROGRAMS += \
	tests/bench/cgrun \
	tests/bench/floorfs \
	tests/bench/flowmeter \
	tests/bench/gendata \
	tests/bench/pipeline \
	tests/bench/writeload
tests_bench_cgrun_SOURCES = %D%/cgrun.c
tests_bench_floorfs_SOURCES = \
	%D%/floorfs.c %D%/floorfs.h %D%/floorfs_ops.c %D%/floorfs_tree.c %D%/floorfs_tree.h
tests_bench_floorfs_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
tests_bench_floorfs_LDADD = $(FUSE_LIBS)
tests_bench_flowmeter_SOURCES = %D%/flowmeter.c
tests_bench_gendata_SOURCES = %D%/gendata.c
tests_bench_writeload_SOURCES = %D%/writeload.c
tests_bench_pipeline_SOURCES = %D%/pipeline.c
tests_bench_pipeline_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
tests_bench_pipeline_LDADD = libstore.la $(CRYPTO_LIBS)
