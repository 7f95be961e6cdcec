#!/bin/bash
# shellcheck disable=SC2317 # the steps are called through "$@"
# clang-format, clang-tidy (.clang-tidy is the allow-list), shellcheck, the layers, and the text rules of the house.
#
#   tools/lint.sh BUILD_DIR      a configured build, for compile_commands.json
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:?usage: tools/lint.sh BUILD_DIR}
cd "$root"
failed=0

step() {
    local name=$1
    shift
    if "$@"; then echo "lint: $name: ok"; else
        echo "lint: $name: FAILED"
        failed=1
    fi
}

format() {
    git ls-files -z '*.c' '*.h' '*.cc' | xargs -0 clang-format-14 --dry-run --Werror
}

# Only what this checkout owns is read; generated and third-party sources are not.
tidy() {
    git ls-files -z 'base/*.c' 'net/*.c' 'index/*.c' 'query/*.c' 'raft/*.c' 'shard/*.c' 'cluster/*.c' 'coord/*.c' 'node/*.c' |
        xargs -0 -r -P "$(nproc)" -n 6 clang-tidy-14 --quiet -p "$build" 2>/dev/null
}

shell() {
    git ls-files -z '*.sh' .ci/run | xargs -0 -r shellcheck
}

# Functions that have no safe use, and sleeps in tests.
banned() {
    ! git grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof)\s*\(' -- '*.c' '*.h' '*.y' ':!bench' ':!tests' &&
        ! git grep -nE '\b(sleep|usleep|nanosleep|time\.sleep)\s*\(' -- 'tests/*'
}

step format format
step layers python3 tools/check_layers.py
step shellcheck shell
step banned banned
step clang-tidy tidy
exit $failed
