"""Write skew: each of two clients reads that a group has no member and then adds one, in its own table. Half of the groups
are read by primary key, half through an index."""

import threading

from checkers import skew
from harness.client import Refused
from workloads import Workload


class Skew(Workload):
    name = "write-skew"
    rate = 250
    tables = tuple(sql for table in "ab" for sql in (
        f"CREATE TABLE skew_{table} (id integer PRIMARY KEY, team integer NOT NULL){{options}}",
        f"CREATE INDEX ON skew_{table} (team)"))

    def __init__(self, parameters):
        super().__init__(parameters)
        self._lock, self._next, self._waiting = threading.Lock(), 0, []

    def next(self, rng, worker):
        if rng.random() < 0.03:
            return "read", None
        with self._lock:  # the two members of a group go to the next two clients that ask
            if not self._waiting:
                self._waiting = [[self._next, member] for member in rng.sample((0, 1), 2)]
                self._next += 1
            return "insert", self._waiting.pop()

    def execute(self, client, f, argument):
        if f == "read":
            groups = {}
            with client.transaction():
                for member, table in enumerate("ab"):
                    for (team,) in client.query(f"SELECT team FROM skew_{table}"):
                        groups.setdefault(team, []).append(member)
            return groups
        group, member = argument
        column = ("id", "team")[group % 2]
        with client.transaction():
            for table in "ab":
                if client.query(f"SELECT id FROM skew_{table} WHERE {column} = %s", group):
                    raise Refused("not empty")
            client.change(f"INSERT INTO skew_{'ab'[member]} VALUES (%s, %s)", group, group)
        return argument

    def final(self):
        return [("read", None)]

    def check(self, operations):
        return skew.check(operations)
