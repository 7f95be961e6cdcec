"""Write skew (G2): two transactions each read that a group is empty, then each insert a different row into it. In any
serial order the second sees the first's row; so at most one insertion per group is acknowledged, and no read shows two.
"""

from checkers import Result
from harness.history import OK


def check(operations):
    """insert: argument [group, member], fails when the group is not empty; read: value {group: [member ...]}."""
    result, winners = Result(), {}
    for op in operations:
        if op.type != OK:
            continue
        if op.f == "insert":
            group = op.argument[0]
            if group in winners:
                result.anomaly("write-skew", f"group {group}: {winners[group]!r} and {op!r}")
            winners.setdefault(group, op)
        else:
            for group, members in op.value.items():
                if len(members) > 1:
                    result.anomaly("write-skew", f"group {group} holds {members} in the read at index {op.begin}")
    _lost(result, operations, winners)
    result.notes["groups_won"] = len(winners)
    return result


def _lost(result, operations, winners):
    for op in operations:
        if op.f == "read" and op.type == OK:
            for group, winner in winners.items():
                if winner.end < op.begin and winner.argument[1] not in op.value.get(group, []):
                    result.anomaly("lost", f"{winner!r} is not in the read at index {op.begin}")
