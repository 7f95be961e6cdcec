#!/usr/bin/env python3
"""Nodes that come and go with real processes: one that joins with port 0 is found where it listens; one that was replaced and
comes back is told so.

    outcast.py --gnomond PROGRAM
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402
from expect import until  # noqa: E402


def start(program, directory, listen, *options):
    directory.mkdir(exist_ok=True)
    server = gnomond.Server(program, directory, "--cluster-listen", listen, *options)
    server.start()
    return server


def has_rows(server):
    try:
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            return connection.execute("SELECT count(*) FROM t").fetchone()[0] == 2
    except psycopg.OperationalError:  # no leader yet
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True)
    program = parser.parse_args().gnomond
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="gnomon-outcast-"))
    addresses = [f"127.0.0.1:{gnomond.free_port()}" for _ in range(2)]
    servers = []
    try:
        first = start(program, scratch / "1", addresses[0])
        servers.append(first)
        with psycopg.connect(first.uri(), autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
            connection.execute("INSERT INTO t VALUES (1), (2)")
        old = start(program, scratch / "2", addresses[1], "--join", addresses[0])
        servers.append(old)
        third = start(program, scratch / "3", "127.0.0.1:0", "--join", addresses[0])  # it is ready when it has heard a leader
        servers.append(third)
        until(lambda: has_rows(third), "the node with port 0 serves")
        until(lambda: "membership change group=1 server=3 change=promote" in first.log.read_text(errors="replace"),
              "three nodes vote, and one of them may go")

        old.kill()
        servers.append(start(program, scratch / "4", addresses[1], "--join", addresses[0]))
        until(lambda: has_rows(servers[-1]), "the node that takes its place serves")
        elsewhere = gnomond.Server(program, scratch / "2", "--cluster-listen", f"127.0.0.1:{gnomond.free_port()}")
        ready = elsewhere.begin()
        servers.append(elsewhere)
        until(lambda: "stop this node" in elsewhere.log.read_text(errors="replace"), "the old node is told that it is gone")
        ready.close()
        until(lambda: has_rows(first), "the others go on")
    finally:
        for server in servers:
            if server.process:
                server.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
