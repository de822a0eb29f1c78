#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""report.py RESULTS.jsonl MACHINE.txt OUT.json: the table of a benchmark run, and one JSON file.

Of the repeats of a step the minimum counts: what a noisy machine adds is never negative.  Facts
(stored bytes and the like) take the last value.  Under the table stand the bars: each names the
ratio that a row must keep; one whose peer was not measured says so instead of passing.
"""
import json
import sys

GIB = 1 << 30
MINIMUM = ("wall", "cpu")
MAXIMUM = ("peak_memory", "peak_anon", "status")

# (row, step, figure, peer, factor): coffer's figure <= factor * the peer's
BARS = [
    ("random", "write", "cpu", "borg-lz4", 0.65),
    ("random", "write", "cpu", "restic", 0.42),
    ("random", "write", "wall", "restic", 0.5),
    ("binaries", "write", "cpu", "borg-zstd", 0.9),
    ("binaries", "write", "cpu", "restic", 0.5),
    ("binaries", "write", "wall", "restic", 0.5),
    ("binaries", "write", "stored", "restic", 1.1),
    ("binaries", "write", "stored", "borg-zstd", 1.0),
    ("innodb", "write", "cpu", "borg-zstd", 0.9),
    ("innodb", "write", "wall", "restic", 0.5),
    ("innodb", "write", "stored", "restic", 1.05),
    ("innodb", "nextday", "stored", "restic", 0.3),
    ("small", "rsync", "wall", "floor", 1.4),
    ("small", "cp", "wall", "floor", 1.4),
    ("small", "rsync/write", "stored", "restic", 1.0),
    ("small", "restore", "wall", "borg-lz4", 1.0),
    ("small", "restore", "cpu", "restic", 1.0),
    ("small", "link-dest", "wall", "floor", 1.3),
    ("random", "restore", "cpu", "restic", 0.5),
    ("random", "restore", "wall", "restic", 0.5),
    ("binaries", "restore", "cpu", "restic", 0.5),
    ("binaries", "restore", "wall", "restic", 0.5),
    ("innodb", "restore", "cpu", "restic", 0.5),
    ("innodb", "restore", "wall", "restic", 0.5),
    ("listing", "ls-l", "wall", "floor", 1.3),
    ("s3-write", "write", "cpu", "restic", 0.42),
    ("s3-write", "write", "wall", "restic", 0.5),
    ("s3-read", "read", "wall", "serial", 0.1),
    ("s3-read", "read", "wall", "rclone", 1.0),
    ("s3-read", "read", "wall", "s3fs", 1.0),
]
# (row, step, figure, limit): coffer's figure <= limit, in seconds, bytes or as it is counted
LIMITS = [
    ("listing", "ls-f", "wall", 0.5),
    ("listing", "mount", "wall", 1.0),
    ("listing", "ls snapshots", "wall", 1.0),
    ("memory", "64 writers", "peak_memory", 256 << 20),
    ("memory", "create", "peak_memory", 256 << 20),
    ("memory", "seal", "peak_memory", 256 << 20),
    ("memory", "find", "peak_memory", 256 << 20),
    ("throttle", "steady", "error_percent", 2.0),
    ("throttle", "steady", "worst_window_percent", 125.0),
    ("throttle", "change", "seconds_to_effect", 1.0),
    ("s3-fsync", "write", "wall", 60.0),
    ("s3-fsync", "write", "packs", 20),
    ("s3-small", "restore", "fetched_of_stored", 1.2),
    ("s3-small", "restore", "wall_of_undelayed", 1.5),
]


def merge(lines):
    """{(row, step, peer): {figure: value}}, in the order of first appearance."""
    table = {}
    for line in lines:
        item = json.loads(line)
        cell = table.setdefault((item["row"], item["step"], item["peer"]), {})
        for key, value in item.items():
            if key in ("row", "step", "peer"):
                continue
            if key in MINIMUM and item.get("status", 0) == 0:
                cell[key] = min(value, cell.get(key, value))
            elif key in MAXIMUM:
                cell[key] = max(value, cell.get(key, value))
            elif key not in MINIMUM:
                cell[key] = value
    return table


def cost(cell, figure):
    """The figure, per GiB moved where the step says how much."""
    if figure not in cell:
        return "-"
    if cell.get("bytes"):
        return "%.2f" % (cell[figure] * GIB / cell["bytes"])
    return "%.2f s" % cell[figure]


def show(table):
    form = "%-10s %-19s %-10s %9s %9s %9s %9s  %s"
    print(form % ("row", "step", "peer", "wall/GiB", "cpu/GiB", "peak MiB", "stored", "other"))
    known = MINIMUM + MAXIMUM + ("bytes", "stored", "repeat")
    for (row, step, peer), cell in table.items():
        stored = "-"
        if "stored" in cell:
            stored = "%.1f%%" % (100 * cell["stored"] / cell["bytes"]) if cell.get("bytes") else \
                "%.1f MB" % (cell["stored"] / 1e6)
        peak = "%.0f" % (cell["peak_memory"] / (1 << 20)) if "peak_memory" in cell else "-"
        other = " ".join("%s=%g" % (k, v) for k, v in cell.items()
                         if k not in known and isinstance(v, (int, float)))
        if cell.get("status"):
            other += " FAILED"
        print(form % (row, step, peer, cost(cell, "wall"), cost(cell, "cpu"), peak, stored, other))


def judge(table):
    """The bars whose rows were run, as (sentence, verdict)."""
    result = []
    rows = {row for row, _, _ in table}
    for row, step, figure, peer, factor in BARS:
        if row not in rows:
            continue
        mine, _, theirs = step.partition("/")
        a = table.get((row, mine, "coffer"), {}).get(figure)
        b = table.get((row, theirs or mine, peer), {}).get(figure)
        text = "%s %s: %s at most %g of %s" % (row, mine, figure, factor, peer)
        if a is None or not b:
            result.append((text, "not measured"))
        else:
            result.append((text, "%s %.2f" % ("met" if a <= factor * b else "MISSED", a / b)))
    for row, step, figure, limit in LIMITS:
        if row not in rows:
            continue
        a = table.get((row, step, "coffer"), {}).get(figure)
        text = "%s %s: %s at most %g" % (row, step, figure, limit)
        if a is None:
            result.append((text, "not measured"))
        else:
            result.append((text, "%s %g" % ("met" if a <= limit else "MISSED", a)))
    return result


def main():
    lines, machine, out = sys.argv[1:4]
    with open(lines) as f:
        table = merge(f)
    show(table)
    bars = judge(table)
    print()
    for text, verdict in bars:
        print("%-60s %s" % (text, verdict))
    with open(machine) as f:
        about = dict(line.rstrip("\n").split(": ", 1) for line in f if ": " in line)
    steps = [dict(zip(("row", "step", "peer"), key), **cell) for key, cell in table.items()]
    with open(out, "w") as f:
        json.dump({"machine": about, "steps": steps,
                   "bars": [{"bar": t, "verdict": v} for t, v in bars]}, f, indent=1)
        f.write("\n")


main()
