#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# versitygw.sh {start DIR PORT|stop DIR|url DIR [PATH]|env DIR|writer DIR|build}: versitygw on
# loopback.  Objects are plain files below DIR/data, so a test can damage one behind the server's
# back.  See common.sh.
set -u
. "$(dirname "$0")/common.sh"
MODULE=github.com/versity/versitygw/cmd/versitygw
VERSION=v1.8.0
KEY=AKVERSITYTEST SECRET=skversitytest000000000

case ${1:-} in
build) go_server $MODULE $VERSION versitygw ;;
start)
  bin=$(go_server $MODULE $VERSION versitygw) || exit 1
  mkdir -p "$2/data" "$2/iam"
  echo "$3" >"$2/port"
  export ROOT_ACCESS_KEY=$KEY ROOT_SECRET_KEY=$SECRET
  start_daemon "$2" versitygw "$bin" --quiet --port "127.0.0.1:$3" --iam-dir "$2/iam" \
    posix "$2/data"
  wait_for 30 is_up "$3" || die "does not answer, see $2/versitygw.log"
  make_bucket "$3" $KEY $SECRET
  ;;
stop) stop_pid_file "$2/versitygw.pid" ;;
url) print_url "$@" ;;
env) print_env $KEY $SECRET ;;
writer)
  export ADMIN_ACCESS_KEY_ID=$KEY ADMIN_SECRET_ACCESS_KEY=$SECRET ADMIN_REGION=us-east-1
  ADMIN_ENDPOINT_URL=http://127.0.0.1:$(cat "$2/port")
  export ADMIN_ENDPOINT_URL
  bin=$(go_server $MODULE $VERSION versitygw) || exit 1
  "$bin" admin create-user --access AKWRITER --secret skwriter0000000000000 --role user \
    >"$2/writer.log" 2>&1 || die "cannot make the user, see $2/writer.log"
  put_policy "$(cat "$2/port")" $KEY $SECRET '["AKWRITER"]'
  print_env AKWRITER skwriter0000000000000
  ;;
*) die "usage: versitygw.sh {start DIR PORT|stop DIR|url DIR [PATH]|env DIR|build}" ;;
esac
