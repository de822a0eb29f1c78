#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# minio.sh {start DIR PORT|stop DIR|url DIR [PATH]|env DIR|build}: MinIO on loopback.  See common.sh.
set -u
. "$(dirname "$0")/common.sh"
MODULE=github.com/minio/minio
VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
KEY=AKMINIOTEST SECRET=skminiotest0000000000

case ${1:-} in
build) go_server $MODULE $VERSION minio ;;
start)
  bin=$(go_server $MODULE $VERSION minio) || exit 1
  mkdir -p "$2/data"
  echo "$3" >"$2/port"
  export MINIO_ROOT_USER=$KEY MINIO_ROOT_PASSWORD=$SECRET MINIO_UPDATE=off MINIO_BROWSER=off HOME=$2
  start_daemon "$2" minio "$bin" server "$2/data" --address "127.0.0.1:$3"
  wait_for 30 curl -sf --noproxy '*' "http://127.0.0.1:$3/minio/health/ready" \
    || die "does not answer, see $2/minio.log"
  make_bucket "$3" $KEY $SECRET
  ;;
stop) stop_pid_file "$2/minio.pid" ;;
url) print_url "$@" ;;
env) print_env $KEY $SECRET ;;
*) die "usage: minio.sh {start DIR PORT|stop DIR|url DIR [PATH]|env DIR|build}" ;;
esac
