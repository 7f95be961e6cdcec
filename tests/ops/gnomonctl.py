#!/usr/bin/env python3
"""gnomonctl against three real nodes that speak TLS: what it reports, what it changes, and how it fails.

    gnomonctl.py --gnomond PROGRAM --gnomonctl PROGRAM --damage PROGRAM [NAME...]
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402
from expect import DEADLINE, equal, eventually, expect, insist, until  # noqa: E402

OK, FAILED, USAGE, UNREACHABLE, UNHEALTHY = range(5)


class Cluster:
    """Three nodes with certificates that gnomonctl made."""

    def __init__(self, options):
        self.gnomond, self.gnomonctl, self.damage = options.gnomond, options.gnomonctl, options.damage
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="gnomonctl-"))
        self.certificates = self.directory / "certificates"
        self.nodes, self.addresses = {}, {}

    def run(self, *arguments, env=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_")}
        return subprocess.run([str(self.gnomonctl), *arguments], text=True, capture_output=True, check=False,
                              timeout=DEADLINE * 2, stdin=subprocess.DEVNULL, env={**clean, **(env or {})})

    def tls(self, name="gnomonctl"):
        return ["--ca", str(self.certificates / "ca.pem"), "--cert", str(self.certificates / f"{name}.pem"), "--key",
                str(self.certificates / f"{name}.key")]

    def ctl(self, *arguments, code=OK, node=1):
        done = self.run(*arguments, "--address", self.addresses[node], "--timeout", str(DEADLINE), *self.tls())
        if code is not None:
            equal(done.returncode, code,
                  f"gnomonctl {' '.join(arguments)}: exit code; it said {done.stdout}{done.stderr}")
        return done

    def ask(self, *arguments, code=OK, node=1):
        return json.loads(self.ctl(*arguments, "--json", code=code, node=node).stdout)

    def insist(self, *arguments, node=1):
        return insist(lambda: self.ctl(*arguments, code=None, node=node), f"gnomonctl {' '.join(arguments)}")

    def compared(self, *arguments):
        """What gnomonctl check says when all that there is can be compared: a vector index may still be filled."""
        def attempt():
            document = self.ask("check", *arguments, code=None)
            return document if document.get("not_compared") == [] else None
        return until(attempt, "all can be compared")

    def make_certificates(self):
        for arguments in (["ca"], ["client"], *(["node", "--name", f"node{i}", "--hosts", "127.0.0.1,localhost"]
                                                for i in (1, 2, 3, 4))):
            done = self.run("cert", *arguments, "--dir", str(self.certificates))
            equal(done.returncode, OK, f"cert {arguments}: {done.stderr}")

    def start(self, i):
        directory = self.directory / f"node{i}"
        directory.mkdir(exist_ok=True)
        options = ["--cluster-listen", self.addresses.setdefault(i, f"127.0.0.1:{gnomond.free_port()}"), "--zone", "abcd"[i - 1]]
        for name, ending in (("ca", "ca.pem"), ("cert", f"node{i}.pem"), ("key", f"node{i}.key")):
            options += [f"--tls-{name}", str(self.certificates / ending)]
        if i > 1:
            options += ["--join", self.addresses[1]]
        node = gnomond.Server(self.gnomond, directory, *options)
        self.nodes[i] = node
        node.start()

    def sql(self, text, node=1):
        with psycopg.connect(self.nodes[node].uri(), autocommit=True) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else None

    def is_well(self):
        return self.run("status", "--address", self.addresses[1], *self.tls()).returncode == OK

    def begin(self):
        self.make_certificates()
        for i in (1, 2, 3):
            self.start(i)
        until(self.is_well, "the cluster is well")
        self.sql("CREATE TABLE t (id bigint PRIMARY KEY, v text) WITH (shards = 4)")
        self.sql("INSERT INTO t SELECT g, 'value ' || g FROM generate_series(1, 5000) g")
        self.sql("CREATE TABLE small (id bigint PRIMARY KEY, v text)")
        self.sql("INSERT INTO small VALUES (1, 'one'), (2, NULL)")
        until(self.is_well, "the cluster is well with tables")

    def end(self):
        for node in self.nodes.values():
            if node.process:
                node.kill()
        shutil.rmtree(self.directory)

    def group(self, number):
        return next(g for g in self.ask("shards") if g["group"] == number)


def test_status_is_well(c):
    def look():
        text = c.ctl("status").stdout
        expect("health   well" in text and "3 of 3 answer" in text and "5 of 5 serve, 5 of 5 well" in text, text)
        document = c.ask("status", node=2)
        expect(document["healthy"] and document["problems"] == [], document)
        equal(len(document["groups"]), 5, "groups")
    eventually(look)


def test_nodes(c):
    def look():
        nodes = c.ask("nodes", node=3)
        equal([(n["node"], n["zone"], n["state"], n["answers"], n["replicas"]) for n in nodes],
              [(1, "a", "active", True, 5), (2, "b", "active", True, 5), (3, "c", "active", True, 5)], "nodes")
        for n in nodes:
            expect(n["memory"]["resident_bytes"] > 1 << 20, n)
            expect(sorted(p["node"] for p in n["peers"]) == sorted({1, 2, 3} - {n["node"]}), n["peers"])
            expect(n["version"] and "uptime_s" in n and n["disk"]["total_bytes"] > 0, n)
    eventually(look)
    table = c.ctl("nodes").stdout.splitlines()
    expect(table[0].split()[:4] == ["NODE", "ADDRESS", "ZONE", "STATE"], table[0])
    equal(len(table), 4, "lines")


def test_shards(c):
    def look():
        spread = [g for g in c.ask("shards") if g["distribution"]]
        equal([(g["slot_lo"], g["slot_hi"]) for g in spread],
              [(0, 4096), (4096, 8192), (8192, 12288), (12288, 16384)], "slots")
        expect(sum(g["rows"] for g in spread) == 5000, spread)
        for g in spread:
            expect(g["leader"] in (1, 2, 3) and g["state"] == "ok" and g["bytes"] > 0, g)
            equal([(r["node"], r["votes"], r["answers"]) for r in g["replicas"]], [(i, True, True) for i in (1, 2, 3)],
                  "replicas")
    eventually(look)
    expect("0-4095" in c.ctl("shards").stdout, "slots as people read them")


def test_top(c):
    text = c.ctl("top", "--once", "--interval", "1").stdout
    expect("DROPPED" in text and "ENTRIES" in text and "/s" in text, text)
    equal(len(c.ask("top", "--interval", "1")["nodes"]), 3, "nodes")


def test_join(c):
    text = c.ctl("join").stdout
    expect(all(address in text for address in c.addresses.values()) and "gnomond" in text, text)


def test_environment(c):
    tls = c.tls()
    env = {"GNOMON_ADDRESS": f"127.0.0.1:1, {c.addresses[2]}", "GNOMON_TLS_CA": tls[1], "GNOMON_TLS_CERT": tls[3],
           "GNOMON_TLS_KEY": tls[5]}
    eventually(lambda: equal(c.run("status", env=env).returncode, OK, "the second address of the environment"))


def leader_of(c, number):
    return until(lambda: c.group(number)["leader"], "somebody leads")


def test_transfer_leader(c):
    for number in (1, next(g["group"] for g in c.ask("shards") if g["distribution"])):
        old = leader_of(c, number)
        new = next(i for i in (1, 2, 3) if i != old)
        c.insist("transfer-leader", str(number), str(new), node=6 - old - new)  # through a node that has no part in it
        until(lambda: c.group(number)["leader"] == new, "the other node leads")
        equal(c.sql("SELECT count(*) FROM t"), [(5000,)], "rows after it")
    c.insist("transfer-leader", "1", str(leader_of(c, 1)))  # which it is already
    expect("no group 999" in c.ctl("transfer-leader", "999", "1", code=FAILED).stderr, "an unknown group")
    expect("no node 9" in c.ctl("transfer-leader", "1", "9", code=FAILED).stderr, "an unknown node")


def test_check(c):
    document = c.compared("--rows", "100")
    expect(document["same"] and document["differences"] == [], document)
    expect(document["rows"] > 5000, document)
    equal(c.compared("t")["rows"], 5000, "rows of one table")
    eventually(lambda: expect("all replicas are the same" in c.ctl("check", "small").stdout, "in words"))
    expect("no table" in c.ctl("check", "nothing", code=FAILED).stderr, "an unknown table")


def states(c):
    return [n["state"] for n in c.ask("nodes")]


def test_drain_is_refused_without_room(c):
    done = c.ctl("drain", "3", code=FAILED)
    expect("3 replicas" in done.stderr and "Add a node first" in done.stderr, done.stderr)
    error = c.ask("drain", "9", code=FAILED)["error"]
    equal(error["code"], "GN_NO_OBJECT", "draining nobody")
    equal(states(c), ["active"] * 3, "states")


def test_drain_and_undrain(c):
    c.ctl("drain", "3", "--force", "--no-wait")

    def look():
        document = c.ask("status", node=2)
        equal([n["state"] for n in document["nodes"]], ["active", "active", "draining"], "states")
        expect(document["healthy"] and any("draining" in p["text"] for p in document["problems"]), document["problems"])
    eventually(look)
    c.ctl("undrain", "3")
    until(lambda: states(c) == ["active"] * 3, "all are active")


def test_dangerous_ones_ask(c):
    done = c.ctl("decommission", "3", code=USAGE)
    expect("--yes" in done.stderr, done.stderr)
    expect("THIS LOSES DATA" in c.run("recover", "--help").stdout, "recover")


def test_debug(c):
    out = c.directory / "bundle"
    equal(c.ctl("debug", "--out", str(out)).stdout.strip(), str(out), "where it is")
    equal(sorted(p.name for p in out.iterdir()),
          ["cluster.json", *(f"node-{i}-{what}" for i in (1, 2, 3) for what in ("config.toml", "metrics.txt")),
           "status.txt"], "files")
    expect("data_dir" in (out / "node-2-config.toml").read_text(), "a configuration")
    expect("gnomon_" in (out / "node-3-metrics.txt").read_text(), "metrics")
    expect("PRIVATE" not in "".join(p.read_text() for p in out.iterdir()), "no key is in it")
    c.ctl("debug", "--out", str(out), code=USAGE)


def test_wrong_certificates(c):
    other = c.directory / "other"
    for arguments in (["ca"], ["client"]):
        equal(c.run("cert", *arguments, "--dir", str(other)).returncode, OK, "another authority")
    address = ["--address", c.addresses[1], "--timeout", "5"]
    mixed = ["--ca", str(c.certificates / "ca.pem"), "--cert", str(other / "gnomonctl.pem"), "--key",
             str(other / "gnomonctl.key")]
    foreign = [a.replace(str(c.certificates), str(other)) for a in c.tls()]
    for what, tls in (("of another authority", mixed), ("and trusting another", foreign), ("none", [])):
        equal(c.run("status", *address, *tls).returncode, UNREACHABLE, f"a certificate {what}")
    missing = c.run("status", *address, "--ca", "/nowhere/ca.pem", "--cert", "/nowhere/x", "--key", "/nowhere/x")
    equal(missing.returncode, USAGE, f"files that are not there: {missing.stderr}")
    again = c.run("cert", "ca", "--dir", str(c.certificates))
    equal(again.returncode, USAGE, "an authority is not overwritten")


def test_unreachable(c):
    done = c.run("status", "--address", "127.0.0.1:1", "--timeout", "3", "--json")
    equal(done.returncode, UNREACHABLE, "nobody there")
    expect("could not reach" in json.loads(done.stdout)["error"]["message"], done.stdout)


def test_usage(c):
    for arguments, words in ((["frob"], "no command"), (["status", "--frob"], "no option"), ([], "command is missing"),
                             (["transfer-leader", "1"], "GROUP NODE"), (["drain", "x"], "whole number"),
                             (["status", "--once"], "takes no option"), (["cert", "wood"], "none of"),
                             (["status", "--ca", "x"], "go together"), (["top", "--interval", "0"], "between 1"),
                             (["cert", "node", "--name", "n"], "--hosts"), (["status", "--json=1"], "no value")):
        done = c.run(*arguments)
        equal(done.returncode, USAGE, f"{arguments}: exit code; {done.stderr}")
        expect(words in done.stderr, f"{arguments}: {done.stderr!r} does not say {words!r}")
    expect("transfer-leader" in c.run("--help").stdout, "help")
    expect("gnomonctl" in c.run("--version").stdout, "version")


def test_shells_take_the_completion(c):
    path = c.directory / "completion"
    path.write_text(c.run("completion", "bash").stdout)
    script = f"source {path}; COMP_WORDS=(gnomonctl tr); COMP_CWORD=1; _gnomonctl; echo ${{COMPREPLY[@]}}"
    found = subprocess.run(["bash", "-c", script], text=True, capture_output=True, check=False)
    equal(found.stdout.strip(), "transfer-leader", f"completed; {found.stderr}")
    script = f"source {path}; COMP_WORDS=(gnomonctl top --on); COMP_CWORD=2; _gnomonctl; echo ${{COMPREPLY[@]}}"
    found = subprocess.run(["bash", "-c", script], text=True, capture_output=True, check=False)
    equal(found.stdout.strip(), "--once", f"completed; {found.stderr}")


def holders(c):
    """Which nodes have which data groups, as the groups' leaders have it."""
    return {g["group"]: sorted(r["node"] for r in g["replicas"]) for g in c.ask("shards") if g["distribution"]}


