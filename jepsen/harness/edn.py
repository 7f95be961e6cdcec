"""EDN, as far as histories need it: nil, booleans, numbers, strings, keywords, vectors, lists, maps, sets.

https://github.com/edn-format/edn. Symbols, characters, tags and discards do not occur in a history and are refused.
"""

import re


class Keyword(str):
    """`:name`; equal to the plain string, so that checkers may compare with either."""

    __slots__ = ()

    def __repr__(self):
        return ":" + str(self)


class EdnError(ValueError):
    pass


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "b": "\b", "f": "\f"}
_TOKEN = re.compile(r"""[\s,]*(?:;[^\n]*\n[\s,]*)*(?:
    (?P<open>\#\{|[\[({])|(?P<close>[\])}])
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<keyword>:[^\s,\[\](){}"]+)
    |(?P<atom>[^\s,\[\](){}";]+)
    |(?P<end>\Z))""", re.VERBOSE | re.DOTALL)
_CLOSING = {"[": "]", "(": ")", "{": "}", "#{": "}"}


def _string(text):
    return '"' + re.sub(r'[\\"\n\r\t]', lambda m: _ESCAPES[m.group()], text) + '"'


def dumps(value):
    """The text of a value; tuples and lists are vectors, dict keys that are plain strings become keywords."""
    if value is None:
        return "nil"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Keyword):
        return ":" + value
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(dumps, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{':' + k if isinstance(k, str) else dumps(k)} {dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "#{" + " ".join(map(dumps, sorted(value))) + "}"
    raise EdnError(f"{type(value).__name__} has no EDN form")


def _atom(text):
    if text == "nil":
        return None
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text[:-1] if text.endswith("N") else text)
    except ValueError:
        pass
    try:
        return float(text[:-1] if text.endswith("M") else text)
    except ValueError:
        raise EdnError(f"not understood: {text[:40]}") from None


def _close(opening, items):
    if opening in ("[", "("):
        return items
    if opening == "#{":
        return set(items)
    if len(items) % 2:
        raise EdnError("a map with a key that has no value")
    return dict(zip(items[::2], items[1::2]))


def parse(text):
    """Yields the values that the text holds one after the other."""
    position, stack = 0, []
    while True:
        match = _TOKEN.match(text, position)
        if not match:
            raise EdnError(f"not understood at offset {position}")
        kind, token, position = match.lastgroup, match.group(match.lastgroup), match.end()
        if kind == "end":
            if stack:
                raise EdnError(f"the text ends within {stack[-1][0]}")
            return
        if kind == "open":
            stack.append((token, []))
            continue
        if kind == "close":
            if not stack or _CLOSING[stack[-1][0]] != token:
                raise EdnError(f"unexpected {token} at offset {position}")
            value = _close(*stack.pop())
        elif kind == "string":
            value = re.sub(r"\\(.)", lambda m: _UNESCAPES.get(m.group(1), m.group(1)), token[1:-1], flags=re.DOTALL)
        elif kind == "keyword":
            value = Keyword(token[1:])
        else:
            value = _atom(token)
        if stack:
            stack[-1][1].append(value)
        else:
            yield value
