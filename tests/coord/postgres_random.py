#!/usr/bin/python3
"""Random queries beside a private PostgreSQL: the same rows in both, the same answers wanted, or errors of one SQLSTATE.

    tests/coord/postgres_random.py --gnomond PROGRAM [--seed N] [--queries N] [--shards N]

Needs Debian's postgresql-15 and python3-psycopg, and a user `postgres`; not part of `make test`.
"""

import argparse
import pathlib
import random
import shutil
import sys
import tempfile

import psycopg

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
import gnomond  # noqa: E402
import postgres_truth  # noqa: E402

TABLES = ("CREATE TABLE t (id int PRIMARY KEY, g int NOT NULL, n int, s text, b bool)",
          "CREATE TABLE u (k int PRIMARY KEY, g int, w text)")
INDEXES = ("CREATE INDEX t_n ON t (n)", "CREATE INDEX t_gs ON t (g, s DESC)")
SHOWN = 5  # differences that are printed whole


class Queries:
    """Their order is total, so that answers can be compared row by row."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def rows(self):
        r = self.rng
        return ([(i, r.randrange(8), r.choice([None, *range(20)]), r.choice([None, "a", "b", "cc", "dd", "ee"]),
                  r.choice([None, True, False])) for i in range(120)],
                [(i, r.randrange(10), r.choice(["x", "y", None])) for i in range(25)])

    def column(self):
        return self.rng.choice(["id", "g", "n", "s", "b", "g+1", "n*2", "id%7", "length(s)", "coalesce(n,-1)", "upper(s)"])

    def condition(self, of=""):
        r = self.rng
        return r.choice([f"{of}g={r.randrange(8)}", f"{of}n>{r.randrange(20)}", f"{of}n IS NULL", f"{of}s IN ('a','cc')",
                         f"{of}b", f"NOT {of}b", f"{of}id BETWEEN {r.randrange(60)} AND {r.randrange(60, 120)}",
                         f"{of}s LIKE '%c%'"])

    def where(self, of=""):
        r = self.rng
        if r.random() < 0.3:
            return ""
        return " WHERE " + r.choice([" AND ", " OR "]).join(self.condition(of) for _ in range(r.randrange(1, 3)))

    def ordered(self, key):
        return key + self.rng.choice(["", " DESC", " NULLS FIRST", " DESC NULLS LAST"])

    def cut(self, limit, offset):
        r = self.rng
        return ((f" LIMIT {r.randrange(limit)}" if r.random() < 0.55 else "") +
                (f" OFFSET {r.randrange(offset)}" if r.random() < 0.25 else ""))

    def simple(self):
        return f"SELECT id, g, n, s, b FROM t{self.where()} ORDER BY {self.ordered(self.column())}, id{self.cut(30, 5)}"

    def distinct_on(self):
        r = self.rng
        keys = r.sample(["g", "s", "b", "id%7", "n"], r.randrange(1, 3))
        order = [self.ordered(k) for k in keys]
        r.shuffle(order)
        targets = ", ".join(self.column() for _ in range(r.randrange(1, 4)))
        return (f"SELECT DISTINCT ON ({', '.join(keys)}) {targets}, id FROM t{self.where()} "
                f"ORDER BY {', '.join(order)}, {self.ordered(self.column())}, id{self.cut(10, 4)}")

    def grouped(self):
        return f"SELECT g AS id, count(*) AS g, sum(n) AS n, max(s) AS s, bool_and(b) AS b FROM t{self.where()} GROUP BY g"

    def subquery(self):
        r = self.rng
        if r.random() < 0.3:
            return f"SELECT count(*), sum(q.id), min(q.id) FROM ({self.distinct_on()}) q"
        inner = r.choice([self.simple, self.grouped])()
        return r.choice([f"SELECT {r.choice(['*', 'q.id, q.n', 'q.s, q.id + 1'])} FROM ({inner}) q{self.where('q.')} ORDER BY 1, 2",
                         f"SELECT g, count(*), sum(n) FROM ({inner}) AS q{self.where()} GROUP BY g ORDER BY g",
                         f"SELECT x.a FROM (SELECT id AS a, n FROM ({inner}) q) x WHERE x.a > {r.randrange(50)} ORDER BY 1",
                         f"SELECT count(*), sum(id) FROM ({inner}) q",
                         f"SELECT DISTINCT ON (g) g, id FROM ({inner}) q ORDER BY g, id"])

    def lateral(self):
        r = self.rng
        array = r.choice(["ARRAY[1,3,5]", "ARRAY[7,NULL,2]", "ARRAY[]::int[]", "ARRAY[4,4]"])
        outer = r.choice([f"unnest({array}) WITH ORDINALITY AS q(v, i)", "generate_series(1, 4) WITH ORDINALITY AS q(v, i)",
                          "(SELECT k AS v, g AS i FROM u ORDER BY k LIMIT 4) q", "u AS q(v, i, w)"])
        inner = r.choice([f"SELECT id, n FROM t WHERE t.g = q.v{r.choice(['', ' AND n > 3'])} "
                          f"ORDER BY {self.ordered('n')}, id LIMIT {r.randrange(1, 5)}",
                          "SELECT count(*) AS id, sum(n) AS n FROM t WHERE t.g < q.v",
                          "SELECT max(id) AS id, min(n) AS n FROM t WHERE t.n = q.v OR t.g = q.v",
                          "SELECT id, n + q.v AS n FROM t WHERE id = q.v * 3"])
        join, on = r.choice([(", LATERAL", ""), (" CROSS JOIN LATERAL", ""), (" JOIN LATERAL", " ON true"),
                             (" LEFT JOIN LATERAL", " ON true")])
        return (f"SELECT q.v, q.i, l.id, l.n FROM {outer}{join} ({inner}) l{on}"
                f"{r.choice(['', ' WHERE l.n > 2', ' WHERE q.v > 2'])} ORDER BY 1, 2, 3, 4")

    def value(self, kind, depth=0):
        """An expression of this kind over a row of t."""
        r = self.rng
        of = {"int": lambda k="int": self.value(k, depth + 1), "text": lambda: self.value("text", depth + 1),
              "num": lambda: self.value("num", depth + 1), "bool": lambda: self.value("bool", depth + 1),
              "date": lambda: self.value("date", depth + 1), "ts": lambda: self.value("ts", depth + 1),
              "gap": lambda: self.value("gap", depth + 1), "ints": lambda: self.value("ints", depth + 1)}
        i, t, n, b, d, ts, gap, xs = (of[k] for k in ("int", "text", "num", "bool", "date", "ts", "gap", "ints"))
        leaves = {"int": ["id", "g", "n", str(r.randrange(-3, 100)), "NULL::int"], "text": ["s", "'a b c'", "'Gnomon'", "''", "s"],
                  "num": ["1.50", "n::numeric", "-0.125", "1e3", "12345678.9"], "bool": ["b", "true", "b"],
                  "date": ["date '2024-02-29'", "date '2001-12-31' + g", "date '1999-01-01' + n"],
                  "ts": ["timestamp '2024-03-31 23:59:59.5'", "timestamp '2000-01-01' + n * interval '1 hour'"],
                  "gap": ["interval '1 month 2 days 03:04:05'", "n * interval '1 day'", "interval '-5 minutes'"],
                  "ints": ["ARRAY[1, 2, NULL, 4]", "ARRAY[n, g]", "'{}'::int[]", "ARRAY[id, 7]"]}
        if depth > 2 or r.random() < 0.2:
            return r.choice(leaves[kind])
        nodes = {
            "int": [lambda: f"({i()} {r.choice('+-*/%')} {i()})", lambda: f"length({t()})", lambda: f"abs({i()})",
                    lambda: f"CASE WHEN {b()} THEN {i()} ELSE {i()} END", lambda: f"coalesce({i()}, {i()})", lambda: f"nullif({i()}, {i()})",
                    lambda: f"strpos({t()}, {t()})", lambda: f"greatest({i()}, {i()})", lambda: f"extract(day from {d()})::int",
                    lambda: f"({d()} - {d()})", lambda: f"cardinality({xs()})", lambda: f"({xs()})[{r.randrange(4)}]",
                    lambda: f"array_position({xs()}, {i()})", lambda: f"({b()})::int", lambda: f"round({n()})::int",
                    lambda: f"({i()} & {i()})", lambda: f"ascii({t()})", lambda: f"mod({i()}, {i()})"],
            "text": [lambda: f"upper({t()})", lambda: f"{t()} || {t()}", lambda: f"substr({t()}, {i()}, {r.randrange(5)})", lambda: f"({i()})::text",
                     lambda: f"({n()})::text", lambda: f"replace({t()}, 'a', {t()})", lambda: f"left({t()}, {r.randrange(-2, 4)})",
                     lambda: f"lpad({t()}, {r.randrange(8)}, '*')", lambda: f"to_char({d()}, 'YYYY-Mon-DD Dy')", lambda: f"({ts()})::text",
                     lambda: f"({gap()})::text", lambda: f"reverse({t()})", lambda: f"repeat({t()}, {r.randrange(3)})", lambda: f"initcap({t()})",
                     lambda: f"split_part({t()}, ' ', {r.randrange(1, 4)})", lambda: f"to_char({n()}, 'FM999,990.00')", lambda: f"({xs()})::text",
                     lambda: f"concat({t()}, {i()}, {b()})", lambda: f"trim({t()})", lambda: f"regexp_replace({t()}, '[a-c]+', '<\\&>', 'g')",
                     lambda: f"array_to_string({xs()}, ',', '-')", lambda: f"md5({t()})", lambda: f"format('%s-%I', {i()}, {t()})",
                     lambda: f"translate({t()}, 'abc', 'xy')", lambda: f"quote_literal({t()})"],
            "num": [lambda: f"({n()} {r.choice('+-*/%')} {n()})", lambda: f"round({n()}, {r.randrange(4)})", lambda: f"abs({n()})",
                    lambda: f"trunc({n()}, 1)", lambda: f"power({n()}, {r.randrange(3)})", lambda: f"ceil({n()})", lambda: f"({i()})::numeric",
                    lambda: f"extract(epoch from {gap()})", lambda: f"coalesce({n()}, 0)", lambda: f"({n()})::numeric(8,2)", lambda: f"sign({n()})"],
            "bool": [lambda: f"({i()} {r.choice(['<', '<=', '=', '<>', '>'])} {i()})", lambda: f"({t()} {r.choice(['<', '=', '~', 'LIKE'])} {t()})",
                     lambda: f"({b()} AND {b()})", lambda: f"({b()} OR {b()})", lambda: f"(NOT {b()})", lambda: f"({b()} IS NOT TRUE)",
                     lambda: f"({i()} = ANY ({xs()}))", lambda: f"({i()} <> ALL ({xs()}))", lambda: f"({t()} IS NULL)", lambda: f"({n()} > {i()})",
                     lambda: f"({i()} BETWEEN {i()} AND {i()})", lambda: f"({i()} IN ({i()}, {i()}))", lambda: f"({d()} < {ts()})",
                     lambda: f"({xs()} @> {xs()})", lambda: f"({xs()} && {xs()})", lambda: f"({i()} IS DISTINCT FROM {i()})",
                     lambda: f"starts_with({t()}, {t()})"],
            "date": [lambda: f"({d()} + {r.randrange(-40, 400)})", lambda: f"({ts()})::date", lambda: f"greatest({d()}, {d()})"],
            "ts": [lambda: f"({ts()} + {gap()})", lambda: f"date_trunc('{r.choice(['month', 'hour', 'year', 'week', 'day'])}', {ts()})",
                   lambda: f"({d()})::timestamp", lambda: f"({d()} - {gap()})"],
            "gap": [lambda: f"({gap()} + {gap()})", lambda: f"({ts()} - {ts()})", lambda: f"({gap()} * 1.5)", lambda: f"age({ts()}, {ts()})",
                    lambda: f"justify_days({gap()})"],
            "ints": [lambda: f"array_append({xs()}, {i()})", lambda: f"({xs()} || {xs()})", lambda: f"array_remove({xs()}, {i()})",
                     lambda: f"({xs()})[1:2]"]}
        return r.choice(nodes[kind])()

    def expression(self):
        """One row a statement, so that one that fails does not hide the others."""
        r = self.rng
        values = ", ".join(self.value(r.choice(["int", "text", "num", "bool", "date", "ts", "gap", "ints"])) for _ in range(2))
        return f"SELECT {values} FROM t WHERE id = {r.randrange(120)}"

    def aggregated(self):
        r = self.rng
        calls = ", ".join(r.choice([f"count({self.value('text', 1)})", f"sum({self.value('int', 2)})", f"avg({self.value('num', 2)})",
                                    f"min({self.value('text', 2)})", f"max({self.value('date', 2)})", f"bool_or({self.value('bool', 1)})",
                                    f"string_agg({self.value('text', 2)}, ',' ORDER BY id)", f"array_agg({self.value('int', 2)} ORDER BY id)",
                                    f"count(DISTINCT {self.value('int', 2)})", f"sum({self.value('gap', 2)})",
                                    f"variance({self.value('num', 3)})"]) for _ in range(2))
        return f"SELECT g, {calls} FROM t WHERE {self.value('bool', 1)} GROUP BY g ORDER BY g"

    def over(self):
        """A rank that rows do not share, or that those share who are equal in what it is ordered by."""
        r = self.rng
        partition = r.choice(["", f"PARTITION BY {self.column()} ", f"PARTITION BY {self.column()}, b "])
        order = f"ORDER BY {self.ordered(self.column())}"
        return r.choice([f"row_number() OVER ({partition}{order}, id)", f"rank() OVER ({partition}{order})",
                         f"dense_rank() OVER ({partition}{order})", f"rank() OVER ({partition})".replace(" )", ")")])

    def windowed(self):
        r = self.rng
        ranked = f"SELECT id, g, {self.over()} AS n, {self.over()} + 1 AS s FROM t{self.where()}"
        return r.choice([f"{ranked} ORDER BY n, s, id{self.cut(20, 5)}",
                         f"SELECT q.* FROM ({ranked}) q WHERE q.n <= {r.randrange(4)} ORDER BY id",
                         f"SELECT id FROM t{self.where()} ORDER BY {self.over()} {r.choice(['', 'DESC'])}, id LIMIT 7",
                         f"SELECT g, count(*), rank() OVER (ORDER BY count(*) DESC), dense_rank() OVER (ORDER BY sum(n)) FROM t{self.where()} GROUP BY g ORDER BY g",
                         f"SELECT u.k, l.id, l.r FROM u, LATERAL (SELECT id, {self.over()} AS r FROM t WHERE t.g = u.g) l WHERE l.r < 3 ORDER BY 1, 2, 3",
                         f"SELECT DISTINCT {self.over()} AS r FROM t ORDER BY r",
                         f"SELECT DISTINCT ON (g) g, id, {self.over()} AS r FROM t ORDER BY g, r, id"])

    def query(self):
        return self.rng.choice([self.simple, self.distinct_on, self.subquery, self.lateral, self.expression, self.expression,
                                self.expression, self.aggregated, self.windowed, self.windowed])()


def answer(connection, text):
    try:
        return [tuple(map(str, row)) for row in connection.execute(text).fetchall()]
    except psycopg.Error as e:
        return f"error {e.sqlstate}"


def is_of_order(wanted, found):
    """Neither promises which operands are evaluated once the result is known."""
    errors = [str(a).startswith("error 22") for a in (wanted, found)]
    return any(errors)


def fill(connection, queries, options):
    for table in TABLES:
        connection.execute(table + options)
    for index in INDEXES:
        connection.execute(index)
    with connection.cursor() as cursor:
        for table, rows in zip("tu", queries):
            cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)


def compare(theirs, ours, options):
    queries, different, order = Queries(options.seed), 0, 0
    rows = queries.rows()
    fill(theirs, rows, "")
    fill(ours, rows, f" WITH (shards = {options.shards})" if options.shards else "")
    for _ in range(options.queries):
        text = queries.query()
        wanted, found = answer(theirs, text), answer(ours, text)
        if wanted != found and is_of_order(wanted, found):
            order += 1
        elif wanted != found:
            different += 1
            if different <= SHOWN:
                print(f"{text}\n  PostgreSQL: {str(wanted)[:400]}\n  GnomonDB:   {str(found)[:400]}")
    print(f"seed {options.seed}: {options.queries} queries, {different} answers differ; {order} times only one "
          "evaluated what fails")
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=0, help="spread the tables; 0: not")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="gnomon-random-")
    server = gnomond.Server(options.gnomond, directory)
    server.start()
    try:
        with postgres_truth.Postgres() as postgres, psycopg.connect(server.uri(), autocommit=True) as ours:
            return 1 if compare(postgres.connect(), ours, options) else 0
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