def count_of(c, node):
    return sum(node in nodes for nodes in holders(c).values())


def test_check_finds_what_was_damaged(c):
    """A row that one replica has lost, and one that is another there, with no checksum of the disk to tell."""
    spread = [g["group"] for g in c.ask("shards") if g["distribution"]]
    equal(c.nodes[3].stop(), 0, "exit status")
    for number, how in ((spread[0], "lose"), (spread[1], "change")):
        store, = (p.parent for p in (c.directory / "node3" / "data" / "groups" / str(number)).glob("store*/CURRENT"))
        subprocess.run([str(c.damage), str(store), how], check=True)
    c.start(3)
    until(c.is_well, "it does not know of it")

    def look():
        document = c.ask("check", "t", "--rows", "500", code=UNHEALTHY)
        expect(not document["same"], "something was found")
        lost, = only(document["differences"])
        equal((lost["group"], lost["table"]), (spread[0], "t"), "where a row is lost")
        replicas = {r["node"]: r for r in lost["replicas"]}
        equal(sorted(replicas), [1, 2, 3], "replicas")
        equal(replicas[1]["checksum"], replicas[2]["checksum"], "those that are as they were")
        equal(replicas[1]["rows"] - replicas[3]["rows"], 1, "rows")
        changed, = only(document["not_compared"])
        equal((changed["group"], changed["table"], changed["node"]), (spread[1], "t", 3), "where a row is another")
        equal(changed["code"], "GN_CORRUPT", "what is said of it")
        text = c.ctl("check", "t", code=UNHEALTHY).stdout
        expect(f"DIFFERENT  group {spread[0]}, table t" in text and "node 3: 1," in text, text)
        expect(f"DAMAGED  group {spread[1]}, table t, of node 3" in text, text)
    eventually(look)  # a replica that could not be asked in time would be named, too
    expect(c.compared("small")["same"], "another table is the same")


