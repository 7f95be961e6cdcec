"""Reads bench/data/debian-packages.gnd.zst, with Python's standard library and the zstd program alone.

The file, after zstd: one line of JSON (rows, queries, dimensions); a line for each row (name, section, summary, first
paragraph, separated by tabs); a line for each query; then the embeddings of rows and queries as float16, first the low
bytes of all numbers, then the high bytes. Embeddings have length 1.
"""

import json
import pathlib
import struct
import subprocess

PATH = pathlib.Path(__file__).resolve().parent / "debian-packages.gnd.zst"


class PackageData:
    """rows: (name, section, summary, description); queries: texts. Vectors are decoded when asked for."""

    def __init__(self, path=PATH):
        raw = subprocess.run(["zstd", "-dc", str(path)], check=True, capture_output=True).stdout
        head, _, rest = raw.partition(b"\n")
        self.head = json.loads(head)
        n, q, self.dimensions = self.head["rows"], self.head["queries"], self.head["dimensions"]
        lines, position = [], 0
        for _ in range(n + q):
            end = rest.index(b"\n", position)
            lines.append(rest[position:end].decode())
            position = end + 1
        planes = rest[position:]
        count = (n + q) * self.dimensions
        if len(planes) != 2 * count:
            raise ValueError(f"{path}: {len(planes)} bytes of embeddings, {2 * count} expected")
        self.rows = [tuple(line.split("\t")) for line in lines[:n]]
        self.queries = lines[n:]
        self._halves = bytearray(2 * count)
        self._halves[0::2] = planes[:count]
        self._halves[1::2] = planes[count:]

    def _vector(self, number):
        return struct.unpack_from(f"<{self.dimensions}e", self._halves, 2 * number * self.dimensions)

    def row_vector(self, row):
        return self._vector(row)

    def query_vector(self, query):
        return self._vector(len(self.rows) + query)


def vector_text(vector):
    """As SQL writes it; five digits give back every float16 exactly."""
    return "[" + ",".join(["%.5g" % x for x in vector]) + "]"
