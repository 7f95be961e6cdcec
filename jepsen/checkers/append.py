"""Transactions over lists, after Elle (Kingsbury and Alvaro, VLDB 2020): [:append k v] and [:r k list], every v appended to
k once. A list read shows the order of the appends before it, and so dependencies that no scheduler can deny:

  ww  T1's append is directly before T2's in a list        wr  T2 read a list that ends with T1's append
  rw  T1 read a list that ends right before T2's append    process, realtime: T1 ended before T2 began

A cycle of these is an anomaly (Adya, Liskov, O'Neil 2000): G0 (ww), G1c (ww, wr), G-single (one rw), G2-item (more rw);
with `-process` or `-realtime` appended when it needs such an edge, which strict serializability forbids too. Where a
component holds several, the strongest name is given. Seen without cycles: G1a (read of a failed append), G1b (read of a
middle append), internal (a transaction contradicts itself), incompatible-order (two reads that are not prefixes of one
list), duplicate, garbage (an element nobody appended), lost-update (two transactions that read the same list and both
append to it), lost-append (acknowledged, missing in a later read).

An acknowledged append that no read shows is after every list read: lists only grow. So its transaction gets a rw edge
from each reader of the longest list. Of transactions whose outcome is unknown those take part whose appends were read.
"""

from checkers import Result
from checkers.graph import PROCESS, REALTIME, RW, WR, WW, Graph, kinds_text
from harness import edn
from harness.history import FAIL, OK


class _Transactions:
    """The nodes of the graph, and who wrote what."""

    def __init__(self, operations):
        self.failed, self.writers, self.last_append = {}, {}, {}
        candidates = []
        for op in operations:
            appends = [(k, v) for f, k, v in op.argument if f == "append"]
            if op.type == FAIL:
                self.failed.update({kv: op for kv in appends})
                continue
            candidates.append(op)
            for k, v in appends:
                self.writers[k, v] = op
            for k, v in {k: v for k, v in appends}.items():
                self.last_append[op.begin, k] = v
        observed = {(k, v) for op in candidates if op.type == OK for f, k, vs in op.value if f == "r" for v in vs or ()}
        self.ops = [op for op in candidates if op.type == OK
                    or any((k, v) in observed for f, k, v in op.argument if f == "append")]
        self.number = {op.begin: i for i, op in enumerate(self.ops)}

    def writer(self, k, v):
        """The node that appended v to k, or None."""
        op = self.writers.get((k, v))
        return None if op is None else self.number.get(op.begin)

    def external_reads(self, op):
        """(key, list) as it was before the transaction's own appends."""
        if op.type != OK:
            return
        appended, seen = set(), set()
        for f, k, v in op.value:
            if f == "append":
                appended.add(k)
            elif k not in appended and k not in seen:
                seen.add(k)
                yield k, v or []


def _internal(result, op):
    """Every read in a transaction equals an earlier one of it plus its own appends."""
    known, tail = {}, {}
    for f, k, v in op.value:
        if f == "append":
            tail.setdefault(k, []).append(v)
            if k in known:
                known[k] = known[k] + [v]
            continue
        v = v or []
        expected = tail.get(k, [])
        if (k in known and v != known[k]) or (expected and v[-len(expected):] != expected):
            result.anomaly("internal", f"key {k} in {op!r}")
        known[k] = v


def _orders(result, transactions):
    """The longest list that was read of each key; reads that are not its prefix are reported."""
    longest, reads = {}, []
    for op in transactions.ops:
        if op.type == OK:
            for f, k, v in op.value:
                if f == "r":
                    v = v or []
                    reads.append((op, k, v))
                    if len(v) > len(longest.get(k, [])):
                        longest[k] = v
    for op, k, v in reads:
        if longest.get(k, [])[:len(v)] != v:
            result.anomaly("incompatible-order", f"key {k}: {v} in {op!r} is no prefix of {longest[k]}")
    for k, order in longest.items():
        if len(set(order)) < len(order):
            result.anomaly("duplicate", f"key {k}: {order}")
    return longest, reads


def _values(result, transactions, longest, reads):
    """G1a, G1b, garbage."""
    for k, order in longest.items():
        for v in order:
            if (k, v) in transactions.failed:
                result.anomaly("G1a", f"{v} in key {k} was read, but {transactions.failed[k, v]!r} failed")
            elif (k, v) not in transactions.writers:
                result.anomaly("garbage", f"nobody appended {v} to key {k}")
    for op, k, v in reads:
        writer = transactions.writers.get((k, v[-1])) if v else None
        if writer is not None and writer is not op and writer.begin != op.begin:
            final = transactions.last_append[writer.begin, k]
            if final != v[-1]:
                result.anomaly("G1b", f"{op!r} read {v[-1]} of key {k}, which {writer!r} went on to change")


def _lost_updates(result, transactions):
    groups = {}
    for op in transactions.ops:
        appended = {k for f, k, _ in op.argument if f == "append"}
        for k, v in transactions.external_reads(op):
            if k in appended:
                groups.setdefault((k, tuple(v[-1:])), []).append(op)
    for (k, _), ops in groups.items():
        if len(ops) > 1:
            result.anomaly("lost-update", f"key {k}: {ops[0]!r} and {ops[1]!r} read the same list")