def only(found):
    equal(len(found), 1, f"how many: {found}")
    return found


def test_check_finds_an_index_without_an_entry(c):
    c.sql("CREATE TABLE indexed (id bigint PRIMARY KEY, v text, e vector(2))")
    c.sql("CREATE INDEX indexed_v ON indexed (v)")
    c.sql("CREATE UNIQUE INDEX indexed_u ON indexed (v, id)")
    c.sql("CREATE INDEX indexed_e ON indexed USING hnsw (e vector_l2_ops)")
    c.sql("INSERT INTO indexed SELECT g, CASE WHEN g % 7 > 0 THEN 'v ' || g % 10 END, "
          "CASE WHEN g % 3 > 0 THEN '[' || g || ',1]' END::vector FROM generate_series(1, 500) g")
    c.sql("UPDATE indexed SET v = 'other', e = NULL WHERE id < 20")
    c.sql("DELETE FROM indexed WHERE id > 490")
    document = c.compared("indexed")
    expect(document["same"], document)
    equal((document["indexes_checked"], document["wrong_indexes"]), (9, []), "indexes")
    equal(c.nodes[3].stop(), 0, "exit status")
    store, = (p.parent for p in (c.directory / "node3" / "data" / "groups" / "1").glob("store*/CURRENT"))
    subprocess.run([str(c.damage), str(store), "unindex"], check=True)
    c.start(3)
    until(c.is_well, "it does not know of it")
    wrong, = only(c.compared("indexed")["wrong_indexes"])
    equal((wrong["index"], wrong["node"], wrong["missing"], wrong["extra"]), ("indexed_v", 3, 1, 0), "what is wrong")
    expect(wrong["example"], "which row")
    text = c.ctl("check", "indexed", code=UNHEALTHY).stdout
    expect("WRONG INDEX  group 1, table indexed, index indexed_v, of node 3" in text, text)
    c.sql("DROP INDEX indexed_v")
    c.sql("CREATE INDEX indexed_v ON indexed (v)")
    expect(c.compared("indexed")["same"], "made again it is right")
    c.sql("DROP TABLE indexed")


