#!/usr/bin/env python3
"""A rolling upgrade with real programs: those of the release before and those of this tree, in one cluster, under load.

    upgrade.py --gnomond PROGRAM --gnomonctl PROGRAM [--previous DIR | --tag TAG] [--work DIR] [--quick] [NAME...]

--previous is a build directory of the release before. Without it that release is taken out of this repository by its
tag (by default the newest one before this commit) and built under --work. Exit code 77: there is no such tag here.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
import gnomond  # noqa: E402
from expect import DEADLINE, equal, eventually, expect, insist, until  # noqa: E402

OK, FAILED, USAGE, UNREACHABLE, UNHEALTHY = range(5)
ACCOUNTS, BALANCE = 64, 1000


# ---- the release before ----

def find_tag():
    """The newest tag of a release behind this commit; None: a shallow clone, or no repository."""
    for commit in ("HEAD^", "HEAD"):
        found = subprocess.run(["git", "-C", str(ROOT), "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", commit],
                               text=True, capture_output=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return None


def build_previous(tag, work):
    """Its programs, in the build directory that is given back; built once."""
    source, build, stamp = work / tag / "source", work / tag / "build", work / tag / "built"
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--verify", f"{tag}^{{commit}}"], text=True,
                            capture_output=True, check=True).stdout.strip()
    if stamp.exists() and stamp.read_text() == commit:
        return build
    print(f"building {tag} ({commit[:9]}) ...", flush=True)
    shutil.rmtree(work / tag, ignore_errors=True)
    source.mkdir(parents=True)
    with subprocess.Popen(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(source)], stdin=archive.stdout, check=True)
    env = dict(os.environ)
    env.pop("GNOMON_DEPS", None)  # its libraft may have other fixes than this tree's
    for tarball in (ROOT / ".deps").glob("raft_*.orig.tar.gz"):
        env.setdefault("LIBRAFT_SOURCE", str(tarball))
    with open(work / tag / "build.log", "wb") as log:
        for command in ([str(source / "tools" / "fetch-libraft.sh")],
                        ["cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", "-Wno-dev",
                         "-DCMAKE_BUILD_TYPE=RelWithDebInfo"],
                        ["ninja", "-C", str(build), f"-j{os.cpu_count()}", "gnomond", "gnomonctl"]):
            done = subprocess.run(command, stdout=log, stderr=log, env=env, check=False)
            expect(done.returncode == 0, f"{tag} could not be built: see {work / tag / 'build.log'}")
    stamp.write_text(commit)
    return build


class Release:
    def __init__(self, program, ctl):
        self.gnomond, self.gnomonctl = pathlib.Path(program), pathlib.Path(ctl)
        self.version = subprocess.run([str(program), "--version"], text=True, capture_output=True,
                                      check=True).stdout.split()[-1]


# ---- a cluster of programs of both ----

class Cluster:
    def __init__(self, directory, n, release):
        self.nodes, self.directory = gnomond.Cluster(release.gnomond, directory), directory
        for _ in range(n):
            self.nodes.add()
        self.ctl_of = release

    def start_another(self, release):
        self.nodes.program = release.gnomond
        self.nodes.add()

    def ctl(self, release, *arguments, code=OK, node=1):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_")}
        done = subprocess.run([str(release.gnomonctl), *arguments, "--address", self.nodes.nodes[node - 1].address,
                               "--timeout", str(DEADLINE)], text=True, capture_output=True, check=False, env=clean,
                              timeout=2 * DEADLINE, stdin=subprocess.DEVNULL)
        if code is not None:
            equal(done.returncode, code, f"gnomonctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def await_well(self, release):
        until(lambda: self.ctl(release, "status", code=None, node=self.any()).returncode == OK, "the cluster is well")

    def any(self):
        return next(i for i, node in enumerate(self.nodes.nodes, 1) if node.process)

    def change(self, number, release):
        """One node, from one release to the other, as an operator does it."""
        node = self.nodes.nodes[number - 1]
        equal(node.stop(), 0, f"node {number}: exit status")
        node.program = str(release.gnomond)
        node.start()

    def sql(self, text, node=1):
        with psycopg.connect(self.nodes.nodes[node - 1].uri(), autocommit=True) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else None

    def stop(self):
        self.nodes.stop()


def make_tables(c):
    c.sql("CREATE TABLE account (id bigint PRIMARY KEY, amount bigint NOT NULL) WITH (shards = 4)")
    c.sql(f"INSERT INTO account SELECT g, {BALANCE} FROM generate_series(1, {ACCOUNTS}) g")
    c.sql("CREATE TABLE entry (id bigint PRIMARY KEY, worker int, note text, v vector(4)) WITH (shards = 4)")
    c.sql("CREATE INDEX entry_worker ON entry (worker)")
    c.sql("CREATE INDEX entry_v ON entry USING hnsw (v vector_l2_ops)")
    c.sql("CREATE TABLE small (id bigint PRIMARY KEY, note text)")
    c.sql("INSERT INTO small SELECT g, 'note ' || g FROM generate_series(1, 50) g")


class Load:
    """Workers that write through all nodes and remember what was acknowledged, and what may have been done."""

    def __init__(self, cluster, workers=4, after=None):
        self.cluster, self.ends = cluster, threading.Event()
        self.acknowledged, self.unknown = (after.acknowledged, after.unknown) if after else (set(), set())
        self.failed = 0
        self.transfers, self.wrong = 0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(i + (100 if after else 0),)) for i in range(workers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for thread in self.threads:
            thread.join()

    def work(self, worker):
        rng, number = random.Random(worker), 0
        connection = None
        while not self.ends.is_set():
            try:
                if connection is None or connection.closed:
                    node = rng.choice(self.cluster.nodes.running())
                    connection = psycopg.connect(node.uri(), autocommit=True, connect_timeout=5)
                for _ in range(rng.randrange(1, 40)):
                    number += 1
                    self.insert(connection, worker, worker * 10_000_000 + number, rng)
                    self.transfer(connection, rng)
                connection.close()
            except (psycopg.Error, OSError, StopIteration, IndexError) as error:
                self.failed += 1
                if isinstance(error, psycopg.Error) and error.sqlstate in ("XX000", "XX001", "0A000", "08P01"):
                    self.wrong.append(f"{error.sqlstate}: {error}")
                with contextlib.suppress(psycopg.Error):
                    if connection:
                        connection.close()
                connection = None
                threading.Event().wait(0.05)

    def insert(self, connection, worker, number, rng):
        with self.lock:
            self.unknown.add(number)
        vector = "[" + ",".join(str(rng.randrange(100)) for _ in range(4)) + "]"
        connection.execute("INSERT INTO entry VALUES (%s, %s, %s, %s)", (number, worker, f"entry {number}", vector))
        with self.lock:
            self.unknown.discard(number)
            self.acknowledged.add(number)

    def transfer(self, connection, rng):
        source, target = rng.sample(range(1, ACCOUNTS + 1), 2)
        with connection.transaction():
            connection.execute("UPDATE account SET amount = amount - 1 WHERE id = %s", (source,))
            connection.execute("UPDATE account SET amount = amount + 1 WHERE id = %s", (target,))
        self.transfers += 1


QUESTIONS = ["SELECT count(*), sum(amount) FROM account", "SELECT id, amount FROM account ORDER BY id",
             "SELECT count(*), sum(id), min(note), max(note) FROM entry",
             "SELECT worker, count(*) FROM entry GROUP BY worker ORDER BY worker",
             "SELECT count(*) FROM entry WHERE worker = 2", "SELECT id, note FROM small ORDER BY id",
             "SELECT id FROM entry ORDER BY v <-> '[1,2,3,4]', id LIMIT 10",
             "SELECT id, address, zone, state FROM gnomon_nodes ORDER BY id"]


def answers(c, node):
    return [c.sql(question, node) for question in QUESTIONS]


def check(c, load, what):
    """Nothing acknowledged is lost, nothing else is there, and every node says the same."""
    first = answers(c, c.any())
    equal(first[0], [(ACCOUNTS, ACCOUNTS * BALANCE)], f"{what}: money")
    for number, node in enumerate(c.nodes.nodes, 1):
        if node.process:
            equal(answers(c, number), first, f"{what}: the answers of node {number}")
    found = {row[0] for row in c.sql("SELECT id FROM entry", c.any())}
    lost = load.acknowledged - found
    expect(not lost, f"{what}: {len(lost)} acknowledged rows are lost, for instance {sorted(lost)[:3]}")
    strange = found - load.acknowledged - load.unknown
    expect(not strange, f"{what}: rows that nobody wrote: {sorted(strange)[:3]}")
    expect(not load.wrong, f"{what}: {load.wrong[:3]}")
    expect(load.acknowledged and load.transfers, f"{what}: the load did nothing")


def roll(c, load, numbers, release, tools):
    """One node after the other; both releases' tools say that it is well before the next."""
    for number in numbers:
        before = len(load.acknowledged)
        c.change(number, release)
        for tool in tools:
            c.await_well(tool)
        until(lambda: len(load.acknowledged) > before + 20 or load.wrong, "the load goes on")


