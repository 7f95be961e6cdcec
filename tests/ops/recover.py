#!/usr/bin/env python3
"""gnomonctl recover with real nodes: a majority is lost for ever, and those that are left go on.

    recover.py --gnomond PROGRAM --gnomonctl PROGRAM [NAME...]
"""

import argparse
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402
from expect import DEADLINE, equal, expect, until  # noqa: E402

OK, FAILED, USAGE, UNREACHABLE, UNHEALTHY = range(5)


class Cluster:
    def __init__(self, options, n):
        self.ctl_program = options.gnomonctl
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="gnomon-recover-"))
        self.nodes = gnomond.Cluster(options.gnomond, self.directory)
        for _ in range(n):
            self.nodes.add()
        until(self.is_well, "the cluster is well")

    def node(self, number):
        return self.nodes.nodes[number - 1]

    def run(self, *arguments, node=1, typed=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_")}
        return subprocess.run([str(self.ctl_program), *arguments, "--address", self.node(node).address, "--timeout",
                               str(DEADLINE)], text=True, capture_output=True, check=False, env=clean, timeout=4 * DEADLINE,
                              **({"input": typed} if typed else {"stdin": subprocess.DEVNULL}))

    def ctl(self, *arguments, code=OK, node=1):
        done = self.run(*arguments, node=node)
        if code is not None:
            equal(done.returncode, code, f"gnomonctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def ask(self, *arguments, code=OK, node=1):
        return json.loads(self.ctl(*arguments, "--json", code=code, node=node).stdout)

    def is_well(self, node=1):
        return self.run("status", node=node).returncode == OK

    def sql(self, text, node=1, args=None):
        with psycopg.connect(self.node(node).uri(), autocommit=True) as connection:
            cursor = connection.execute(text, args)
            return cursor.fetchall() if cursor.description else None

    def is_whole(self, replicas):
        """Each group has so many replicas, all vote and have everything: from now on any minority of the nodes may go."""
        return all(len(g["replicas"]) == replicas and all(r["answers"] and r["votes"] and r["applied_index"] == g["last_index"]
                                                          for r in g["replicas"]) for g in self.ask("shards"))

    def are_applied(self, *nodes):
        groups = self.ask("shards")
        return all(r["applied_index"] == g["last_index"] for g in groups for r in g["replicas"] if r["node"] in nodes)

    def applied(self):
        """{group: SCN that was applied}."""
        return {g["group"]: g["applied_scn"] for g in self.ask("recover")["groups"]}

    def survey(self, node=1):
        """{} if nobody could say."""
        return self.ask("recover", code=None, node=node)

    def await_forced(self, node=1):
        until(lambda: {g["fate"] for g in self.survey(node).get("groups", ())} == {"forced"}, "no leader thinks it leads")

    def await_connections(self, *nodes):
        """A node that starts itself again speaks to the others before it listens to clients."""
        for node in nodes:
            until(lambda: self.listens(node), f"node {node} listens again")

    def listens(self, node):
        try:
            psycopg.connect(self.node(node).uri()).close()
            return True
        except psycopg.OperationalError:
            return False

    def differences(self):
        """What gnomonctl check finds when all that there is can be compared: a vector index may still be filled."""
        def compared():
            document = self.ask("check", code=None)
            return document if document.get("not_compared") == [] else None
        document = until(compared, "all can be compared")
        return None if document["same"] else document

    def kill(self, *numbers):
        for number in numbers:
            self.node(number).kill()

    def end(self):
        self.nodes.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def fill(c, rows=2000, replicas=3):
    c.sql(f"CREATE TABLE t (id bigint PRIMARY KEY, v text, e vector(3)) WITH (shards = 4, replicas = {replicas})")
    c.sql("CREATE INDEX t_v ON t (v)")
    c.sql("CREATE INDEX t_e ON t USING hnsw (e vector_l2_ops)")
    c.sql(f"INSERT INTO t SELECT g, 'value ' || g, '[1,2,3]' FROM generate_series(1, {rows}) g")
    c.sql("CREATE TABLE small (id bigint PRIMARY KEY, v text)")
    c.sql("INSERT INTO small VALUES (1, 'one'), (2, 'two')")
    until(lambda: c.is_whole(replicas), "every replica has everything")


def test_two_of_three_are_lost(c):
    fill(c)
    until(lambda: {g["fate"] for g in c.survey().get("groups", ())} == {"well"}, "all is well")
    until(lambda: "nothing to recover" in c.ctl("recover", code=None).stdout, "in words")
    until(lambda: c.survey().get("silent") == "", "all answer")
    refused = c.ctl("recover", "--lost", "3", "--yes-i-lose-data", code=USAGE).stderr
    expect("node 3 answers: it is not lost" in refused, refused)
    c.kill(2, 3)
    c.node(3).start()
    until(lambda: c.run("recover").returncode == OK, "a majority is there")
    until(lambda: c.survey().get("silent") == "2", "node 3 answers")
    c.ctl("recover", "--lost", "2", "--yes-i-lose-data", code=FAILED)  # a majority is left
    c.kill(3)
    c.await_forced()
    text = c.ctl("recover", code=UNHEALTHY).stdout
    expect("GOES ON ALONE" in text and "BRING NODES BACK" in text and "recover --lost 2,3" in text, text)
    refused = c.ctl("recover", "--lost", "2", "--yes-i-lose-data", code=USAGE).stderr
    expect("node 3 does not answer, and --lost does not name it" in refused, refused)
    c.ctl("recover", "--lost", "2,9", "--yes-i-lose-data", code=USAGE)
    refused = c.ctl("recover", "--lost", "2,3", code=USAGE).stderr  # nobody types
    expect("--yes-i-lose-data" in refused, refused)
    process = c.node(1).process.pid
    done = c.ctl("recover", "--lost", "2,3", "--yes-i-lose-data").stdout
    expect("WHAT MAY BE LOST" in done and "after SCN" in done, done)
    equal(c.node(1).process.poll(), None, "the node is the same process")
    equal(c.node(1).process.pid, process, "its number")
    c.await_connections(1)
    equal(c.sql("SELECT count(*), sum(id) FROM t"), [(2000, 2001000)], "rows")
    equal(c.sql("SELECT count(*) FROM t WHERE v = 'value 77'"), [(1,)], "by an index")
    c.sql("INSERT INTO t SELECT g, 'later ' || g, '[1,2,3]' FROM generate_series(2001, 2100) g")
    c.sql("UPDATE small SET v = 'zwei' WHERE id = 2")
    lost_node_comes_back(c, 2)
    for _ in range(2):
        c.nodes.add()
    until(c.is_well, "it is well with new nodes")
    until(lambda: c.is_whole(3), "every group has three replicas again, with everything")
    equal(c.sql("SELECT count(*) FROM t", node=5), [(2100,)], "rows at a new node")
    equal(c.sql("SELECT id, v FROM small ORDER BY id", node=4), [(1, "one"), (2, "zwei")], "rows at a new node")
    equal(c.differences(), None, "what differs")


def lost_node_comes_back(c, number):
    """It is kept out: it would not know what was done without it."""
    node = c.node(number)
    node.start()
    until(lambda: "belong to different clusters" in node.log.read_text(errors="replace"), "it is refused")
    node.kill()


def test_three_of_five_are_lost(c):
    """All of them were cut short: those that are left know neither groups nor nodes until the meta group goes on."""
    fill(c, replicas=5)
    c.kill(1, 2, 3, 4, 5)
    c.node(1).start()
    c.node(2).start()
    until(lambda: c.survey(2).get("silent") == "3,4,5", "those that are left know which nodes there were")
    c.await_forced(2)
    survey = c.ask("recover", code=UNHEALTHY, node=2)
    expect(all(g["fate"] == "forced" and g["voters"] == 5 and g["voters_left"] == 2 for g in survey["groups"]), survey)
    outcome = c.ask("recover", "--lost", "3,4,5", "--yes-i-lose-data", node=2)
    equal(len(outcome["groups"]), 5, f"the meta group and four others: {outcome}")
    c.await_connections(1, 2)
    equal(c.sql("SELECT count(*) FROM t", node=1), [(2000,)], "rows through one")
    equal(c.sql("SELECT count(*) FROM t", node=2), [(2000,)], "rows through the other")
    until(lambda: all(sorted(r["node"] for r in g["replicas"] if r["votes"]) == [1, 2] for g in c.ask("shards")
                      if g["distribution"]), "the other survivor votes in each group")
    c.sql("INSERT INTO t SELECT g, 'later', '[3,2,1]' FROM generate_series(2001, 2050) g", node=2)
    for _ in range(3):
        c.nodes.add()
    until(lambda: c.is_well(2), "it is well with new nodes")
    until(lambda: all(sum(r["votes"] for r in g["replicas"]) == 5 for g in c.ask("shards")), "five vote again")
    for number in (1, 2, 6, 7, 8):
        equal(c.sql("SELECT count(*), sum(id) FROM t", node=number), [(2050, 2102275)], f"rows at node {number}")
    until(lambda: c.is_whole(5), "every replica has everything")
    equal(c.differences(), None, "what differs")


def test_what_was_lost_is_told(c):
    """The one that is left was down while the others committed."""
    fill(c, rows=200)
    c.node(3).stop()
    until(lambda: c.are_applied(1, 2), "the two others have what there is")
    before = c.applied()
    numbers = itertools.count(100000)  # one whose outcome is not known may be there
    until(lambda: try_insert(c, next(numbers)), "the two others commit")
    acknowledged = sum(try_insert(c, next(numbers)) for _ in range(50))
    expect(acknowledged > 10, acknowledged)
    until(lambda: any(scn > before[group] for group, scn in c.applied().items()), "they have applied it")
    c.kill(1, 2)
    c.node(3).start()
    c.await_forced(3)
    outcome = c.ask("recover", "--lost", "1,2", "--yes-i-lose-data", node=3)
    c.await_connections(3)
    equal({row[0] for row in c.sql("SELECT id FROM t", node=3)}, set(range(1, 201)), "what everybody had is there")
    equal({g["group"] for g in outcome["groups"]}, set(before), "groups")
    for g in outcome["groups"]:
        expect(g["complete_scn"] <= before[g["group"]], f"{g}: the SCN after which commits may be missing, of {before}")


def try_insert(c, number):
    try:
        c.sql("INSERT INTO t VALUES (%s, 'x', '[1,1,1]')", args=(number,))
        return True
    except psycopg.Error:
        return False


NODES = {"two_of_three_are_lost": 3, "three_of_five_are_lost": 5, "what_was_lost_is_told": 3}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--gnomonctl", required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name in options.names or NODES:
        started = time.monotonic()
        cluster = Cluster(options, NODES[name])
        try:
            globals()[f"test_{name}"](cluster)
        except BaseException:
            for number, node in enumerate(cluster.nodes.nodes, 1):
                print(f"--- log of node {number} ends:\n{node.log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
                if node.process:
                    node.process.send_signal(signal.SIGCONT)
            raise
        finally:
            cluster.end()
        print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
