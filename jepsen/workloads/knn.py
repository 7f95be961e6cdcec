"""Vectors: every client inserts, updates and deletes rows of its own; all ask for nearest neighbours, by the index and by an
exact scan. A row whose last change has an unknown outcome is left alone from then on. Some rows are there before the index
is built, so that it begins with a graph; what comes later is in its tail first."""

import itertools

from checkers import knn
from workloads import Workload

QUERY = "SELECT id, version, embedding <-> %s::vector AS distance FROM items ORDER BY embedding <-> %s::vector LIMIT %s"


def _text(values):
    return "[" + ",".join(map(str, values)) + "]"


class Knn(Workload):
    name = "knn"
    rate = 150
    dimensions = 8
    preloaded, batch = 2000, 250
    tables = ("CREATE TABLE items (id integer PRIMARY KEY, version integer NOT NULL, embedding vector(8) NOT NULL){options}",)

    def __init__(self, parameters):
        super().__init__(parameters)
        self._rows, self._queries = {}, itertools.count()
        self._numbers, self._unowned = itertools.count(self.preloaded), list(range(self.preloaded))

    @classmethod
    def draw(cls, rng):
        return {"seed": rng.randrange(1 << 30), "preloaded": cls.preloaded}

    def setup(self, client, table_options=""):
        super().setup(client, table_options)
        for first in range(0, self.preloaded, self.batch):
            rows = [f"({row}, 0, '{self._vector(row, 0)}')" for row in range(first, first + self.batch)]
            with client.operation(timeout=120):
                client.write("INSERT INTO items VALUES " + ", ".join(rows))
        with client.operation(timeout=120):
            client.write("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)")

    def _vector(self, row, version):
        return _text(knn.vector(self.parameters["seed"], self.dimensions, row, version))

    def next(self, rng, worker):
        mine = self._rows.setdefault(worker, {})  # row -> version
        if self._unowned and rng.random() < 0.1:
            mine[self._unowned.pop()] = 0
        kind = rng.random()
        if kind < 0.15:
            return "exact", [next(self._queries), rng.choice((1, 5, 10))]
        if kind < 0.4:
            return "index", [next(self._queries), rng.choice((1, 10, 20))]
        if kind < 0.75 or not mine:
            return "insert", [next(self._numbers), 0]
        row = rng.choice(sorted(mine))
        return ("update", [row, mine[row] + 1]) if kind < 0.88 else ("delete", [row, mine[row]])

    def execute(self, client, f, argument):
        if f in ("exact", "index"):
            return self._ask(client, f, *argument)
        row, version = argument
        if f == "insert":
            client.write("INSERT INTO items VALUES (%s, 0, %s)", row, self._vector(row, 0))
            self._rows[client.number][row] = 0
            return argument
        before = self._rows[client.number].pop(row)  # forgotten, unless the change is acknowledged
        if f == "update":
            touched, _ = client.write("UPDATE items SET version = %s, embedding = %s WHERE id = %s AND version = %s",
                                      version, self._vector(row, version), row, before)
            self._rows[client.number][row] = version
        else:
            touched, _ = client.write("DELETE FROM items WHERE id = %s AND version = %s", row, before)
        return [row, version, touched]

    def _ask(self, client, f, number, k):
        point = self._vector("query", number)
        client.query(f"SET enable_indexscan = {'on' if f == 'index' else 'off'}")
        return [list(row) for row in client.query(QUERY, point, point, k)]

    def final(self):
        return ([("exact", [next(self._queries), 100_000])]
                + [("index", [next(self._queries), k]) for k in (1, 10, 100, 10_000)]
                + [("exact", [next(self._queries), 10]) for _ in range(3)])

    def check(self, operations):
        return knn.check(operations, self.parameters["seed"], self.dimensions, self.parameters.get("preloaded", 0))