# What the release before cannot read, and a question that it answers once it is there.
NEWER = [("CREATE TABLE half (id bigint PRIMARY KEY, h halfvec(4)) WITH (shards = 4)", "SELECT count(*) FROM half"),
         ("CREATE TABLE bits (id bigint PRIMARY KEY, b bit(8), s sparsevec(9))", "SELECT count(*) FROM bits"),
         ("CREATE INDEX entry_lower ON entry (lower(note))", "SELECT id FROM entry WHERE lower(note) = 'entry 3' ORDER BY id"),
         ("CREATE INDEX entry_first ON entry (note) WHERE worker = 1",
          "SELECT count(*), min(id) FROM entry WHERE worker = 1 AND note < 'entry 2'"),
         ("CREATE INDEX entry_half ON entry USING hnsw ((v::halfvec(4)) halfvec_l2_ops)",
          "SELECT id FROM entry ORDER BY v::halfvec(4) <-> '[1,2,3,4]', id LIMIT 5"),
         ("CREATE INDEX entry_l1 ON entry USING hnsw (v vector_l1_ops)",
          "SELECT id FROM entry ORDER BY v <+> '[1,2,3,4]', id LIMIT 5")]


def newer_is_refused(c, node):
    """By a node that can, as long as others cannot."""
    for statement, _ in NEWER:
        try:
            c.sql(statement, node)
            raise AssertionError(f"{statement}: it was done in a cluster with nodes that cannot read it")
        except psycopg.errors.FeatureNotSupported as error:
            expect("cannot be used before the cluster is at version 2" in str(error), error)
            expect("gnomonctl upgrade --finish" in (error.diag.message_hint or ""), error.diag.message_hint)