def test_a_fourth_node_takes_its_share(c):
    """The way to mend damaged replicas, too: what node 3 has is made anew elsewhere."""
    c.sql("CREATE TABLE one (id bigint PRIMARY KEY) WITH (shards = 1, replicas = 3)")
    c.start(4)
    until(lambda: any(n["node"] == 4 and n["answers"] for n in c.ask("nodes")), "node 4 is one of them")
    c.ctl("rebalance", "--watch")
    equal(sorted(count_of(c, i) for i in (1, 2, 3, 4)), [3, 4, 4, 4], "replicas of each")
    until(lambda: "nothing is to be moved" in c.ctl("rebalance", "--dry-run").stdout, "nobody else is to lead either")
    eventually(lambda: equal(c.ask("rebalance")["moves"], [], "as JSON"))


def test_move(c):
    where = holders(c)
    emptiest = next(i for i in (1, 2, 3, 4) if count_of(c, i) == 3)
    group, nodes = next((g, nodes) for g, nodes in where.items() if emptiest not in nodes)
    origin = next(n for n in nodes if count_of(c, n) == 4)
    c.insist("move", str(group), str(origin), str(emptiest))  # the balance stays, so it is not moved back
    until(lambda: holders(c)[group] == sorted({*nodes, emptiest} - {origin}), "the members")
    until(c.is_well, "it is well")
    expect("has no replica" in c.ctl("move", str(group), str(origin), str(emptiest), code=FAILED).stderr, "again")
    expect("group" in c.ctl("move", "1", "1", "2", code=FAILED).stderr, "the meta group")
    equal(c.sql("SELECT count(*) FROM t", node=4), [(5000,)], "rows")


