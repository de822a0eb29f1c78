#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Promise (DESIGN 2, ruling 30): names of databases and snapshots are checked, the log says what is
# accepted, and nothing above a snapshot takes files or goes away.
. "$(dirname "$0")/../lib/functions.sh"
requires_mount

coffer_init
coffer_mount
for bad in x .x 2026-11-21 20260101T000001 20260101T000001Z.part \
           20261301T000001Z \
           20260101T240001Z 20260101T000001Z-UPPER 20260101T000001Z- \
           20260101T000001Z-x.partial.partial latest; do
  assert_fails 'invalid|exists|not permitted' mkdir "$VAULT/$bad"
done
grep -q "a snapshot is called" "$TESTDIR/daemon-a.log" || fail "the log does not say what is right"
for bad in Upper .dot 'a b' "$(printf 'x%.0s' {1..64})"; do
  assert_fails 'invalid' mkdir "$REGION/$bad"
done
future=$(date -u -d '+1 day' +%Y%m%dT%H%M%SZ)
assert_fails 'invalid' mkdir "$VAULT/$future.partial"
mkdir "$VAULT/2026-01-01T00:00:01Z.partial"
assert_fails 'exists' mkdir "$VAULT/20260101T000001Z.partial" # the same instant
mkdir "$VAULT/$(date -u +%Y%m%dT%H%M%SZ)-nightly.partial"
assert_fails 'not permitted|denied|invalid' touch "$MNT/file"
assert_fails 'not permitted|denied|invalid' touch "$REGION/file"
assert_fails 'not permitted|denied|invalid' touch "$VAULT/file"
assert_fails 'not permitted|denied' mkdir "$MNT/region2"
assert_fails 'not permitted|busy|denied|not empty' rmdir "$REGION"
mkdir "$REGION/empty"
assert_fails 'not permitted|busy|denied' rmdir "$REGION/empty"
assert_fails 'no such file' ls "$VAULT/20200101T000000Z"
[ ! -e "$VAULT/latest" ] || fail "latest with nothing sealed"
