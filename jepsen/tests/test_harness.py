"""The parts around the checkers: EDN, pairing, schedules, partitions, the proxy."""

import pathlib
import random
import select
import socket
import tempfile
import threading
import time
import types
import unittest

from histories import edn, events, history

from harness import nemesis, runner
from harness.proxy import Proxy
from workloads import all_workloads


class Edn(unittest.TestCase):
    def test_round_trip(self):
        value = {"type": edn.Keyword("ok"), "value": [[edn.Keyword("append"), 3, 1], [edn.Keyword("r"), 3, None], True, -1.5],
                 "error": 'a "b" \\ \n c', "map": {1: 2}}
        (back,) = edn.parse(edn.dumps(value))
        self.assertEqual(back, value)
        self.assertIsInstance(back["type"], edn.Keyword)

    def test_others_write_it_with_commas_lists_sets_and_comments(self):
        (value,) = edn.parse('; a history\n{:type :invoke, :value (1 2), :set #{1 2}}')
        self.assertEqual(value, {"type": "invoke", "value": [1, 2], "set": {1, 2}})

    def test_broken_text_is_refused(self):
        for text in ("{:a 1", "]", "{:a}", "[1 }", "{:a foo}", '"open'):
            with self.assertRaises(edn.EdnError, msg=text):
                list(edn.parse(text))


class History(unittest.TestCase):
    def test_file_round_trip(self):
        lines = events((0, "invoke", "read", [1, None]), (1, "invoke", "write", [1, 2]), (0, "ok", "read", [1, 2]),
                       (1, "info", "write", [1, 2]))
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "history.edn"
            history.write(lines, path, {"workload": "register", "seed": 1})
            header, back = history.read(path)
        self.assertEqual(header["workload"], "register")
        self.assertEqual([repr(op) for op in history.operations(back)], [repr(op) for op in history.operations(lines)])
        self.assertEqual(runner.judge(header, back)["verdict"], "valid")

    def test_a_process_does_one_thing_at_a_time(self):
        for lines in ([(0, "invoke", "read", None), (0, "invoke", "read", None)], [(0, "ok", "read", None)]):
            with self.assertRaises(ValueError):
                history.operations(events(*lines))

    def test_longest_gap(self):
        lines = events((0, "invoke", "read", None), (0, "ok", "read", None), (0, "invoke", "read", None), (0, "ok", "read", None))
        lines[1].time, lines[3].time = 1_000_000_000, 5_000_000_000
        self.assertEqual(runner.longest_gap(lines), 4.0)