def test_drain(c):
    c.ctl("drain", "3")
    equal(count_of(c, 3), 0, "replicas of the node")
    expect(c.compared()["same"], "what is left is the same: what was damaged was on node 3")
    until(c.is_well, "it is well")
    equal(states(c), ["active", "active", "draining", "active"], "states")
    c.ctl("undrain", "3")
    until(lambda: count_of(c, 3) >= 3, "it gets replicas again")
    c.ctl("rebalance", "--watch")


def test_decommission(c):
    c.ctl("decommission", "4", "--yes")
    eventually(lambda: equal([(n["state"], n["answers"]) for n in c.ask("nodes")],
                             [("active", True)] * 3 + [("gone", False)], "nodes"))
    equal(count_of(c, 4), 0, "replicas of the node")
    until(lambda: 4 not in [r["node"] for r in c.group(1)["replicas"]], "the meta group goes on without it")
    equal(c.nodes[4].stop(), 0, "exit status")
    until(c.is_well, "it is well without the node")
    expect("gone for ever" in c.ctl("undrain", "4", code=FAILED).stderr, "it does not come back")
    equal(c.sql("SELECT count(*) FROM t"), [(5000,)], "rows")


def test_split(c):
    """With writers at work: their transactions go on, and no row is lost, doubled or wrong."""
    c.sql("CREATE TABLE s (id bigint PRIMARY KEY, n bigint) WITH (shards = 2, replicas = 3)")
    c.sql("INSERT INTO s SELECT g, 0 FROM generate_series(1, 2000) g")
    until(c.is_well, "it is well")
    group = next(g for g in c.ask("shards") if g["distribution"] and g["slot_lo"] == 8192 and g["slot_hi"] == 16384)
    stop, done, refused, broken = threading.Event(), [0], [], []

    def write():
        try:
            with psycopg.connect(c.nodes[2].uri(), autocommit=True) as connection:
                while not stop.is_set():
                    try:
                        connection.execute("UPDATE s SET n = n + 1 WHERE id = %s", [done[0] % 2000 + 1])
                        done[0] += 1
                    except psycopg.errors.SerializationFailure as error:
                        refused.append(str(error))
        except Exception as error:  # pylint: disable=broad-except
            broken.append(error)

    def await_writes(number):
        until(lambda: done[0] > number or broken, "the writer writes")
        expect(not broken, f"the writer: {broken}")

    writer = threading.Thread(target=write)
    writer.start()
    await_writes(50)
    document = json.loads(c.insist("split", str(group["group"]), "--json", node=3).stdout)
    equal((document["slot_lo"], document["slot_hi"], document["child_slot_hi"]), (8192, 12288, 16384), "the halves")
    await_writes(done[0] + 50)
    stop.set()
    writer.join()
    equal(c.sql("SELECT count(*), sum(n) FROM s", node=3), [(2000, done[0])], "rows")
    words = c.insist("split", str(document["child"]), "13000").stdout
    expect("keeps slots 12288 to 12999" in words and "has slots 13000 to 16383" in words, words)
    equal(c.sql("SELECT count(*), sum(n) FROM s"), [(2000, done[0])], "rows after another one")
    expect(c.compared("s")["same"], "the replicas are the same")
    expect("can be split at" in c.ctl("split", str(group["group"]), "1", code=FAILED).stderr, "a slot of another")
    expect("meta group" in c.ctl("split", "1", code=FAILED).stderr, "the meta group")
    expect("no group 999" in c.ctl("split", "999", code=FAILED).stderr, "an unknown group")
    until(c.is_well, "it is well")
    expect("meta group" in c.ctl("merge", "1", code=FAILED).stderr, "the meta group")
    until(lambda: c.ctl("merge", str(document["child"]), code=None).returncode == OK
          or document["child"] not in [g["group"] for g in c.ask("shards")], "it is merged")
    equal(c.sql("SELECT count(*), sum(n) FROM s"), [(2000, done[0])], "rows after a merge")
    expect(c.compared("s")["same"], "the replicas are the same after a merge")
    until(c.is_well, "it is well after a merge")


