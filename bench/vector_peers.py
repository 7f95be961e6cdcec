#!/usr/bin/env python3
"""A peer of the vector index, driven by the commands of bench_vector.c on standard input; see bench_vector.py.

    vector_peers.py ENGINE FOLDER DIMENSIONS l2|cosine

Peers are asked the way in which they are fastest: all queries in one call, which hands them to the library's own threads,
and also one query a call in one thread; the better rate counts. The 50th and 99th percentile are of single calls, and
their Python, some microseconds, is in them. Rates are by CPU time, as there.
"""

import json
import os
import sys
import tempfile
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # CPU time is of work, not of waiting for each other

import numpy as np  # noqa: E402

import vector_data  # noqa: E402

K = vector_data.K


class Peer:
    """What an engine can do; what it cannot is None."""

    filtered = delete = single = None

    def __init__(self, dimensions, metric):
        self.dimensions, self.metric = dimensions, metric


class Faiss(Peer):
    factory = "HNSW{m},Flat"

    def make(self, base, m, ef_construction, threads):
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(self.dimensions, self.factory.format(m=m), metric)
        self.index.hnsw.efConstruction = ef_construction
        self.index.train(base)
        self.index.add(base)

    def batch(self, queries, ef, threads):
        self.faiss.omp_set_num_threads(threads)
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, K)[1]

    def single(self, query, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(query, K)[1]

    def filtered(self, query, ef, matching):
        """The bitmap is made outside of what is measured."""
        self.faiss.omp_set_num_threads(1)
        bitmap = np.packbits(matching, bitorder="little")
        selector = self.faiss.IDSelectorBitmap(bitmap)
        parameters = self.faiss.SearchParametersHNSW(efSearch=ef, sel=selector)
        began = time.thread_time()
        found = self.index.search(query, K, params=parameters)[1]
        return found, time.thread_time() - began

    def save(self, path):
        self.faiss.write_index(self.index, path)

    def open(self, path):
        self.index = None
        began = time.perf_counter()
        self.index = self.faiss.read_index(path)
        return time.perf_counter() - began

    def about(self):
        faiss = __import__("faiss")
        level = getattr(faiss, "SIMDConfig", None)
        level = level.get_level_name() if level else faiss.get_compile_options()
        return f"{faiss.__version__}, which chose {level.strip()}"


class FaissSq8(Faiss):
    factory = "HNSW{m},SQ8"


class Hnswlib(Peer):
    def make(self, base, m, ef_construction, threads):
        import hnswlib

        self.index = hnswlib.Index(space=self.space(), dim=self.dimensions)
        self.index.init_index(max_elements=len(base), M=m, ef_construction=ef_construction)
        self.index.add_items(base, num_threads=threads)

    def space(self):
        return "l2" if self.metric == "l2" else "ip"

    def batch(self, queries, ef, threads):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, k=K, num_threads=threads)[0]

    def single(self, query, ef):
        return self.batch(query, ef, 1)

    def delete(self, ids):
        for i in ids:
            self.index.mark_deleted(int(i))

    def save(self, path):
        self.index.save_index(path)

    def open(self, path):
        import hnswlib

        self.index = None
        index = hnswlib.Index(space=self.space(), dim=self.dimensions)
        began = time.perf_counter()
        index.load_index(path)
        self.index = index
        return time.perf_counter() - began

    def about(self):
        import importlib.metadata

        __import__("hnswlib")
        return importlib.metadata.version("hnswlib") + ", compiled on this machine for its CPU"


class Usearch(Peer):
    kind = "f32"

    def make(self, base, m, ef_construction, threads):
        from usearch.index import Index

        metric = "l2sq" if self.metric == "l2" else "ip"
        self.index = Index(ndim=self.dimensions, metric=metric, dtype=self.kind, connectivity=m,
                           expansion_add=ef_construction)
        self.index.add(np.arange(len(base)), base, threads=threads)

    def batch(self, queries, ef, threads):
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=threads).keys

    def single(self, query, ef):
        self.index.expansion_search = ef
        return self.index.search(query[0], K, threads=1).keys.reshape(1, -1)

    def delete(self, ids):
        self.index.remove(ids)

    def save(self, path):
        self.index.save(path)

    def open(self, path):
        """Mapped, as this index is."""
        self.index = None
        from usearch.index import Index

        began = time.perf_counter()
        self.index = Index.restore(path, view=True)
        return time.perf_counter() - began

    def about(self):
        import usearch
        from usearch.index import Index

        return f"{usearch.__version__}, {Index(ndim=8, dtype=self.kind).hardware_acceleration}"


