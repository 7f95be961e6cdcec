#!/bin/bash
# Runs every fuzz target of a fuzzing build for a few seconds, from the corpus in tests/fuzz/corpus/<target>.
#
#   tools/fuzz_smoke.sh BUILD_DIR [SECONDS_PER_TARGET]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:?usage: tools/fuzz_smoke.sh BUILD_DIR [SECONDS]}
seconds=${2:-8}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
for target in "$build"/tests/fuzz/fuzz_*; do
    if [ ! -f "$target" ] || [ ! -x "$target" ]; then continue; fi
    name=$(basename "$target")
    corpus=$root/tests/fuzz/corpus/${name#fuzz_}
    mkdir -p "$work/$name"
    seeds=()
    [ ! -d "$corpus" ] || seeds=("$corpus")
    if "$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$work/" "$work/$name" "${seeds[@]}" >"$work/$name.log" 2>&1; then
        runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$work/$name.log")
        echo "fuzz: $name: ok, ${runs:-0} runs"
        passed=$((passed + 1))
    else
        tail -n 40 "$work/$name.log"
        echo "fuzz: $name: FAILED"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
