#!/bin/bash
# Runs every fuzz target of a fuzzing build for a few seconds, from the corpus in tests/fuzz/corpus/<target>; as many at a time as
# there are processors. What takes longer than 120 s for one input hangs, on a slow machine, too.
#
#   tools/fuzz_smoke.sh BUILD_DIR [SECONDS_PER_TARGET]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:?usage: tools/fuzz_smoke.sh BUILD_DIR [SECONDS]}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export root work seconds=${2:-8}

smoke() {
    local target=$1 name corpus runs seeds=()
    name=$(basename "$target")
    corpus=$root/tests/fuzz/corpus/${name#fuzz_}
    mkdir -p "$work/$name"
    [ ! -d "$corpus" ] || seeds=("$corpus")
    if "$target" -max_total_time="$seconds" -max_len=65536 -timeout=120 -rss_limit_mb=2048 \
        -artifact_prefix="$work/" "$work/$name" "${seeds[@]}" >"$work/$name.log" 2>&1; then
        runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$work/$name.log")
        echo "fuzz: $name: ok, ${runs:-0} runs"
        touch "$work/$name.ok"
    else
        tail -n 40 "$work/$name.log"
        echo "fuzz: $name: FAILED"
        touch "$work/$name.failed"
    fi
}
export -f smoke

# shellcheck disable=SC2016 # the shell that xargs starts expands it
find "$build/tests/fuzz" -maxdepth 1 -name 'fuzz_*' -type f -executable -print0 | sort -z |
    xargs -0 -r -n 1 -P "$(nproc)" bash -c 'smoke "$1"' smoke
passed=$(find "$work" -name '*.ok' | wc -l) failed=$(find "$work" -name '*.failed' | wc -l)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
