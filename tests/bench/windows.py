#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""windows.py FLOW RATE [--down] [--from SECONDS] [--change SECONDS RATE2]: was a throttle kept?

FLOW is what flowmeter wrote, RATE the promise in bytes a second.  Prints one JSON object:

  mean                  bytes a second from the first to the last full second of the flow
  error_percent         how far the mean is from RATE
  worst_window_percent  the fullest window of 100 ms, slid in steps of 10 ms, in percent of RATE
  seconds_to_effect     with --change: how long after that moment (seconds of CLOCK_MONOTONIC) it
                        took until 200 ms in a row kept RATE2 within 10 %

With --from the flow before that moment does not count; with --change what comes after it does not
count in the first three.
"""
import argparse
import json

STEP = 10_000  # microseconds of a sample
WINDOW = 10  # samples: 100 ms


def read(path, down):
    """Bytes by sample number of a regular grid; samples without flow are zero."""
    flow = {}
    with open(path) as f:
        for line in f:
            t, up_bytes, down_bytes = (int(x) for x in line.split())
            flow[t // STEP] = flow.get(t // STEP, 0) + (down_bytes if down else up_bytes)
    first, last = min(flow), max(flow)
    return first, [flow.get(i, 0) for i in range(first, last + 1)]


def worst(samples):
    return max((sum(samples[i:i + WINDOW]) for i in range(max(1, len(samples) - WINDOW + 1))),
               default=0)


def effect(samples, start, rate):
    """Seconds after sample START until 20 samples in a row carry RATE within 10 %."""
    want = rate * 20 * STEP / 1e6
    for i in range(max(start, 0), len(samples) - 20):
        if abs(sum(samples[i:i + 20]) - want) <= 0.1 * want:
            return (i - start) * STEP / 1e6
    return 1e9


def main():
    p = argparse.ArgumentParser()
    p.add_argument("flow")
    p.add_argument("rate", type=float)
    p.add_argument("--down", action="store_true")
    p.add_argument("--from", type=float, dest="start")
    p.add_argument("--change", type=float, nargs=2)
    a = p.parse_args()
    first, samples = read(a.flow, a.down)
    result = {}
    steady = samples
    if a.change:
        at = int(a.change[0] * 1e6 / STEP) - first
        result["seconds_to_effect"] = effect(samples, at, a.change[1])
        steady = samples[:at]
    if a.start:
        steady = steady[max(0, int(a.start * 1e6 / STEP) - first):]
    full = steady[: len(steady) // 100 * 100]  # whole seconds
    mean = sum(full) / (len(full) * STEP / 1e6) if full else 0
    result["mean"] = round(mean)
    result["error_percent"] = round(100 * abs(mean / a.rate - 1), 2)
    result["worst_window_percent"] = round(100 * worst(steady) / (a.rate * 0.1), 1)
    print(json.dumps(result))


main()