class UsearchInt8(Usearch):
    kind = "i8"


ENGINES = {"faiss-float32": Faiss, "faiss-sq8": FaissSq8, "hnswlib": Hnswlib, "usearch-float32": Usearch,
           "usearch-int8": UsearchInt8}


# ---- commands ----


class Worker:
    def __init__(self, engine, folder, dimensions, metric):
        self.folder, self.peer = folder, ENGINES[engine](dimensions, metric)
        self.base = np.memmap(f"{folder}/base", np.float32, "r").reshape(-1, dimensions)
        self.queries = np.fromfile(f"{folder}/queries", np.float32).reshape(-1, dimensions)
        self.truth = np.fromfile(f"{folder}/truth", np.int32).reshape(-1, vector_data.TRUTH_K)
        self.marks = np.fromfile(f"{folder}/marks", np.uint16).reshape(-1, 2)
        self.centers = np.fromfile(f"{folder}/centers", np.uint16).reshape(-1, 2)
        self.deleted = np.zeros(len(self.base), bool)
        self.passes = -(-1000 // len(self.queries))

    def build(self, m, ef_construction, threads):
        wall, cpu = time.perf_counter(), time.process_time()
        self.peer.make(self.base, int(m), int(ef_construction), int(threads))
        return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}

    def recall(self, found, truth):
        hits = want = 0
        for ids, t in zip(found, truth):
            t = t[t >= 0]
            t = t[~self.deleted[t]][:K]
            want += len(t)
            hits += len(np.intersect1d(ids, t))
        return hits / want if want else 1.0

    def search(self, ef, threads):
        ef, threads = int(ef), int(threads)
        queries = np.tile(self.queries, (self.passes, 1))
        wall, cpu = time.perf_counter(), time.process_time()
        found = self.peer.batch(queries, ef, threads)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        answer = {"ef": ef, "recall": self.recall(found, self.truth), "qps": len(queries) * threads / cpu,
                  "wall_qps": len(queries) / wall, "batch_qps": len(queries) * threads / cpu}
        if threads == 1:
            times = []
            for q in range(len(self.queries)):
                began = time.thread_time()
                self.peer.single(self.queries[q : q + 1], ef)
                times.append(time.thread_time() - began)
            times.sort()
            answer |= {"single_qps": len(times) / sum(times), "p50_us": times[len(times) // 2] * 1e6,
                       "p99_us": times[len(times) * 99 // 100] * 1e6}
            answer["qps"] = max(answer["qps"], answer["single_qps"])
        return answer

    def filter(self, ef, kind, permille):
        if not self.peer.filtered:
            return {}
        truth = np.fromfile(f"{self.folder}/filter-{kind}-{permille}", np.int32).reshape(-1, K)
        seconds, searches = 0.0, 0
        for _ in range(self.passes):  # as often as without a filter, as in bench_vector.c
            found = []
            for q in range(len(truth)):
                column, center = vector_data.column_and_center(kind, self.centers[q])
                matching = vector_data.matches(self.marks[:, column], center, int(permille))
                ids, took = self.peer.filtered(self.queries[q : q + 1], int(ef), matching)
                found.append(ids[0])
                seconds += took
            searches += len(truth)
            if seconds > 0.2:
                break
        short = sum(int((ids < 0).any()) for ids in found)
        return {"recall": self.recall(found, truth), "qps": searches / seconds, "short": short}

    def delete(self, percent):
        if not self.peer.delete:
            return {}
        ids = np.arange(len(self.base), dtype=np.uint32)
        gone = (((ids ^ np.uint32(0x5BD1E995)) * np.uint32(2654435761)) >> 16) % 100 < int(percent)
        began = time.perf_counter()
        self.peer.delete(ids[gone].astype(np.uint64))
        self.deleted |= gone
        return {"deleted": int(percent), "seconds": time.perf_counter() - began}

    def reopen(self):
        with tempfile.NamedTemporaryFile() as file:
            self.peer.save(file.name)
            return {"open_ms": self.peer.open(file.name) * 1e3}

    def about(self):
        return {"about": self.peer.about()}


def main():
    engine, folder, dimensions, metric = sys.argv[1:]
    if folder == "-":  # only asks whether it is there
        print(json.dumps({"about": ENGINES[engine](int(dimensions), metric).about()}))
        return
    worker = Worker(engine, folder, int(dimensions), metric)
    for line in sys.stdin:
        word, *arguments = line.split()
        print(json.dumps(getattr(worker, word)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
