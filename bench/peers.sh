#!/bin/bash
# A Python environment with the vector indexes that bench_vector.py measures beside this one.
#
#   bench/peers.sh DIRECTORY
#
# The newest of each from the package index where that answers, hnswlib compiled for this machine. What cannot be had is
# said here and left out of the benchmark. numpy is needed and matplotlib draws the plots: from Debian where the index
# does not give them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
directory=${1:?usage: peers.sh DIRECTORY}
python=$directory/bin/python

[ -x "$python" ] || /usr/bin/python3 -m venv --system-site-packages "$directory"
for package in numpy matplotlib faiss-cpu hnswlib usearch; do
    module=${package%-cpu}
    "$python" -c "import $module" 2>/dev/null && continue
    "$python" -m pip install --quiet --disable-pip-version-check "$package" >"$directory/$package.log" 2>&1 ||
        echo "peers: no $package from the package index: $(tail -n 1 "$directory/$package.log")" >&2
done
if ! "$python" -c "import numpy, matplotlib" 2>/dev/null; then
    "$root/tools/setup.sh" "$root/tools/packages-bench-python.txt"
fi
if ! "$python" -c "import faiss" 2>/dev/null; then
    echo "peers: no FAISS from the package index; Debian's instead" >&2
    "$root/tools/setup.sh" <(echo python3-faiss) || echo "peers: no FAISS" >&2
fi
