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
MAXIMUM = ("peak_memory", "peak_anon", "peak_rss", "status", "differs")

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
    ("innodb", "nextday-rsync/nextday", "stored", "restic", 0.3),
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
# The same, where the issue calls it the better answer; no bar.
AIMS = [
    ("innodb", "nextday", "stored", "restic", 0.1),
    ("innodb", "nextday-rsync/nextday", "stored", "restic", 0.1),
]
MEMORY = 256 << 20
# (row, step, figure, limit): coffer's figure <= limit, in seconds, bytes or as it is counted
LIMITS = [
    ("small", "link-dest", "new_data", 0),
    ("listing", "ls-f", "wall", 0.5),
    ("listing", "find", "wall", 0.5),
    ("listing", "mount", "wall", 1.0),
    ("listing", "ls snapshots cold", "wall", 1.0),
    ("listing", "ls snapshots", "wall", 1.0),
    ("listing", "warm", "store_requests", 0),
    ("listing", "warm snapshots", "store_requests", 0),
    ("reread", "second read", "reads", 0),
    ("stalled", "ls while seal", "wall", 1.0),
    ("stalled", "readlink while seal", "wall", 1.0),
    ("stalled", "mkdir while seal", "wall", 1.0),
    # A rename waits 5 s at most (ruling 6), and holds the directory so long.
    ("stalled", "ls while mv", "wall", 6.0),
    ("stalled", "readlink while mv", "wall", 6.0),
    ("stalled", "mkdir while mv", "wall", 6.0),
    ("memory", "64 writers", "peak_memory", MEMORY),
    ("memory", "create", "peak_memory", MEMORY),
    ("memory", "seal", "peak_memory", MEMORY),
    ("memory", "find", "peak_memory", MEMORY),
    ("pagefile", "write", "peak_rss_at_1tib", MEMORY),
    ("pagefile", "seal", "peak_rss", MEMORY),
    ("pagefile", "read", "peak_rss", MEMORY),
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
        held = cell.get("peak_memory", cell.get("peak_rss"))
        peak = "-" if held is None else "%.0f" % (held / (1 << 20))
        other = " ".join("%s=%g" % (k, v) for k, v in cell.items()
                         if k not in known and isinstance(v, (int, float)))
        if cell.get("status"):
            other += " FAILED"
        print(form % (row, step, peer, cost(cell, "wall"), cost(cell, "cpu"), peak, stored, other))


def verdict(value, is_met, form="%g"):
    return ("met " if is_met else "MISSED ") + form % value


def ratio(table, bar):
    """(sentence, ratio and factor or None) of one of BARS or AIMS."""
    row, step, figure, peer, factor = bar
    mine, _, theirs = step.partition("/")
    a = table.get((row, mine, "coffer"), {}).get(figure)
    b = table.get((row, theirs or mine, peer), {}).get(figure)
    text = "%s %s: %s at most %g of %s" % (row, mine, figure, factor, peer)
    return text, None if a is None or not b else a / b


def judge(table):
    """The bars whose rows were run, as (sentence, verdict)."""
    result = []
    rows = {row for row, _, _ in table}
    for bar in BARS:
        if bar[0] in rows:
            text, seen = ratio(table, bar)
            result.append((text, "not measured" if seen is None
                           else verdict(seen, seen <= bar[4], "%.2f")))
    for bar in AIMS:
        if bar[0] in rows:
            text, seen = ratio(table, bar)
            result.append(("aim: " + text, "not measured" if seen is None else
                           "%s %.2f" % ("reached" if seen <= bar[4] else "not reached", seen)))
    for row, step, figure, limit in LIMITS:
        if row in rows:
            a = table.get((row, step, "coffer"), {}).get(figure)
            unit = 1 << 20 if limit == MEMORY else 1
            text = "%s %s: %s at most %g%s" % (row, step, figure, limit / unit,
                                               " MiB" if unit > 1 else "")
            result.append((text, "not measured" if a is None else verdict(a / unit, a <= limit)))
    held = {row: cell["peak_rss"] for (row, step, peer), cell in table.items()
            if (step, peer) == ("daemon", "coffer")}
    if held:
        worst = max(held, key=held.get)
        result.append(("all rows: the daemon's memory at most %d MiB; most in %s"
                       % (MEMORY >> 20, worst),
                       verdict(held[worst] / (1 << 20), held[worst] <= MEMORY)))
    bad = ["%s (%s)" % (row, peer) for (row, _, peer), cell in table.items() if cell.get("differs")]
    if bad:
        result.append(("what is restored is what was saved", "MISSED: " + ", ".join(bad)))
    return result


def main():
    lines, machine, out = sys.argv[1:4]
    with open(lines) as f:
        table = merge(f)
    show(table)
    bars = judge(table)
    print()
    for text, seen in bars:
        print("%-66s %s" % (text, seen))
    with open(machine) as f:
        about = dict(line.rstrip("\n").split(": ", 1) for line in f if ": " in line)
    steps = [dict(zip(("row", "step", "peer"), key), **cell) for key, cell in table.items()]
    with open(out, "w") as f:
        json.dump({"machine": about, "steps": steps,
                   "bars": [{"bar": t, "verdict": v} for t, v in bars]}, f, indent=1)
        f.write("\n")


main()
