"""Counters that only grow: an increment or read that begins after another one ended sees at least its value (an increment
more than it), two increments never get the same value, and the value at the end counts every acknowledged increment.
This is monotonic reads and writes of each session, and their linearizability across sessions.
"""

from checkers import Result
from harness.history import FAIL, OK


def check(operations):
    """add: argument [key, nil], value [key, value after]; read: value [key, value]."""
    result, keys = Result(), {}
    for op in operations:
        keys.setdefault(op.argument[0], []).append(op)
    for key, ops in sorted(keys.items()):
        _floor(result, key, ops)
        _unique(result, key, ops)
        _count(result, key, ops)
    result.notes["counters"] = len(keys)
    return result


def _floor(result, key, ops):
    events = sorted([(op.begin, False, op) for op in ops] + [(op.end, True, op) for op in ops if op.type == OK],
                    key=lambda event: event[0])
    highest, floor = (-1, None), {}
    for _, ends, op in events:
        if not ends:
            floor[op.begin] = highest
            continue
        value, (least, by) = op.value[1], floor[op.begin]
        if value < least or (op.f == "add" and value == least):
            name = "not-monotonic" if by.process != op.process else "not-monotonic-process"
            result.anomaly(name, f"counter {key}: {op!r} began after {by!r} had ended")
        if value > highest[0]:
            highest = (value, op)


def _unique(result, key, ops):
    seen = {}
    for op in ops:
        if op.f == "add" and op.type == OK:
            value = op.value[1]
            if value in seen:
                result.anomaly("lost-update", f"counter {key}: {seen[value]!r} and {op!r} got the same value")
            seen.setdefault(value, op)


def _count(result, key, ops):
    reads = [op for op in ops if op.f == "read" and op.type == OK]
    adds = [op for op in ops if op.f == "add"]
    if not reads:
        return
    last = max(reads, key=lambda op: op.begin)
    least = sum(op.type == OK and op.end < last.begin for op in adds)
    most = sum(op.type != FAIL for op in adds)
    if not least <= last.value[1] <= most:
        result.anomaly("lost-or-invented", f"counter {key}: {last!r}, but {least} increments were acknowledged before and at "
                                           f"most {most} happened")
