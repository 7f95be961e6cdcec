#!/usr/bin/env python3
"""allow_partial_results with real nodes: rows of a node that is gone are left out with a warning that says so, and never otherwise.

    partial.py --gnomond PROGRAM
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402
from expect import expect, until  # noqa: E402

ROWS, SHARDS = 200, 6


def refused(connection, query):
    try:
        connection.execute(query)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def check(connection, notices):
    def ask(query):
        notices.clear()
        return connection.execute(query).fetchall(), list(notices)

    expect(refused(connection, "SELECT count(*) FROM t") == "58C00", "without the setting it fails")
    connection.execute("SET allow_partial_results = on")
    answer, told = ask("SELECT count(*) FROM t")
    expect(0 < answer[0][0] < ROWS, f"some rows are left out: {answer}")
    expect(len(told) == 1 and told[0][0] == "WARNING" and told[0][1] == "58C00", f"it is told: {told}")
    missing, of = told[0][2].split("complete: ")[1].split(" groups")[0].split(" of ")
    expect(int(of) == SHARDS and 0 < int(missing) < SHARDS, f"how many are missing: {told}")
    rows, told = ask("SELECT id FROM t ORDER BY id")
    expect(len(rows) == answer[0][0] and len(told) == 1 and rows == sorted(rows), "in order")
    nearest, told = ask("SELECT id FROM t ORDER BY v <-> '[0,0]' LIMIT 5")
    expect(len(nearest) == 5 and len(told) == 1, "the nearest of what is left")
    plan, told = ask("EXPLAIN ANALYZE SELECT count(*) FROM t")
    expect(f"Missing Shards: {missing} of {SHARDS}" in "\n".join(line for line, in plan) and told, f"EXPLAIN ANALYZE shows it: {plan} {told}")
    one, told = ask("SELECT 1")
    expect(one == [(1,)] and not told, "what needs none of them is not warned of")
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        for _ in range(2):
            again, told = ask("SELECT count(*) FROM t")
            expect(again == answer and len(told) == 1, "each query of a transaction tells it")
    wrote = [refused(connection, f"INSERT INTO t VALUES ({ROWS + i}, '[0,0]')") for i in range(20)]
    expect("58C00" in wrote and None in wrote, f"a write is never partial: {wrote}")
    expect(refused(connection, "UPDATE t SET v = '[1,1]'") == "58C00", "nor one of all rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="gnomon-partial-"))
    cluster = gnomond.Cluster(parser.parse_args().gnomond, scratch)
    try:
        for _ in range(3):
            cluster.add()
        notices = []
        with psycopg.connect(cluster.nodes[0].uri(), autocommit=True) as connection:
            connection.add_notice_handler(lambda n: notices.append((n.severity_nonlocalized, n.sqlstate, n.message_primary)))
            connection.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, v vector(2)) WITH (shards = {SHARDS}, replicas = 1)")
            connection.execute("CREATE INDEX ON t USING hnsw (v vector_l2_ops)")
            with connection.cursor().copy("COPY t FROM STDIN") as copy:
                for i in range(ROWS):
                    copy.write(f"{i}\t[{i},{i % 7}]\n")
            connection.execute("SET allow_partial_results = on")
            whole = connection.execute("SELECT count(*) FROM t").fetchone()[0]
            expect(whole == ROWS and not notices, f"with all nodes nothing is left out: {whole}, {notices}")
            connection.execute("SET allow_partial_results = off")
            until(lambda: cluster.votes(2) and cluster.votes(3), "three nodes vote, and one of them may go")
            cluster.nodes[2].kill()
            check(connection, notices)
            cluster.nodes[2].start()

            def all_are_back():
                notices.clear()
                return connection.execute("SELECT count(*) FROM t").fetchone()[0] >= ROWS and not notices
            until(all_are_back, "all are back: its groups have elected it, and the others have found it")
    finally:
        for node in cluster.running():
            node.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
