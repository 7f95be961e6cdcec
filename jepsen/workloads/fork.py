"""Long fork: single writes of keys that come in groups, and reads of whole groups, by a range or key by key in one
transaction."""

import threading

from checkers import fork
from workloads import Workload

GROUP, GROUPS_AT_ONCE = 4, 3


class Fork(Workload):
    name = "long-fork"
    tables = ("CREATE TABLE forks (id integer PRIMARY KEY){options}",)

    def __init__(self, parameters):
        super().__init__(parameters)
        self._lock, self._groups, self._next = threading.Lock(), {}, 0

    def next(self, rng, worker):
        with self._lock:
            while len(self._groups) < GROUPS_AT_ONCE:
                keys = list(range(self._next * GROUP, (self._next + 1) * GROUP))
                rng.shuffle(keys)
                self._groups[self._next] = keys
                self._next += 1
            group = rng.choice(sorted(self._groups))
            if rng.random() < 0.7:
                return "read", [group, None]
            key = self._groups[group].pop()
            if not self._groups[group]:
                del self._groups[group]
            return "write", [group, key]

    def execute(self, client, f, argument):
        group, key = argument
        if f == "write":
            client.write("INSERT INTO forks VALUES (%s)", key)
            return argument
        first = group * GROUP
        if client.number % 2:
            rows = client.query("SELECT id FROM forks WHERE id >= %s AND id < %s", first, first + GROUP)
            return [group, [row[0] for row in rows]]
        with client.transaction():
            found = [client.query("SELECT id FROM forks WHERE id = %s", first + i) for i in range(GROUP)]
        return [group, [rows[0][0] for rows in found if rows]]

    def final(self):
        return [("read", [group, None]) for group in range(max(0, self._next - 60), self._next)]

    def check(self, operations):
        return fork.check(operations)
