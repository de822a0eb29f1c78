#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes ./configure from configure.ac.  Safe to run from several build directories at once.
cd "$(dirname "$0")" && mkdir -p m4 build-aux && exec flock build-aux autoreconf -i "$@"