class Nemeses(unittest.TestCase):
    cluster = types.SimpleNamespace(nodes=[types.SimpleNamespace(number=i) for i in range(1, 4)])

    def test_schedule_comes_from_the_seed_and_every_fault_is_healed(self):
        def plan(seed):
            nemeses = nemesis.make("kill,pause", self.cluster, random.Random(seed))
            return [(second, each.name, heals) for second, each, heals in nemesis.schedule(nemeses, 30)]
        self.assertEqual(plan(1), plan(1))
        self.assertNotEqual(plan(1), plan(2))
        for name in ("kill", "pause"):
            steps = [heals for _, each, heals in plan(1) if each == name]
            self.assertEqual(steps, [False, True] * (len(steps) // 2))

    def partition(self, name, count):
        cluster = types.SimpleNamespace(nodes=[types.SimpleNamespace(number=i) for i in range(1, count + 1)])
        each = nemesis.Partition(name, cluster, random.Random(1))
        return getattr(each, "_" + name.partition("-")[2])(list(range(1, count + 1)))

    def test_ring_leaves_everyone_a_majority_that_hears_it(self):
        for count in (3, 4, 5, 7, 9):
            deaf = self.partition("partition-ring", count)
            self.assertTrue(deaf)
            views = set()
            for node in range(1, count + 1):
                hears = {other for other in range(1, count + 1) if other not in deaf.get(node, ())}
                self.assertIn(node, hears)
                self.assertGreater(2 * len(hears), count)
                self.assertTrue(all(node not in deaf.get(other, ()) for other in hears))
                views.add(frozenset(hears))
            self.assertGreater(len(views), 1)

    def test_one_way_is_one_way(self):
        deaf = self.partition("partition-oneway", 3)
        self.assertTrue(any(node not in deaf.get(other, ()) for node, others in deaf.items() for other in others))

    def test_what_cannot_be_done_says_so(self):
        one = types.SimpleNamespace(nodes=self.cluster.nodes[:1])
        for name in ("partition-one", "membership", "move", "split", "merge"):
            with self.assertRaises(nemesis.Unsupported):
                nemesis.make(name, one, random.Random(1))

    def test_every_workload_has_a_name_and_a_checker(self):
        for name, each in all_workloads().items():
            self.assertEqual(each.name, name)
            each(each.draw(random.Random(1))).check([])


class Frames(unittest.TestCase):
    """Between nodes: frames of 16 bytes of head, whose first four are the length of the rest and the fifth the kind."""

    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.proxy = Proxy(None, self.server.getsockname(), 1, frames=True)
        self.client = socket.create_connection(self.proxy.address, timeout=60)
        self.peer, _ = self.server.accept()
        self.peer.settimeout(60)

    def tearDown(self):
        self.proxy.stop()
        for each in (self.client, self.peer, self.server):
            each.close()

    @staticmethod
    def frame(kind, number):
        return (4).to_bytes(4, "big") + bytes([kind]) + bytes(11) + number.to_bytes(4, "big")

    def send(self, kinds):
        """What arrives of frames of these kinds and a last one of another kind: their numbers."""
        data = b"".join(self.frame(kind, number) for number, kind in enumerate(kinds))
        for at in range(0, len(data), 7):  # in pieces that fit no frame
            self.client.sendall(data[at:at + 7])
        self.client.sendall(self.frame(4, 1_000_000))
        numbers, received = [], b""
        while not numbers or numbers[-1] != 1_000_000:
            received += self.peer.recv(100_000)
            whole = len(received) // 20 * 20
            numbers += [int.from_bytes(received[at + 16:at + 20], "big") for at in range(0, whole, 20)]
            received = received[whole:]
        return numbers[:-1]

    def test_a_good_network_changes_nothing(self):
        self.assertEqual(self.send([3] * 100), list(range(100)))

    def test_some_get_lost_but_what_keeps_the_connection_does_not(self):
        self.proxy.set_frames(1.0, 0.0, False)
        self.assertEqual(self.send([1, 3, 3, 4, 3, 5]), [0, 3, 5])

    def test_some_come_twice(self):
        self.proxy.set_frames(0.0, 1.0, False)
        self.assertEqual(self.send([1, 3, 3]), [0, 1, 1, 2, 2])

    def test_some_overtake_others(self):
        self.proxy.set_delay(0.0, 0.05)
        self.proxy.set_frames(0.0, 0.0, True)
        numbers = self.send([3] * 100)
        self.assertEqual(sorted(numbers), list(range(100)))
        self.assertNotEqual(numbers, list(range(100)))


class Proxies(unittest.TestCase):
    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.proxy = Proxy(None, self.server.getsockname(), 1)
        self.client = socket.create_connection(self.proxy.address, timeout=60)
        self.peer, _ = self.server.accept()
        self.peer.settimeout(60)

    def tearDown(self):
        self.proxy.stop()
        for each in (self.client, self.peer, self.server):
            each.close()

    def exchange(self):
        self.client.sendall(b"question")
        self.assertEqual(self.peer.recv(100), b"question")
        self.peer.sendall(b"answer")
        self.assertEqual(self.client.recv(100), b"answer")

    def test_passes_both_ways_and_ends_with_its_ends(self):
        self.exchange()
        self.peer.close()
        self.assertEqual(self.client.recv(100), b"")

    def test_delays(self):
        self.proxy.set_delay(0.05, 0.0)
        began = time.monotonic()
        self.exchange()
        self.assertGreaterEqual(time.monotonic() - began, 0.1)

    def test_resets(self):
        self.exchange()
        self.proxy.reset_all()
        with self.assertRaises(ConnectionResetError):
            self.client.recv(100)

    def test_half_open_carries_one_direction(self):
        self.exchange()
        self.proxy.half_open_all()
        done = threading.Event()
        self.proxy._post(done.set)  # the command before it has run, too
        done.wait(60)
        for end in (self.client, self.peer):
            end.sendall(b"x")
        hears, _, _ = select.select([self.client, self.peer], [], [], 60)
        self.assertEqual(len(hears), 1)
        self.assertEqual(hears[0].recv(10), b"x")
        deaf = self.peer if hears[0] is self.client else self.client
        deaf.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            deaf.recv(1)


if __name__ == "__main__":
    unittest.main()
