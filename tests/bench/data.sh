# SPDX-License-Identifier: Apache-2.0
# data.sh - the data sets, made once per work directory and size; sourced by run.sh.
#
#   random     one incompressible file                              (reproducible anywhere)
#   binaries   /usr/bin and /usr/lib of this machine, concatenated in order of name, in pieces
#   innodb     the files of an InnoDB table as sysbench fills it; innodb-next: the next day's
#   small      about 47,000 files of /usr/share
#   snapshots  a store with a database of 10,000 small snapshots

# data_once NAME COMMAND...: runs COMMAND NAME.tmp unless the set is there.
data_once () {
  local to=$work/data/$1-$size
  shift
  [ -e "$to" ] && return 0
  note "making data: $to"
  rm -rf "$to.tmp"
  mkdir -p "$to.tmp"
  "$@" "$to.tmp"
  sync
  mv "$to.tmp" "$to"
}

data_random () { "$bin/gendata" -s 11 bytes "$random_bytes" > "$1/random.bin"; }

data_binaries () {
  # A reader that stops early ends `cat` by SIGPIPE: that is what is wanted.
  (set +o pipefail
   find /usr/bin /usr/lib -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 cat |
     head -c "$binaries_bytes" | split -b 256M -d - "$1/binaries.")
  [ "$(size_of "$1")" -gt $((binaries_bytes / 4)) ] || die "too few binaries on this machine"
}

data_small () {
  (cd /usr/share && find . -xdev -type f -o -xdev -type l) | LC_ALL=C sort > "$work/names"
  sed -n "1,${small_files}p" "$work/names" | rsync -a --files-from=- /usr/share/ "$1/"
}

# A private MariaDB in $1 with 16 KiB pages, as Debian installs it; socket $1/s.
mariadb_up () {
  mariadbd --no-defaults --user=root --datadir="$1/d" --socket="$1/s" --pid-file="$1/pid" \
    --skip-networking --innodb-buffer-pool-size=512M --innodb-log-file-size=128M \
    --innodb-flush-log-at-trx-commit=2 --innodb-fast-shutdown=0 > "$1/log" 2>&1 &
  mariadb_pid=$!
  wait_for 60 mariadb-admin -S "$1/s" ping || { tail -n 20 "$1/log" >&2; die "MariaDB"; }
}
mariadb_down () { mariadb-admin -S "$1/s" shutdown && wait "$mariadb_pid"; }
mariadb_files () { cp "$1"/d/ibdata1 "$1"/d/bench/sbtest1.* "$2"; }

data_innodb () {
  local db=$work/mariadb
  rm -rf "$db"
  mkdir -p "$db"
  mariadb-install-db --no-defaults --user=root --datadir="$db/d" --skip-test-db \
    --auth-root-authentication-method=normal > "$db/install.log" 2>&1 || {
    tail -n 20 "$db/install.log" >&2
    die "MariaDB"
  }
  mariadb_up "$db"
  mkfifo "$db/rows"
  "$bin/gendata" -s 12 rows "$innodb_rows" > "$db/rows" &
  mariadb -S "$db/s" -e "CREATE DATABASE bench; USE bench;
    CREATE TABLE sbtest1 (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0,
      c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k)) ENGINE=InnoDB;
    SET SESSION unique_checks = 0, foreign_key_checks = 0; -- in bulk: no undo of the load
    LOAD DATA INFILE '$db/rows' INTO TABLE sbtest1" || die "MariaDB does not take the rows"
  mariadb_down "$db"
  mariadb_files "$db" "$1"
  mkdir -p "$work/data/innodb-next-$size"
  # The next day: every update is a transaction of its own (autocommit).
  mariadb_up "$db"
  "$bin/gendata" -s 13 updates "$innodb_updates" "$innodb_rows" | mariadb -S "$db/s" bench
  mariadb_down "$db"
  mariadb_files "$db" "$work/data/innodb-next-$size"
  rm -rf "$db"
  python3 "$here/pages.py" "$1/sbtest1.ibd" "$work/data/innodb-next-$size/sbtest1.ibd" \
    > "$work/data/innodb-changed-$size"
  note "innodb: $(cat "$work/data/innodb-changed-$size")"
}

# Debian's own Python has what this needs; another that comes first in PATH may not.
data_snapshots () { /usr/bin/python3 "$here/many_snapshots.py" "$1" "$listing_snapshots"; }

# All that the chosen rows need, so that a run makes nothing.
prepare_data () {
  case " $rows " in *\ random\ * | *\ s3-write\ *) data_once random data_random ;; esac
  case " $rows " in *\ binaries\ *) data_once binaries data_binaries ;; esac
  case " $rows " in *\ innodb\ *) data_once innodb data_innodb ;; esac
  case " $rows " in *\ small\ * | *\ s3-small\ *) data_once small data_small ;; esac
  case " $rows " in *\ listing\ *) data_once snapshots data_snapshots ;; esac
}
