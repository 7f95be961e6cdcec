#!/usr/bin/python3
"""Random indexes (on expressions, partial, unique) under random statements, beside a private PostgreSQL that gets the same.

    tests/coord/postgres_random_indexes.py --gnomond PROGRAM [--seed N] [--seeds N] [--steps N] [--shards N]
    tests/coord/postgres_random_indexes.py --gnomond PROGRAM --vectors [--rows N] ...

Without --vectors: rows change (with ON CONFLICT too), indexes and columns come and go, in transaction blocks and under
savepoints as well, and what queries answer must be the same, or errors of one SQLSTATE. With it: filtered vector
searches, with and without indexes that fit, must find rows of the set that PostgreSQL finds by the filter alone, and as
many as there are or were asked for.

Needs Debian's postgresql-15 and python3-psycopg, and a user `postgres`; not part of `make test`.
"""

import argparse
import collections
import contextlib
import pathlib
import random
import re
import shutil
import sys
import tempfile

import psycopg

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
import gnomond  # noqa: E402
import postgres_truth  # noqa: E402

COLUMNS = ("id int PRIMARY KEY, a int, b int, f float8, m numeric, s text, v varchar(8), d date, ts timestamp, "
           "flag boolean")
NAMES = ["a", "b", "f", "m", "s", "v", "d", "ts", "flag"]
ROWS = 60  # at the start; ids go up to IDS
IDS = 80
MOST_INDEXES = 9
MOST_DIFFERENCES = 5  # of a seed, before it is given up
DIMENSIONS = 64

Index = collections.namedtuple("Index", "unique keys predicate")