def test_a_silent_node_is_listed(c):
    """Last: a node is stopped, then killed."""
    c.nodes[3].process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: not c.is_well(), "it is seen to stand still")

        def look():
            document = c.ask("status", code=UNHEALTHY)
            expect(any("node 3" in p["text"] and p["severity"] == "error" for p in document["problems"]),
                   document["problems"])
            equal([n["answers"] for n in document["nodes"][:3]], [True, True, False], "who answers")
            expect("silent" in c.ctl("nodes").stdout, "in words")
            compared = c.ask("check", "small", code=UNHEALTHY)
            equal([m["node"] for m in compared["not_compared"]], [3], "whose replica could not be read")
        eventually(look)
    finally:
        c.nodes[3].process.send_signal(signal.SIGCONT)
    until(c.is_well, "it is well again")
    c.nodes[2].kill()
    c.nodes[3].kill()
    eventually(lambda: expect(any("no leader" in p["text"] for p in c.ask("status", code=UNHEALTHY)["problems"]),
                              "what node 1 led it gives up when it hears no majority"))
    c.ctl("drain", "3", "--force", "--no-wait", code=FAILED)
    c.start(2)
    c.start(3)
    until(c.is_well, "it is well with all of them")
    expect(c.compared()["same"], "nothing differs")


