"""Linearizability: short histories by hand, and random ones against a search that tries every order."""

import itertools
import random
import unittest

from histories import concurrent, operations, serial

from checkers import register


def verdict(ops, **options):
    return register.check_key(ops, **options)[0]


def brute_force(ops):
    """Every order that respects real time, with every choice of operations of unknown outcome."""
    sure = [op for op in ops if op.type == "ok"]
    unknown = [op for op in ops if op.type == "info" and op.f != "read"]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations(sure + list(chosen)):
                if _possible(order):
                    return "valid"
    return "invalid"


def _possible(order):
    for i, first in enumerate(order):
        if any(second.end is not None and second.end < first.begin for second in order[i + 1:]):
            return False
    state = None
    for op in order:
        if op.f == "write":
            state = op.argument
        elif op.f == "read":
            if state != op.value:
                return False
        elif state != op.argument[0]:
            return False
        else:
            state = op.argument[1]
    return True


class Register(unittest.TestCase):
    def test_serial(self):
        self.assertEqual(verdict(serial(("read", None, None), ("write", 1, 1), ("cas", [1, 2], [1, 2]), ("read", None, 2))), "valid")

    def test_stale_read(self):
        self.assertEqual(verdict(serial(("write", 1, 1), ("write", 2, 2), ("read", None, 1))), "invalid")

    def test_read_of_a_concurrent_write_may_be_old_or_new(self):
        for seen in (None, 1):
            self.assertEqual(verdict(concurrent(("write", 1, 1), ("read", None, seen))), "valid")

    def test_new_then_old_is_invalid_even_during_the_write(self):
        ops = operations((0, "invoke", "write", 1), (1, "invoke", "read", None), (1, "ok", "read", 1),
                         (2, "invoke", "read", None), (2, "ok", "read", None), (0, "ok", "write", 1))
        self.assertEqual(verdict(ops), "invalid")

    def test_failed_write_never_shows(self):
        self.assertEqual(verdict(serial(("write", 1, 1, "fail"), ("read", None, 1))), "invalid")

    def test_unknown_write_may_show_late_but_only_once(self):
        self.assertEqual(verdict(serial(("write", 1, 1, "info"), ("read", None, None), ("read", None, 1))), "valid")
        self.assertEqual(verdict(serial(("write", 1, 1, "info"), ("read", None, 1), ("write", 2, 2), ("read", None, 1))),
                         "invalid")

    def test_two_compare_and_sets_from_one_value(self):
        self.assertEqual(verdict(serial(("write", 1, 1), ("cas", [1, 2], [1, 2]), ("cas", [1, 3], [1, 3]))), "invalid")

    def test_lost_acknowledged_write(self):
        self.assertEqual(verdict(serial(("write", 1, 1), ("read", None, None))), "invalid")

    def test_many_unknown_writes_stay_tractable(self):
        steps = [("write", n, n, "info") for n in range(200)] + [("write", 1000, 1000), ("read", None, 1000), ("read", None, 77)]
        self.assertEqual(verdict(serial(*steps), budget=200_000), "valid")

    def test_budget_gives_no_verdict(self):
        self.assertEqual(verdict(concurrent(*[("write", n, n) for n in range(12)], ("read", None, 99)), budget=3), "unknown")

    def test_random_histories_agree_with_brute_force(self):
        seen = set()
        for seed in range(400):
            rng = random.Random(seed)
            ops = self._random(rng)
            expected = brute_force(ops)
            seen.add(expected)
            self.assertEqual(verdict(ops), expected, ops)
        self.assertEqual(seen, {"valid", "invalid"})

    @staticmethod
    def _random(rng):
        lines, open_ops, count, process = [], {}, 0, 0
        while count < 6 or open_ops:
            if open_ops and (count >= 6 or rng.random() < 0.5):
                who = rng.choice(sorted(open_ops))
                f, argument = open_ops.pop(who)
                value = rng.choice((None, 0, 1)) if f == "read" else argument
                lines.append((who, rng.choice(("ok", "ok", "ok", "info", "fail")), f, value))
            else:
                f = rng.choice(("read", "write", "cas"))
                argument = {"read": None, "write": rng.randrange(2), "cas": [rng.randrange(2), rng.randrange(2)]}[f]
                open_ops[process] = (f, argument)
                lines.append((process, "invoke", f, argument))
                process, count = process + 1, count + 1
        return operations(*lines)

    def test_keys_are_judged_alone(self):
        ops = serial(("write", [1, 1], [1, 1]), ("write", [2, 2], [2, 2]), ("read", [1, None], [1, 1]), ("read", [2, None], [2, 1]))
        result = register.check(ops)
        self.assertEqual(result.counts, {"not-linearizable": 1})


if __name__ == "__main__":
    unittest.main()
