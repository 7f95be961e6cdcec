"""Long fork: two writes to different keys, and two readers who see them in opposite orders. Snapshot isolation forbids
it, parallel snapshot isolation permits it (Sovran et al. 2011). Every key is written once, so a read of a group is the
set of its keys that were written, and any two reads of a group must be ordered by inclusion. Reads are also compared
with what was acknowledged before they began.
"""

from checkers import Result
from harness.history import FAIL, OK


def check(operations):
    """write: argument [group, key]; read: argument [group, nil], value [group, [key ...]]."""
    result, reads, writes = Result(), {}, {}
    for op in operations:
        group, key = op.argument
        if op.f == "write":
            writes.setdefault(group, {})[key] = op
        elif op.type == OK:
            reads.setdefault(group, []).append((frozenset(op.value[1]), op))
    for group, seen in reads.items():
        _compare(result, group, seen)
        for keys, op in seen:
            _known(result, keys, op, writes.get(group, {}))
    result.notes["reads"] = sum(map(len, reads.values()))
    return result


def _compare(result, group, seen):
    """A chain by inclusion: sorted by size, each must hold the one before."""
    distinct = {}
    for keys, op in seen:
        distinct.setdefault(keys, op)
    chain = sorted(distinct.items(), key=lambda item: len(item[0]))
    for (smaller, first), (larger, second) in zip(chain, chain[1:]):
        if not smaller <= larger:
            result.anomaly("long-fork", f"group {group}: {first!r} and {second!r}")


def _known(result, keys, op, writes):
    for key in keys:
        if key not in writes or writes[key].type == FAIL:
            result.anomaly("unexpected", f"key {key} was not written: {op!r}")
    for key, write in writes.items():
        if write.type == OK and write.end < op.begin and key not in keys:
            result.anomaly("stale", f"{write!r} ended before {op!r} began")
