"""The simpler checkers: what they must reject, and what looks odd and is right."""

import unittest

from histories import concurrent, operations, serial

from checkers import bank, elements, fork, knn, monotonic, skew


class Checker(unittest.TestCase):
    def found(self, result, *names):
        self.assertEqual(set(result.counts), set(names))


class Elements(Checker):
    def check(self, *steps, make=serial):
        return elements.check(make(*steps))

    def test_valid(self):
        self.found(self.check(("add", 1, 1), ("add", 2, 2, "info"), ("read", None, [1]), ("read", None, [1, 2])))

    def test_lost(self):
        self.found(self.check(("add", 1, 1), ("add", 2, 2), ("read", None, [2])), "lost")

    def test_stale(self):
        self.found(self.check(("add", 1, 1), ("read", None, []), ("read", None, [1])), "stale")

    def test_vanished(self):
        self.found(self.check(("add", 1, 1, "info"), ("read", None, [1]), ("read", None, []), ("read", None, [1])), "vanished")

    def test_failed_or_never_added(self):
        self.found(self.check(("add", 1, 1, "fail"), ("read", None, [1])), "unexpected")
        self.found(self.check(("read", None, [9])), "unexpected")

    def test_duplicate(self):
        self.found(self.check(("add", 1, 1), ("read", None, [1, 1])), "duplicate")

    def test_concurrent_add_may_be_missing(self):
        self.found(self.check(("add", 1, 1), ("read", None, []), make=concurrent))

    def test_no_read_is_no_verdict(self):
        self.assertEqual(self.check(("add", 1, 1)).verdict, "unknown")


class Bank(Checker):
    def check(self, *steps):
        return bank.check(serial(*steps), {0: 10, 1: 10})

    def test_valid(self):
        self.found(self.check(("transfer", [0, 1, 4], [0, 1, 4]), ("read", None, {0: 6, 1: 14})))

    def test_wrong_total(self):
        self.found(self.check(("read", None, {0: 6, 1: 10})), "wrong-total")

    def test_negative(self):
        self.found(self.check(("read", None, {0: -1, 1: 21})), "negative-balance")

    def test_missing_account(self):
        self.found(self.check(("read", None, {0: 20})), "wrong-accounts")

    def test_lost_transfer(self):
        self.found(self.check(("transfer", [0, 1, 4], [0, 1, 4]), ("read", None, {0: 10, 1: 10})), "lost-transfer")

    def test_failed_transfer_took_effect(self):
        self.found(self.check(("transfer", [0, 1, 4], [0, 1, 4], "fail"), ("read", None, {0: 6, 1: 14})), "lost-transfer")

    def test_unknown_transfer_either_way(self):
        for after in ({0: 6, 1: 14}, {0: 10, 1: 10}):
            self.found(self.check(("transfer", [0, 1, 4], [0, 1, 4], "info"), ("read", None, after)))
        self.found(self.check(("transfer", [0, 1, 4], [0, 1, 4], "info"), ("read", None, {0: 7, 1: 13})), "lost-transfer")


class Skew(Checker):
    def test_both_members(self):
        self.found(skew.check(concurrent(("insert", [1, 0], [1, 0]), ("insert", [1, 1], [1, 1]))), "write-skew")

    def test_one_wins(self):
        self.found(skew.check(concurrent(("insert", [1, 0], [1, 0]), ("insert", [1, 1], [1, 1], "fail"))))

    def test_both_seen_in_a_read(self):
        ops = serial(("insert", [1, 0], [1, 0], "info"), ("insert", [1, 1], [1, 1], "info"), ("read", None, {1: [0, 1]}))
        self.found(skew.check(ops), "write-skew")

    def test_winner_lost(self):
        self.found(skew.check(serial(("insert", [1, 0], [1, 0]), ("read", None, {}))), "lost")


class Fork(Checker):
    def test_long_fork(self):
        ops = concurrent(("write", [0, 1], [0, 1]), ("write", [0, 2], [0, 2]), ("read", [0, None], [0, [1]]),
                         ("read", [0, None], [0, [2]]))
        self.found(fork.check(ops), "long-fork")

    def test_chain_of_reads(self):
        ops = concurrent(("write", [0, 1], [0, 1]), ("write", [0, 2], [0, 2]), ("read", [0, None], [0, [1]]),
                         ("read", [0, None], [0, []]), ("read", [0, None], [0, [1, 2]]), ("read", [0, None], [0, [1]]))
        self.found(fork.check(ops))

    def test_stale_and_unexpected(self):
        self.found(fork.check(serial(("write", [0, 1], [0, 1]), ("read", [0, None], [0, []]))), "stale")
        self.found(fork.check(serial(("write", [0, 1], [0, 1], "fail"), ("read", [0, None], [0, [1]]))), "unexpected")


