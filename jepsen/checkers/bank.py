"""Transfers between accounts: every read sees the same total and no negative balance (a torn snapshot, a half applied
transfer, a lost update change the total); and the balances at the end are the initial ones with every acknowledged
transfer, some of those of unknown outcome, and none that failed.
"""

from checkers import Result
from harness.history import INFO, OK

REACHABLE = 200_000  # sets of balances that transfers of unknown outcome may have led to


def check(operations, initial):
    """initial: {account: balance}. transfer: argument [from, to, amount]; read: value {account: balance}."""
    result, total = Result(), sum(initial.values())
    reads = [op for op in operations if op.f == "read" and op.type == OK]
    for op in reads:
        if set(op.value) != set(initial):
            result.anomaly("wrong-accounts", f"{op!r}")
        elif sum(op.value.values()) != total:
            result.anomaly("wrong-total", f"{sum(op.value.values())} instead of {total}: {op!r}")
        elif min(op.value.values()) < 0:
            result.anomaly("negative-balance", f"{op!r}")
    if not reads:
        result.give_up("no read succeeded")
    elif not result.counts:
        _balances(result, operations, initial, max(reads, key=lambda op: op.begin))
    result.notes.update(reads=len(reads), transfers=sum(op.f == "transfer" and op.type == OK for op in operations))
    return result


def _moved(balances, transfer):
    source, target, amount = transfer
    after = dict(balances)
    after[source] -= amount
    after[target] += amount
    return after


def _balances(result, operations, initial, last):
    """Only if the last read began after every acknowledged transfer had ended."""
    transfers = [op for op in operations if op.f == "transfer"]
    sure = [op for op in transfers if op.type == OK]
    if any(op.end > last.begin for op in sure):
        result.notes["balances"] = "not compared: the last read is not a final one"
        return
    expected = dict(initial)
    for op in sure:
        expected = _moved(expected, op.argument)
    reachable = {tuple(sorted(expected.items()))}
    for op in transfers:
        if op.type == INFO:
            reachable |= {tuple(sorted(_moved(dict(state), op.argument).items())) for state in reachable}
            if len(reachable) > REACHABLE:
                result.notes["balances"] = "not compared: too many transfers of unknown outcome"
                return
    if tuple(sorted(last.value.items())) not in reachable:
        result.anomaly("lost-transfer", f"acknowledged transfers lead to {expected}, the last read is {last.value}, and no "
                                        "choice among those of unknown outcome explains it")
