#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""serial.py HOST:PORT BUCKET/KEY: reads an S3 object in ranges of 1 MiB, one after the other.

What a reader gets that waits for each answer before it asks for the next: one connection, one
request under way.  Credentials come from the environment.  Prints the number of bytes read.
"""
import datetime
import hashlib
import hmac
import http.client
import os
import sys

BLOCK = 1 << 20
EMPTY = hashlib.sha256(b"").hexdigest()


def sign(host, path, region="us-east-1"):
    """Headers of a GET, signed by signature version 4."""
    now = datetime.datetime.utcnow().strftime("%Y%m%dT%H%M%SZ")
    scope = "%s/%s/s3/aws4_request" % (now[:8], region)
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = "GET\n%s\n\nhost:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n%s\n%s" % (
        path, host, EMPTY, now, names, EMPTY)
    text = "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (
        now, scope, hashlib.sha256(canonical.encode()).hexdigest())
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (now[:8], region, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return {
        "Host": host, "x-amz-date": now, "x-amz-content-sha256": EMPTY,
        "Authorization": "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
            os.environ["AWS_ACCESS_KEY_ID"], scope, names, key.hex())}


def main():
    host, path = sys.argv[1], "/" + sys.argv[2]
    connection = http.client.HTTPConnection(host)
    off = 0
    while True:
        headers = sign(host, path)
        headers["Range"] = "bytes=%d-%d" % (off, off + BLOCK - 1)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 416:
            break
        if answer.status != 206:
            sys.exit("serial.py: status %d: %s" % (answer.status, body[:200]))
        off += len(body)
        if len(body) < BLOCK:
            break
    print(off)


main()
