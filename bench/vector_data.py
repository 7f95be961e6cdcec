"""The vectors that bench_vector.py measures with, as files that every engine's process reads.

A folder of its own for each set: `base` and `queries` (float32), `truth` (int32, the 100 nearest of each query), `marks`
(uint16, two of each row: one by chance, one along the axis of the largest variance), `centers` (the same two of each
query), and for each filter `filter-KIND-PERMILLE` (int32, the 10 nearest that match, of the first FILTER_QUERIES), and
`about.json`. A row matches a filter of p permille where its mark is in the window of that width around the query's
center. Kinds: `random` has nothing to do with distance, `near` lets those match that resemble the query, `far` those
that resemble it least.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRUTH_K, K, QUERIES, FILTER_QUERIES = 100, 10, 1000, 200
KINDS = ("random", "near", "far")
PERMILLES = (10, 100, 500, 900)


# ---- where they come from ----


def unzstd(path):
    return np.frombuffer(subprocess.run(["zstd", "-dc", str(path)], check=True, capture_output=True).stdout, np.uint8)


def fashion(folder, rows):
    """Fashion-MNIST where it is there, else generated images of its kind: ten sorts, each of a few dimensions."""
    files = pathlib.Path(folder) / "fashion-mnist"
    rows = min(rows or 60_000, 60_000)
    if (files / "base.u8.zst").exists():
        base = unzstd(files / "base.u8.zst").reshape(-1, 784).astype(np.float32)[:rows]
        queries = unzstd(files / "query.u8.zst").reshape(-1, 784).astype(np.float32)[:QUERIES]
        return f"fashion-mnist {rows} x 784", base, queries, "l2"
    print("fashion: the images are not there; generated ones of their kind instead", file=sys.stderr)
    r = np.random.default_rng(20260103)
    sort = r.integers(0, 10, rows + QUERIES)
    axes = r.standard_normal((10, 24, 784), dtype=np.float32)
    means = r.uniform(0, 160, (10, 784)).astype(np.float32)
    along = 14 * r.standard_normal((rows + QUERIES, 24), dtype=np.float32)
    v = np.stack([means[s] + a @ axes[s] for s, a in zip(sort, along)])
    v = np.clip(np.rint(v + 4 * r.standard_normal(v.shape, dtype=np.float32)), 0, 255).astype(np.float32)
    return f"fashion-like {rows} x 784", v[:rows], v[rows:], "l2"


def unit(v):
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return v


def packages(folder, rows):
    """The demo's: 20,000 descriptions of Debian packages, and the queries that people might ask."""
    del folder
    sys.path.insert(0, str(ROOT / "bench/data"))
    import package_data

    data = package_data.PackageData()
    rows = min(rows or len(data.rows), len(data.rows))
    base = np.array([data.row_vector(i) for i in range(rows)], np.float32)
    queries = np.array([data.query_vector(i) for i in range(len(data.queries))], np.float32)
    return f"package embeddings {rows} x {data.dimensions}", unit(base), unit(queries), "cosine"


def clustered(dimensions):
    """Centers and noise in 32 random directions, with a little noise in all, as embeddings fill a smaller space."""

    def make(folder, rows):
        del folder
        rows = rows or 1_000_000
        r = np.random.default_rng(20260101)
        n = rows + QUERIES
        directions = r.standard_normal((32, dimensions)).astype(np.float32) / dimensions**0.5
        centers = r.standard_normal((1000, 32)).astype(np.float32)
        along = centers[r.integers(0, 1000, n)] + 0.5 * r.standard_normal((n, 32), dtype=np.float32)
        v = along.astype(np.float32) @ directions.astype(np.float32)
        for at in range(0, n, 65536):  # in parts, for memory
            part = v[at : at + 65536]
            part += 0.1 / dimensions**0.5 * r.standard_normal(part.shape, dtype=np.float32)
        v = unit(v)
        return f"clustered {rows} x {dimensions}", v[:rows], v[rows:], "cosine"

    return make


