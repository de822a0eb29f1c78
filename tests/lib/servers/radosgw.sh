#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# radosgw.sh {start DIR PORT|stop DIR|url DIR [PATH]|env DIR|writer DIR|build}: a Ceph of one
# monitor, one OSD and a RADOS Gateway, all on loopback and below DIR.  See common.sh.
# Needs root and the packages radosgw ceph-mon ceph-osd ceph-common uuid-runtime.  About 125 MiB of
# memory, first start 15 s; data stay over a stop.  The monitor and the OSD take ports from
# PORT + 1000 on.
set -u
. "$(dirname "$0")/common.sh"
KEY=AKRADOSTEST SECRET=skradostest00000000000000

write_config() {
  local dir=$1 port=$2 base=$(($2 + 1000))
  [ -f "$dir/fsid" ] || uuidgen >"$dir/fsid"
  cat >"$dir/ceph.conf" <<END
[global]
fsid = $(cat "$dir/fsid")
mon host = [v2:127.0.0.1:$base/0,v1:127.0.0.1:$((base + 1))/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = $dir/keyring
run dir = $dir/run
pid file = $dir/run/\$name.pid
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
crash dir = $dir/log
mon cluster log file = $dir/log/cluster.log
ms bind port min = $((base + 10))
ms bind port max = $((base + 60))
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 2
mon data avail crit = 1
[mon.a]
mon data = $dir/mon
mgr initial modules =
[osd.0]
osd data = $dir/osd
osd objectstore = bluestore
bluestore block size = 10737418240
osd memory target = 1073741824
osd op num shards = 2
osd op num threads per shard = 1
osd class load list = *
osd class default list = *
[client.rgw.a]
rgw data = $dir/rgw
rgw frontends = beast endpoint=127.0.0.1:$port
rgw thread pool size = 32
rgw enable usage log = false
END
}

make_keys() {
  local dir=$1 name
  [ -f "$dir/keyring" ] && return
  ceph-authtool -C "$dir/keyring.new" --gen-key -n mon. --cap mon 'allow *' || return 1
  for name in client.admin osd.0 client.rgw.a; do
    ceph-authtool "$dir/keyring.new" --gen-key -n $name --cap mon 'allow *' --cap osd 'allow *' \
      --cap mgr 'allow *' || return 1
  done
  mv "$dir/keyring.new" "$dir/keyring"
}

make_monitor() {
  local dir=$1 base=$(($2 + 1000))
  [ -d "$dir/mon/store.db" ] && return
  monmaptool --create --clobber --fsid "$(cat "$dir/fsid")" \
    --addv a "[v2:127.0.0.1:$base/0,v1:127.0.0.1:$((base + 1))/0]" "$dir/monmap" \
    && ceph-mon -c "$dir/ceph.conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring" \
    && cp "$dir/keyring" "$dir/mon/keyring"
}

make_osd() {
  local dir=$1 id
  [ -f "$dir/osd/whoami" ] && return
  id=$(uuidgen)
  timeout 60 ceph -c "$dir/ceph.conf" osd new "$id" 0 \
    && ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$id"
}

osd_is_up() {
  timeout 5 ceph -c "$1/ceph.conf" osd stat 2>/dev/null | grep -q '1 up'
}

is_running() {
  [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null
}

start() {
  local dir=$1 port=$2 run=$1/run
  mkdir -p "$dir"/{mon,osd,run,log,rgw}
  echo "$port" >"$dir/port"
  write_config "$dir" "$port"
  export CEPH_CONF=$dir/ceph.conf
  {
    make_keys "$dir" && make_monitor "$dir" "$port" || die "cannot make the monitor"
    is_running "$run/mon.a.pid" || ceph-mon -c "$CEPH_CONF" -i a || die "no monitor, see $dir/log"
    make_osd "$dir" || die "cannot make the OSD, see $dir/start.log"
    is_running "$run/osd.0.pid" || ceph-osd -c "$CEPH_CONF" -i 0 || die "no OSD, see $dir/log"
    wait_for 60 osd_is_up "$dir" || die "the OSD does not come up, see $dir/log"
    is_running "$run/client.rgw.a.pid" || radosgw -c "$CEPH_CONF" -n client.rgw.a \
      || die "no gateway"
    wait_for 90 is_up "$port" || die "the gateway does not answer, see $dir/log"
    radosgw-admin -c "$CEPH_CONF" user info --uid tester >/dev/null 2>&1 \
      || radosgw-admin -c "$CEPH_CONF" user create --uid tester --display-name tester \
        --access-key $KEY --secret-key $SECRET || die "cannot make the user"
  } >"$dir/start.log" 2>"$dir/start.err" || { cat "$dir/start.err" >&2; exit 1; }
  make_bucket "$port" $KEY $SECRET
}

case ${1:-} in
build)
  for p in radosgw radosgw-admin ceph-mon ceph-osd ceph monmaptool ceph-authtool uuidgen; do
    command -v $p >/dev/null \
      || die "needs $p: apt-get install radosgw ceph-mon ceph-osd ceph-common uuid-runtime"
  done
  ;;
start) start "$2" "$3" ;;
stop)
  for n in client.rgw.a osd.0 mon.a; do
    stop_pid_file "$2/run/$n.pid"
  done
  ;;
url) print_url "$@" ;;
env) print_env $KEY $SECRET ;;
writer)
  radosgw-admin -c "$2/ceph.conf" user info --uid writer >/dev/null 2>&1 \
    || radosgw-admin -c "$2/ceph.conf" user create --uid writer --display-name writer \
      --access-key AKWRITER --secret-key skwriter0000000000000 >/dev/null \
    || die "cannot make the user"
  put_policy "$(cat "$2/port")" $KEY $SECRET '{"AWS":["arn:aws:iam:::user/writer"]}'
  print_env AKWRITER skwriter0000000000000
  ;;
*) die "usage: radosgw.sh {start DIR PORT|stop DIR|url DIR [PATH]|env DIR|writer DIR|build}" ;;
esac