def newer_is_done(c):
    """Statements of the load may come between: who changes a table meanwhile is told to try again."""
    for statement, _ in NEWER:
        while True:
            try:
                c.sql(statement, 2)
                break
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                pass


def newer_is_the_same_everywhere(c):
    for statement, question in NEWER:
        first = c.sql(question, 1)
        for node in range(2, len(c.nodes.nodes) + 1):
            equal(c.sql(question, node), first, f"after {statement}, node {node}: {question}")


# ---- tests ----

def test_upgrade_under_load(old, new, directory):
    c = Cluster(directory, 3, old)
    try:
        make_tables(c)
        with Load(c) as load:
            roll(c, load, [1, 2], new, [old, new])
            until(lambda: "node 3 still runs a program that cannot" in finish_early(c, new), "node 3 holds the upgrade up")
            eventually(lambda: expect("runs version" in c.ctl(new, "status").stdout, "a note on two releases"))
            group = next(g["group"] for g in json.loads(c.ctl(new, "shards", "--json").stdout) if g["distribution"])
            refused = c.ctl(new, "split", str(group), code=FAILED).stderr  # by an entry that the older one cannot read
            expect("older version" in refused or "not know" in refused or "no such" in refused, refused)
            newer_is_refused(c, 1)
            roll(c, load, [3], new, [old, new])
        check(c, load, "after the upgrade")
        eventually(lambda: expect("an upgrade is not finished" in c.ctl(new, "status").stdout, "a note on the upgrade"))
        expect(load.failed < len(load.acknowledged), "more failures than commits")
        print(f"    {len(load.acknowledged)} rows and {load.transfers} transfers acknowledged, {load.failed} failed, "
              f"{len(load.unknown)} unknown", flush=True)
        with Load(c, after=load) as load_again:
            done = c.ctl(new, "upgrade", "--finish", "--yes", node=2).stdout
            expect("so is every node" in done, done)
            insist(lambda: c.ctl(new, "split", str(group), code=None, node=2), "a split under load")
            newer_is_done(c)
            c.await_well(new)
        check(c, load_again, "after the end of the upgrade")
        newer_is_the_same_everywhere(c)
        programs = until(lambda: [row[0] for row in c.sql("SELECT version FROM gnomon_nodes ORDER BY id", 3)
                                  if row[0] == new.version], "the nodes say what they run")
        expect(programs, programs)
        until(lambda: c.sql("SELECT count(*) FROM gnomon_nodes WHERE version = '" + new.version + "'", 2) == [(3,)],
              "all nodes say what they run")
        c.ctl(new, "upgrade", "--finish", "--yes", node=3)  # again: nothing to do
        old_program_is_refused(c, old)
    finally:
        c.stop()


