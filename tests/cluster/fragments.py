#!/usr/bin/env python3
"""Work that is done where the rows are gives the same answers as the same work in one place: generated queries over a
table of one group and over the same rows spread over three real nodes, with one replica of each group (most are on other
nodes then) and with three. Fixed seeds; values whose float sums are exact, so that answers must be equal.

    fragments.py --gnomond PROGRAM [--seeds N] [--queries N]
"""

import argparse
import contextlib
import pathlib
import random
import re
import shutil
import sys
import tempfile

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402

COLUMNS = """a integer, b integer NOT NULL, c bigint, s smallint, n numeric, f double precision, r real, ok boolean,
    t text, v varchar(20), d date, ts timestamptz, j jsonb, xs integer[], u interval, PRIMARY KEY (b, a)"""
TABLES = {"one": "", "far": "PARTITION BY HASH (a) WITH (shards = 6, replicas = 1)",
          "near": "WITH (shards = 4, replicas = 3)"}
INDEXES = (("v DESC NULLS LAST", "s"), ("d", "n DESC", "a"), ("f NULLS FIRST",))
ROWS = 2500


def rows(rng):
    """Tuples; NULLs in all columns but the key's."""
    def some(value):
        return None if rng.random() < 0.1 else value
    for i in range(ROWS):
        yield (i, rng.randrange(40), some(rng.randrange(-10**12, 10**12)), some(rng.randrange(-300, 300)),
               some(f"{rng.randrange(-10**6, 10**6) / 1000:.3f}"), some(rng.randrange(-4000, 4000) / 4),
               some(rng.randrange(-100, 100) / 2), some(rng.random() < 0.5), some(f"w{rng.randrange(90)}" * rng.randrange(4)),
               some(f"v{rng.randrange(9)}"), some(f"20{rng.randrange(10, 30)}-0{rng.randrange(1, 10)}-1{rng.randrange(10)}"),
               some(f"2024-0{rng.randrange(1, 10)}-1{rng.randrange(10)} 0{rng.randrange(10)}:30:00+00"),
               some(f'{{"k": {rng.randrange(5)}, "w": "x{rng.randrange(7)}"}}'),
               some("{" + ",".join(str(rng.randrange(9)) for _ in range(rng.randrange(4))) + "}"),
               some(f"{rng.randrange(50)} hours"))