class Monotonic(Checker):
    def test_valid(self):
        self.found(monotonic.check(serial(("add", [1, None], [1, 1]), ("read", [1, None], [1, 1]), ("add", [1, None], [1, 2]))))

    def test_back_in_time(self):
        ops = serial(("add", [1, None], [1, 1]), ("add", [1, None], [1, 2]), ("read", [1, None], [1, 1]), ("read", [1, None], [1, 2]))
        self.found(monotonic.check(ops), "not-monotonic")

    def test_back_in_time_within_a_session(self):
        lines = [(0, kind, "add", [1, value]) for kind, value in (("invoke", None), ("ok", 1))]
        lines += [(0, kind, "read", [1, value]) for kind, value in (("invoke", None), ("ok", 0))]
        lines += [(1, kind, "read", [1, value]) for kind, value in (("invoke", None), ("ok", 1))]
        self.found(monotonic.check(operations(*lines)), "not-monotonic-process")

    def test_same_value_twice(self):
        self.found(monotonic.check(concurrent(("add", [1, None], [1, 1]), ("add", [1, None], [1, 1]))), "lost-update")

    def test_lost_and_invented(self):
        self.found(monotonic.check(serial(("read", [1, None], [1, 5]))), "lost-or-invented")
        self.found(monotonic.check(serial(("add", [1, None], [1, 1]), ("read", [1, None], [1, 0]))), "not-monotonic",
                   "lost-or-invented")


class Knn(Checker):
    seed, dimensions = 5, 4

    def answer(self, query, rows, k):
        """The true answer among those (row, version)."""
        point = knn.vector(self.seed, self.dimensions, "query", query)
        near = sorted((knn.math.dist(point, knn.vector(self.seed, self.dimensions, *row)), row) for row in rows)
        return [[row, version, distance] for distance, (row, version) in near[:k]]

    def check(self, *steps):
        return knn.check(serial(*steps), self.seed, self.dimensions)

    inserts = [("insert", [row, 0], [row, 0]) for row in range(30)]
    rows = [(row, 0) for row in range(30)]

    def test_valid(self):
        self.found(self.check(*self.inserts, ("exact", [0, 5], self.answer(0, self.rows, 5)),
                              ("index", [1, 5], self.answer(1, self.rows, 5))))

    def test_neighbour_missing(self):
        answer = self.answer(0, self.rows, 6)
        self.found(self.check(*self.inserts, ("exact", [0, 5], answer[1:])), "neighbour-missing")

    def test_deleted_row(self):
        first = self.answer(0, self.rows, 5)[0][0]
        self.found(self.check(*self.inserts, ("delete", [first, 0], [first, 0, 1]),
                              ("index", [0, 5], self.answer(0, self.rows, 5))), "not-visible")

    def test_old_version(self):
        first = self.answer(0, self.rows, 5)[0][0]
        self.found(self.check(*self.inserts, ("update", [first, 1], [first, 1, 1]),
                              ("index", [0, 5], self.answer(0, self.rows, 5))), "not-visible")

    def test_uncommitted_row(self):
        answer = self.answer(0, self.rows + [(99, 0)], 31)
        self.found(self.check(*self.inserts, ("insert", [99, 0], [99, 0], "fail"), ("exact", [0, 31], answer)), "never-committed")

    def test_unknown_outcomes_either_way(self):
        unknown = [("insert", [99, 0], [99, 0], "info"), ("delete", [3, 0], [3, 0], "info"), ("update", [4, 1], [4, 1], "info")]
        others = [row for row in self.rows if row not in ((3, 0), (4, 0))]
        for rows in (self.rows, self.rows + [(99, 0)], others + [(4, 0)], others + [(4, 1), (99, 0)]):
            self.found(self.check(*self.inserts, *unknown, ("exact", [0, 40], self.answer(0, rows, 40))))

    def test_too_few_and_wrong_order_and_distance_and_twice(self):
        answer = self.answer(0, self.rows, 5)
        self.found(self.check(*self.inserts, ("index", [0, 5], answer[:4])), "too-few")
        self.found(self.check(*self.inserts, ("index", [0, 5], answer[::-1])), "wrong-order")
        wrong = [[answer[0][0], 0, answer[0][2] / 2]] + answer[1:]
        self.found(self.check(*self.inserts, ("index", [0, 5], wrong)), "wrong-distance")
        self.found(self.check(*self.inserts, ("index", [0, 5], answer[:1] + answer[:4])), "row-twice")

    def test_recall_floor(self):
        far = self.answer(0, self.rows, 30)[-5:]
        self.found(self.check(*self.inserts, ("index", [0, 5], far)), "recall")

    def test_own_row_missing(self):
        self.found(self.check(*self.inserts, ("delete", [3, 0], [3, 0, 0]), ("exact", [0, 1], self.answer(0, self.rows[5:], 1))),
                   *({"own-row-missing"} | set(self.check(*self.inserts, ("exact", [0, 1], self.answer(0, self.rows[5:], 1))).counts)))


if __name__ == "__main__":
    unittest.main()
