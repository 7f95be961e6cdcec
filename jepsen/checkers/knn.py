"""Nearest-neighbour queries against committed rows.

Rows are versions: an insert or update creates (id, version), an update or delete ends the version before it. A version's
vector is a function of (seed, id, version), so that the history need not carry vectors. For a query from `begin` to `end`

  surely there      created by an operation that ended before begin, and ended by none that began before end
  possibly there    its creation began before end and did not fail, and no operation that ended it ended before begin

An answer must be in order of distance, without a row twice, of the distances that its rows have, made of possibly
visible rows alone (no uncommitted, no deleted row), and hold min(k, surely there) rows at least. An exact answer must
hold every row surely there that is nearer than its last; one by index is measured: the share of such rows that it holds is
its recall, and the mean over all queries must reach a floor.
"""

import math
import random

from checkers import Result
from harness.history import FAIL, OK

RECALL_FLOOR = 0.9
TOLERANCE = 1e-4


def vector(seed, dimensions, row, version):
    """Small fractions, exact in float32."""
    rng = random.Random(f"{seed}/{row}/{version}")
    return [rng.randrange(-64, 65) / 64 for _ in range(dimensions)]


class _Version:
    __slots__ = ("created", "ended", "vector")

    def __init__(self, created, values):
        self.created, self.ended, self.vector = created, [], values

    def possibly(self, query):
        return self.created.begin < query.end and not any(op.type == OK and op.end < query.begin for op in self.ended)

    def surely(self, query):
        return (self.created.type == OK and self.created.end < query.begin
                and not any(op.type != FAIL and op.begin < query.end for op in self.ended))


class _Before:
    """Made the rows that were there before the history began."""
    type, begin, end = OK, -2, -1


def _versions(operations, seed, dimensions, preloaded):
    versions = {(row, 0): _Version(_Before, vector(seed, dimensions, row, 0)) for row in range(preloaded)}
    for op in operations:
        if op.f in ("insert", "update") and op.type != FAIL:
            row, version = op.argument
            versions[row, version] = _Version(op, vector(seed, dimensions, row, version))
    for op in operations:
        if op.f == "update":
            ended = versions.get((op.argument[0], op.argument[1] - 1))
        elif op.f == "delete":
            ended = versions.get(tuple(op.argument))
        else:
            continue
        if ended:
            ended.ended.append(op)
    return versions


def _sound(result, op, answer, versions, point, surely, k):
    """The rules for every answer. True if it holds."""
    before = sum(result.counts.values())
    rows = [(row, version) for row, version, _ in answer]
    if len(set(rows)) < len(rows) or len({row for row, _ in rows}) < len(rows):
        result.anomaly("row-twice", f"index {op.begin}: {rows}")
    for (row, version, distance), following in zip(answer, answer[1:] + [None]):
        item = versions.get((row, version))
        if item is None:
            result.anomaly("never-committed", f"row {row} version {version} in the answer at index {op.begin}")
        elif not item.possibly(op):
            result.anomaly("not-visible", f"row {row} version {version} in the answer begun at index {op.begin}: created at "
                                          f"{item.created.begin}, ended by {item.ended}")
        elif abs(math.dist(point, item.vector) - distance) > TOLERANCE:
            result.anomaly("wrong-distance", f"row {row} version {version}: {distance}, in truth {math.dist(point, item.vector)}")
        if following and distance > following[2] + TOLERANCE:
            result.anomaly("wrong-order", f"index {op.begin}: {answer}")
    if len(answer) < min(k, len(surely)):
        result.anomaly("too-few", f"index {op.begin}: {len(answer)} rows for k = {k}, while {len(surely)} are surely there")
    return sum(result.counts.values()) == before


def _missing(answer, surely, point, k):
    """(rows surely there that should be in the answer and are not, those that should be)"""
    there = {(row, version) for row, version, _ in answer}
    reach = answer[-1][2] - TOLERANCE if len(answer) >= k else math.inf
    nearer = {key for key, item in surely.items() if math.dist(point, item.vector) < reach}
    return nearer - there, nearer


def check(operations, seed, dimensions, preloaded=0):
    """insert: argument [row, 0]; update (to), delete (from): argument [row, version], value [row, version, rows touched];
    exact, index: argument [point, k], value [[row version distance] ...]. Rows below preloaded were there before."""
    result, recalls = Result(), []
    versions = _versions(operations, seed, dimensions, preloaded)
    for op in operations:
        if op.f in ("update", "delete") and op.type == OK and op.value[2] != 1:
            result.anomaly("own-row-missing", f"{op!r} touched {op.value[2]} rows; only this client changes it")
        if op.f not in ("exact", "index") or op.type != OK:
            continue
        (number, k), answer = op.argument, op.value
        point = vector(seed, dimensions, "query", number)
        surely = {key: item for key, item in versions.items() if item.surely(op)}
        if not _sound(result, op, answer, versions, point, surely, k):
            continue
        missing, nearer = _missing(answer, surely, point, k)
        if op.f == "exact" and missing:
            result.anomaly("neighbour-missing", f"index {op.begin}: {sorted(missing)[:5]} are nearer than the last of {answer}")
        elif op.f == "index" and surely:
            wanted = min(k, len(surely))
            recalls.append(max(0, wanted - len(missing)) / wanted)
    recall = sum(recalls) / len(recalls) if recalls else None
    if recall is not None and recall < RECALL_FLOOR:
        result.anomaly("recall", f"{recall:.4f} over {len(recalls)} queries, the floor is {RECALL_FLOOR}")
    if not any(op.f in ("exact", "index") and op.type == OK for op in operations):
        result.give_up("no query succeeded")
    result.notes.update(rows=len(versions), queries=sum(op.f in ("exact", "index") and op.type == OK for op in operations),
                        recall=None if recall is None else round(recall, 4))
    return result
