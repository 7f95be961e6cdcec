#!/usr/bin/env python3
"""The vector index beside its peers, over the same vectors and in turn, one thread each.

    bench/bench_vector.py [--build build] [--data fashion-mnist,clustered,spread] [--n 100000] [--dimensions 384]
                          [--codes auto,sq8,rabitq4] [--peers faiss,hnswlib,usearch] [--out build/bench] [--quick]

Needs numpy; measures those peers that can be imported (faiss-cpu, hnswlib, usearch from the package index, or Debian's
hnswlib through bench_hnsw). Prints a line of JSON a figure as the other benchmarks do, and draws recall against searches
a second where matplotlib is there. Rates are by CPU time of the searching thread, the best of three rounds, because
machines have other work; the rounds of all engines go in turn.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

EFS = [10, 12, 16, 24, 32, 48, 64, 100, 160, 250, 400]
ROUNDS = 3
RECALLS = [0.90, 0.95, 0.99]


# ---- vectors ----


def unzstd(path):
    return np.frombuffer(subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout, dtype=np.uint8)


def fashion_mnist(folder, n):
    base = unzstd(f"{folder}/fashion-mnist/base.u8.zst").reshape(-1, 784).astype(np.float32)[:n]
    queries = unzstd(f"{folder}/fashion-mnist/query.u8.zst").reshape(-1, 784).astype(np.float32)[:1000]
    return base, queries, "l2"


def unit(v):
    return (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)


def clustered(n, dimensions):
    """Centers and noise in 32 random directions, with a little noise in all."""
    r = np.random.default_rng(20260101)
    directions = r.standard_normal((32, dimensions)).astype(np.float32) / dimensions**0.5
    centers = r.standard_normal((1000, 32)).astype(np.float32)
    along = centers[r.integers(0, 1000, n + 1000)] + 0.5 * r.standard_normal((n + 1000, 32), dtype=np.float32)
    v = along @ directions + 0.1 / dimensions**0.5 * r.standard_normal((n + 1000, dimensions), dtype=np.float32)
    v = unit(v)
    return v[:n], v[n:], "cosine"


def spread(n, dimensions):
    """Variance in all dimensions, falling slowly, as that of sentence embeddings does: the hard kind."""
    r = np.random.default_rng(20260102)
    scale = (np.arange(1, dimensions + 1) ** -0.5).astype(np.float32)
    centers = r.standard_normal((2000, dimensions), dtype=np.float32)
    v = centers[r.integers(0, 2000, n + 1000)] + 0.8 * r.standard_normal((n + 1000, dimensions), dtype=np.float32)
    v = unit(v * scale)
    return v[:n], v[n:], "cosine"


def exact(base, queries, metric, k=100):
    best = []
    norms = (base**2).sum(axis=1)
    for q in np.array_split(queries, max(1, len(queries) // 100)):
        d = -(q @ base.T) if metric != "l2" else norms - 2 * (q @ base.T)
        at = np.argpartition(d, k, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(d, at, axis=1), axis=1)
        best.append(np.take_along_axis(at, order, axis=1))
    return np.concatenate(best).astype(np.int32)


# ---- engines: build(), search(ef) -> (recall, searches a second) ----


class Gnomon:
    def __init__(self, program, files, dimensions, metric, codes):
        self.name = f"gnomon {codes}"
        self.codes = codes
        self.process = subprocess.Popen(
            [program, *files, str(dimensions), metric], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"bench_vector ended at: {line}")
        return json.loads(answer)

    def build(self, m, ef_construction, threads):
        return self.ask(f"build {self.codes} {m} {ef_construction} {threads}")["cpu_seconds"]

    def search(self, ef):
        a = self.ask(f"search {ef} 10 1")
        return a["recall"], a["qps"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """One that is called in this process; search_all gives ids of the 10 nearest of each query."""

    def __init__(self, base, queries, truth, metric):
        self.base, self.queries, self.truth, self.metric = base, queries, truth[:, :10], metric

    def build(self, m, ef_construction, threads):
        began = time.process_time()
        self.make(m, ef_construction, threads)
        return time.process_time() - began

    def search(self, ef):
        began = time.process_time()
        ids = self.search_all(ef)
        seconds = time.process_time() - began
        hits = sum(len(np.intersect1d(a, b)) for a, b in zip(ids, self.truth))
        return hits / self.truth.size, len(self.queries) / seconds

    def close(self):
        pass


class Faiss(Peer):
    def __init__(self, *args, factory="HNSW{m},Flat"):
        super().__init__(*args)
        self.factory = factory
        self.name = "faiss " + ("float32" if "Flat" in factory else "sq8")

    def make(self, m, ef_construction, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(self.base.shape[1], self.factory.format(m=m), metric)
        self.index.hnsw.efConstruction = ef_construction
        self.index.train(self.base)
        self.index.add(self.base)
        faiss.omp_set_num_threads(1)

    def search_all(self, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(self.queries, 10)[1]


class Hnswlib(Peer):
    name = "hnswlib float32"

    def make(self, m, ef_construction, threads):
        import hnswlib

        self.index = hnswlib.Index(space="l2" if self.metric == "l2" else "ip", dim=self.base.shape[1])
        self.index.init_index(max_elements=len(self.base), M=m, ef_construction=ef_construction)
        self.index.add_items(self.base, num_threads=threads)

    def search_all(self, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(self.queries, k=10, num_threads=1)[0]


class Usearch(Peer):
    def __init__(self, *args, kind="f32"):
        super().__init__(*args)
        self.kind = kind
        self.name = "usearch " + {"f32": "float32", "i8": "int8"}[kind]

    def make(self, m, ef_construction, threads):
        from usearch.index import Index

        metric = "l2sq" if self.metric == "l2" else "ip"
        self.index = Index(
            ndim=self.base.shape[1], metric=metric, dtype=self.kind, connectivity=m, expansion_add=ef_construction
        )
        self.index.add(np.arange(len(self.base)), self.base, threads=threads)

    def search_all(self, ef):
        self.index.expansion_search = ef
        return self.index.search(self.queries, 10, threads=1).keys


def peers(names, args):
    made = []
    for name in names:
        try:
            __import__(name)
        except ImportError:
            print(f"{name}: not there, left out", file=sys.stderr)
            continue
        if name == "faiss":
            made += [Faiss(*args), Faiss(*args, factory="HNSW{m},SQ8")]
        elif name == "hnswlib":
            made.append(Hnswlib(*args))
        elif name == "usearch":
            made.append(Usearch(*args))
            if args[3] != "l2":  # its int8 is for unit vectors
                made.append(Usearch(*args, kind="i8"))
    return made


# ---- measuring ----


def report(engine, dataset, metric, value, unit_name):
    line = {"bench": "vector", "engine": engine, "dataset": dataset, "metric": metric, "value": value}
    print(json.dumps({**line, "unit": unit_name}), flush=True)


def rate_at(curve, recall):
    """Between two measured points of a curve, by the logarithm of the rate; None where it does not get there."""
    best = None
    for (r0, q0), (r1, q1) in zip(curve, curve[1:]):
        if r0 <= recall <= r1 and r1 > r0:
            share = (recall - r0) / (r1 - r0)
            rate = float(np.exp(np.log(q0) * (1 - share) + np.log(q1) * share))
            best = max(best or 0, rate)
    if best is None and curve and curve[0][0] > recall:
        best = curve[0][1]
    return best


def measure(engines, dataset, n, m, ef_construction, threads):
    curves = {}
    for e in engines:
        seconds = e.build(m, ef_construction, threads)
        report(e.name, dataset, "vectors built", round(n / seconds), "1/s")
        curves[e.name] = []
    for ef in EFS:
        rates = {e.name: [] for e in engines}
        recalls = {}
        for _ in range(ROUNDS):
            for e in engines:
                recalls[e.name], rate = e.search(ef)
                rates[e.name].append(rate)
        for e in engines:
            curves[e.name].append((recalls[e.name], max(rates[e.name])))
            report(e.name, dataset, f"recall@10 at ef {ef}", round(recalls[e.name], 4), "share")
            report(e.name, dataset, f"searches at ef {ef}", round(max(rates[e.name])), "1/s")
    for name, curve in curves.items():
        for recall in RECALLS:
            rate = rate_at(curve, recall)
            if rate:
                report(name, dataset, f"searches at recall {recall:.2f}", round(rate), "1/s")
    return curves


def plot(curves, dataset, folder):
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, curve in curves.items():
        shown = [(r, q) for r, q in curve if r >= 0.8]
        axes.plot([r for r, _ in shown], [q for _, q in shown], marker="o", label=name)
    axes.set(title=dataset, xlabel="recall@10", ylabel="searches/s, one thread", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    path = f"{folder}/{dataset.replace(' ', '-')}.png"
    figure.savefig(path, dpi=120)
    print(path, file=sys.stderr)


def special(engine, dataset):
    """What peers do differently or not at all: filters, deletes, opening."""
    for permille in (900, 950, 990):
        a = engine.ask(f"target {permille} 10 3")
        report(engine.name, dataset, f"recall@10 for a target of {permille / 1000}", a["recall"], "share")
        report(engine.name, dataset, f"searches for a target of {permille / 1000}", a["qps"], "1/s")
    for percent in (1, 10, 50, 90):
        for ef in (24, 64):
            a = engine.ask(f"filter {ef} 10 {percent}")
            report(engine.name, dataset, f"searches at ef {ef}, {percent} % match", a["qps"], "1/s")
            report(engine.name, dataset, f"recall@10 at ef {ef}, {percent} % match", a["recall"], "share")
            report(engine.name, dataset, f"short results, {percent} % match", a["short"], "searches")
    for percent in (1, 10):
        a = engine.ask(f"keys 24 10 {percent}")
        report(engine.name, dataset, f"searches over a list of {percent} %", a["qps"], "1/s")
    engine.ask("delete 50")
    engine.ask("merge")
    for ef in (24, 64):
        a = engine.ask(f"search {ef} 10 3")
        report(engine.name, dataset, f"recall@10 at ef {ef}, half deleted and merged", a["recall"], "share")
        report(engine.name, dataset, f"searches at ef {ef}, half deleted and merged", a["qps"], "1/s")
    report(engine.name, dataset, "open after a clean stop", engine.ask("reopen")["open_ms"], "ms")


def run(dataset, base, queries, metric, args):
    truth = exact(base, queries, metric)
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/base", f"{folder}/queries", f"{folder}/truth"]
        for path, data in zip(files, (base, queries, truth)):
            data.tofile(path)
        program = f"{args.build}/bench/bench_vector"
        ours = [Gnomon(program, files, base.shape[1], metric, c) for c in args.codes.split(",")]
        theirs = peers([p for p in args.peers.split(",") if p], (base, queries, truth, metric))
        curves = measure(ours + theirs, dataset, len(base), args.m, args.ef_construction, args.threads)
        plot(curves, dataset, args.out)
        special(ours[0], dataset)
        for e in ours + theirs:
            e.close()


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=f"{here}/build")
    p.add_argument("--data", default="fashion-mnist,clustered,spread")
    p.add_argument("--folder", default=os.environ.get("GNOMON_BENCH_DATA", f"{here}/../shared/data"))
    p.add_argument("--n", type=int, default=100000)
    p.add_argument("--dimensions", type=int, default=384)
    p.add_argument("--codes", default="auto")
    p.add_argument("--peers", default="faiss,hnswlib,usearch")
    p.add_argument("--m", type=int, default=16)
    p.add_argument("--ef-construction", type=int, default=100)
    p.add_argument("--threads", type=int, default=1, help="of a build")
    p.add_argument("--out", default=f"{here}/build/bench")
    p.add_argument("--quick", action="store_true")
    args = p.parse_args()
    if args.quick:
        args.n, args.dimensions = 10000, 128
    os.makedirs(args.out, exist_ok=True)
    for name in args.data.split(","):
        if name == "fashion-mnist":
            if not os.path.exists(f"{args.folder}/fashion-mnist/base.u8.zst"):
                print("fashion-mnist: not there, left out", file=sys.stderr)
                continue
            base, queries, metric = fashion_mnist(args.folder, 10000 if args.quick else 60000)
        elif name in ("clustered", "spread"):
            base, queries, metric = {"clustered": clustered, "spread": spread}[name](args.n, args.dimensions)
        else:
            p.error(f"unknown data {name}")
        run(f"{name} {len(base)} x {base.shape[1]}", base, queries, metric, args)


if __name__ == "__main__":
    main()