class Queries:
    """Text with {table} in it, and whether the order of its rows counts."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def number(self):
        r = self.rng
        return r.choice(["a", "b", "c", "s", "n", "f", "a + b", "a * 2 - b", "abs(s)", "coalesce(c, a)", "n * 2", "round(n, 1)",
                         "nullif(s, 7)", "greatest(a, b, s)", "length(t)", "array_length(xs, 1)", "xs[1]", "(j ->> 'k')::int",
                         "CASE WHEN ok THEN a WHEN s > 0 THEN b ELSE -1 END", "extract(year from d)", "b % 7", str(r.randrange(50))])

    def text(self):
        return self.rng.choice(["t", "v", "upper(t)", "t || coalesce(v, '-')", "substr(t, 2, 2)", "j ->> 'w'", "a::text",
                                "n::text", "ts::text", "d::text", "to_char(ts, 'YYYY-MM')", "replace(t, 'w', 'z')", "md5(t)"])

    def condition(self, depth=0):
        r = self.rng
        if depth < 2 and r.random() < 0.45:
            op = r.choice([" AND ", " OR "])
            return "(" + op.join(self.condition(depth + 1) for _ in range(r.randrange(2, 4))) + ")"
        return r.choice([
            lambda: f"{self.number()} {r.choice(['<', '<=', '>', '>=', '=', '<>'])} {self.number()}",
            lambda: f"{self.number()} BETWEEN {r.randrange(-50, 50)} AND {r.randrange(50, 900)}",
            lambda: f"{self.text()} LIKE '%{r.choice(['w1', 'v', '2', 'x3'])}%'",
            lambda: f"{self.text()} IS {r.choice(['', 'NOT '])}NULL",
            lambda: f"{r.choice('abs')} IN ({', '.join(str(r.randrange(60)) for _ in range(r.randrange(1, 12)))})",
            lambda: f"a = ANY (ARRAY[{', '.join(str(r.randrange(ROWS)) for _ in range(r.randrange(1, 40)))}])",
            lambda: f"b = {r.randrange(40)} AND a IN ({', '.join(str(r.randrange(ROWS)) for _ in range(30))})",
            lambda: f"{r.randrange(9)} = ANY (xs)", lambda: "ok", lambda: "NOT ok", lambda: "ok IS NOT TRUE",
            lambda: f"j @> '{{\"k\": {r.randrange(5)}}}'", lambda: f"d > date '20{r.randrange(10, 30)}-05-05'",
            lambda: "ts < now()", lambda: f"(a, b) = ({r.randrange(ROWS)}, {r.randrange(40)})",
            lambda: f"u > interval '{r.randrange(50)} hours'", lambda: "random() >= 0", lambda: "t = current_user",
            lambda: f"f IS DISTINCT FROM {r.randrange(-9, 9)}", lambda: f"b > {r.randrange(40)}"])()

    def where(self):
        return f" WHERE {self.condition()}" if self.rng.random() < 0.8 else ""

    def aggregate(self):
        r = self.rng
        call = r.choice(["count(*)", f"count({self.text()})", f"sum({self.number()})", f"avg({r.choice('acsnf')})",
                         f"min({self.number()})", f"max({self.text()})", f"min({r.choice(['d', 'ts', 'u', 'xs', 't'])})",
                         "bool_and(ok)", "bool_or(a > 5)", "bit_or(a)", "bit_and(s)", "sum(r)", "sum(u)", "avg(u)",
                         f"variance({r.choice('acsn')})", "stddev_pop(s)", f"count(DISTINCT {r.choice(['b', 't', 'ok'])})",
                         "array_agg(a ORDER BY a)", "string_agg(v, ',' ORDER BY a, b)"])
        return call + (f" FILTER (WHERE {self.condition(1)})" if r.random() < 0.15 else "")

    def by_index(self):
        """Rows in the order of an index, or in the opposite one; of them what the order determines."""
        r = self.rng
        index = r.choice(INDEXES)
        keys = [k.split()[0] for k in index][:r.randrange(1, len(index) + 1)]
        held = f"{keys[0]} = {keys[0]}" if len(keys) == 1 else r.choice(["s IS NULL", "v = 'v3'", "d = date '2015-05-15'"])
        backward = {"v": "v NULLS FIRST", "s": "s DESC", "d": "d DESC", "n": "n", "a": "a DESC", "f": "f DESC NULLS LAST"}
        order = ", ".join(index[:len(keys)] if r.random() < 0.5 else [backward[k] for k in keys])
        where = r.choice(["", f" WHERE {self.condition()}", f" WHERE {held}", f" WHERE {held} AND {self.condition(1)}"])
        limit = f" LIMIT {r.choice([1, 7, 40, 1500])}" if r.random() < 0.8 else ""
        return f"SELECT {', '.join(keys)} FROM {{table}}{where} ORDER BY {order}{limit}", True

    def query(self):
        """Text, and whether the order counts."""
        r = self.rng
        if r.random() < 0.15:
            return self.by_index()
        kind = r.random()
        if kind < 0.45:
            keys = r.sample(["b", "ok", "v", "s % 5", "d", "length(t)", "j ->> 'k'", "ts::date"], r.randrange(3))
            head = ", ".join(keys + [self.aggregate() for _ in range(r.randrange(1, 4))])
            tail = (" GROUP BY " + ", ".join(keys) if keys else "") + (" HAVING count(*) > 3" if r.random() < 0.2 else "")
            return f"SELECT {head} FROM {{table}}{self.where()}{tail}", False
        targets = ", ".join(r.choice([self.number, self.text, lambda: r.choice(["xs", "j", "u", "ts", "ok", "f"])])()
                            for _ in range(r.randrange(1, 5)))
        if kind < 0.7:
            keys = [r.choice([self.number, self.text])() for _ in range(r.randrange(2))]
            keys = [k for k in keys if not re.fullmatch(r"\d+", k)]
            order = ", ".join(k + r.choice(["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]) for k in keys + ["b", "a"])
            limit = f" LIMIT {r.choice([0, 1, 7, 300, 1500])}" if r.random() < 0.8 else ""
            offset = f" OFFSET {r.randrange(40)}" if r.random() < 0.3 else ""
            return f"SELECT {targets}, a, b FROM {{table}}{self.where()} ORDER BY {order}{limit}{offset}", True
        if kind < 0.8:
            return f"SELECT DISTINCT {targets} FROM {{table}}{self.where()}", False
        if kind < 0.9:  # any of them will do, so how many there are
            limited = f"SELECT a FROM {{table}}{self.where()} LIMIT {r.randrange(50)}"
            return limited, None
        return f"SELECT {targets}, a FROM {{table}}{self.where()}", False


def answer(connection, text, ordered):
    """Rows as text, or the error's code."""
    within = connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
    try:
        with connection.transaction() if within else contextlib.nullcontext():  # a savepoint
            found = [tuple(map(str, row)) for row in connection.execute(text).fetchall()]
    except psycopg.Error as e:
        return f"error {e.sqlstate}"
    return len(found) if ordered is None else found if ordered else sorted(found)


def equal(connection, text, ordered, where):
    wanted = answer(connection, text.replace("{table}", "one"), ordered)
    for table in ("far", "near"):
        asked = text.replace("{table}", table)
        found = answer(connection, asked, ordered)
        if found != wanted:
            plan = "\n".join(r[0] for r in connection.execute("EXPLAIN " + asked).fetchall())
            raise AssertionError(f"{where}: {asked}\n{str(found)[:800]}\nnot\n{str(wanted)[:800]}\n{plan}")
    return not isinstance(wanted, str)