class Statements:
    """What to ask. It knows the indexes and the columns that were added (`extra`), both kept by who runs the statements."""

    def __init__(self, seed, ids=IDS):
        self.rng, self.ids = random.Random(seed), ids
        self.indexes, self.extra, self.made = {}, [], 0

    def pick(self, *choices):
        return self.rng.choice(choices)

    def often(self, probability):
        return self.rng.random() < probability

    def number(self):
        return str(self.rng.randrange(-2, 6))

    def string(self):
        return self.pick("'a'", "'A'", "'b'", "'bb'", "'B'", "'c'", "''")

    def operator(self):
        return self.pick("<", "<=", "=", "=", "=", ">", ">=", "<>")

    def id(self):
        return self.rng.randrange(self.ids)

    def value(self, column):
        """Few values, so that they meet; those that are equal and differ, and those at the ends of a type, among them."""
        if self.often(0.2):
            return "NULL"
        values = {"f": ["0", "1.5", "2.5", "'NaN'", "-1", "'-0'", "'Infinity'"],
                  "m": ["1", "1.0", "1.00", "2.5", "2.50", "-3", "0"],
                  "s": [self.string()], "v": [self.string()],
                  "d": ["'2024-01-01'", "'2024-01-02'", "'2024-02-29'", "'infinity'"],
                  "ts": ["'2024-01-01'", "'2024-01-02 03:04'", "'2024-02-29 00:00:01'", "'-infinity'"],
                  "flag": ["true", "false"]}
        return self.pick(*values.get(column, [self.number()]))

    # conditions

    def integer(self):
        return self.pick("a", "a", "a", "b", "b", "(a + 1)", "(a * b)", "length(s)", "a::bigint", "abs(a)", "coalesce(a, 0)",
                         *self.extra)

    def of_integers(self):
        x, y, k, l, op = self.integer(), self.integer(), self.number(), self.number(), self.operator()
        return [f"{x} {op} {k}", f"{x} {op} {k}", f"{k} {op} {x}", f"{x} {op} {y}", f"{x} IS NULL", f"{x} IS NOT NULL",
                f"{x} IS NOT NULL", f"{x} IN ({k}, {l})", f"{x} NOT IN ({k}, {l})", f"{x} IN ({k}, NULL)",
                f"{x} = ANY ('{{{k},{l}}}'::int[])", f"{x} <> ALL ('{{{k},{l}}}'::int[])", f"{x} = ANY ('{{}}'::int[])",
                f"{x} <> ALL ('{{}}'::int[])", f"{x} > ANY ('{{{k}}}'::int[])", f"{x} BETWEEN {k} AND {l}",
                f"{x} IS DISTINCT FROM {k}", f"{x} IS NOT DISTINCT FROM {k}", f"a {op} {k}::bigint"]

    def of_numbers(self):
        op = self.operator()
        return [f"a > {self.pick('2.5', '3.0', '1e0')}", f"a::numeric = {self.pick('3.0', '3', '2.50')}",
                f"m {op} {self.pick('1', '1.0', '1.00', '2.5', '2.50', '-3')}", "m::text = '1.0'", "m::text = '1'",
                "m IN (1.0, 2.50)", "m IS NOT NULL", "scale(m) = 1", "f IS NOT NULL", f"f {op} 1.5::float4",
                f"f {op} {self.pick('1.5', '0', chr(39) + 'NaN' + chr(39), '-1', '2')}::float8"]

    def of_strings(self):
        x, y, op = self.string(), self.string(), self.operator()
        return [f"s {op} {x}", f"lower(s) {op} {x}", "s LIKE 'a%'", "s LIKE '%b'", f"s IN ({x}, {y})", f"v {op} {x}",
                f"v::text = {x}", f"v IN ({x}, {y})", f"upper(v) = {x}", "s || 'x' = 'ax'", "s || 'x' = 'bx'", "s IS NOT NULL",
                "lower(s) IS NOT NULL", "s < v", "s = v"]

    def of_flags(self):
        return ["flag", "flag", "NOT flag", "flag IS TRUE", "flag IS NOT TRUE", "flag IS FALSE", "flag IS NOT FALSE",
                "flag IS UNKNOWN", "flag IS NOT UNKNOWN", "flag IS NOT NULL", "flag = true", "flag = false", "flag <> true",
                "(flag IS NOT NULL) = false", "(flag IS TRUE) = false", "NOT (flag IS NOT NULL)", "(a IS NOT NULL) = flag",
                "flag IN (true)", "coalesce(flag, a > 1)", "CASE WHEN a > 2 THEN true ELSE NULL END"]

    def of_times(self):
        op = self.operator()
        return [f"d {op} date '2024-01-01'", f"d {op} date '2024-02-29'", f"d {op} timestamp '2024-01-02 03:04'", "d IS NOT NULL",
                f"ts {op} timestamp '2024-01-02 03:04'", f"ts {op} date '2024-01-02'", "ts::date = date '2024-01-02'", "d = ts"]

    def of_several(self):
        op, k = self.operator(), self.number()
        return [f"CASE WHEN flag THEN a ELSE b END {op} {k}", f"nullif(a, {k}) IS NOT NULL", f"greatest(a, b) {op} {k}"]

    def atom(self):
        kinds = [self.of_integers, self.of_numbers, self.of_strings, self.of_flags, self.of_times, self.of_several]
        return self.pick(*self.rng.choices(kinds, weights=[19, 11, 15, 20, 8, 3])[0]())

    def condition(self, depth=0):
        form = self.rng.random() if depth < 2 else 1
        if form < 0.38:
            return f"({self.condition(depth + 1)} {'AND' if form < 0.22 else 'OR'} {self.condition(depth + 1)})"
        return f"NOT ({self.condition(depth + 1)})" if form < 0.48 else self.atom()

    def where(self):
        """Often one that implies the predicate of a partial index."""
        predicates = [index.predicate for index in self.indexes.values() if index.predicate]
        parts = [self.pick(*predicates)] if predicates and self.often(0.4) else []
        parts += [self.condition(1) for _ in range(self.rng.randrange(0 if parts else 1, 3))]
        return " AND ".join(f"({part})" for part in parts)

    # definitions

    def key(self):
        return self.pick("a", "b", "s", "m", "f", "d", "flag", "(a + 1)", "lower(s)", "upper(v)", "(a * b)", "(m::text)",
                         "coalesce(a, 0)", "(s || 'x')", "(flag IS NULL)", "(a % 3)", "length(s)", "(ts::date)", "abs(a)", "(f * 2)",
                         "(m * 2)", "(CASE WHEN flag THEN a ELSE b END)", *[f"({x} * 2)" for x in self.extra])

    def name(self, letter):
        self.made += 1
        return f"{letter}{self.made}"

    def predicate(self):
        return self.condition() if self.often(0.7) else None

    def create_index(self, unique=0.25):
        """The statement, and the index that it makes by its name."""
        name, keys = self.name("i"), [self.key() for _ in range(self.pick(1, 1, 2))]
        index = Index(self.often(unique), ", ".join(keys), self.predicate())
        ordered = ", ".join(key + self.pick("", "", " DESC", " NULLS FIRST") for key in keys)
        text = f"CREATE {'UNIQUE ' if index.unique else ''}INDEX {name} ON t ({ordered})"
        return text + (f" WHERE {index.predicate}" if index.predicate else ""), name, index

    def create_vector_index(self):
        """Made in GnomonDB alone: PostgreSQL's table has no vectors."""
        name, index = self.name("h"), Index(False, "e", self.predicate())
        key = self.pick("e vector_l2_ops", "e vector_l2_ops", f"(e::halfvec({DIMENSIONS})) halfvec_l2_ops")
        text = f"CREATE INDEX {name} ON t USING hnsw ({key})"
        return text + (f" WHERE {index.predicate}" if index.predicate else ""), name, index

    def forget_column(self, column):
        word = re.compile(rf"\b{column}\b")
        self.extra.remove(column)
        self.indexes = {name: index for name, index in self.indexes.items()
                        if not word.search(f"{index.keys} {index.predicate}")}

    def state(self):
        return dict(self.indexes), list(self.extra)

    def restore(self, state):
        self.indexes, self.extra = dict(state[0]), list(state[1])

    # statements about rows

    def row(self, number):
        columns = [*NAMES, *self.extra]
        return f"INSERT INTO t (id, {', '.join(columns)}) VALUES ({number}, {', '.join(map(self.value, columns))})"

    def target(self):
        """What ON CONFLICT names: a unique index, seldom one whose predicate is left out, or the primary key."""
        unique = [index for index in self.indexes.values() if index.unique]
        if not unique or self.often(0.2):
            return "(id)"
        index = self.pick(*unique)
        return f"({index.keys})" + (f" WHERE {index.predicate}" if index.predicate and self.often(0.9) else "")

    def insert(self):
        text, form = self.row(self.id()), self.rng.random()
        if form < 0.5:
            return text + ("" if form < 0.35 else " ON CONFLICT DO NOTHING")
        action = self.pick("DO NOTHING", "DO UPDATE SET b = excluded.b, a = t.a", "DO UPDATE SET a = excluded.a, s = excluded.s",
                           "DO UPDATE SET flag = NOT t.flag", "DO UPDATE SET m = t.m + 1 WHERE t.a IS NOT NULL")
        return f"{text} ON CONFLICT {self.target()} {action} RETURNING id, a, b, s, flag, m"

    def set(self, count=1):
        columns = self.rng.sample([*NAMES, *self.extra], count)
        return ", ".join(f"{column} = {self.value(column)}" for column in columns)

    def update(self):
        condition = f" AND {self.condition(1)}" if self.often(0.3) else ""
        return f"UPDATE t SET {self.set(self.pick(1, 1, 2, 3))} WHERE id = {self.id()}{condition} RETURNING id"

    def delete(self):
        return f"DELETE FROM t WHERE id = {self.id()} AND {self.condition(2)} RETURNING id"

    def update_range(self, width):
        first = self.id()
        return f"UPDATE t SET {self.set()} WHERE id BETWEEN {first} AND {first + width}"

    def delete_range(self, width):
        first = self.id()
        return f"DELETE FROM t WHERE id BETWEEN {first} AND {first + width}"

    def select(self):
        if self.often(0.25):
            return f"SELECT count(*) FROM t WHERE {self.where()}"
        order = self.pick("id", "id DESC", f"{self.key()}{self.pick('', ' DESC', ' NULLS FIRST')}, id", "lower(s), id", "a + 1 DESC, id")
        limit = self.pick("", "", f" LIMIT {self.rng.randrange(1, 9)}")
        return f"SELECT {self.pick('id', 'id', 'id, a, b, s')} FROM t WHERE {self.where()} ORDER BY {order}{limit}"

    def lateral(self):
        join, on = self.pick((", LATERAL", ""), (" LEFT JOIN LATERAL", " ON true"))
        match = self.pick("l.a = o.b", "lower(l.s) = lower(o.v)", "l.a + 1 = o.a")
        condition = self.pick("l.flag", "l.a > 1", "NOT l.flag", "l.s IS NOT NULL", "l.flag IS NOT TRUE")
        return (f"SELECT o.id, i.id FROM t o{join} (SELECT l.id FROM t l WHERE {match} AND {condition}) i{on} "
                f"WHERE o.id < {self.rng.randrange(5, 30)} ORDER BY 1, 2")

    def vector(self):
        return "[" + ",".join(f"{self.rng.uniform(-1, 1):.3f}" for _ in range(DIMENSIONS)) + "]"


