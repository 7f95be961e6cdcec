#!/bin/bash
# usage: apply.sh DIR [WITHOUT]
# Applies the fixes (in fixes/, ed scripts) to the libraft sources in DIR/src, in place; all but fix number WITHOUT, if
# given. The files must be those of raft 0.22.1 (fixes/SHA256SUMS).
set -euo pipefail

fixes=$(cd "$(dirname "${BASH_SOURCE[0]}")/fixes" && pwd)
dir=$1
without=${2:-none}

(cd "$dir" && sha256sum --quiet -c "$fixes/SHA256SUMS") >&2 || {
    echo "libraft: the sources in $dir are not those that the fixes were made for (raft 0.22.1)" >&2
    exit 1
}
grep -v '^#' "$fixes/series" | while read -r number script; do
    [ "$number" != "$without" ] || continue
    file=${script#*-}
    { cat "$fixes/$script" && printf 'w\nq\n'; } | ed -s "$dir/src/${file%.ed}" >/dev/null || {
        echo "libraft: $script does not apply" >&2
        exit 1
    }
done
