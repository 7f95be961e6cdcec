"""List-append: every anomaly has a history that must be named, and its neighbours that are right must pass."""

import random
import unittest

from histories import concurrent, edn, history, operations, serial, txn, txns

from checkers import append


def names(ops):
    return set(append.check(ops).counts)


class Append(unittest.TestCase):
    def test_serial_history_is_valid(self):
        self.assertEqual(names(txns(serial, "a1=1 r2=", "a2=1 r1=1", "r1=1 r2=1 a1=2", "r1=1,2")), set())

    def test_concurrent_history_in_another_order_is_valid(self):
        self.assertEqual(names(txns(concurrent, "r1=1,2", "a1=2", "a1=1", "r1=1")), set())

    def test_unknown_outcome_may_have_happened_later_or_never(self):
        self.assertEqual(names(txns(serial, "?a1=1", "r1=", "r1=1")), set())
        self.assertEqual(names(txns(serial, "?a1=1", "r1=", "r1=")), set())

    def test_g0_write_cycle(self):
        self.assertEqual(names(txns(concurrent, "a1=1 a2=1", "a1=2 a2=2", "r1=1,2", "r2=2,1")), {"G0"})

    def test_g1a_aborted_read(self):
        self.assertEqual(names(txns(concurrent, "!a1=1", "r1=1")), {"G1a"})

    def test_g1b_intermediate_read(self):
        self.assertIn("G1b", names(txns(concurrent, "a1=1 a1=2", "r1=1", "r1=1,2")))

    def test_g1c_circular_information_flow(self):
        self.assertEqual(names(txns(concurrent, "a1=1 r2=1", "a2=1 r1=1")), {"G1c"})

    def test_g_single_read_skew(self):
        self.assertEqual(names(txns(concurrent, "a1=1 a2=1", "r1=1 r2=", "r2=1")), {"G-single"})

    def test_g2_item_write_skew(self):
        self.assertEqual(names(txns(concurrent, "r1= a2=1", "r2= a1=1", "r1=1", "r2=1")), {"G2-item"})

    def test_lost_update(self):
        self.assertIn("lost-update", names(txns(concurrent, "r1= a1=1", "r1= a1=2", "r1=1,2")))

    def test_stale_read_needs_realtime(self):
        self.assertEqual(names(txns(serial, "a1=1", "r1=", "r1=1")), {"G-single-realtime"})

    def test_stale_read_within_a_process(self):
        a, r0, r1 = txn("a1=1"), txn("r1="), txn("r1=1")
        ops = operations((0, "invoke", "txn", a), (0, "ok", "txn", a), (0, "invoke", "txn", r0), (0, "ok", "txn", r0),
                         (1, "invoke", "txn", r1), (1, "ok", "txn", r1))
        self.assertEqual(names(ops), {"G-single-process"})

    def test_realtime_write_order(self):
        self.assertEqual(names(txns(serial, "a1=1", "a1=2", "r1=2,1")), {"G0-realtime"})

    def test_what_data_alone_show_is_named_without_order(self):
        self.assertEqual(names(txns(serial, "r1= a2=1", "r2= a1=1", "r1=1 r2=1")), {"G2-item"})

    def test_lost_append(self):
        self.assertIn("lost-append", names(txns(serial, "a1=1", "a1=2", "r1=1")))
        self.assertIn("lost-append", names(txns(serial, "a1=1", "r1=")))

    def test_internal(self):
        self.assertIn("internal", names(txns(serial, "a1=1 r1=")))
        self.assertIn("internal", names(txns(serial, "r1= r1=5", "?a1=5")))

    def test_incompatible_order(self):
        self.assertIn("incompatible-order", names(txns(concurrent, "a1=1", "a1=2", "r1=1", "r1=2,1")))

    def test_duplicate_and_garbage(self):
        self.assertIn("duplicate", names(txns(concurrent, "a1=1", "r1=1,1")))
        self.assertIn("garbage", names(txns(concurrent, "a1=1", "r1=1,7")))

    def test_nothing_succeeded_is_no_verdict(self):
        self.assertEqual(append.check(txns(serial, "!a1=1")).verdict, "unknown")

    def test_long_cycle_through_several_keys(self):
        self.assertEqual(names(txns(concurrent, "r1= a2=1", "r2= a3=1", "r3= a1=1", "r1=1", "r2=1", "r3=1")), {"G2-item"})


class Store:
    """Lists with interleaved clients; broken in a chosen way."""

    def __init__(self, rng, fault=None):
        self.rng, self.fault, self.lists, self.next = rng, fault, {}, 0

    def txn(self):
        steps, view = [], {k: list(v) for k, v in self.lists.items()}
        stale = self.fault == "stale" and self.rng.random() < 0.02
        for _ in range(self.rng.randint(1, 4)):
            key = self.rng.randrange(6)
            if self.rng.random() < 0.5:
                self.next += 1
                view.setdefault(key, []).append(self.next)
                steps.append([edn.Keyword("append"), key, self.next])
            else:
                seen = view.get(key, [])
                steps.append([edn.Keyword("r"), key, list(seen[:-3] if stale and len(steps) == 0 else seen)])
        if not (self.fault == "lost" and self.rng.random() < 0.01):
            self.lists = view
        return steps


def generated(seed, fault, count):
    """Clients whose transactions take effect at a point between invocation and completion."""
    rng, lines, store, open_txns = random.Random(seed), [], None, {}
    store = Store(rng, fault)
    for _ in range(count * 2):
        process = rng.randrange(8)
        if process in open_txns:
            value = open_txns.pop(process)
            lines.append((process, "ok", "txn", value))
        else:
            value = store.txn()
            lines.append((process, "invoke", "txn", [[f, k, None if f == "r" else v] for f, k, v in value]))
            open_txns[process] = value
    return operations(*lines)


class Generated(unittest.TestCase):
    def test_right_stores_pass(self):
        for seed in range(5):
            self.assertEqual(append.check(generated(seed, None, 400)).counts, {})

    def test_planted_faults_are_found(self):
        for fault in ("stale", "lost"):
            for seed in range(5):
                self.assertEqual(append.check(generated(seed, fault, 400)).verdict, "invalid", (fault, seed))

    def test_operations_without_completion_are_unknown(self):
        ops = generated(1, None, 50)
        self.assertTrue(any(op.type == history.INFO for op in ops))


if __name__ == "__main__":
    unittest.main()