def finish_early(c, release):
    return c.ctl(release, "upgrade", "--finish", "--yes", code=FAILED).stderr


def old_program_is_refused(c, old):
    """At start, on a disk that was upgraded; and as a new node."""
    node = c.nodes.nodes[2]
    node.stop()
    new_program, node.program = node.program, str(old.gnomond)
    try:
        node.start()
        raise AssertionError("the older program started on data of a finished upgrade")
    except gnomond.StartError as error:
        expect("a format that this version does not know" in str(error), str(error))
    node.program = new_program
    node.start()
    try:
        c.start_another(old)
        raise AssertionError("the older program joined after the end of the upgrade")
    except gnomond.StartError as error:
        expect("the cluster is at version 2, and the gnomond of the new node can do versions 1 to 1 only" in str(error),
               str(error))
    c.nodes.nodes.pop()


def test_way_back(old, new, directory):
    """Before the upgrade is finished each node can go back."""
    c = Cluster(directory, 3, old)
    try:
        make_tables(c)
        with Load(c) as load:
            roll(c, load, [3, 1, 2], new, [new])
            roll(c, load, [1, 3, 2], old, [old])
        check(c, load, "after the way back")
        equal(c.sql("SELECT count(*) FROM gnomon_cluster WHERE name = 'version'"), [(0,)], "nothing new was written")
    finally:
        c.stop()


def test_nodes_join_a_mixed_cluster(old, new, directory):
    c = Cluster(directory, 1, old)
    try:
        make_tables(c)
        c.start_another(new)  # asks a node of the release before
        c.await_well(old)
        c.change(1, new)
        c.start_another(old)  # asks nodes of this one
        c.await_well(new)
        with Load(c) as load:
            until(lambda: len(load.acknowledged) > 200, "the load gets on")
        check(c, load, "with nodes of both that joined")
        c.nodes.nodes[2].stop()
        until(lambda: "node 3 does not answer" in finish_early(c, new), "a silent node holds the upgrade up")
    finally:
        c.stop()


def test_node_by_itself(old, new, directory):
    """It has nobody to wait for: the upgrade is over when it has started."""
    node = gnomond.Server(old.gnomond, directory)
    node.start()
    with psycopg.connect(node.uri(), autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, v vector(2))")
        connection.execute("CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops)")
        connection.execute("INSERT INTO t SELECT g, '[1,2]' FROM generate_series(1, 500) g")
    node.stop()
    node.program = str(new.gnomond)
    node.start()
    with psycopg.connect(node.uri(), autocommit=True) as connection:
        equal(connection.execute("SELECT count(*), sum(id) FROM t").fetchall(), [(500, 125250)], "rows")
        equal(connection.execute("SELECT value FROM gnomon_cluster WHERE name = 'version'").fetchall(), [("2",)],
              "version")
    node.stop()
    node.program = str(old.gnomond)
    try:
        node.start()
        raise AssertionError("the older program started on data of a finished upgrade")
    except gnomond.StartError as error:
        expect("a format that this version does not know" in str(error), str(error))


TESTS = {name[5:]: test for name, test in globals().items() if name.startswith("test_")}
QUICK = ["nodes_join_a_mixed_cluster", "node_by_itself"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True, type=pathlib.Path)
    parser.add_argument("--gnomonctl", required=True, type=pathlib.Path)
    parser.add_argument("--previous", type=pathlib.Path)
    parser.add_argument("--tag")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "upgrade")
    parser.add_argument("--only-if-built", action="store_true", help="exit code 77 unless the release before was built")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    previous = options.previous
    if not previous:
        tag = options.tag or find_tag()
        if not tag:
            print("skipped: this clone has no tag of a release before this one (a shallow clone? git fetch --tags)")
            return 77
        if options.only_if_built and not (options.work / tag / "built").exists():
            print(f"skipped: {tag} is not built; `make test-upgrade` does it")
            return 77
        previous = build_previous(tag, options.work)
    old = Release(previous / "node" / "gnomond", previous / "ops" / "gnomonctl")
    new = Release(options.gnomond, options.gnomonctl)
    print(f"from {old.version} to {new.version}", flush=True)
    failed = []
    for name in options.names or (QUICK if options.quick else list(TESTS)):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="gnomon-upgrade-"))
        started = time.monotonic()
        try:
            TESTS[name](old, new, directory)
            print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception as error:  # the others still run
            failed.append(name)
            print(f"FAILED {name}: {error!r}\n  what the nodes left: {directory}", flush=True)
            continue
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
