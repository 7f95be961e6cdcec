#!/usr/bin/env python3
"""The cluster's demo: three nodes that are one database, and stay one when a node dies and when another joins.

Starts three nodes and, beside them, a database of one node with the same 20,000 package descriptions, which says what is
right. Asks each node the same questions; kills the node that leads most groups with SIGKILL under a load of inserts,
updates and selects; starts it again; lets a fourth node join. All the time every answer must be the one-node database's,
and in the end exactly the rows that were acknowledged must be there. The exit status says whether all held.
"""

import argparse
import collections
import contextlib
import pathlib
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench/data"), str(ROOT / "tests/support")]
import gnomond  # noqa: E402
import package_data  # noqa: E402

SHARDS = 8
CONNECTIONS = 6
QUESTIONS = [0, 8, 14, 55]
COMPARED = 100
NEAREST = "SELECT name, summary, embedding <=> %s::vector AS distance FROM packages ORDER BY embedding <=> %s::vector LIMIT %s"
PLAIN = ["SELECT count(*), min(name), max(name) FROM packages",
         "SELECT section, count(*) FROM packages GROUP BY section ORDER BY count(*) DESC, section LIMIT 10",
         "SELECT id, name FROM packages WHERE section = 'games' ORDER BY name, id LIMIT 20",
         "SELECT name, summary FROM packages WHERE id = 12345",
         "SELECT avg(id), sum(id) FROM packages WHERE name LIKE 'lib%'"]


class Checks:
    """What must hold; the demo goes on when something does not, and says so in the end."""

    def __init__(self):
        self.failed = []

    def that(self, holds, what):
        print(f"  {'ok  ' if holds else 'FAIL'}  {what}")
        if not holds:
            self.failed.append(what)

    @contextlib.contextmanager
    def of(self, what):
        """A statement that fails within makes this a check that failed."""
        try:
            yield
        except psycopg.Error as error:
            self.that(False, f"{what}: {error.sqlstate} {str(error).splitlines()[0]}")


def bar(what, done, total, unit, extra=""):
    if not sys.stdout.isatty() and done < total:
        return
    filled = 32 * done // max(total, 1)
    print(f"\r  {what} [{'#' * filled}{'.' * (32 - filled)}] {done:>5}/{total} {unit} {extra:<28}",
          end="\n" if done >= total else "", flush=True)


def connect(server):
    return psycopg.connect(server.uri(), autocommit=True)


# ---- the data ----

