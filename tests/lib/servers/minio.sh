#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# minio.sh {start DIR PORT [tls]|stop DIR|url DIR [PATH]|env DIR|build}: MinIO on loopback.
# With tls: a CA of its own in DIR/ca.pem, a certificate for 127.0.0.1 and *.localhost.
# See common.sh.
set -u
. "$(dirname "$0")/common.sh"
MODULE=github.com/minio/minio
VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
KEY=AKMINIOTEST SECRET=skminiotest0000000000

make_certs() {
  mkdir -p "$1/certs"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=coffer test CA" \
    -keyout "$1/ca.key" -out "$1/ca.pem" 2>/dev/null \
    && openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" \
      -keyout "$1/certs/private.key" -out "$1/server.csr" 2>/dev/null \
    && printf 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:*.localhost,DNS:%s.localhost\n' \
      $BUCKET >"$1/server.ext" \
    && openssl x509 -req -in "$1/server.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial \
      -days 30 -extfile "$1/server.ext" -out "$1/certs/public.crt" 2>/dev/null
}

start() {
  local dir=$1 port=$2 scheme=http certs=()
  mkdir -p "$dir/data"
  echo "$port" >"$dir/port"
  if [ "${3:-}" = tls ]; then
    make_certs "$dir" || die "cannot make certificates (needs openssl)"
    scheme=https certs=(--certs-dir "$dir/certs")
    export CURL_CA_BUNDLE=$dir/ca.pem
  fi
  export MINIO_ROOT_USER=$KEY MINIO_ROOT_PASSWORD=$SECRET MINIO_UPDATE=off MINIO_BROWSER=off
  export MINIO_DOMAIN=localhost HOME=$dir
  start_daemon "$dir" minio "$bin" server "$dir/data" --address "127.0.0.1:$port" "${certs[@]}"
  wait_for 30 curl -sf --noproxy '*' "$scheme://127.0.0.1:$port/minio/health/ready" \
    || die "does not answer, see $dir/minio.log"
  make_bucket "$port" $KEY $SECRET $scheme
}

case ${1:-} in
build) go_server $MODULE $VERSION minio ;;
start)
  bin=$(go_server $MODULE $VERSION minio) || exit 1
  start "$2" "$3" "${4:-}"
  ;;
stop) stop_pid_file "$2/minio.pid" ;;
url) print_url "$@" ;;
env) print_env $KEY $SECRET ;;
*) die "usage: minio.sh {start DIR PORT [tls]|stop DIR|url DIR [PATH]|env DIR|build}" ;;
esac
