"""Linearizability of single registers with read, write and compare-and-set.

The search of Wing and Gong (1993) as refined by Lowe ("Testing for linearizability", 2017): events are taken in order;
a configuration is the register's value and the set of open operations that have already taken effect. When an operation
returns, every configuration is extended, by open operations in any order, until that operation has taken effect; those
that cannot be are dropped. No configuration left: not linearizable. Sets are bit masks over slots that are reused.

An operation whose outcome is unknown stays open for ever, which alone would double the configurations. But a
configuration in which fewer of these have taken effect can do all that one with more can, so of two that are otherwise
equal only the smaller is kept.

Each key is judged alone: linearizability is local (Herlihy and Wing 1990).
"""

from checkers import Result
from harness.history import FAIL, INFO

READ, WRITE, CAS = "read", "write", "cas"
BUDGET = 500_000  # configurations looked at for one key


class _Open:
    __slots__ = ("f", "old", "new", "bit")

    def __init__(self, f, old, new, bit):
        self.f, self.old, self.new, self.bit = f, old, new, bit


def _apply(op, state):
    """(possible, state after)"""
    if op.f == WRITE:
        return True, op.new
    if op.f == READ:
        return state == op.old, state
    return state == op.old, op.new


class _Configurations:
    """Pairs (state, mask), without those that another one dominates."""

    def __init__(self, unknown):
        self.unknown, self.masks = unknown, {}

    def add(self, state, mask):
        """False if it was there or is dominated."""
        known = self.masks.setdefault((state, mask & ~self.unknown), [])
        mine = mask & self.unknown
        for other in known:
            if other & ~mine == 0:
                return False
        known[:] = [other for other in known if mine & ~other]
        known.append(mine)
        return True

    def __iter__(self):
        for (state, sure), unknowns in self.masks.items():
            for mask in unknowns:
                yield state, sure | mask

    def states(self):
        return sorted({str(state) for state, _ in self.masks})


def _returned(configurations, op, open_ops, unknown, budget):
    """The configurations after op has returned; and how many were looked at."""
    after, seen, work, looked = _Configurations(unknown), _Configurations(unknown), list(configurations), 0
    while work:
        state, mask = work.pop()
        looked += 1
        if looked > budget:
            return None, looked
        if mask & op.bit:
            after.add(state, mask & ~op.bit)
            continue
        for other in open_ops:
            if not mask & other.bit:
                possible, new = _apply(other, state)
                if possible and seen.add(new, mask | other.bit):
                    work.append((new, mask | other.bit))
    return after, looked


def _events(operations):
    """(position, returns?, operation), in order; what certainly did not happen or tells nothing is left out."""
    events = []
    for op in operations:
        if op.type == FAIL or (op.type == INFO and op.f == READ):
            continue
        events.append((op.begin, False, op))
        if op.end is not None:
            events.append((op.end, True, op))
    return sorted(events, key=lambda event: event[0])


def check_key(operations, initial=None, budget=BUDGET):
    """Operations on one register: argument nil, v or [old new]; a read's value is what it saw. -> (verdict, text)"""
    configurations, open_ops, free, slots, unknown = _Configurations(0), {}, [], 0, 0
    configurations.add(initial, 0)
    for _, returns, op in _events(operations):
        if not returns:
            if free:
                bit = free.pop()
            else:
                bit, slots = 1 << slots, slots + 1
            old, new = op.argument if op.f == CAS else (op.value, op.argument)
            open_ops[op.begin] = _Open(op.f, old, new, bit)
            if op.end is None:
                unknown |= bit
                configurations.unknown = unknown
            continue
        mine = open_ops[op.begin]
        before = configurations
        configurations, looked = _returned(before, mine, open_ops.values(), unknown, budget)
        budget -= looked
        if configurations is None:
            return "unknown", f"gave up at {op!r}"
        if not configurations.masks:
            return "invalid", f"{op!r} fits no order; before it the value could be one of {before.states()}"
        del open_ops[op.begin]
        free.append(mine.bit)
    return "valid", None


def check(operations):
    """Arguments and values are [key, x]."""
    result, keys = Result(), {}
    for op in operations:
        key, argument = op.argument
        op.argument, op.value = argument, op.value[1] if op.value is not None else None
        keys.setdefault(key, []).append(op)
    for key, ops in sorted(keys.items()):
        verdict, text = check_key(ops)
        if verdict == "invalid":
            result.anomaly("not-linearizable", f"key {key}: {text}")
        elif verdict == "unknown":
            result.give_up(f"key {key}: {text}")
    result.notes["keys"] = len(keys)
    return result
