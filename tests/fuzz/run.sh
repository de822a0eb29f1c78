#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh [SECONDS [DECODER...]] - runs each fuzzer for SECONDS (default 60), in a directory that was
# configured with CC=clang --enable-fuzz and after `make check-fuzzers`.  What is found stays in
# the current directory as crash-*; new inputs go to ./corpus-<decoder> (minimise with -merge=1,
# then copy what is worth keeping to tests/fuzz/corpus).
set -eu
src=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(cd "$src" && ls ./*_fuzz.c | sed 's|^\./||; s|_fuzz\.c$||')
failed=0
for decoder in "$@"; do
  bin=tests/fuzz/${decoder}_fuzz
  if [ ! -x "$bin" ]; then
    echo "run.sh: no $bin here: configure with CC=clang --enable-fuzz" \
      "and run make check-fuzzers" >&2
    exit 2
  fi
  mkdir -p "corpus-$decoder"
  log=fuzz-$decoder.log
  golden=$src/../golden/v1/codec/$decoder
  [ -d "$golden" ] || golden=
  if "$bin" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=20 \
      -print_final_stats=1 "corpus-$decoder" "$src/corpus/$decoder" \
      ${golden:+"$golden"} > "$log" 2>&1; then
    echo "ok $decoder: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions"
  else
    echo "FAILED $decoder: see $log" >&2
    failed=1
  fi
done
exit $failed
