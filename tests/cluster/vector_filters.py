#!/usr/bin/env python3
"""Nearest neighbours among the rows that a WHERE clause leaves: generated conditions of every selectivity over a table of one
group and over the same rows spread over three real nodes, with replicas everywhere and with one (so that most groups are
asked over the network), against the same query on a table without a vector index. With vector.exact the distances must be the
same; without it as many rows must come, all of which match. Fixed seeds.

    vector_filters.py --gnomond PROGRAM [--seeds N] [--queries N]
"""

import argparse
import pathlib
import random
import re
import shutil
import sys
import tempfile

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402
from expect import until  # noqa: E402

DIMENSIONS, ROWS, CENTRES = 12, 3000, 15
COLUMNS = f"id integer PRIMARY KEY, g integer, n integer, s text, e vector({DIMENSIONS}), c vector({DIMENSIONS}) NOT NULL"
HALVES = f"e::halfvec({DIMENSIONS})"  # an index is over this expression
TABLES = {"one": "", "far": "WITH (shards = 6, replicas = 1)", "near": "WITH (shards = 4, replicas = 3)"}


class Data:
    """Clustered vectors; g follows the cluster, so that conditions on it match near a query or nowhere near it."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.centres = [[self.rng.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(CENTRES)]

    def vector(self, centre=None):
        r = self.rng
        centre = self.centres[r.randrange(CENTRES) if centre is None else centre]
        return "[" + ",".join(f"{x + r.gauss(0, 0.4):.4f}" for x in centre) + "]"

    def row(self, key):
        r = self.rng
        g = r.randrange(CENTRES)
        e = None if r.random() < 0.03 else "[" + ",".join(["0"] * DIMENSIONS) + "]" if r.random() < 0.01 else self.vector(g)
        return key, None if r.random() < 0.02 else g * 10 + r.randrange(3), r.randrange(1000), f"w{r.randrange(200)}", e, self.vector()

    def condition(self):
        r = self.rng
        return r.choice([
            lambda: f"g = {r.randrange(CENTRES) * 10 + r.randrange(4)}", lambda: f"g IN ({r.randrange(150)}, {r.randrange(150)}, 20)",
            lambda: f"g >= {r.randrange(150)}", lambda: f"g BETWEEN {r.randrange(80)} AND {r.randrange(80, 150)}",
            lambda: f"g = ANY (ARRAY[{r.randrange(15) * 10}, {r.randrange(15) * 10}])", lambda: "g IS NULL", lambda: "g IS NOT NULL",
            lambda: f"n < {r.choice([1, 5, 20, 100, 500, 900, 1000])}", lambda: f"n % 10 = {r.randrange(10)}",
            lambda: f"s = 'w{r.randrange(220)}'", lambda: f"s LIKE '%{r.randrange(10)}'", lambda: f"id < {r.choice([3, 50, 500, 2500])}",
            lambda: f"id BETWEEN {r.randrange(ROWS)} AND {r.randrange(ROWS)}", lambda: f"id IN ({r.randrange(ROWS)}, {r.randrange(ROWS)}, 17)",
            lambda: f"(n < {r.randrange(1000)} OR g = {r.randrange(15) * 10})", lambda: "e IS NOT NULL", lambda: "random() >= 0",
            lambda: f"length(s) = {r.randrange(1, 5)}", lambda: f"n + id > {r.randrange(4000)}", lambda: "n < 0"])()

    def query(self):
        r = self.rng
        column = r.choice(["e", "e", "c", HALVES])
        op = r.choice({"e": ["<->", "<=>"], "c": ["<->", "<#>"], HALVES: ["<->"]}[column])
        distance = f"{column} {op} '{self.vector()}'"
        where = [self.condition() for _ in range(r.choice([0, 1, 1, 1, 2, 2, 3]))]
        if op != "<#>" and r.random() < 0.3:
            where.append(f"{distance} {r.choice(['<', '<='])} {r.choice([0.05, 0.3, 1.0, 2.0])}::float8")
        limit = f" LIMIT {r.choice([1, 3, 10, 10, 10, 40, 300, 1500])}" + (f" OFFSET {r.randrange(30)}" if r.random() < 0.2 else "")
        clause = " WHERE " + " AND ".join(where) if where else ""
        return (f"SELECT {r.choice(['id', 'id, g', 'id, s, n', 'id, n + 1', 'id, e'])}, {distance} AS d FROM {{table}}{clause} "
                f"ORDER BY {r.choice([distance, distance, 'd'])}{limit}")


def distances(rows):
    """NULL last, as they come; of NaN and NULL only how many."""
    return [None if row[-1] is None else str(row[-1]) if row[-1] != row[-1] else round(row[-1], 4) for row in rows]


def alike(a, b):
    return len(a) == len(b) and all(x == y or (isinstance(x, float) and isinstance(y, float) and abs(x - y) < 2e-4) for x, y in zip(a, b))


def complain(connection, text, table, found, wanted):
    plan = "\n".join(r[0] for r in connection.execute("EXPLAIN ANALYZE " + text.replace("{table}", table)).fetchall())
    raise AssertionError(f"{table}: {text}\n{len(found)} rows {distances(found)[:60]}\nnot\n{len(wanted)} rows "
                         f"{distances(wanted)[:60]}\n{plan}")


class Recall:
    def __init__(self):
        self.found, self.wanted = 0, 0

    def note(self, found, wanted):
        keys = {row[0] for row in found}
        self.wanted += len(wanted)
        self.found += sum(row[0] in keys for row in wanted)


def compare(connection, text, recall):
    wanted = connection.execute(text.replace("{table}", "plain")).fetchall()
    matching = text[:text.index(" ORDER BY")].replace("{table}", "plain")
    keys = None
    for table in TABLES:
        connection.execute("SET vector.exact = on")
        found = connection.execute(text.replace("{table}", table)).fetchall()
        if not alike(distances(found), distances(wanted)):
            complain(connection, text, table, found, wanted)
        connection.execute("SET vector.exact = off")
        found = connection.execute(text.replace("{table}", table)).fetchall()
        within = re.search("<[-=]>", text[text.index("FROM"):text.index(" ORDER BY")])  # how many is a matter of recall then
        if len(found) != len(wanted) and not within:
            complain(connection, text, table, found, wanted)
        if keys is None:
            keys = {row[0] for row in connection.execute(matching).fetchall()}
        if len({row[0] for row in found}) != len(found) or not all(row[0] in keys for row in found):
            complain(connection, text, table, found, wanted)
        recall.note(found, wanted)


def write(connection, text):
    for table in ("plain", *TABLES):
        connection.execute(text.replace("{table}", table))


def change(connection, data, first):
    """Some rows come, some go, some move."""
    for i in range(3):
        rows = ", ".join(str(tuple("NULL" if x is None else x for x in data.row(first + 40 * i + k))).replace("'NULL'", "NULL")
                         for k in range(40))
        write(connection, f"INSERT INTO {{table}} VALUES {rows}")
    write(connection, f"DELETE FROM {{table}} WHERE id % 17 = {data.rng.randrange(17)}")
    write(connection, f"UPDATE {{table}} SET e = '{data.vector()}', g = {data.rng.randrange(150)} WHERE n BETWEEN 100 AND 130")
    write(connection, f"UPDATE {{table}} SET n = n + 1, e = NULL WHERE id % 31 = {data.rng.randrange(31)}")


def in_transactions(connection, data, count, recall):
    """Own writes are seen, and after a rollback to a savepoint they are not."""
    for i in range(2):
        with connection.transaction(force_rollback=i == 0):
            change(connection, data, 10000 * (i + 1))
            for _ in range(count):
                compare(connection, data.query(), recall)
            with connection.transaction(force_rollback=True):
                change(connection, data, 10000 * (i + 1) + 5000)
                compare(connection, data.query(), recall)
            for _ in range(count):
                compare(connection, data.query(), recall)


def fill(connection, data):
    rows = [data.row(i) for i in range(ROWS)]
    for table in ("plain", *TABLES):
        connection.execute(f"CREATE TABLE {table} ({COLUMNS}) {TABLES.get(table, '')}")
        with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    for table in TABLES:
        connection.execute(f"CREATE INDEX {table}_g ON {table} (g)")
        connection.execute(f"CREATE INDEX ON {table} (s, n)")
        for column, metric in (("e", "l2"), ("e", "cosine"), ("c", "l2"), ("c", "ip")):
            connection.execute(f"CREATE INDEX ON {table} USING hnsw ({column} vector_{metric}_ops) WITH (m = 8)")
        connection.execute(f"CREATE INDEX ON {table} USING hnsw (({HALVES}) halfvec_l2_ops) WITH (m = 8)")
        connection.execute(f"CREATE INDEX ON {table} USING hnsw (e vector_l2_ops) WITH (m = 8) WHERE n < 600 AND g IS NOT NULL")
        connection.execute(f"CREATE INDEX ON {table} ((n % 10), s)")
        connection.execute(f"CREATE INDEX ON {table} (length(s)) WHERE n < 600")


def await_indexes(connections):
    """CREATE INDEX waits for the replicas of one node. Each of the others fills its own, and reads the rows until then."""
    for connection in connections:
        until(lambda c=connection: c.execute("SELECT count(*) FROM pg_vector_index_stats() WHERE state = 'filling'").fetchone() == (0,),
              "the vector indexes of a node are filled")


def told(connection, data):
    """EXPLAIN ANALYZE says which way was taken and what it cost."""
    def plan(text):
        return "\n".join(r[0] for r in connection.execute("EXPLAIN (ANALYZE, TIMING off) " + text).fetchall())
    order = f"ORDER BY e <-> '{data.vector()}' LIMIT 10"
    for table in TABLES:
        few = plan(f"SELECT id, n FROM {table} WHERE s = 'w7' AND n >= 0 {order}")
        assert re.search(r"Filtered Search: exact among \d+ keys", few), few
        many = plan(f"SELECT id, n FROM {table} WHERE n < 800 {order}")
        asked = re.search(r"Filtered Search: nearest first, (\d+) of (\d+) rows matched", many)
        assert asked and int(asked[2]) <= 64 * 6, many
        assert ("At the Shards" in many) == (table != "one"), many
    none = plan(f"SELECT id FROM one WHERE n < 0 {order}")
    assert "exact by all rows, 0 of" in none, none
    assert "Rows Fetched: 0" in plan(f"SELECT id FROM far {order}")
    within = plan(f"SELECT id, n FROM far WHERE e <-> '{data.vector(3)}' < 0.8::float8")
    assert "Index Scan using far_e" in within, within


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--queries", type=int, default=40)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="gnomon-filters-")
    cluster = gnomond.Cluster(options.gnomond, directory)
    recall = Recall()
    try:
        for _ in range(3):
            cluster.add()
        connections = [psycopg.connect(node.uri(), autocommit=True) for node in cluster.nodes]
        data = Data(options.first)
        fill(connections[0], data)
        await_indexes(connections)
        told(connections[1], data)
        for seed in range(options.first, options.first + options.seeds):
            data.rng.seed(seed)
            for i in range(options.queries):
                compare(connections[i % 3], data.query(), recall)
        in_transactions(connections[1], data, options.queries // 6, recall)
        assert recall.found > 0.9 * recall.wanted, f"recall {recall.found} of {recall.wanted}"
        print(f"vector filters: all as many as match; {recall.found} of {recall.wanted} rows of the exact answers without vector.exact")
        for connection in connections:
            connection.close()
    finally:
        cluster.stop()
        if not sys.exc_info()[0]:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
