# SPDX-License-Identifier: Apache-2.0
# common.sh - shared by the scripts that start a server for tests.  Sourced.
#
# Each script:  NAME.sh start DIR PORT | stop DIR | url DIR [PATH] | env DIR | writer DIR | build
#   start   on 127.0.0.1:PORT, all files below DIR; returns when it has a bucket "coffer"
#   stop    ends the processes that start began, and only those
#   url     the store's URL for a prefix in the bucket
#   env     the credentials as shell assignments
#   writer  (radosgw, versitygw) makes a user who may put, get and list, but not delete; prints the
#           credentials as env does
#   build   only makes the program, where it is built from source
# Programs that are built are kept in COFFER_SERVERS (default: ./servers).

SERVER_CACHE=${COFFER_SERVERS:-$PWD/servers}
BUCKET=coffer

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# wait_for SECONDS COMMAND...: until the command succeeds
wait_for() {
  local left=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || return 1
    sleep 0.2
  done
}

# go_server MODULE VERSION BINARY: builds it into the cache unless it is there; prints its path
go_server() {
  local out=$SERVER_CACHE/$3
  if [ ! -x "$out" ]; then
    local go
    go=$(command -v go || echo /usr/local/go/bin/go)
    [ -x "$go" ] || die "needs Go 1.24 or newer to build $3"
    mkdir -p "$SERVER_CACHE"
    GOBIN=$SERVER_CACHE GOFLAGS=-mod=mod nice "$go" install "$1@$2" >"$SERVER_CACHE/$3.log" 2>&1 \
      || die "cannot build $3, see $SERVER_CACHE/$3.log"
  fi
  echo "$out"
}

# start_daemon DIR NAME COMMAND...: its process id goes to DIR/NAME.pid, its output to DIR/NAME.log
start_daemon() {
  local dir=$1 name=$2
  shift 2
  setsid "$@" >"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

stop_pid_file() {
  [ -f "$1" ] || return 0
  local pid
  pid=$(cat "$1")
  rm -f "$1"
  kill "$pid" 2>/dev/null || return 0
  wait_for 10 not_alive "$pid" || kill -9 "$pid" 2>/dev/null
  return 0
}

not_alive() {
  ! kill -0 "$1" 2>/dev/null
}

is_up() {
  curl -s -o /dev/null --noproxy '*' "http://127.0.0.1:$1/"
}

# signed_curl KEY:SECRET ARGUMENT...: prints the status
signed_curl() {
  local user=$1
  shift
  curl -s -o /dev/null -w '%{http_code}' --noproxy '*' --aws-sigv4 aws:amz:us-east-1:s3 \
    -u "$user" "$@"
}

# make_bucket PORT KEY SECRET [SCHEME]: a signed PUT; a bucket that exists is fine
make_bucket() {
  local status
  status=$(signed_curl "$2:$3" -X PUT "${4:-http}://127.0.0.1:$1/$BUCKET" \
    -H 'x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  case $status in
  200 | 409) ;;
  *) die "cannot make the bucket: status $status" ;;
  esac
}

print_url() {
  echo "s3://$BUCKET/${3:-}?endpoint=http://127.0.0.1:$(cat "$2/port")&region=us-east-1"
}

print_env() {
  echo "export AWS_ACCESS_KEY_ID=$1 AWS_SECRET_ACCESS_KEY=$2 AWS_EC2_METADATA_DISABLED=true"
  echo "unset AWS_SESSION_TOKEN AWS_PROFILE AWS_CA_BUNDLE"
}

# put_policy PORT KEY SECRET PRINCIPAL_JSON: lets PRINCIPAL put, get and list, and no more
put_policy() {
  local body status hash
  body='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":'$4',
"Action":["s3:PutObject","s3:GetObject","s3:ListBucket"],
"Resource":["arn:aws:s3:::'$BUCKET'","arn:aws:s3:::'$BUCKET'/*"]}]}'
  hash=$(printf %s "$body" | sha256sum | cut -d' ' -f1)
  status=$(signed_curl "$2:$3" -X PUT --data-binary "$body" "http://127.0.0.1:$1/$BUCKET?policy=" \
    -H "x-amz-content-sha256: $hash" -H 'Content-Type: application/json')
  case $status in
  200 | 204) ;;
  *) die "cannot set the bucket's policy: status $status" ;;
  esac
}
