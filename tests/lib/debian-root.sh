#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# debian-root.sh - a Debian of another suite in a directory: the compilers, libraries and peers of
# that suite beside the host's own.
#
#   debian-root.sh make DIR SUITE [PACKAGE...]   make it, or add packages to one that is there
#   debian-root.sh run DIR COMMAND [ARG...]      run as root inside, with /proc, /sys and /dev
#   debian-root.sh share DIR PATH                show the host's PATH inside, under the same name
#   debian-root.sh detach DIR                    unmount everything below DIR; the root stays
#   debian-root.sh drop DIR                      the same, and remove it
#
# Never remove a directory above an attached root by hand: rm follows what is shared with it.  /dev
# inside is the root's own, with the few nodes that builds and FUSE need; /sys is read-only.
#
# Root and the package debootstrap are needed.  Packages come from the mirror that apt already uses
# on this machine (MIRROR overrides); a mirror may lag, so the age of its release file is not
# checked, its signature is.  Made once, a root is used again: `make` with nothing to add returns
# at once.  Two makes of one DIR wait for each other.  MAKE_RETRY=N tries the downloads N times.
set -euo pipefail

usage () { sed -n '3,18{s/^# \{0,1\}//;p}' "$0"; exit 2; }
die () { echo "debian-root: $*" >&2; exit 1; }

[ $# -ge 2 ] || usage
[ "$(id -u)" = 0 ] || die "must be root"
verb=$1
mkdir -p "$(dirname "$2")"
root=$(realpath -m "$2")
shift 2

find_mirror () {
  local m
  # A name of letters only is a suite; "-updates" and "-security" are other archives.
  m=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
      awk '$2 ~ /^[a-z]+$/ && !n++ { print $1 }')
  [ -n "$m" ] || die "apt knows no Debian mirror here: run apt-get update, or set MIRROR"
  echo "$m"
}

# attach PATH: the host's PATH at the same place inside; mounts made there later appear too.
attach () {
  mkdir -p "$root$1"
  mountpoint -q "$root$1" && return 0
  mount --rbind "$1" "$root$1" && mount --make-rslave "$root$1"
}

inside () {
  env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}

below () { awk -v top="$root/" 'index ($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac; }

# Nodes of its own: whatever removes them removes nothing of the host's.
attach_dev () {
  mountpoint -q "$root/dev" && return 0
  local n
  mount -t tmpfs -o mode=755,size=64m tmpfs "$root/dev"
  for n in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "fuse 10 229"; do
    set -- $n
    mknod -m 666 "$root/dev/$1" c "$2" "$3"
  done
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s /proc/self/fd/0 "$root/dev/stdin"
  ln -s /proc/self/fd/1 "$root/dev/stdout"
  ln -s /proc/self/fd/2 "$root/dev/stderr"
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
}

attach_system () {
  mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
  mountpoint -q "$root/sys" || mount -t sysfs -o ro sysfs "$root/sys"
  attach_dev
}

detach () {
  below | while read -r m; do umount -l "$m"; done
  [ -z "$(below)" ] || die "still mounted below $root: $(below | head -n 1)"
}

retry () {
  local n
  for ((n = 1; ; n++)); do
    "$@" >> "$root.log" 2>&1 && return 0
    [ $n -lt "${MAKE_RETRY:-3}" ] || { tail -n 20 "$root.log" >&2; die "failed: $*"; }
    sleep $((n * 3))
  done
}

bootstrap () {
  # A half-made root is of no use; mounts below it would make the removal dangerous.
  [ -z "$(below)" ] || die "$root is half made and has mounts below: drop it first"
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
  debootstrap --variant=minbase --include=ca-certificates "$1" "$root" "${MIRROR:-$(find_mirror)}"
}

make_root () {
  local suite=$1 p missing=()
  shift
  exec 9> "$root.lock" && flock 9
  if ! [ -e "$root/.complete" ]; then
    : > "$root.log"
    retry bootstrap "$suite"
    # Servers installed here must not start: nothing but the caller decides what runs.
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    echo 'Acquire::Check-Valid-Until "false";' > "$root/etc/apt/apt.conf.d/90lagging-mirror"
    touch "$root/.complete"
  fi
  attach_system
  for p in "$@"; do
    inside dpkg-query -W -f '${db:Status-Status}\n' "$p" 2> /dev/null | grep -qx installed \
      || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  retry inside apt-get -q update
  retry inside apt-get -q install -y --no-install-recommends "${missing[@]}"
}

case $verb in
make)
  [ $# -ge 1 ] || usage
  make_root "$@" ;;
run)
  [ -e "$root/.complete" ] || die "no root in $root: make it first"
  [ $# -ge 1 ] || usage
  attach_system
  inside "$@" ;;
share)
  [ $# = 1 ] || usage
  attach "$(realpath "$1")" ;;
detach)
  detach ;;
drop)
  detach
  rm -rf --one-file-system "$root" "$root.log" "$root.lock" ;;
*)
  usage ;;
esac