def spread(folder, rows):
    """Variance in all dimensions, falling slowly: the hard kind, where few dimensions do not do."""
    del folder
    rows, dimensions = rows or 100_000, 384
    r = np.random.default_rng(20260102)
    scale = (np.arange(1, dimensions + 1) ** -0.5).astype(np.float32)
    centers = r.standard_normal((2000, dimensions), dtype=np.float32)
    v = centers[r.integers(0, 2000, rows + QUERIES)]
    v += 0.8 * r.standard_normal(v.shape, dtype=np.float32)
    v = unit(v * scale)
    return f"spread {rows} x {dimensions}", v[:rows], v[rows:], "cosine"


SETS = {
    "fashion": fashion,
    "packages": packages,
    "spread": spread,
    "clustered128": clustered(128),
    "clustered384": clustered(384),
}


# ---- what the answers are ----


def matches(marks, center, permille):
    width = permille * 65536 // 1000
    return (marks - np.uint16(center) + np.uint16(width // 2)) < width


def ranks(values, among):
    """The place of each value among others, as a share of 65,536."""
    order = np.sort(among)
    return (np.searchsorted(order, values) * 65535 // max(1, len(order))).astype(np.uint16)


def make_marks(base, queries):
    r = np.random.default_rng(7)
    sample = base[:: max(1, len(base) // 5000)]
    sample = sample - sample.mean(axis=0)
    axis = np.linalg.eigh(sample.T @ sample)[1][:, -1].astype(np.float32)
    along = base @ axis
    marks = np.stack([r.permutation(len(base)) * 65536 // len(base), ranks(along, along)], axis=1).astype(np.uint16)
    centers = np.stack([r.integers(0, 65536, len(queries)), ranks(queries @ axis, along)], axis=1).astype(np.uint16)
    return marks, centers


def column_and_center(kind, center):
    """Which of the two marks a kind of filter looks at, and around what."""
    if kind == "random":
        return 0, center[0]
    return 1, center[1] if kind == "near" else (int(center[1]) + 32768) % 65536


def nearest(distances, k, of=None):
    at = np.argpartition(distances, k)[:k] if len(distances) > k else np.arange(len(distances))
    at = at[np.argsort(distances[at], kind="stable")]
    return at if of is None else of[at]


def answers(base, queries, metric, marks, centers):
    """Exact neighbours, and those that match each filter."""
    truth = np.empty((len(queries), TRUTH_K), np.int32)
    n_filtered = min(FILTER_QUERIES, len(queries))
    filtered = {(kind, p): np.full((n_filtered, K), -1, np.int32) for kind in KINDS for p in PERMILLES}
    norms = np.einsum("ij,ij->i", base, base) if metric == "l2" else None
    for first in range(0, len(queries), 50):
        block = queries[first : first + 50]
        products = block @ base.T
        for q, product in enumerate(products, first):
            d = norms - 2 * product if metric == "l2" else -product
            truth[q] = nearest(d, TRUTH_K)
            if q >= n_filtered:
                continue
            for (kind, permille), out in filtered.items():
                column, center = column_and_center(kind, centers[q])
                at = np.flatnonzero(matches(marks[:, column], center, permille))
                found = nearest(d[at], K, at)
                out[q, : len(found)] = found
    return truth, filtered


# ---- the folder ----


def prepare(name, rows, source, cache):
    """The folder of a set, made unless it is there already, and what about.json says of it."""
    folder = pathlib.Path(cache) / (f"{name}-{rows}" if rows else name)
    about = folder / "about.json"
    if not about.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{name}: making vectors and finding their exact neighbours", file=sys.stderr)
        title, base, queries, metric = SETS[name](source, rows)
        marks, centers = make_marks(base, queries)
        truth, filtered = answers(base, queries, metric, marks, centers)
        for file, data in (("base", base), ("queries", queries), ("truth", truth), ("marks", marks), ("centers", centers)):
            np.ascontiguousarray(data).tofile(folder / file)
        for (kind, permille), data in filtered.items():
            data.tofile(folder / f"filter-{kind}-{permille}")
        text = json.dumps({"title": title, "rows": len(base), "dimensions": base.shape[1], "queries": len(queries),
                           "metric": metric})
        part = about.with_suffix(".part")
        part.write_text(text)
        os.replace(part, about)
    return folder, json.loads(about.read_text())
