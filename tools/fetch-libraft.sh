#!/bin/bash
# Puts the sources of libraft 0.22.1, with this project's fixes applied, into .deps/libraft-0.22.1.
#
# The source comes from Debian's source package `raft` 0.22.1-1, by name, from the mirror that this machine already uses
# (no host is written down here). apt checks the archive's signature; the tarball and the files that the fixes touch are
# checked against sums kept in this tree. apt gets lists, cache and sources of its own, so that the machine's
# configuration is neither read nor changed; no rights are needed.
#
#   LIBRAFT_SOURCE  path of raft_0.22.1.orig.tar.gz, where no mirror can be reached
#   GNOMON_DEPS     directory to use instead of .deps of this checkout (may be shared by several)
#
# Idempotent and quiet: a stamp names the version and the hash of the fixes; when it matches, nothing is done.
# `fetch-libraft.sh --stamp` prints the stamp that this tree wants, `--dir` where the sources belong.
set -euo pipefail

version=0.22.1
package=raft=$version-1
tarball=raft_$version.orig.tar.gz
tarball_sum=7e45b6f24f3671c9bfd5b146814493f87cb2e560712bd469c1f5969a4b94291a

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
libraft=$root/raft/libraft
deps=${GNOMON_DEPS:-$root/.deps}
target=$deps/libraft-$version

die() {
    echo "fetch-libraft: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || die "the program '$1' is missing (Debian package: $2)"
}

# One line of version and hash; raft/CMakeLists.txt compares it with that of the sources.
wanted_stamp() {
    local hash
    hash=$(cd "$libraft" && sha256sum -- apply.sh fixes/* | LC_ALL=C sort -k2 | sha256sum | cut -d' ' -f1)
    echo "libraft $version fixes $hash"
}

# The mirrors of this machine that could hold Debian's own source packages, one a line.
mirrors() {
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sort -u
}

apt_private() {
    local apt=$1
    shift
    apt-get -qq \
        -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts" \
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "Dir::State::status=$apt/status" \
        -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
        -o Acquire::Retries=2 "$@"
}

# Downloads the tarball into directory $1 from mirror $2.
download_from() {
    local dir=$1 mirror=$2 apt=$1/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    rm -rf "$apt"
    mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
    : >"$apt/status"
    echo "deb-src [signed-by=$keyring] $mirror trixie main" >"$apt/sources.list"
    (
        cd "$dir"
        apt_private "$apt" update
        apt_private "$apt" source --download-only "$package"
    ) >"$dir/apt.log" 2>&1 && [ -f "$dir/$tarball" ]
}

download() {
    local dir=$1 mirror
    need apt-get apt
    [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || die "Debian's package debian-archive-keyring is missing"
    for mirror in $(mirrors); do
        download_from "$dir" "$mirror" && return 0
    done
    [ ! -s "$dir/apt.log" ] || tail -n 5 "$dir/apt.log" >&2
    die "no mirror of this machine gave the source package $package;" \
        "set LIBRAFT_SOURCE=/path/to/$tarball to use a copy that you have"
}

main() {
    local stamp work
    stamp=$(wanted_stamp)
    [ "$(cat "$target/STAMP" 2>/dev/null)" != "$stamp" ] || return 0
    need ed ed
    need flock util-linux
    mkdir -p "$deps"
    exec 9>"$deps/.libraft.lock"
    flock 9
    [ "$(cat "$target/STAMP" 2>/dev/null)" != "$stamp" ] || return 0

    work=$(mktemp -d "$deps/.libraft.XXXXXX")
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$work'" EXIT
    if [ -n "${LIBRAFT_SOURCE:-}" ]; then
        cp -- "$LIBRAFT_SOURCE" "$work/$tarball" || die "LIBRAFT_SOURCE=$LIBRAFT_SOURCE cannot be read"
    elif [ -f "$deps/$tarball" ]; then
        cp -- "$deps/$tarball" "$work/$tarball"
    else
        download "$work"
    fi
    echo "$tarball_sum  $work/$tarball" | sha256sum --quiet -c - >&2 ||
        die "$tarball is not the one of Debian's package $package"
    cp -- "$work/$tarball" "$deps/$tarball"

    # The unfixed sources stay beside the fixed ones: the tests show what each fix is for.
    mkdir -p "$work/source/unfixed"
    tar -xzf "$work/$tarball" -C "$work/source/unfixed" --strip-components=1
    sed 's/@enable_v0@/no/' "$work/source/unfixed/include/raft.h.in" >"$work/source/unfixed/include/raft.h"
    cp -r "$work/source/unfixed/"{src,include,LICENSE} "$work/source/"
    "$libraft/apply.sh" "$work/source"
    echo "$stamp" >"$work/source/STAMP"
    rm -rf "$target"
    mv "$work/source" "$target"
    echo "fetch-libraft: libraft $version with fixes is in $target"
}

case ${1:-} in
--stamp) wanted_stamp ;;
--dir) echo "$target" ;;
"") main ;;
*) die "unknown argument '$1'" ;;
esac
