#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Guards: the manual pages hold every command, option and setting as the command itself has them
# and format without a warning; bash completion offers them; the README's commands exist.
. "$(dirname "$0")/../lib/functions.sh"
[ -x "$COFFER" ] || skip "needs a built coffer command (COFFER=PATH)"
requires man

# holds PAGE FILE: PAGE has the lines of FILE in a row.
holds () {
  python3 - "$1" "$2" <<'X' || fail "$1 is not what $3 prints: put that in"
import sys
page, part = (open(p).read() for p in sys.argv[1:])
sys.exit(part not in page)
X
}
"$COFFER" help commands > "$TESTDIR/commands"
holds "$TOP/doc/man/coffer.1" "$TESTDIR/commands" 'coffer help commands'
for page in "$TOP"/doc/man/*.[157]; do
  man --warnings -l "$page" 2> "$TESTDIR/warnings" > "$TESTDIR/page" || fail "man $page"
  [ ! -s "$TESTDIR/warnings" ] || fail "$page: $(cat "$TESTDIR/warnings")"
  [ "$(wc -l < "$TESTDIR/page")" -gt 20 ] || fail "$page is empty"
done

# offers WORD WORDS...: completion of the line WORDS gives WORD among others.
offers () {
  local want=$1
  shift
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
  _coffer 2> /dev/null || :
  grep -qxF -- "$want" <<< "$(printf '%s\n' "${COMPREPLY[@]}")" ||
    fail "completion of '$*' does not offer $want: ${COMPREPLY[*]-}"
}
set +u
. "$TOP/contrib/completion/coffer"
"$COFFER" help words > "$TESTDIR/words"
while read -r command option; do
  case $command in
  setting) offers "$option=" "$COFFER" mount -o "${option:0:3}" ;;
  *) [ -n "$option" ] || offers "$command" "$COFFER" "${command:0:2}"
     [ -z "$option" ] || offers "$option" "$COFFER" "$command" "$option" ;;
  esac
done < "$TESTDIR/words"
offers list "$COFFER" key l
offers allow-other,upload-rate= "$COFFER" mount -o allow-other,upload
set -u

# What the README and the examples tell people to type is there.
sed -nE 's/^ {4}(sudo )?coffer ([a-z]+).*/\2/p; s|^Exec[A-Za-z]*=.*bin/coffer ([a-z]+).*|\1|p' \
  "$TOP/README.md" "$TOP"/contrib/systemd/*.service | sort -u > "$TESTDIR/named"
[ "$(wc -l < "$TESTDIR/named")" -gt 3 ] || fail "no commands found in the README"
while read -r word; do
  grep -qx "$word" "$TESTDIR/words" || fail "README or units name a command that is none: $word"
done < "$TESTDIR/named"
