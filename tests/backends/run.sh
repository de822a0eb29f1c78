#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [NAME...]: the conformance test against real servers, then faults on the way to one.
#
# NAMEs: file dead minio tls versitygw radosgw faults (default: all).  Run in the build directory;
# as root for radosgw.
#   COFFER_SERVERS   where servers built from source are kept (default: ./servers)
#   COFFER_PORT      first of the ports used on 127.0.0.1 (default: 17100)
# Prints one line a test; the status is 0 only where all passed.
set -u
servers=$(cd "$(dirname "$0")/../lib/servers" && pwd)
lib=$servers/..
port=${COFFER_PORT:-17100}
export COFFER_SERVERS=${COFFER_SERVERS:-$PWD/servers}
dir=$(mktemp -d "${TMPDIR:-/tmp}/coffer-backends.XXXXXX")
passed=0 failed=0
started=()
proxy=

cleanup() {
  local s
  for s in "${started[@]}"; do
    "$servers/$s.sh" stop "$dir/$s"
  done
  "$servers/minio.sh" stop "$dir/tls"
  [ -n "$proxy" ] && kill "$proxy" 2>/dev/null
  rm -rf "$dir"
}
trap cleanup EXIT

# check TITLE COMMAND...
check() {
  echo "== $1"
  shift
  if timeout 600 "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $*"
  fi
}

# start SERVER [OPTION]: unless it runs
start() {
  [[ " ${started[*]} " == *" $1 "* ]] && return
  port=$((port + 1))
  mkdir -p "$dir/$1"
  started+=("$1")
  "$servers/$1.sh" start "$dir/$1" "$port" ${2:-} && return
  failed=$((failed + 1))
  echo "FAILED: start of $1"
  return 1
}

# use SERVER: its credentials in the environment, its URL in $url
use() {
  eval "$("$servers/$1.sh" env "$dir/$1")"
  url=$("$servers/$1.sh" url "$dir/$1" conf)
}

# What every S3 server must do.
try_s3() {
  start "$1" || return
  use "$1"
  check "$1: conformance" tests/backends/conformance --big "$url"
  check "$1: conformance at the bucket's root" tests/backends/conformance "${url/conf\?/?}"
  check "$1: wrong secret" env AWS_SECRET_ACCESS_KEY=wrong \
    tests/backends/conformance --expect=denied "$url"
  check "$1: unknown key" env AWS_ACCESS_KEY_ID=NOBODY \
    tests/backends/conformance --expect=denied "$url"
  check "$1: no such bucket" \
    tests/backends/conformance --expect=missing "${url/coffer\//nosuchbucket/}"
}

# A writer's credentials, which may put, get and list but not delete (where the server has users).
try_writer() {
  start "$1" || return
  use "$1"
  eval "$("$servers/$1.sh" writer "$dir/$1")" || return
  check "$1: a writer without DELETE" tests/backends/conformance --no-delete "$url"
}

try_file() {
  local store=file://$dir/store
  check "file: conformance" tests/backends/conformance --big "$store"
}

try_dead() {
  export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x
  # Port 1: refused.  The preset "quick" may try for 5 s, and a last attempt may begin just before.
  check "dead endpoint" tests/backends/conformance --expect=again --within=7000 \
    "s3://b/x?endpoint=http://127.0.0.1:1"
}

try_faults() {
  start minio || return
  use minio
  local out=$dir/faultproxy.out
  port=$((port + 1))
  : >"$dir/rules"
  python3 "$lib/faultproxy.py" "$port" "$(cat "$dir/minio/port")" "$dir/rules" \
    >"$out" 2>"$dir/faultproxy.err" &
  proxy=$!
  for _ in $(seq 50); do
    grep -q ready "$out" && break
    sleep 0.1
  done
  check "faults on the way" tests/backends/faults \
    "s3://coffer/faults?endpoint=http://127.0.0.1:$port&region=us-east-1" "$dir/rules" "$out"
  if grep . "$dir/faultproxy.err"; then
    failed=$((failed + 1))
    echo "FAILED: the proxy itself"
  fi
}

[ $# -gt 0 ] || set -- file dead minio versitygw radosgw faults tls
# TLS under a CA of our own, signed and unsigned payloads, the bucket in the host name.
try_tls() {
  local p=$((port += 1)) tls=$dir/tls ca=$dir/tls/ca.pem
  mkdir -p "$tls"
  if ! "$servers/minio.sh" start "$tls" "$p" tls; then
    failed=$((failed + 1))
    echo "FAILED: start of minio with TLS"
    return
  fi
  eval "$("$servers/minio.sh" env "$tls")"
  check "tls: own CA" tests/backends/conformance \
    "s3://coffer/tls?endpoint=https://127.0.0.1:$p&ca-file=$ca"
  check "tls: payload not signed" tests/backends/conformance \
    "s3://coffer/tls?endpoint=https://127.0.0.1:$p&ca-file=$ca&unsigned-payload=1"
  check "tls: bucket in the host name" tests/backends/conformance \
    "s3://coffer/tls?endpoint=https://localhost:$p&ca-file=$ca&path-style=0"
  check "tls: CA not trusted" tests/backends/conformance --expect=denied \
    "s3://coffer/tls?endpoint=https://127.0.0.1:$p"
  check "tls: name not in the certificate" tests/backends/conformance --expect=denied \
    "s3://coffer/tls?endpoint=https://a.b.localhost:$p&ca-file=$ca"
  "$servers/minio.sh" stop "$tls"
}

for name; do
  case $name in
  file) try_file ;;
  dead) try_dead ;;
  minio) try_s3 minio ;;
  versitygw | radosgw)
    try_s3 "$name"
    try_writer "$name"
    ;;
  faults) try_faults ;;
  tls) try_tls ;;
  *)
    echo "unknown: $name" >&2
    exit 2
    ;;
  esac
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
