#!/usr/bin/env python3
"""Kills gnomond with SIGKILL again and again while several connections write, and compares with a model each time.

Each writer has keys of its own, so the model knows exactly what every acknowledged transaction left; of the one
transaction that was under way at the kill, all or nothing may be there. The vector index must hold exactly the rows.

    kill_loop.py --gnomond PROGRAM [--kills 50] [--writers 4] [--seed 1] [--shards N]
"""

import argparse
import pathlib
import random
import shutil
import sys
import tempfile
import threading

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402
from expect import DEADLINE  # noqa: E402

DIMENSIONS = 8
KEYS_PER_WRITER = 1_000_000


def vector_of(key, version):
    rng = random.Random(key * 1_000_003 + version)
    return "[" + ",".join(f"{rng.uniform(-1, 1):.4f}" for _ in range(DIMENSIONS)) + "]"


class Writer(threading.Thread):
    """Runs random transactions on its own keys until the server goes away. model: key -> version."""

    def __init__(self, number, seed, uri, model, acknowledged):
        super().__init__(daemon=True)
        self.number, self.rng, self.uri = number, random.Random(seed), uri
        self.model, self.acknowledged = model, acknowledged
        self.pending = None  # the model if the transaction under way commits
        self.failure = None
        self.count = 0

    def transaction(self, connection):
        after = dict(self.model)
        first = self.number * KEYS_PER_WRITER
        with connection.transaction():
            for _ in range(self.rng.randint(1, 5)):
                action = self.rng.random()
                if action < 0.6 or not after:
                    key = first + self.rng.randrange(KEYS_PER_WRITER)
                    if key in after:
                        continue
                    connection.execute("INSERT INTO items VALUES (%s, 0, %s)", (key, vector_of(key, 0)))
                    after[key] = 0
                elif action < 0.85:
                    key = self.rng.choice(sorted(after))
                    after[key] += 1
                    connection.execute("UPDATE items SET version = %s, embedding = %s WHERE id = %s",
                                       (after[key], vector_of(key, after[key]), key))
                else:
                    key = self.rng.choice(sorted(after))
                    del after[key]
                    connection.execute("DELETE FROM items WHERE id = %s", (key,))
            self.pending = after
        return after

    def run(self):
        try:
            with psycopg.connect(self.uri, autocommit=True) as connection:
                while True:
                    self.pending = None
                    try:
                        self.model = self.transaction(connection)
                    except psycopg.errors.SerializationFailure:
                        continue
                    self.pending = None
                    self.count += 1
                    self.acknowledged()
        except psycopg.OperationalError:
            pass  # the kill
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error
            self.acknowledged()


class Acknowledgements:
    """Lets the main thread wait until so many transactions were acknowledged."""

    def __init__(self):
        self.condition, self.count = threading.Condition(), 0

    def add(self):
        with self.condition:
            self.count += 1
            self.condition.notify()

    def wait(self, target, timeout=DEADLINE):
        with self.condition:
            if not self.condition.wait_for(lambda: self.count >= target, timeout):
                raise SystemExit(f"only {self.count} of {target} transactions were acknowledged within {timeout} s")


def check_rows(connection, writers, models):
    """Every writer's rows equal its model, or its model with the transaction under way as a whole."""
    rows = {}
    for key, version, embedding in connection.execute("SELECT id, version, embedding::text FROM items"):
        rows[key] = version
        wanted = [float(x) for x in vector_of(key, version)[1:-1].split(",")]
        if any(abs(a - float(b)) > 1e-6 for a, b in zip(wanted, embedding[1:-1].split(","))):
            raise SystemExit(f"row {key} version {version} has another version's vector: half a transaction")
    for number, model in enumerate(models):
        first = number * KEYS_PER_WRITER
        mine = {k: v for k, v in rows.items() if first <= k < first + KEYS_PER_WRITER}
        pending = writers[number].pending if writers else None
        if mine == model:
            continue
        if pending is not None and mine == pending:
            models[number] = pending
            continue
        lost, extra = sorted(set(model) - set(mine)), sorted(set(mine) - set(model))
        raise SystemExit(f"writer {number}: {len(model)} rows acknowledged, {len(mine)} found; lost {lost[:5]}, "
                         f"not acknowledged {extra[:5]}, a transaction under way: {pending is not None}")
    return rows


def check_vector_index(connection, rows, rng):
    """The index, asked for everything, gives exactly the rows; asked for ten, the true ten."""
    query = vector_of(rng.randrange(10**9), 0)
    plan = "\n".join(r[0] for r in connection.execute(
        f"EXPLAIN SELECT id FROM items ORDER BY embedding <-> '{query}' LIMIT 10"))
    if "items_embedding" not in plan:
        raise SystemExit(f"the plan does not use the vector index:\n{plan}")
    by_index = [r[0] for r in connection.execute(
        "SELECT id FROM items ORDER BY embedding <-> %s::vector LIMIT %s", (query, len(rows) + 100))]
    if sorted(by_index) != sorted(rows):
        missing, ghosts = set(rows) - set(by_index), set(by_index) - set(rows)
        raise SystemExit(f"vector index: {len(by_index)} of {len(rows)} rows; missing {sorted(missing)[:5]}, "
                         f"not in the table {sorted(ghosts)[:5]}")
    first = [r[0] for r in connection.execute(
        "SELECT id FROM items ORDER BY embedding <-> %s::vector LIMIT 10", (query,))]
    if first != by_index[:len(first)]:
        raise SystemExit(f"vector index: ten nearest {first}, in order of all {by_index[:10]}")


def check_secondary_index(connection, rows):
    for version in sorted(set(rows.values()))[:3]:
        found = sorted(r[0] for r in connection.execute("SELECT id FROM items WHERE version = %s", (version,)))
        if found != sorted(k for k, v in rows.items() if v == version):
            raise SystemExit(f"the index on version disagrees with the rows at version {version}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shards", type=int, help="spread the table: transactions are of several groups")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    directory = tempfile.mkdtemp(prefix="gnomon-kill-")
    server = gnomond.Server(arguments.gnomond, directory)
    models = [{} for _ in range(arguments.writers)]
    committed = 0
    try:
        server.start()
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            connection.execute("CREATE TABLE items (id bigint PRIMARY KEY, version integer NOT NULL, "
                               f"embedding vector({DIMENSIONS}) NOT NULL)"
                               + (f" WITH (shards = {arguments.shards})" if arguments.shards else ""))
            connection.execute("CREATE INDEX items_version ON items (version)")
            connection.execute("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)")
        for kill in range(arguments.kills):
            acknowledged = Acknowledgements()
            writers = [Writer(n, rng.random(), server.uri(), models[n], acknowledged.add)
                       for n in range(arguments.writers)]
            for writer in writers:
                writer.start()
            acknowledged.wait(rng.randint(1, 120))
            server.kill()
            for writer in writers:
                writer.join()
                if writer.failure:
                    raise SystemExit(f"writer {writer.number}: {writer.failure!r}")
            models = [writer.model for writer in writers]
            server.start()
            with psycopg.connect(server.uri(), autocommit=True) as connection:
                rows = check_rows(connection, writers, models)
                check_vector_index(connection, rows, rng)
                check_secondary_index(connection, rows)
            committed += sum(writer.count for writer in writers)
        print(f"{arguments.kills} kills, {committed} acknowledged transactions, {sum(map(len, models))} rows at the end: "
              "nothing lost, nothing half there, vector index equal to the rows")
    except BaseException:
        print(f"seed {arguments.seed}; the server's log and data are kept in {directory}", file=sys.stderr)
        server.process and server.stop()
        raise
    server.stop()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
