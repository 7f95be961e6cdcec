#!/bin/bash
# Installs what is missing of the Debian packages in the given lists, then fetches libraft.
#
#   tools/setup.sh [LIST...]      default: tools/packages.txt
#
# Does nothing, and asks for no rights, when everything is there. Otherwise it needs root or sudo; without either it says
# what to install. Settings for libraft: see tools/fetch-libraft.sh.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || set -- "$root/tools/packages.txt"

listed() {
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@"
}

missing() {
    local package
    for package in $(listed "$@"); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

command -v dpkg-query >/dev/null || {
    echo "setup: this script knows Debian's packages only; install what tools/packages*.txt list by other means" >&2
    exit 1
}
mapfile -t wanted < <(missing "$@")
if [ ${#wanted[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null; then
            as_root=(sudo)
        else
            echo "setup: these packages are missing and need root to install:" >&2
            echo "  apt-get install ${wanted[*]}" >&2
            exit 1
        fi
    fi
    echo "setup: installing ${#wanted[@]} packages: ${wanted[*]}"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    if ! { "${as_root[@]}" apt-get -q update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${wanted[@]}"; } \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "setup: apt-get failed; the lines above say why" >&2
        exit 1
    fi
fi
"$root/tools/fetch-libraft.sh"
