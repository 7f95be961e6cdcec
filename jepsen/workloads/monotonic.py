"""Counters: increments that return the new value, and reads."""

from checkers import monotonic
from workloads import Workload

COUNTERS = 6


class Monotonic(Workload):
    name = "monotonic"
    tables = ("CREATE TABLE counters (id integer PRIMARY KEY, value integer NOT NULL){options}",)

    def setup(self, client, table_options=""):
        super().setup(client, table_options)
        with client.operation():
            client.write("INSERT INTO counters VALUES " + ", ".join(f"({i}, 0)" for i in range(COUNTERS)))

    def next(self, rng, worker):
        return ("add" if rng.random() < 0.5 else "read"), [rng.randrange(COUNTERS), None]

    def execute(self, client, f, argument):
        key = argument[0]
        if f == "read":
            ((value,),) = client.query("SELECT value FROM counters WHERE id = %s", key)
        else:
            _, ((value,),) = client.write("UPDATE counters SET value = value + 1 WHERE id = %s RETURNING value", key)
        return [key, value]

    def final(self):
        return [("read", [key, None]) for key in range(COUNTERS)]

    def check(self, operations):
        return monotonic.check(operations)