def _lost_appends(result, transactions, reads):
    """The latest read of each key to begin shows every append acknowledged before it, or it was lost."""
    latest = {}
    for op, k, v in reads:
        if k not in latest or latest[k][0].begin < op.begin:
            latest[k] = (op, set(v))
    for op in transactions.ops:
        if op.type == OK:
            for f, k, v in op.value:
                if f == "append" and k in latest and op.end < latest[k][0].begin and v not in latest[k][1]:
                    result.anomaly("lost-append", f"{v} of key {k}, acknowledged by {op!r}, is missing in {latest[k][0]!r}")


def _data_edges(graph, transactions, longest):
    position = {(k, v): i for k, order in longest.items() for i, v in enumerate(order)}
    for k, order in longest.items():
        nodes = [transactions.writer(k, v) for v in order]
        for first, second in zip(nodes, nodes[1:]):
            if first is not None and second is not None:
                graph.edge(first, second, WW)
    unseen = {}
    for node, op in enumerate(transactions.ops):
        if op.type == OK:
            for f, k, v in op.value:
                if f == "append" and (k, v) not in position:
                    unseen.setdefault(k, []).append(node)
    for reader, op in enumerate(transactions.ops):
        for k, v in transactions.external_reads(op):
            order = longest.get(k, [])
            writer = transactions.writer(k, v[-1]) if v else None
            if writer is not None:
                graph.edge(writer, reader, WR)
            following = transactions.writer(k, order[len(v)]) if len(v) < len(order) else None
            if following is not None:
                graph.edge(reader, following, RW)
            if len(v) == len(order):
                for node in unseen.get(k, ()):
                    graph.edge(reader, node, RW)


def _order_edges(graph, transactions):
    """A reduction of "ended before": from each operation to those for which nothing lies between."""
    events, last, frontier, before = [], {}, set(), {}
    for node, op in enumerate(transactions.ops):
        events.append((op.begin, False, node))
        if op.type == OK:
            events.append((op.end, True, node))
        if op.process in last:
            graph.edge(last[op.process], node, PROCESS)
        last[op.process] = node
    for _, ends, node in sorted(events):
        if ends:
            frontier -= before.pop(node)
            frontier.add(node)
        else:
            before[node] = set(frontier)
            for earlier in frontier:
                graph.edge(earlier, node, REALTIME)


_KINDS = [  # strongest first: name, kind of one edge, kinds of the others
    ("G0", WW, WW), ("G1c", WR, WW | WR), ("G-single", RW, WW | WR), ("G2-item", RW, WW | WR | RW)]
_ORDERS = [("", 0), ("-process", PROCESS), ("-realtime", PROCESS | REALTIME)]


def _cycles(result, graph, transactions):
    explained = set()  # nodes of cycles that were named already
    for suffix, order in _ORDERS:
        everything = graph.components(WW | WR | RW | order)
        for name, first, rest in _KINDS:
            for component in everything:
                if explained & set(component):
                    continue
                for part in _parts(graph, component, first | rest | order):
                    cycle = graph.cycle(part, first, rest | order)
                    if cycle:
                        explained.update(node for node, _ in cycle)
                        result.anomaly(name + suffix, _text(transactions, cycle))


def _parts(graph, component, kinds):
    """Components of the graph of these kinds that lie within one of the whole graph."""
    inside = set(component)
    small = Graph(len(component))
    place = {node: i for i, node in enumerate(component)}
    for node in component:
        for successor, mask in graph.out[node].items():
            if successor in inside and mask & kinds:
                small.edge(place[node], place[successor], mask)
    return [[component[i] for i in part] for part in small.components(kinds)]


def _text(transactions, cycle):
    steps = []
    for place, (node, mask) in enumerate(cycle):
        op = transactions.ops[node]
        steps.append(f"T{place} {edn.dumps(op.value if op.type == OK else op.argument)} (index {op.begin}) "
                     f"-{kinds_text(mask)}->")
    return " ".join(steps) + " T0"


def check(operations):
    """txn: argument [[:append k v] | [:r k nil] ...], value the same with lists in place of nil."""
    result = Result()
    transactions = _Transactions(operations)
    if not any(op.type == OK for op in transactions.ops):
        result.give_up("no transaction succeeded")
        return result
    for op in transactions.ops:
        if op.type == OK:
            _internal(result, op)
    longest, reads = _orders(result, transactions)
    _values(result, transactions, longest, reads)
    _lost_updates(result, transactions)
    _lost_appends(result, transactions, reads)
    graph = Graph(len(transactions.ops))
    _data_edges(graph, transactions, longest)
    _order_edges(graph, transactions)
    _cycles(result, graph, transactions)
    result.notes.update(transactions=len(transactions.ops), keys=len(longest), appends_read=sum(map(len, longest.values())))
    return result
