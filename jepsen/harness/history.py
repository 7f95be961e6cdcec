"""A history: what every client asked and was told, in the one order in which the harness saw it.

An operation is an `:invoke` and later, by the same process, one completion: `:ok`, `:fail` (certainly had no effect) or
`:info` (may have had, now or at any later time). A process whose operation ended in `:info` never acts again. Times are
nanoseconds of a monotonic clock. An invocation is recorded before anything is sent, a completion after everything was
received: so if A's completion stands before B's invocation, A really ended before B began.
"""

import threading
import time

from harness import edn

INVOKE, OK, FAIL, INFO = (edn.Keyword(word) for word in ("invoke", "ok", "fail", "info"))
NEMESIS = edn.Keyword("nemesis")


class Event:
    """One line of a history."""

    __slots__ = ("index", "time", "type", "f", "value", "process", "error", "node")

    def __init__(self, kind, f, value, process, time_ns=0, index=0, error=None, node=None):
        self.type, self.f, self.value, self.process = kind, f, value, process
        self.time, self.index, self.error, self.node = time_ns, index, error, node

    def to_edn(self):
        fields = {"type": self.type, "f": edn.Keyword(self.f), "value": self.value, "process": self.process,
                  "time": self.time, "index": self.index}
        if self.error is not None:
            fields["error"] = self.error
        if self.node is not None:
            fields["node"] = self.node
        return edn.dumps(fields)


class Operation:
    """An invocation with its completion; type is OK, FAIL or INFO (also when no completion was recorded)."""

    __slots__ = ("f", "process", "type", "argument", "value", "begin", "end", "node", "error")

    def __init__(self, invocation, completion):
        self.f, self.process, self.argument = invocation.f, invocation.process, invocation.value
        self.begin, self.node = invocation.index, invocation.node
        self.type = completion.type if completion else INFO
        self.value = completion.value if completion and completion.type == OK else None
        self.end = completion.index if completion and completion.type != INFO else None  # None: never
        self.error = completion.error if completion else None

    def __repr__(self):
        value = self.value if self.type == OK else self.argument
        return f"{{index {self.begin}, process {self.process}, {self.type} {self.f} {edn.dumps(value)}}}"


class Recorder:
    """Collects events from many threads."""

    def __init__(self):
        self._lock, self._events, self._start = threading.Lock(), [], time.monotonic_ns()

    def add(self, kind, f, value, process, error=None, node=None):
        event = Event(kind, f, value, process, error=error, node=node)
        with self._lock:
            event.time, event.index = time.monotonic_ns() - self._start, len(self._events)
            self._events.append(event)
        return event

    def events(self):
        with self._lock:
            return list(self._events)


def write(events, path, header):
    """header: a map that stands first, in a comment-free form of its own (`{:header {...}}`)."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(edn.dumps({"header": header}) + "\n")
        for event in events:
            file.write(event.to_edn() + "\n")


def read(path):
    """(header, events); the header is {} in a history that others wrote."""
    header, events = {}, []
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for form in edn.parse(text):
        forms = form if isinstance(form, list) else [form]
        for item in forms:
            if not isinstance(item, dict):
                raise edn.EdnError("a history holds maps")
            if "header" in item:
                header = item["header"]
                continue
            for field in ("type", "f", "process"):
                if field not in item:
                    raise edn.EdnError(f"an event without :{field}")
            events.append(Event(item["type"], item["f"], item.get("value"), item["process"], item.get("time", 0),
                                item.get("index", len(events)), item.get("error"), item.get("node")))
    return header, events


def operations(events):
    """Pairs invocations with completions, in order of invocation; the nemesis is left out."""
    result, open_ops = [], {}
    for event in events:
        if event.process == NEMESIS:
            continue
        if event.type == INVOKE:
            if event.process in open_ops:
                raise ValueError(f"process {event.process} begins at index {event.index} what it has not ended")
            open_ops[event.process] = (event, len(result))
            result.append(None)
            continue
        if event.process not in open_ops:
            raise ValueError(f"process {event.process} ends at index {event.index} what it has not begun")
        invocation, place = open_ops.pop(event.process)
        result[place] = Operation(invocation, event)
    for invocation, place in open_ops.values():
        result[place] = Operation(invocation, None)
    return result