def test_one_node_is_left_for_ever(c):
    """Two machines are gone; the third goes on alone, and new ones take their place."""
    until(lambda: all(r["applied_index"] == g["last_index"] for g in c.ask("shards") for r in g["replicas"]),
          "every node has everything")
    c.nodes[2].kill()
    c.nodes[3].kill()
    data = ["--data-dir", str(c.nodes[1].directory / "data")]
    running = subprocess.run([str(c.gnomond), *data, "--force-alone", "report"], capture_output=True, text=True,
                             check=False)
    equal(running.returncode, 1, f"of a node that runs: {running.stdout}")
    equal(c.nodes[1].stop(), 0, "exit status")
    report = subprocess.run([str(c.gnomond), *data, "--force-alone", "report"], capture_output=True, text=True,
                            check=False)
    expect(report.returncode == 0 and "one of several" in report.stdout, f"{report.stdout}{report.stderr}")
    for _ in range(2):  # which is as good as once
        forced = subprocess.run([str(c.gnomond), *data, "--force-alone=i-accept-data-loss"], capture_output=True,
                                text=True, check=False)
        expect(forced.returncode == 0 and "LOST" in forced.stdout, f"{forced.stdout}{forced.stderr}")
    equal(subprocess.run([str(c.gnomond), *data, "--force-alone=yes"], capture_output=True, check=False).returncode, 1,
          "another word")
    c.start(1)
    until(lambda: all(g["leader"] == 1 for g in c.ask("shards")), "it leads everything")
    equal(c.sql("SELECT count(*) FROM t"), [(5000,)], "rows")
    c.sql("INSERT INTO t SELECT g, 'later ' || g FROM generate_series(5001, 5100) g")
    c.sql("UPDATE small SET v = 'two' WHERE id = 2")
    for i in (2, 3):
        shutil.rmtree(c.nodes[i].directory)
        c.start(i)
    until(c.is_well, "it is well with new nodes at the addresses of the lost ones")
    equal(c.sql("SELECT count(*) FROM t", node=3), [(5100,)], "rows at a new node")
    expect(c.compared()["same"], "nothing differs")
    for i in (1, 2, 3):
        equal(c.nodes[i].stop(), 0, f"exit status of node {i}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--gnomonctl", required=True)
    parser.add_argument("--damage", required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    cluster = Cluster(options)
    try:
        cluster.begin()
        for name in options.names or tests:
            started = time.monotonic()
            tests[name](cluster)
            print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)
    except BaseException:
        for i, node in cluster.nodes.items():
            print(f"--- log of node {i} ends:\n{node.log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        raise
    finally:
        cluster.end()


if __name__ == "__main__":
    main()
