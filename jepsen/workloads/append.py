"""Lists: transactions that append to and read several lists, over two tables. A list is a text of numbers in one row; half
of the accesses find the row by its primary key, half through a secondary index."""

import threading

from checkers import append
from harness.edn import Keyword
from workloads import Workload

KEYS_AT_ONCE, APPENDS_PER_KEY = 10, 40
APPEND, READ = Keyword("append"), Keyword("r")


class Append(Workload):
    name = "append"
    rate = 200
    tables = tuple(sql for i in (0, 1) for sql in (
        f"CREATE TABLE lists{i} (id integer PRIMARY KEY, other integer NOT NULL, items text NOT NULL){{options}}",
        f"CREATE INDEX ON lists{i} (other)"))

    def __init__(self, parameters):
        super().__init__(parameters)
        self._lock, self._used, self._next = threading.Lock(), {}, 0

    def _append(self, rng):
        with self._lock:
            while len(self._used) < KEYS_AT_ONCE:
                self._used[self._next] = 0
                self._next += 1
            key = rng.choice(sorted(self._used))
            self._used[key] += 1
            value = self._used[key]
            if value >= APPENDS_PER_KEY:
                del self._used[key]
            return [APPEND, key, value]

    def _read(self, rng):
        with self._lock:
            return [READ, rng.choice(sorted(self._used) or [0]), None]

    def next(self, rng, worker):
        return "txn", [self._append(rng) if rng.random() < 0.5 else self._read(rng) for _ in range(rng.randint(1, 4))]

    @staticmethod
    def _step(client, f, key, value):
        table, column = f"lists{key % 2}", ("id", "other")[(key + (value or 0)) % 2]
        if f == "r":
            rows = client.query(f"SELECT items FROM {table} WHERE {column} = %s", key)
            return [READ, key, [int(item) for item in rows[0][0].split()] if rows else None]
        if client.change(f"UPDATE {table} SET items = items || %s WHERE {column} = %s", f" {value}", key) == 0:
            client.change(f"INSERT INTO {table} VALUES (%s, %s, %s)", key, key, str(value))
        return [APPEND, key, value]

    def execute(self, client, f, argument):
        if len(argument) == 1 and argument[0][0] == "r":
            return [self._step(client, *argument[0])]
        with client.transaction():
            return [self._step(client, *step) for step in argument]

    def final(self):
        return [("txn", [[READ, key, None]]) for key in range(self._next)]

    def check(self, operations):
        return append.check(operations)
