"""Short notation for histories in tests."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import edn, history  # noqa: E402

_TYPES = {"ok": history.OK, "fail": history.FAIL, "info": history.INFO}


def events(*lines):
    """Each line is (process, "invoke" | "ok" | "fail" | "info", f, value)."""
    kinds = {**_TYPES, "invoke": history.INVOKE}
    return [history.Event(kinds[kind], f, value, process, index=i, time_ns=i) for i, (process, kind, f, value) in enumerate(lines)]


def serial(*steps):
    """Operations one after the other, by one process each: (f, argument, value) is ok, (f, argument, value, type) is not."""
    lines = []
    for process, (f, argument, value, *kind) in enumerate(steps):
        lines += [(process, "invoke", f, argument), (process, kind[0] if kind else "ok", f, value)]
    return history.operations(events(*lines))


def concurrent(*steps):
    """The same, but all begin before the first ends."""
    lines = [(process, "invoke", step[0], step[1]) for process, step in enumerate(steps)]
    lines += [(process, (step[3:] or ["ok"])[0], step[0], step[2]) for process, step in enumerate(steps)]
    return history.operations(events(*lines))


def operations(*lines):
    return history.operations(events(*lines))


def txn(text):
    """A transaction in short: "a1=5 r1=5,6 r2=" -> [[append 1 5] [r 1 [5 6]] [r 2 []]]."""
    steps = []
    for word in text.split():
        key, value = word[1:].split("=")
        if word[0] == "a":
            steps.append([edn.Keyword("append"), int(key), int(value)])
        else:
            steps.append([edn.Keyword("r"), int(key), [int(v) for v in value.split(",") if v]])
    return steps


def txns(make, *texts):
    """make is serial or concurrent; a text that begins with ! failed, one with ? has an unknown outcome."""
    steps = []
    for text in texts:
        kind = {"!": "fail", "?": "info"}.get(text[0], "ok")
        value = txn(text.lstrip("!?"))
        steps.append(("txn", [[f, k, None if f == "r" else v] for f, k, v in value], value, kind))
    return make(*steps)