def answer(connection, text):
    """The rows as they were sent (some of the values have no type in Python), the tag, or the error."""
    try:
        result = connection.execute(text).pgresult
    except psycopg.Error as e:
        return f"error {e.sqlstate}"
    if not result.nfields:
        return result.command_status.decode()
    return [tuple(result.get_value(row, column) for column in range(result.nfields)) for row in range(result.ntuples)]


def failed(found):
    return str(found).startswith("error")


def is_meant(text, wanted, found):
    """Neither promises which operands are evaluated once the result is known; a spread table's unique indexes must have its key."""
    return (any(str(a).startswith("error 22") for a in (wanted, found)) or
            (found == "error 0A000" and text.startswith("CREATE UNIQUE INDEX")))


class Both:
    """The table t in both, and what differs between them."""

    def __init__(self, theirs, ours, options, ids=IDS):
        self.theirs, self.ours, self.options = theirs, ours, options
        self.statements = Statements(options.seed, ids)
        self.asked = self.different = self.meant = 0
        self.before = collections.deque(maxlen=5)

    def create_table(self, more=""):
        for connection in (self.theirs, self.ours):
            connection.execute("DROP TABLE IF EXISTS t")
        self.theirs.execute(f"CREATE TABLE t ({COLUMNS})")
        shards = f" WITH (shards = {self.options.shards})" if self.options.shards else ""
        self.ours.execute(f"CREATE TABLE t ({COLUMNS}{more}){shards}")

    def tell(self, text, wanted, found):
        self.different += 1
        for earlier in self.before:
            print(f"  before: {earlier}")
        print(f"{text}\n  PostgreSQL: {str(wanted)[:400]}\n  GnomonDB:   {str(found)[:400]}")
        if text.startswith("SELECT") and not failed(found):
            for line in self.ours.execute("EXPLAIN " + text).fetchall():
                print(f"    {line[0][:150]}")
            print(f"    {self.statements.indexes}")

    def ask(self, text):
        """Both answers."""
        wanted, found = answer(self.theirs, text), answer(self.ours, text)
        self.asked += 1
        if wanted != found and is_meant(text, wanted, found):
            self.meant += 1
        elif wanted != found:
            self.tell(text, wanted, found)
        self.before.append(f"{text[:300]} -> {str(wanted)[:60]}, {str(found)[:60]}")
        return wanted, found

    def create_index(self, unique=0.25, in_block=False):
        text, name, index = self.statements.create_index(unique)
        answers = self.ask(text)
        if not any(map(failed, answers)):
            self.statements.indexes[name] = index
        elif not in_block:
            for connection, found in zip((self.theirs, self.ours), answers):
                if not failed(found):
                    connection.execute(f"DROP INDEX {name}")
        return answers


