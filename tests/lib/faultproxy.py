#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""faultproxy.py LISTEN_PORT SERVER_PORT RULES: an HTTP proxy that spoils requests to an S3 server.

RULES is a file, read again whenever it changes, one rule a line:

    METHOD REGEX FIRST COUNT FAULT [ARG]

METHOD may be *; REGEX is searched in the path with its query; of the requests that match, those
from number FIRST on (from 1), COUNT of them (0: all), get the FAULT:

    reset-before          the connection is reset, nothing is forwarded
    reset-request N       reset after N bytes of the request's body; nothing is forwarded
    reset-reply N         forwarded; reset after N bytes of the reply's body
    lose                  forwarded, then reset instead of the reply
    status CODE           not forwarded; an error with that status and S3 code (503 is SlowDown)
    status-after CODE     forwarded, then the same
    retry-after SECONDS   not forwarded; 429 with Retry-After
    error-body CODE       forwarded, then 200 with an <Error> document of that code in its body
    cut N                 the right Content-Length, but N bytes, then the end
    short N               N bytes and a Content-Length that says so
    empty                 200 and no body
    wrong-range           Content-Range and bytes of another place
    no-range              206 without Content-Range
    flip N                byte N of the body altered
    other                 another body of the same length
    stall                 nothing more, until the client gives up
    stall-body N          the head and N bytes, then nothing

The head is passed as it is, so signatures stay good.  Prints "ready", and a line for each fault."""
import http.client
import os
import re
import socket
import socketserver
import struct
import sys
import threading

CODES = {403: "AccessDenied", 500: "InternalError", 502: "BadGateway", 503: "SlowDown",
         507: "StorageFull", 301: "PermanentRedirect", 400: "RequestTimeout"}


class Rules:
    def __init__(self, path):
        self.path, self.stamp, self.rules = path, None, []
        self.lock = threading.Lock()

    def refresh(self):
        stat = os.stat(self.path)
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp == self.stamp:
            return
        self.stamp, self.rules = stamp, []
        with open(self.path, encoding="ascii") as lines:
            for line in lines:
                words = line.split()
                if words:
                    self.rules.append({"method": words[0], "regex": re.compile(words[1]),
                                       "first": int(words[2]), "count": int(words[3]),
                                       "fault": words[4], "seen": 0,
                                       "arg": words[5] if len(words) > 5 else "0"})

    def find(self, method, path):
        with self.lock:
            self.refresh()
            found = None
            for rule in self.rules:
                if rule["method"] not in ("*", method) or not rule["regex"].search(path):
                    continue
                rule["seen"] += 1
                at = rule["seen"] - rule["first"]
                if found is None and at >= 0 and (rule["count"] == 0 or at < rule["count"]):
                    found = rule
            return found


class Gone(Exception):
    """The connection ends here."""


def error_document(code):
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            "<Message>injected</Message></Error>").encode()


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        try:
            while self.one():
                pass
        except (Gone, ConnectionError, socket.timeout):
            pass

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise Gone

    def stall(self):
        self.wfile.flush()
        self.connection.settimeout(60)
        try:
            while self.connection.recv(65536):
                pass
        finally:
            raise Gone

    def reply(self, status, headers, body, sent=None, length=None):
        lines = [f"HTTP/1.1 {status} x"]
        hop = ("content-length", "transfer-encoding", "connection")
        lines += [f"{k}: {v}" for k, v in headers if k.lower() not in hop]
        if status not in (204, 304):
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body[:sent])
        self.wfile.flush()

    def one(self):
        line = self.rfile.readline(65537).decode("latin-1").split()
        if len(line) != 3:
            return False
        method, path = line[0], line[1]
        headers = []
        while True:
            header = self.rfile.readline(65537).decode("latin-1").rstrip("\r\n")
            if not header:
                break
            headers.append(tuple(header.split(": ", 1)))
        length = int(next((v for k, v in headers if k.lower() == "content-length"), "0"))
        rule = self.server.rules.find(method, path)
        fault, arg = (rule["fault"], rule["arg"]) if rule else ("", "0")
        if fault:
            print(f"{fault} {arg} {method} {path}", flush=True)
        self.before(fault, arg, length)
        body = self.rfile.read(length)
        if fault in ("status", "retry-after"):
            self.refuse(fault, arg, method)
            return True
        status, out_headers, out = self.forward(method, path, headers, body)
        self.after(fault, arg, method, status, out_headers, out)
        return True

    def before(self, fault, arg, length):
        if fault == "reset-before":
            self.reset()
        if fault == "reset-request":
            self.rfile.read(min(int(arg), length))
            self.reset()
        if fault == "stall":
            self.stall()

    def refuse(self, fault, arg, method):
        if fault == "retry-after":
            self.reply(429, [("Retry-After", arg)], b"")
            return
        code = int(arg)
        document = error_document(CODES.get(code, "InternalError"))
        self.reply(code, [("Content-Type", "application/xml")],
                   b"" if method == "HEAD" else document)

    def forward(self, method, path, headers, body):
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=120)
        upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            if name.lower() != "connection":
                upstream.putheader(name, value)
        upstream.endheaders(body or None)
        answer = upstream.getresponse()
        data = answer.read()
        result = answer.status, answer.getheaders(), data
        upstream.close()
        return result

    def after(self, fault, arg, method, status, headers, body):
        number = int(arg) if arg.isdigit() else 0
        if fault == "lose":
            self.reset()
        elif fault == "status-after":
            self.refuse("status", arg, method)
        elif fault == "error-body":
            self.reply(200, [("Content-Type", "application/xml")], error_document(arg))
        elif fault == "empty":
            self.reply(200, [], b"")
        elif fault in ("cut", "reset-reply", "stall-body"):
            self.reply(status, headers, body, sent=number, length=len(body))
            if fault == "stall-body":
                self.stall()
            if fault == "reset-reply":
                self.reset()
            raise Gone
        elif fault == "short":
            self.reply(status, headers, body[:number])
        elif fault == "flip" and body:
            spot = number % len(body)
            spoilt = body[:spot] + bytes([body[spot] ^ 0x40]) + body[spot + 1:]
            self.reply(status, headers, spoilt)
        elif fault == "other":
            self.reply(status, headers, bytes(b ^ 0x55 for b in body))
        elif fault == "wrong-range":
            changed = [(k, re.sub(r"(\d+)-(\d+)/",
                                  lambda m: f"{int(m[1]) + 1}-{int(m[2]) + 1}/", v)
                        if k.lower() == "content-range" else v) for k, v in headers]
            self.reply(status, changed, body)
        elif fault == "no-range":
            rest = [h for h in headers if h[0].lower() != "content-range"]
            self.reply(status, rest, body)
        elif method == "HEAD":
            size = next((v for k, v in headers if k.lower() == "content-length"), "0")
            self.reply(status, headers, b"", length=size)
        else:
            self.reply(status, headers, body)


class Proxy(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with Proxy(("127.0.0.1", int(sys.argv[1])), Handler) as proxy:
        proxy.upstream = int(sys.argv[2])
        proxy.rules = Rules(sys.argv[3])
        print("ready", flush=True)
        proxy.serve_forever()


if __name__ == "__main__":
    main()
