"""A set that only grows: every element whose insertion was acknowledged is in every read that begins after that.

Found are: lost (acknowledged, and missing in the last reads), stale (missing in one read, there in a later one),
vanished (seen by an earlier read, missing later), unexpected (never inserted, or the insertion certainly failed),
duplicate (twice in one read).
"""

from checkers import Result
from harness.history import FAIL, OK


def check(operations):
    """add with the element as argument; read whose value is the list of all elements."""
    result = Result()
    adds = {op.argument: op for op in operations if op.f == "add"}
    reads = sorted((op for op in operations if op.f == "read" and op.type == OK), key=lambda op: op.begin)
    if not reads:
        result.give_up("no read succeeded")
        return result
    sets = []
    known = {e: (op.end, False) for e, op in adds.items() if op.type == OK}  # element -> since when it must be there, seen
    for op in sorted(reads, key=lambda op: op.end):
        seen = set(op.value)
        if len(seen) != len(op.value):
            result.anomaly("duplicate", f"{len(op.value) - len(seen)} elements twice in the read at index {op.begin}")
        for element in seen:
            if element not in adds:
                result.anomaly("unexpected", f"element {element} was never added, and read at index {op.begin}")
            elif adds[element].type == FAIL:
                result.anomaly("unexpected", f"element {element} was read at index {op.begin}, but {adds[element]!r} failed")
            elif element not in known or known[element][0] > op.end:
                known[element] = (op.end, True)
        sets.append((op, seen))
    _missing(result, sets, known)
    acknowledged = sum(op.type == OK for op in adds.values())
    result.notes.update(attempts=len(adds), acknowledged=acknowledged, final=len(sets[-1][1]),
                        unknown_but_there=len([e for e in sets[-1][1] if e in adds and adds[e].type not in (OK, FAIL)]))
    return result


def _missing(result, sets, known):
    order = sorted(known.items(), key=lambda item: item[1][0])
    last_read = max(sets, key=lambda pair: pair[0].begin)[1]
    reported, must, place = set(), set(), 0
    for op, seen in sorted(sets, key=lambda pair: pair[0].begin):
        while place < len(order) and order[place][1][0] < op.begin:
            must.add(order[place][0])
            place += 1
        for element in must - seen - reported:
            reported.add(element)
            since, was_seen = known[element]
            name = "lost" if element not in last_read else "vanished" if was_seen else "stale"
            how = "seen" if was_seen else "acknowledged"
            result.anomaly(name, f"element {element}, {how} at index {since}, is not in the read begun at index {op.begin}")
