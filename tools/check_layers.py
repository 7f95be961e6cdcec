#!/usr/bin/env python3
"""The house's rule: a folder includes only itself and what it may stand on. docs: README.md of each folder."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PUBLIC = {"client/gnomon.h"}  # what client and ops may see of the rest
ALLOWED = {
    "base": set(),
    "net": {"base"},
    "index": {"base"},
    "query": {"base", "index"},
    "raft": {"base"},
    "shard": {"base", "index", "query", "raft"},
    "cluster": {"base", "net", "index", "query", "raft", "shard"},
    "coord": {"base", "net", "index", "query", "raft", "shard", "cluster"},
    "node": {"base", "net", "index", "query", "raft", "shard", "cluster", "coord"},
    "client": {"base"},
    "ops": {"base", "net", "client"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def violations():
    for folder, below in ALLOWED.items():
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in {".c", ".h", ".cc", ".y", ".inc"}:
                continue
            for name in INCLUDE.findall(path.read_text()):
                head = name.split("/", 1)[0] if "/" in name else folder
                if head in ALLOWED and head != folder and head not in below and name not in PUBLIC:
                    yield f"{path.relative_to(ROOT)}: includes \"{name}\"; {folder}/ may use only {sorted(below)}"
                if head != folder and name.endswith("_private.h"):
                    yield f"{path.relative_to(ROOT)}: includes \"{name}\", which is private to {head}/"


def main():
    found = list(violations())
    print("\n".join(found) if found else "layers: every include goes down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