class Indexes(Both):
    """Statements about rows while indexes and columns come and go."""

    def drop_index(self):
        name = self.statements.pick(*self.statements.indexes)
        del self.statements.indexes[name]
        return self.ask(f"DROP INDEX {name}")

    def add_column(self):
        name = self.statements.name("x")
        answers = self.ask(f"ALTER TABLE t ADD COLUMN {name} int {self.statements.pick('', 'DEFAULT 3', 'DEFAULT 1')}")
        if not any(map(failed, answers)):
            self.statements.extra.append(name)
        return answers

    def drop_column(self):
        name = self.statements.extra[-1]
        self.statements.forget_column(name)
        return self.ask(f"ALTER TABLE t DROP COLUMN {name}")

    def change_columns(self):
        s = self.statements
        return self.drop_column() if s.extra and (len(s.extra) > 1 or s.often(0.5)) else self.add_column()

    def define(self):
        """No unique index: it would often fail, and end the block."""
        s, form = self.statements, self.statements.rng.random()
        if form < 0.6 and len(s.indexes) < MOST_INDEXES:
            return self.create_index(unique=0, in_block=True)
        return self.drop_index() if form < 0.75 and s.indexes else self.change_columns()

    def ask_any(self):
        s = self.statements
        return self.ask(s.pick(s.insert, s.update, s.delete, s.select, s.select, s.lateral)())

    def back_to(self, marks):
        number = self.statements.rng.randrange(len(marks))
        del marks[number + 1:]
        self.statements.restore(marks[number])
        self.ask(f"ROLLBACK TO m{number}")

    def step_in_block(self, marks, definitions):
        s, form = self.statements, self.statements.rng.random()
        if definitions and form < 0.33:
            return self.define()
        if not definitions and form < 0.42:
            marks.append(s.state())
            return self.ask(f"SAVEPOINT m{len(marks) - 1}")
        return self.ask_any()

    def block(self):
        """With definitions in it or with savepoints. Rolled back if only one side failed."""
        s, state, marks = self.statements, self.statements.state(), []
        definitions, apart = s.often(0.5), False
        self.ask("BEGIN")
        for _ in range(s.rng.randrange(2, 9)):
            answers = self.step_in_block(marks, definitions)
            errors = list(map(failed, answers))
            apart = apart or (any(errors) and answers[0] != answers[1])
            if any(errors) and not marks:
                break
            if any(errors) or (marks and s.often(0.1)):
                self.back_to(marks)
        wanted, _ = self.ask("ROLLBACK" if apart else s.pick("COMMIT", "COMMIT", "ROLLBACK"))
        if wanted != "COMMIT":
            s.restore(state)

    def step(self):
        s, form = self.statements, self.statements.rng.random()
        if form < 0.06 and len(s.indexes) < MOST_INDEXES:
            self.create_index()
        elif form < 0.09 and s.indexes:
            self.drop_index()
        elif form < 0.10:
            self.change_columns()
        elif form < 0.14:
            self.block()
        else:
            kinds = [s.insert, s.update, s.delete, s.lateral, s.select]
            self.ask(s.rng.choices(kinds, weights=[11, 13, 4, 4, 54])[0]())

    def compare(self):
        self.create_table()
        for number in range(ROWS):
            self.ask(self.statements.row(number))
        for step in range(self.options.steps or 600):
            self.step()
            if step % 50 == 0:
                self.ask("SELECT * FROM t ORDER BY id")
            if self.different >= MOST_DIFFERENCES:
                break
        self.ask("SELECT * FROM t ORDER BY id")


