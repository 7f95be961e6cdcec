#!/usr/bin/env python3
"""`make bench-vector`: the vector index beside FAISS, hnswlib and usearch, over the same vectors and in turn.

    bench/bench_vector.py [--part fashion,packages,spread,clustered128,clustered384,budget] [--rows N] [--quick]
                          [--codes auto,sq8,rabitq4] [--peers faiss-float32,hnswlib] [--build build] [--out build/bench]

Prints a line of JSON a figure as the other benchmarks do, also to OUT/vector-PART.jsonl, and draws recall against
searches a second, OUT/vector-PART.png. Every engine is a process of its own (bench_vector, vector_peers.py) that maps the
same files of vectors (vector_data.py, kept under OUT/vectors) and is told what to do; the rounds of all go in turn. A
peer that is not installed is named in the output. Rates are by CPU time of the searching threads, the best of the
rounds, since machines have other work; times of builds by CPU and by the clock.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import vector_data
import vector_peers

ROOT = vector_data.ROOT
EFS = [10, 12, 16, 24, 32, 48, 64, 100, 160, 250, 400]
FILTER_EFS = [10, 16, 24, 48, 100, 200, 400]
RECALLS = [0.90, 0.95, 0.99]
PARTS = ["fashion", "packages", "spread", "clustered128", "clustered384", "budget"]
CODES = {"fashion": "auto,sq8,sq4,rabitq4,rabitq2,rabitq1,product98",
         "packages": "auto,sq8,sq4,rabitq4,rabitq2,rabitq1,product48",
         "spread": "auto,rabitq4,rabitq1", "clustered128": "auto,rabitq1", "clustered384": "auto,rabitq1"}
M, EF_CONSTRUCTION = 16, 100


# ---- engines ----


class Engine(threading.Thread):
    """A process that answers each line by a line of JSON. The thread looks how much memory it takes meanwhile."""

    def __init__(self, name, command, codes=None):
        super().__init__(daemon=True)
        self.name_shown, self.codes = name, codes
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.peak = self.begins_with = 0
        self.start()

    def run(self):
        while self.process.poll() is None:
            self.peak = max(self.peak, self.private())
            time.sleep(0.02)

    def private(self):
        """Megabytes that are the process's own; the files of vectors that all map are not."""
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
                return next((int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon")), 0)
        except (OSError, ValueError):
            return 0

    def mapped(self, directory):
        """Megabytes of files in a directory that the process has mapped and that are in memory."""
        total, ours = 0, False
        with open(f"/proc/{self.process.pid}/smaps", encoding="utf-8") as maps:
            for line in maps:
                if "-" in line.split(" ", 1)[0] and not line.startswith(("Vm", "Rss")):
                    ours = directory in line
                elif ours and line.startswith("Rss:"):
                    total += int(line.split()[1]) / 1024
        return total

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name_shown} ended at: {line}")
        return json.loads(answer)

    def build(self, threads, budget=0):
        self.begins_with = self.begins_with or self.private()
        self.peak = 0
        codes = f"{self.codes} " if self.codes else ""
        end = f" {budget}" if self.codes else ""
        answer = self.ask(f"build {codes}{M} {EF_CONSTRUCTION} {threads}{end}")
        answer["peak_mb"] = self.peak - self.begins_with
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Bench:
    def __init__(self, args, part):
        self.args, self.part = args, part
        self.out = pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = open(self.out / f"vector-{part}.jsonl", "w", encoding="utf-8")
        self.dataset = ""
        self.rounds = 1 if args.quick else args.rounds

    def raw(self, line):
        text = json.dumps(line)
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()

    def report(self, engine, metric, value, unit):
        self.raw({"bench": "vector", "engine": engine, "dataset": self.dataset, "metric": metric,
                  "value": round(value, 4), "unit": unit})

    def progress(self, text):
        print(f"[{time.strftime('%H:%M:%S')}] {self.part}: {text}", file=sys.stderr, flush=True)

    # ---- setting up ----

    def prepare(self, name):
        rows = self.args.rows or (10_000 if self.args.quick else 0)
        self.folder, self.about = vector_data.prepare(name, rows, self.args.data, self.out / "vectors")
        self.dataset = self.about["title"]

    def ours(self, codes):
        command = [str(pathlib.Path(self.args.build) / "bench/bench_vector"), str(self.folder),
                   str(self.about["dimensions"]), self.about["metric"]]
        return Engine(f"gnomon {codes}", command, codes)

    def peers(self):
        made = []
        for name in filter(None, self.args.peers.split(",")):
            if name == "usearch-int8" and self.about["metric"] == "l2":
                self.raw({"engine": name, "dataset": self.dataset, "left out": "its 8 bits are for unit vectors"})
                continue
            command = [sys.executable, str(ROOT / "bench/vector_peers.py"), name]
            asked = subprocess.run([*command, "-", "8", "l2"], capture_output=True, text=True, check=False)
            if asked.returncode:
                reason = asked.stderr.strip().splitlines()[-1:] or ["it failed"]
                self.raw({"engine": name, "left out": f"not on this machine: {reason[0]}"})
                continue
            self.raw({"engine": name, "version": json.loads(asked.stdout)["about"]})
            made.append(Engine(name, [*command, str(self.folder), str(self.about["dimensions"]), self.about["metric"]]))
        return made

    # ---- measuring ----

    def build(self, engines, threads):
        for e in engines:
            self.progress(f"{e.name_shown} builds with {threads} thread{'s' * (threads > 1)}")
            a = e.build(threads)
            with_threads = f"by {threads} thread{'s' * (threads > 1)}"
            rows = self.about["rows"]
            self.report(e.name_shown, f"vectors built {with_threads}", rows / a["cpu_seconds"] * threads, "1/s")
            self.report(e.name_shown, f"build {with_threads}, by the clock", a["seconds"], "s")
            self.report(e.name_shown, f"memory while built {with_threads}, at most", a["peak_mb"], "MB")

    def curves(self, engines, threads):
        """Every ef in turn, all engines in turn; returns the curve (recall, searches a second) of each."""
        curves = {e.name_shown: [] for e in engines}
        for ef in EFS:
            self.progress(f"searches at ef {ef} with {threads} thread{'s' * (threads > 1)}")
            seen = {e.name_shown: [] for e in engines}
            for _ in range(self.rounds):
                for e in engines:
                    seen[e.name_shown].append(e.ask(f"search {ef} {threads}"))
            for e in engines:
                best = max(seen[e.name_shown], key=lambda a: a["qps"])
                curves[e.name_shown].append((best["recall"], best["qps"], best.get("p50_us"), best.get("p99_us")))
                if threads == 1:
                    self.report(e.name_shown, f"recall@10 at ef {ef}", best["recall"], "share")
                    self.report(e.name_shown, f"searches at ef {ef}", best["qps"], "1/s")
        for name, curve in curves.items():
            for recall in RECALLS:
                self.at_recall(name, curve, recall, "" if threads == 1 else f", {threads} threads")
        return curves

    def at_recall(self, name, curve, recall, what):
        rate = rate_at(curve, recall)
        if rate is None:
            self.raw({"engine": name, "dataset": self.dataset, "metric": f"searches at recall {recall:.2f}{what}",
                      "not reached": max(r for r, *_ in curve)})
            return
        self.report(name, f"searches at recall {recall:.2f}{what}", rate, "1/s")
        if not what:
            _, _, p50, p99 = next((p for p in curve if p[0] >= recall), curve[-1])
            self.report(name, f"p50 at the first ef of recall {recall:.2f}", p50, "us")
            self.report(name, f"p99 at the first ef of recall {recall:.2f}", p99, "us")

    def ratios(self, curves, what):
        ours = {n: c for n, c in curves.items() if n.startswith("gnomon")}
        theirs = {n: c for n, c in curves.items() if not n.startswith("gnomon")}
        for recall in RECALLS:
            rates = [(rate_at(c, recall) or 0, n) for n, c in theirs.items()]
            best, name = max(rates, default=(0, ""))
            for n, c in ours.items():
                if best and rate_at(c, recall):
                    self.report(n, f"rate at recall {recall:.2f}{what} over the fastest peer's, {name}",
                                rate_at(c, recall) / best, "ratio")

    def memory(self, engines):
        for e in engines:
            if not e.codes:
                self.report(e.name_shown, "memory with the index", e.private(), "MB")
                continue
            s = e.ask("stats")
            floats = 4 * self.about["dimensions"] * s["vectors"]
            self.report(e.name_shown, "memory with the index, private", e.private(), "MB")
            self.report(e.name_shown, "memory with the index, of its mapped file", e.mapped(s["dir"]), "MB")
            self.report(e.name_shown, f"codes ({s['codes']}) a vector", s["code_bytes"] / s["vectors"], "B")
            self.report(e.name_shown, "codes, of what the floats take", s["code_bytes"] / floats, "share")
            self.report(e.name_shown, "codes and links, of what the floats take",
                        (s["code_bytes"] + s["link_bytes"]) / floats, "share")

    def filters(self, engines, unfiltered):
        """What matches is known beforehand: FAISS has bitmaps, ours remembers; and ours by asking a function, too."""
        way = {e.name_shown: "memo" if e.codes else "filter" for e in engines}
        self.filtered(engines, unfiltered, way, "")
        ours = [e for e in engines if e.codes]
        self.filtered(ours, unfiltered, {e.name_shown: "filter" for e in ours}, ", asked")
        for e in engines:
            if not e.codes and "faiss" not in e.name_shown:
                self.raw({"engine": e.name_shown, "left out": "filters: its Python has none but a Python function a row"})

    def filtered(self, engines, unfiltered, way, how):
        for kind in vector_data.KINDS:
            for permille in vector_data.PERMILLES:
                self.progress(f"{permille / 10:g} % of the rows match ({kind}{how})")
                curves = {e.name_shown: [] for e in engines}
                short = {}
                for ef in FILTER_EFS:
                    # Who has found all has no more to show, and where few match each search may be long.
                    asked = [e for e in engines if not curves[e.name_shown] or curves[e.name_shown][-1][0] < 0.995]
                    seen = {e.name_shown: [] for e in asked}
                    for _ in range(min(2, self.rounds)):
                        for e in asked:
                            seen[e.name_shown].append(e.ask(f"{way[e.name_shown]} {ef} {kind} {permille}"))
                    for name, answers in seen.items():
                        if answers[0]:
                            best = max(answers, key=lambda a: a["qps"])
                            curves[name].append((best["recall"], best["qps"]))
                            short[name] = max(short.get(name, 0), best["short"])
                what = f", {permille / 10:g} % match ({kind}{how})"
                for name, curve in curves.items():
                    if not curve:
                        continue
                    self.report(name, f"searches that gave fewer than 10{what}", short[name], "searches")
                    for recall in RECALLS:
                        self.at_recall(name, curve, recall, what)
                    now, before = rate_at(curve, 0.95), rate_at(unfiltered[name], 0.95)
                    if now and before:
                        self.report(name, f"rate at recall 0.95{what}, of the unfiltered", now / before, "share")
                for e in engines:
                    if e.codes and permille <= 100 and how:
                        a = e.ask(f"keys {kind} {permille}")
                        self.report(e.name_shown, f"searches over a list of the keys{what}", a["qps"], "1/s")

    def targets(self, engine):
        for permille in (900, 950, 990):
            answers = [engine.ask(f"target {permille}") for _ in range(self.rounds)]
            best = max(answers, key=lambda a: a["qps"])
            self.report(engine.name_shown, f"recall@10 for a target of {permille / 1000}", best["recall"], "share")
            self.report(engine.name_shown, f"searches for a target of {permille / 1000}", best["qps"], "1/s")

    def deletes(self, engine, theirs, threads):
        """Half is deleted; before and after merging; beside a fresh build of the other half, in turn."""
        self.progress("half of the rows are deleted")
        fresh = self.ours(engine.codes)
        fresh.name_shown += ", built anew from that half"
        fresh.ask("skip 50")
        fresh.build(threads)
        engine.ask("delete 50")
        for e in theirs:
            if not e.ask("delete 50"):
                self.raw({"engine": e.name_shown, "left out": "deleting: its graph has none"})
        theirs = [e for e in theirs if "faiss" not in e.name_shown]
        self.short_curves([engine, *theirs], ", half deleted")
        a = engine.ask("merge")
        self.report(engine.name_shown, "merging after half was deleted, by the clock", a["seconds"], "s")
        after = self.short_curves([engine, fresh], ", half deleted and merged")
        for recall in RECALLS:
            rates = [rate_at(after[e.name_shown], recall) for e in (engine, fresh)]
            if all(rates):
                what = f"rate at recall {recall:.2f} after deleting half and merging, of a fresh build's"
                self.report(engine.name_shown, what, rates[0] / rates[1], "ratio")
        fresh.close()

    def short_curves(self, engines, what):
        curves = {e.name_shown: [] for e in engines}
        for ef in EFS:
            seen = {e.name_shown: [] for e in engines}
            for _ in range(self.rounds):
                for e in engines:
                    seen[e.name_shown].append(e.ask(f"search {ef} 1"))
            for name, answers in seen.items():
                best = max(answers, key=lambda a: a["qps"])
                curves[name].append((best["recall"], best["qps"]))
        for name, curve in curves.items():
            for recall in RECALLS:
                self.at_recall(name, curve, recall, what)
        return curves

    def openings(self, engines):
        for e in engines:
            self.progress(f"{e.name_shown} is opened")
            self.report(e.name_shown, "opening", min(e.ask("reopen")["open_ms"] for _ in range(3)), "ms")

    # ---- parts ----

    def compare(self):
        self.prepare(self.part)
        rows = self.about["rows"]
        ours = [self.ours(c) for c in (self.args.codes or CODES[self.part]).split(",")]
        theirs = self.peers()
        engines = ours + theirs
        if rows <= 200_000:
            self.build(engines, 1)
        self.build(engines, 2)
        curves = self.curves(engines, 1)
        self.plot(curves)
        self.ratios(curves, "")
        self.ratios(self.curves([ours[0], *theirs], 2), ", 2 threads")
        self.memory(engines)
        self.targets(ours[0])
        self.filters([ours[0], *theirs], curves)
        self.deletes(ours[0], theirs, 2)
        self.openings([ours[0], *theirs])
        for e in engines:
            e.close()

    def budget(self):
        """1,000,000 vectors of 384 dimensions in codes of 4 bits, all of it within 512 MB."""
        self.prepare("clustered384")
        for codes in ("rabitq4", "rabitq1"):
            engine, mb = self.ours(codes), self.args.budget
            self.progress(f"{engine.name_shown} builds within {mb} MB")
            a = engine.build(2, mb)
            self.report(engine.name_shown, f"build within {mb} MB by 2 threads, by the clock", a["seconds"], "s")
            self.report(engine.name_shown, f"charged to the budget of {mb} MB, at most", a["budget_peak_mb"], "MB")
            self.report(engine.name_shown, f"private memory within a budget of {mb} MB, at most", a["peak_mb"], "MB")
            self.short_curves([engine], f", built within {mb} MB")
            s = engine.ask("stats")
            self.report(engine.name_shown, f"segments, built within {mb} MB", s["segments"], "segments")
            self.report(engine.name_shown, "codes and links", (s["code_bytes"] + s["link_bytes"]) / 1048576, "MB")
            self.report(engine.name_shown, "opening", engine.ask("reopen")["open_ms"], "ms")
            engine.close()

    def plot(self, curves):
        try:
            import matplotlib
        except ImportError as missing:
            self.raw({"left out": f"plots: {missing}"})
            return
        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(9, 5.5))
        for name, curve in curves.items():
            shown = [p for p in curve if p[0] >= 0.8]
            ours = name.startswith("gnomon")
            axes.plot([p[0] for p in shown], [p[1] for p in shown], "-" if ours else "--", marker="o" if ours else "x",
                      label=name)
        axes.set(title=self.dataset, xlabel="recall@10", ylabel="searches/s, one thread", yscale="log")
        axes.grid(True, which="both", alpha=0.3)
        axes.legend(fontsize="small")
        path = self.out / f"vector-{self.part}.png"
        figure.savefig(path, dpi=120, bbox_inches="tight")
        self.progress(f"drew {path}")