def fill(connection):
    data = list(rows(random.Random(1)))
    for table, options in TABLES.items():
        connection.execute(f"CREATE TABLE {table} ({COLUMNS}) {options}")
        with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in data:
                copy.write_row(row)
        connection.execute(f"CREATE INDEX ON {table} (s)")
        for index in INDEXES:
            connection.execute(f"CREATE INDEX ON {table} ({', '.join(index)})")


def compare(connections, seed, count):
    """How many of the queries gave rows rather than an error."""
    queries, good = Queries(seed), 0
    for i in range(count):
        text, ordered = queries.query()
        good += equal(connections[i % len(connections)], text, ordered, f"seed {seed}, query {i}")
    return good


def in_transactions(connections, seed):
    """Rows that only the transaction sees are filtered and counted with the others; then changes by condition."""
    queries = Queries(seed)
    for i, connection in enumerate(connections):
        with connection.transaction(force_rollback=i % 2 == 0):
            for table in TABLES:
                connection.execute(f"INSERT INTO {table} (a, b, n, t) SELECT 10000 + i, i % 40, i, 'own' FROM generate_series(1, 200) i")
                connection.execute(f"UPDATE {table} SET f = f + 1, v = 'new' WHERE length(t) > 3 AND b % 3 = {i % 3}")
                connection.execute(f"DELETE FROM {table} WHERE s % 11 = {i} OR a IN (1, 5, 9, 10003)")
            for k in range(25):
                text, ordered = queries.query()
                equal(connection, text, ordered, f"transaction {i}, query {k}")
        for table in TABLES:
            connection.execute(f"DELETE FROM {table} WHERE t = 'own' AND a > 10000")
        equal(connection, "SELECT count(*), sum(a), sum(f), min(v) FROM {table}", False, f"after transaction {i}")


def parameters(connection):
    for _ in range(7):  # the plan is made once; what is done at the shards is decided for each run
        for value in (3, 17, None, 39):
            found = [connection.execute(f"SELECT count(*), sum(a) FROM {t} WHERE b = %s + 0 AND t LIKE %s", (value, "w%"),
                                        prepare=True).fetchall() for t in TABLES]
            assert found[0] == found[1] == found[2], (value, found)


def told(connection):
    """EXPLAIN says what is done where."""
    def plan(text, analyze=False):
        words = "EXPLAIN (ANALYZE, TIMING off) " if analyze else "EXPLAIN "
        return "\n".join(r[0] for r in connection.execute(words + text).fetchall())
    for text, words in (("SELECT a FROM far WHERE length(t) > 2", "filter, 1 of 2 columns"),
                        ("SELECT b, avg(n) FROM far WHERE ok GROUP BY b", "filter, partial aggregate"),
                        ("SELECT count(DISTINCT b) FROM far WHERE ok", "filter"),
                        ("SELECT a FROM far ORDER BY n, a LIMIT 5 OFFSET 2", "top 7"),
                        ("SELECT a FROM far WHERE s > 3 AND ok LIMIT 5", "filter, limit 5")):
        for analyze in (False, True):
            assert f"At the Shards: {words}" in plan(text, analyze), plan(text, analyze)
    for text in ("SELECT s FROM far ORDER BY v DESC NULLS LAST, s LIMIT 5", "SELECT a FROM near ORDER BY d DESC, n LIMIT 3",
                 "SELECT a FROM far WHERE f > 2 AND ok ORDER BY f NULLS FIRST LIMIT 4"):
        assert "Index Scan" in plan(text) and "Sort" not in plan(text), plan(text)
    for text in ("SELECT count(*) FROM one WHERE ok", "SELECT a FROM far WHERE random() < 2", "SELECT * FROM far"):
        assert "At the Shards" not in plan(text), plan(text)
    counted = plan("SELECT count(*) FROM far", True)
    assert re.search(r"Shards: 6\n", counted) and len(re.findall(r"rows=1( bytes=\d+)?\)", counted)) >= 6, counted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=120)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="gnomon-fragments-")
    cluster = gnomond.Cluster(options.gnomond, directory)
    try:
        for _ in range(3):
            cluster.add()
        connections = [psycopg.connect(node.uri(), autocommit=True) for node in cluster.nodes]
        fill(connections[0])
        told(connections[1])
        parameters(connections[2])
        good = sum(compare(connections, seed, options.queries) for seed in range(options.first, options.first + options.seeds))
        in_transactions(connections, 1000)
        total = options.seeds * options.queries
        assert good > total / 2, f"{good} of {total} queries gave rows"
        print(f"fragments: {good} of {total} queries gave rows, all alike")
        for connection in connections:
            connection.close()
    finally:
        cluster.stop()
        if not sys.exc_info()[0]:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