class Vectors(Both):
    """Filtered vector searches over rows that change; PostgreSQL has the table without its vectors."""

    def __init__(self, theirs, ours, options):
        super().__init__(theirs, ours, options, options.rows)

    def fill(self):
        s = self.statements
        self.create_table(f", e vector({DIMENSIONS})")
        rows = [[str(number), *(s.value(name).strip("'").replace("NULL", "\\N") for name in NAMES)] for number in range(s.ids)]
        for connection, more in ((self.theirs, lambda: []), (self.ours, lambda: [s.vector()])):
            with connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
                copy.write("".join("\t".join([*row, *more()]) + "\n" for row in rows))

    def index(self):
        s = self.statements
        if s.often(0.5):
            self.create_index(unique=0)
            return
        text, name, index = s.create_vector_index()
        found = answer(self.ours, text)
        if not failed(found):
            s.indexes[name] = index
        elif not is_meant(text, "", found):
            self.tell(text, "", found)

    def change(self):
        s = self.statements
        for _ in range(s.rng.randrange(1, 20)):
            self.ask(s.pick(lambda: s.update_range(0), lambda: s.delete_range(0), lambda: s.update_range(30))())

    def change_in_block(self):
        """Whether the block is still one on both sides."""
        s = self.statements
        texts = ["BEGIN", *(s.update_range(10) for _ in range(3)), s.delete_range(3)]
        return not any(failed(found) for text in texts for found in self.ask(text))

    def search(self, where):
        s = self.statements
        limit, column = s.pick(10, 10, 100, 10000), s.pick("e", "e", "e", f"e::halfvec({DIMENSIONS})")
        text = f"SELECT id FROM t WHERE {where} ORDER BY {column} <-> '{s.vector()}' LIMIT {limit}"
        wanted, found = answer(self.theirs, f"SELECT id FROM t WHERE {where}"), answer(self.ours, text)
        self.asked += 1
        if failed(wanted) or failed(found):
            if wanted == found or is_meant(text, wanted, found):
                self.meant += wanted != found
            else:
                self.tell(text, wanted, found)
            return
        count, wrong = min(limit, len(wanted)), sorted(set(found) - set(wanted))
        if wrong or len(set(found)) != len(found) or len(found) != count:
            missing = sorted(set(wanted) - set(found)) if limit > len(wanted) else []
            self.tell(text, f"{count} rows", f"{len(found)} rows, wrong ones {wrong[:5]}, without {missing[:5]}")

    def step(self, filters):
        """A filter is used by several searches, so that what is remembered of one is met again after changes."""
        s = self.statements
        if s.often(0.25):
            self.change()
        if not filters or s.often(0.35):
            filters.append(s.where())
        block = s.often(0.25)
        if not block or self.change_in_block():
            self.search(s.pick(*filters))
        if block:
            self.ask("ROLLBACK")

    def compare(self):
        self.fill()
        for _ in range(5):
            self.index()
        filters = collections.deque(maxlen=6)
        for step in range(self.options.steps or 150):
            if step % 40 == 39 and len(self.statements.indexes) < MOST_INDEXES + 5:
                self.index()
            self.step(filters)
            if self.different >= MOST_DIFFERENCES:
                break


@contextlib.contextmanager
def node(program):
    directory = tempfile.mkdtemp(prefix="gnomon-random-")
    server = gnomond.Server(program, directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def compare_seed(postgres, server, options):
    with psycopg.connect(server.uri(), autocommit=True) as ours, postgres.connect() as theirs:
        both = (Vectors if options.vectors else Indexes)(theirs, ours, options)
        both.compare()
    print(f"seed {options.seed}: {both.asked} statements, {both.different} answers differ; {both.meant} times only one "
          "evaluated what fails, or a spread table cannot have the unique index", flush=True)
    return both.different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--vectors", action="store_true", help="filtered vector searches")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--steps", type=int, default=0, help="of each seed; 0: 600, or 150 with --vectors")
    parser.add_argument("--rows", type=int, default=6000, help="of the table with --vectors")
    parser.add_argument("--shards", type=int, default=0, help="spread the table; 0: not")
    options, different = parser.parse_args(), 0
    with node(options.gnomond) as server, postgres_truth.Postgres() as postgres:
        for seed in range(options.seed, options.seed + options.seeds):
            options.seed = seed
            different += compare_seed(postgres, server, options)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