def copy_field(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def load(connection, data, options):
    """Returns the seconds for rows and index. A name is unique here too, but a unique constraint of a table with shards
    must contain its key."""
    connection.execute(f"""CREATE TABLE packages (
        id integer PRIMARY KEY, name text NOT NULL, section text NOT NULL, summary text NOT NULL, description text NOT NULL,
        embedding vector({data.dimensions}) NOT NULL) {options}""")
    started = time.perf_counter()
    with connection.cursor().copy("COPY packages FROM STDIN") as copy:
        for i, fields in enumerate(data.rows):
            copy.write("\t".join([str(i), *map(copy_field, fields), package_data.vector_text(data.row_vector(i))]) + "\n")
    loaded = time.perf_counter()
    connection.execute("CREATE INDEX packages_embedding ON packages USING hnsw (embedding vector_cosine_ops)")
    return loaded - started, time.perf_counter() - loaded


class Truth:
    """What the one-node database answers."""

    def __init__(self, server, data):
        self.data = data
        self.vectors = [package_data.vector_text(data.query_vector(number)) for number in range(COMPARED)]
        with connect(server) as connection:
            self.plain = [connection.execute(sql).fetchall() for sql in PLAIN]
            self.indexed = [nearest(connection, vector) for vector in self.vectors]
            connection.execute("SET vector.exact = on")
            self.exact = [nearest(connection, vector) for vector in self.vectors]

    def recall(self, answers):
        found = sum(len({row[0] for row in a} & {row[0] for row in b}) for a, b in zip(answers, self.exact))
        return found / sum(map(len, self.exact))


def nearest(connection, vector, k=10):
    return connection.execute(NEAREST, (vector, vector, k)).fetchall()


def compare(cluster, truth, checks):
    """Every node that runs is asked everything."""
    for number, node in enumerate(cluster.nodes, 1):
        with checks.of(f"node {number} answers every question"), connect(node) as connection:
            plain = sum(connection.execute(sql).fetchall() == right for sql, right in zip(PLAIN, truth.plain))
            latencies, indexed = [], []
            for vector in truth.vectors:
                started = time.perf_counter()
                indexed.append(nearest(connection, vector))
                latencies.append((time.perf_counter() - started) * 1000)
            connection.execute("SET vector.exact = on")
            exact = sum(nearest(connection, vector) == right for vector, right in zip(truth.vectors, truth.exact))
            recall = truth.recall(indexed)
            checks.that(plain == len(PLAIN) and exact == COMPARED and recall >= truth.recall(truth.indexed) - 0.02,
                        f"node {number}: {plain} of {len(PLAIN)} SQL answers, {exact} of {COMPARED} exact searches as the one "
                        f"node's; by the index recall@10 {recall:.4f}, median {statistics.median(latencies):.1f} ms")
    print(f"        (the one node's index: recall@10 {truth.recall(truth.indexed):.4f})")


# ---- the load ----

class Worker(threading.Thread):
    """Inserts, updates and reads rows of its own, and knows of each what it may be: the versions that can be there now,
    0 for no row. More than one is possible only after a failure that left the outcome open."""

    def __init__(self, load, number, server):
        super().__init__(daemon=True)
        self.load, self.number, self.server = load, number, server
        self.random = random.Random(number)
        self.possible, self.usable, self.wrong, self.next_id = {}, [], [], number * 10_000_000
        self.statements = []  # (when it ended, how long it took, kind, SQLSTATE or None)
        self.messages = {}  # SQLSTATE: what the first failure said

    def run(self):
        connection = None
        while not self.load.stopping:
            try:
                connection = connection or connect(self.server)
            except psycopg.Error:
                time.sleep(0.05)
                continue
            kind = self.random.choice(("insert", "update", "select")) if self.usable else "insert"
            if not getattr(self, kind)(connection):
                connection = None

    def execute(self, connection, kind, sql, values):
        """(the cursor, None), or (None, SQLSTATE)."""
        started = time.perf_counter()
        try:
            cursor, state = connection.execute(sql, values), None
        except psycopg.Error as error:
            cursor, state = None, error.sqlstate or "none (connection lost)"
            self.messages.setdefault(state, str(error).splitlines()[0])
        now = time.perf_counter()
        self.statements.append((now, now - started, kind, state))
        return cursor, state

    def wrote(self, connection, row, version, cursor, state):
        """Whether the connection can be used further."""
        if cursor:
            self.possible[row] = {version if cursor.rowcount == 1 else 0}
        elif state == "40003" or connection.closed:
            self.possible[row] = self.possible[row] | {version}
            if row in self.usable:
                self.usable.remove(row)
        return not connection.closed

    def insert(self, connection):
        row = self.next_id = self.next_id + 1
        self.possible[row] = {0}
        good = self.wrote(connection, row, 1, *self.execute(
            connection, "insert", "INSERT INTO visits VALUES (%s, %s, 1, 'a visit')", (row, self.number)))
        if self.possible[row] == {1}:
            self.usable.append(row)
        return good

    def update(self, connection):
        row = self.random.choice(self.usable)
        version = max(self.possible[row]) + 1
        return self.wrote(connection, row, version, *self.execute(
            connection, "update", "UPDATE visits SET version = %s WHERE id = %s", (version, row)))

    def select(self, connection):
        row = self.random.choice(self.usable)
        cursor, _ = self.execute(connection, "select", "SELECT version FROM visits WHERE id = %s", (row,))
        if cursor:
            found = cursor.fetchone()
            if (found[0] if found else 0) not in self.possible[row]:
                self.wrong.append((row, found, self.possible[row]))
        return not connection.closed


class Load:
    def __init__(self, servers):
        self.stopping, self.started = False, time.perf_counter()
        self.workers = [Worker(self, n + 1, servers[n % len(servers)]) for n in range(CONNECTIONS)]
        self.marks = []  # (when, what)
        for worker in self.workers:
            worker.start()

    def mark(self, what):
        self.marks.append((time.perf_counter(), what))

    def stop(self):
        self.stopping = True
        for worker in self.workers:
            worker.join(60)
        self.ended = time.perf_counter()
        self.statements = sorted(s for worker in self.workers for s in worker.statements)

    def pauses(self, begin, end):
        """(the longest statement that ended, the longest time in which nobody was answered) between two moments."""
        within = [s for s in self.statements if begin <= s[0] <= end]
        answers = [begin, *(s[0] for s in within), end]
        return (max((s[1] for s in within), default=0.0),
                max(later - earlier for earlier, later in zip(answers, answers[1:])))

    def picture(self):
        """Answers in each quarter of a second."""
        width, levels = 0.25, " .:-=+*#"
        counts = [0] * (int((self.ended - self.started) / width) + 1)
        for when, *_ in self.statements:
            counts[min(int((when - self.started) / width), len(counts) - 1)] += 1
        most = max(counts)
        line = "".join(levels[-(-count * (len(levels) - 1) // most)] for count in counts)
        marks = [" "] * len(counts)
        for number, (when, _) in enumerate(self.marks, 1):
            marks[min(int((when - self.started) / width), len(marks) - 1)] = str(number)
        for at in range(0, len(line), 100):
            print(f"    |{line[at:at + 100]}|\n     {''.join(marks[at:at + 100]).rstrip()}")
        print(f"     answers in each quarter of a second; # is {most};",
              ", ".join(f"{number}: {what}" for number, (_, what) in enumerate(self.marks, 1)))

    def report(self):
        kinds = collections.Counter(s[2] for s in self.statements)
        failed = collections.Counter(s[3] for s in self.statements if s[3])
        print(f"  {len(self.statements):,} statements in {self.ended - self.started:.1f} s on {CONNECTIONS} connections: "
              + ", ".join(f"{count:,} {kind}s" for kind, count in sorted(kinds.items())))
        self.picture()
        edges = [*self.marks, (self.ended, "")]
        for (begin, what), (end, _) in zip([(self.started, "before"), *self.marks], edges):
            longest, silence = self.pauses(begin, end)
            answered = sum(begin <= s[0] < end for s in self.statements)
            print(f"    {what:<26} {answered / max(end - begin, 1e-9):7,.0f} answers/s, longest statement "
                  f"{longest:5.2f} s, longest time without any answer {silence:5.2f} s")
        print(f"  failed statements: {sum(failed.values())}"
              + "".join(f", {count} x SQLSTATE {state}" for state, count in sorted(failed.items())))
        messages = {state: text for worker in self.workers for state, text in worker.messages.items()}
        for state, text in sorted(messages.items()):
            print(f"    {state}: {text}")

    def check(self, cluster, checks):
        """Each row is what it may be, on every node; none is there that nobody wrote."""
        possible = {row: versions for worker in self.workers for row, versions in worker.possible.items()}
        acknowledged = sum(0 not in versions for versions in possible.values())
        refused = sum(versions == {0} for versions in possible.values())
        opened = sum(len(versions) > 1 for versions in possible.values())
        for number, node in enumerate(cluster.nodes, 1):
            found = None
            with checks.of(f"node {number} gives all rows"), connect(node) as connection:
                found = dict(connection.execute("SELECT id, version FROM visits").fetchall())
            if found is None:
                continue
            lost = sum(0 not in versions and row not in found for row, versions in possible.items())
            ghosts = sum(versions == {0} and row in found for row, versions in possible.items())
            strange = sum(row not in possible for row in found)
            other = sum(row in possible and version not in possible[row] and possible[row] != {0}
                        for row, version in found.items())
            checks.that(not lost and not ghosts and not strange and not other,
                        f"node {number}: {len(found):,} rows; of {acknowledged:,} acknowledged {lost} missing, of {refused} "
                        f"refused {ghosts} there, {other} with another value, {strange} that nobody wrote; outcome open: {opened}")
        wrong = sum(len(worker.wrong) for worker in self.workers)
        reads = sum(s[2] == "select" and not s[3] for s in self.statements)
        checks.that(not wrong, f"{reads:,} reads under load, {wrong} of them not what was last acknowledged")


# ---- what happens to the cluster ----

def wait_until(condition, seconds):
    """The seconds that it took, or None."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        if condition():
            return time.perf_counter() - started
        time.sleep(0.1)
    return None


def groups(connection):
    """{group: its members}, of the groups with shards."""
    rows = connection.execute("SELECT id, members FROM gnomon_groups WHERE distribution <> 0").fetchall()
    return {group: [int(member) for member in members.split(",")] for group, members in rows}


def kill_a_leader(cluster, victim, load, checks):
    number = cluster.nodes.index(victim) + 1
    led = cluster.leaders()
    print(f"\n== Node {number} leads {led[number]} of {sum(led.values())} groups: SIGKILL under load")
    victim.kill()
    load.mark("SIGKILL")
    took = wait_until(lambda: sum(cluster.leaders().values()) >= sum(led.values()), 20)
    checks.that(took is not None, f"all groups have a leader again after {took or 0:.2f} s")
    time.sleep(3)
    print(f"== Node {number} comes back")
    load.mark("comes back")
    seconds = victim.start()
    print(f"  ready after {seconds * 1000:.0f} ms")
    # A group is handed to nobody who has not all of its log.
    took = wait_until(lambda: cluster.leaders()[number] > 0, 30)
    checks.that(took is not None, f"it has caught up and leads groups again after {took or 0:.1f} s")
    time.sleep(2)


def join(cluster, load, checks):
    number = len(cluster.nodes) + 1
    print(f"\n== Node {number} joins, under load")
    load.mark(f"node {number} joins")
    print(f"  ready after {cluster.add() * 1000:.0f} ms")
    node, started = cluster.nodes[-1], time.perf_counter()
    with connect(cluster.nodes[0]) as connection:
        share = sum(map(len, groups(connection).values())) // number
        done = 0
        while done < share and time.perf_counter() - started < 60:
            placed = sum(number in members for members in groups(connection).values())
            metrics = node.metrics()
            # The meta group's replica is on every node; what is placed here is opened next.
            now = min(placed, int(metrics.get("gnomon_raft_groups", 1)) - 1)
            if now > done:
                done = now
                fetched = metrics.get("gnomon_shard_snapshot_bytes_total", 0)
                bar("taking its share", min(done, share), share, "replicas", f"{fetched / 1e6:.1f} MB in snapshots")
            time.sleep(0.05)
        counts = collections.Counter(member for members in groups(connection).values() for member in members)
    load.mark("has its share")
    checks.that(done >= share and max(counts.values()) - min(counts.values()) <= 1,
                f"after {time.perf_counter() - started:.1f} s the nodes have "
                + ", ".join(str(counts[n]) for n in range(1, number + 1)) + " replicas")
    took = wait_until(lambda: cluster.leaders()[number] > 0, 20)
    checks.that(took is not None, "and lead " + ", ".join(str(led) for led in cluster.leaders().values())
                + f" groups, {took or 0:.1f} s later")
    time.sleep(2)


def ask(cluster, data):
    for turn, number in enumerate(QUESTIONS):
        node = turn % len(cluster.nodes)
        with connect(cluster.nodes[node]) as connection:
            print(f"\n  {data.queries[number]}   (node {node + 1})")
            for name, summary, distance in nearest(connection, package_data.vector_text(data.query_vector(number)), 3):
                print(f"    {distance:.3f}  {name:<28.28} {summary[:70]}")


def show(cluster, directory, one, checks):
    data = package_data.PackageData()
    print(f"== Three nodes in {directory}, and one by itself to compare with")
    for number in (1, 2, 3):
        print(f"  node {number}: ready after {cluster.add() * 1000:.0f} ms on port {cluster.nodes[-1].port}")
    one.start()
    print(f"== Loading {len(data.rows)} packages with embeddings, {SHARDS} shards with three replicas each")
    for what, server, options in (("one node", one, ""), ("cluster", cluster.nodes[0], f"WITH (shards = {SHARDS})")):
        with connect(server) as connection:
            copied, indexed = load(connection, data, options)
            print(f"  {what:<9} COPY {copied:.1f} s, CREATE INDEX ... USING hnsw {indexed:.1f} s")
    with connect(cluster.nodes[0]) as connection:
        connection.execute("CREATE TABLE visits (id bigint PRIMARY KEY, worker integer NOT NULL, version integer NOT NULL, "
                           f"note text NOT NULL) WITH (shards = {SHARDS})")
    print("== Some questions, three nearest packages of each (cosine distance)")
    ask(cluster, data)
    print("\n== Each node answers as the one-node database does")
    truth = Truth(one, data)
    compare(cluster, truth, checks)

    led = cluster.leaders()
    victim = cluster.nodes[max(led, key=led.get) - 1]
    load_ = Load([node for node in cluster.nodes if node is not victim])
    time.sleep(3)
    kill_a_leader(cluster, victim, load_, checks)
    join(cluster, load_, checks)
    load_.stop()
    print("\n== What the load on the other nodes saw")
    load_.report()
    print("\n== Nothing acknowledged is missing, nothing refused is there")
    load_.check(cluster, checks)
    print("\n== All four nodes still answer as the one-node database does")
    compare(cluster, truth, checks)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True, help="path of the program")
    parser.add_argument("--keep", action="store_true", help="leave the data and the nodes' logs")
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="gnomon-demo-"))
    cluster = gnomond.Cluster(arguments.gnomond, directory)
    (directory / "one").mkdir()
    one = gnomond.Server(arguments.gnomond, directory / "one")
    checks, started = Checks(), time.perf_counter()
    try:
        show(cluster, directory, one, checks)
    finally:
        cluster.stop()
        one.stop()
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"\n== {'All held' if not checks.failed else f'{len(checks.failed)} did not hold'}, "
          f"after {time.perf_counter() - started:.0f} s")
    for what in checks.failed:
        print(f"  FAIL  {what}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