def rate_at(curve, recall):
    """Between two measured points of a curve, by the logarithm of the rate; None where it does not get there."""
    best = None
    for (r0, q0, *_), (r1, q1, *_) in zip(curve, curve[1:]):
        if r0 <= recall <= r1 and r1 > r0:
            share = (recall - r0) / (r1 - r0)
            rate = q0 ** (1 - share) * q1**share
            best = max(best or 0, rate)
    if best is None and curve and curve[0][0] > recall:
        best = curve[0][1]
    return best


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as cpu:
        model = next((line.split(":", 1)[1].strip() for line in cpu if line.startswith("model name")), "unknown")
    return {"machine": model, "cores": os.cpu_count(), "kernel": os.uname().release}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--part", default=",".join(PARTS))
    p.add_argument("--rows", type=int, default=0, help="of the sets; 0 = as many as each has or is made with")
    p.add_argument("--codes", default="", help="of this index; the first is measured in every way")
    p.add_argument("--peers", default=",".join(vector_peers.ENGINES))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--budget", type=int, default=512, help="MB, of the part of that name")
    p.add_argument("--build", default=f"{ROOT}/build")
    p.add_argument("--data", default=os.environ.get("GNOMON_BENCH_DATA", f"{ROOT}/../shared/data"))
    p.add_argument("--out", default=f"{ROOT}/build/bench")
    p.add_argument("--quick", action="store_true", help="10,000 rows and one round: checks that all of it works")
    args = p.parse_args()
    parts = args.part.split(",")
    if set(parts) - set(PARTS):
        p.error(f"parts are {', '.join(PARTS)}")
    for part in parts:
        bench = Bench(args, part)
        bench.raw({**machine(), "load": os.getloadavg()[0]})
        bench.budget() if part == "budget" else bench.compare()


if __name__ == "__main__":
    main()
