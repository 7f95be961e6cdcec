"""Registers: reads, writes and compare-and-set of single rows, linearizable. Keys are used for a while and then left, so
that the search of the checker stays small."""

import threading

from checkers import register
from harness.client import Refused
from workloads import Workload

KEYS_AT_ONCE, OPERATIONS_PER_KEY = 4, 120


class Register(Workload):
    name = "register"
    tables = ("CREATE TABLE registers (id integer PRIMARY KEY, value integer){options}",)

    def __init__(self, parameters):
        super().__init__(parameters)
        self._lock, self._used, self._next, self._seen = threading.Lock(), {}, 0, {}

    def _key(self, rng):
        with self._lock:
            while len(self._used) < KEYS_AT_ONCE:
                self._used[self._next] = 0
                self._next += 1
            key = rng.choice(sorted(self._used))
            self._used[key] += 1
            if self._used[key] >= OPERATIONS_PER_KEY:
                del self._used[key]
            return key, self._used.get(key, OPERATIONS_PER_KEY)

    def next(self, rng, worker):
        key, value = self._key(rng)  # the count of operations on the key so far: every write its own value
        kind = rng.random()
        if kind < 0.4:
            return "read", [key, None]
        if kind < 0.7:
            return "write", [key, value]
        return "cas", [key, [self._seen.get(key, 0), value]]

    def execute(self, client, f, argument):
        key, wanted = argument
        if f == "read":
            rows = client.query("SELECT value FROM registers WHERE id = %s", key)
            self._seen[key] = rows[0][0] if rows else 0
            return [key, rows[0][0] if rows else None]
        if f == "write":
            client.write("INSERT INTO registers VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
                         key, wanted)
            self._seen[key] = wanted
        else:
            old, new = wanted
            touched, _ = client.write("UPDATE registers SET value = %s WHERE id = %s AND value = %s", new, key, old)
            if touched == 0:
                raise Refused("another value")
            self._seen[key] = new
        return argument

    def final(self):
        return [("read", [key, None]) for key in range(max(0, self._next - 40), self._next)]

    def check(self, operations):
        return register.check(operations)
