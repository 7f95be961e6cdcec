"""A set: single inserts of rows of some kilobytes, so that logs roll and memory tables are flushed, and reads of everything
now and then. A read takes a row whose payload is not what was inserted for a missing one."""

import itertools

from checkers import elements
from workloads import Workload

PAYLOAD = "".join(f"{i * i % 10007:05}" for i in range(600))


class Elements(Workload):
    name = "set"
    tables = ("CREATE TABLE elements (id integer PRIMARY KEY, payload text NOT NULL){options}",)

    def __init__(self, parameters):
        super().__init__(parameters)
        self._numbers = itertools.count()

    def next(self, rng, worker):
        if rng.random() < 0.02:
            return "read", None
        return "add", next(self._numbers)

    def execute(self, client, f, argument):
        if f == "read":
            return [row[0] for row in client.query("SELECT id FROM elements WHERE payload = %s", PAYLOAD)]
        client.write("INSERT INTO elements VALUES (%s, %s)", argument, PAYLOAD)
        return argument

    def final(self):
        return [("read", None)]

    def check(self, operations):
        return elements.check(operations)
