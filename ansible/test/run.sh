#!/bin/bash
# The playbooks, run for real: hosts are network namespaces, each with a root directory of its own (an overlay of this
# machine's), reached by a Python interpreter that is a wrapper: nsenter and chroot.
#
#   run.sh GNOMOND GNOMONCTL      KEEP=1 leaves the directory (not the hosts) for a look
#
# Exit code 77: this machine cannot do it; a sentence says why.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
gnomond=${1:?usage: run.sh GNOMOND GNOMONCTL}
gnomonctl=${2:?usage: run.sh GNOMOND GNOMONCTL}
prefix=gna$$
hosts=(n1 n2 n3 n4)

skip() {
    echo "ansible-test: skipped: $1" >&2
    exit 77
}
[ "$(id -u)" = 0 ] || skip "it needs root, for network namespaces and mounts"
for program in ansible-playbook ip nsenter setpriv flock psql openssl ssh; do
    command -v "$program" >/dev/null || skip "the program $program is missing; see tools/packages-ansible.txt"
done
[ -x "$gnomonctl" ] || skip "there is no $gnomonctl"
[ -x "$gnomond" ] || skip "there is no $gnomond"

work=$(mktemp -d "${TMPDIR:-/tmp}/gnomon-ansible.XXXXXX")

clean() {
    local host
    for host in "${hosts[@]}"; do
        if [ -x "$work/$host/enter" ]; then
            "$work/$host/enter" sh -c '[ ! -x /opt/gnomondb/gnomondb-process ] || /opt/gnomondb/gnomondb-process stop' >/dev/null 2>&1 || true
        fi
    done
    [ -z "${KEEP-}" ] || for host in "${hosts[@]}"; do
        cp "$work/$host/root/var/log/gnomondb/gnomond.log" "$work/$host.log" 2>/dev/null || true
    done
    for host in "${hosts[@]}"; do
        umount -R "$work/$host/root" 2>/dev/null || umount -Rl "$work/$host/root" 2>/dev/null || true
        umount "$work/$host" 2>/dev/null || umount -l "$work/$host" 2>/dev/null || true
        ip netns del "$prefix-$host" 2>/dev/null || true
    done
    ip netns del "$prefix-sw" 2>/dev/null || true
    if [ -n "${KEEP-}" ]; then echo "left for a look: $work"; else rm -rf --one-file-system "$work"; fi
}
trap clean EXIT

# ---- hosts ----

address() { echo "10.79.0.${1#n}"; }

make_network() {
    ip netns add "$prefix-sw" && ip -n "$prefix-sw" link add bridge type bridge && ip -n "$prefix-sw" link set bridge up
}

make_host() {
    local host=$1 dir=$work/$1 name=$prefix-$1
    ip netns add "$name"
    ip -n "$name" link set lo up
    ip -n "$prefix-sw" link add "$host" type veth peer name eth0 netns "$name"
    ip -n "$prefix-sw" link set "$host" master bridge up
    ip -n "$name" addr add "$(address "$host")/24" dev eth0
    ip -n "$name" link set eth0 up

    mkdir "$dir"
    mount -t tmpfs -o size=1g,mode=755 "$prefix" "$dir" || return 1
    mkdir "$dir/upper" "$dir/work" "$dir/root"
    mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$prefix" "$dir/root" || return 1
    mount -t proc proc "$dir/root/proc"
    mount --bind /dev "$dir/root/dev"
    rm -rf "$dir/root/etc/gnomondb" "$dir/root/opt/gnomondb" "$dir/root/var/lib/gnomondb"
    mkdir -p "$dir/root$work/remote"
    mount --bind "$work/remote" "$dir/root$work/remote"

    printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s chroot %s "$@"\n' "$name" "$dir/root" >"$dir/enter"
    printf '#!/bin/sh\nexec %s /usr/bin/python3 "$@"\n' "$dir/enter" >"$dir/python"
    chmod 755 "$dir/enter" "$dir/python"
}

inventory() {
    local host
    echo "all: {children: {gnomondb: {hosts: {"
    for host in "$@"; do
        echo "  $host: {ansible_host: $(address "$host"), ansible_python_interpreter: $work/$host/python, gnomondb_zone: zone-$host},"
    done
    echo "}, vars: {ansible_connection: local, ansible_remote_tmp: $work/remote, gnomondb_supervisor: process,"
    echo "  gnomondb_binary: $work/first/gnomond, gnomondb_gnomonctl: $work/first/gnomonctl, gnomondb_wait_s: 60,"
    echo "  gnomondb_settings: {memory_limit_mb: 128}}}}}"
}

# ---- checks ----

step() { echo "ansible-test: $1 (after $SECONDS s)"; }
fail() {
    echo "ansible-test: FAILED: $1" >&2
    [ -z "${log-}" ] || tail -n 60 "$log" >&2
    exit 1
}

# Exit code of a test that was killed: what it left is cleared away all the same.
trap 'exit 1' INT TERM

# play LOG ARGUMENT...: a run of ansible-playbook.
play() {
    log=$work/$1.log
    shift
    (cd "$here" && ANSIBLE_CONFIG=$here/ansible.cfg ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_HOME=$work/ansible \
        ansible-playbook -i "$work/hosts.yml" "$@" >"$log" 2>&1)
}
nothing_changed() {
    ! grep -Eq 'changed=[1-9]' "$log" || fail "$1 changed something: $(grep -B1 -E '^changed:' "$log" | head -n 20)"
}
sql() {
    local host=$1
    shift
    nsenter "--net=/run/netns/$prefix-$host" psql -X -q -t -A -v ON_ERROR_STOP=1 -h 127.0.0.1 -p 5433 -U gnomon -d gnomon -c "$@"
}
ctl() {
    local host=$1
    shift
    "$work/$host/enter" /opt/gnomondb/current/gnomonctl --address "$(address "$host"):7433" --ca /etc/gnomondb/ca.pem \
        --cert /etc/gnomondb/node.pem --key /etc/gnomondb/node.key "$@"
}
row_is_there() {
    local host
    for host in "$@"; do
        [ "$(sql "$host" "SELECT v FROM t WHERE id = 1")" = one ] || fail "the row is not there on $host"
    done
}
# runs HOST RELEASE: the process is of that release, whatever `current` points to.
runs() {
    local process
    for process in $(ip netns pids "$prefix-$1"); do
        [[ $(readlink "/proc/$process/exe") != *"$2/gnomond" ]] || return 0
    done
    return 1
}
release() { readlink "$work/$1/root/opt/gnomondb/current"; }

# ---- the test ----

mkdir "$work/remote" "$work/first" "$work/second" "$work/broken"
make_network || skip "network namespaces cannot be made here"
for host in "${hosts[@]}"; do
    make_host "$host" || skip "this machine has no overlay file system, or no right to mount"
done
cp "$gnomond" "$work/first/gnomond"
cp "$gnomonctl" "$gnomond" "$work/second/"
cp "$gnomonctl" "$work/first/gnomonctl"
printf 'another build' >>"$work/second/gnomond" # still runs, and is another file
cp "$gnomonctl" "$work/broken/"
# shellcheck disable=SC2016 # for the script that is written
printf '#!/bin/sh\n[ "$1" != --version ] || exit 0\necho broken >&2\nexit 1\n' >"$work/broken/gnomond"
chmod 755 "$work/broken/gnomond"

inventory n1 n2 n3 >"$work/hosts.yml"
step "check mode before anything is there"
play check-first site.yml --check || fail "site.yml --check on fresh hosts"
if [ -e "$work/n1/root/opt/gnomondb" ] || [ -e "$work/tls" ]; then fail "check mode wrote something"; fi

step "a part of the hosts founds nothing"
! play part site.yml --limit n2 || fail "a part of the hosts founded a cluster"
grep -q 'not all hosts of the group' "$log" || fail "the refusal does not say why"

step "three nodes"
play site site.yml || fail "site.yml"
sql n1 "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (shards = 4, replicas = 3)"
sql n2 "INSERT INTO t VALUES (1, 'one')"
row_is_there n1 n2 n3
ctl n1 status >/dev/null || fail "the cluster of three is not well"

step "the same again"
play again site.yml || fail "site.yml, again"
nothing_changed "the second run"
play again-check site.yml --check || fail "site.yml --check"
nothing_changed "check mode"

step "a changed setting"
play setting site.yml -e '{"gnomondb_settings": {"memory_limit_mb": 160}}' || fail "site.yml with another setting"
grep -q 'memory_limit_mb = 160' "$work/n3/root/etc/gnomondb/gnomond.toml" || fail "the setting was not written"
play setting-back site.yml || fail "site.yml with the setting as it was"

step "a fourth node"
inventory n1 n2 n3 n4 >"$work/hosts.yml"
play extend site.yml || fail "site.yml with a fourth host"
[ "$(sql n4 "SELECT count(*) FROM gnomon_nodes WHERE state = 'active'")" = 4 ] || fail "there are not four nodes"
row_is_there n4
play extend-again site.yml || fail "site.yml with four, again"
nothing_changed "the second run with four"

step "an upgrade"
old=$(release n1)
second=(-e "gnomondb_binary=$work/second/gnomond" -e "gnomondb_gnomonctl=$work/second/gnomonctl")
play upgrade-check upgrade.yml --check "${second[@]}" || fail "upgrade.yml --check"
[ "$(release n1)" = "$old" ] || fail "check mode upgraded"
play upgrade upgrade.yml "${second[@]}" || fail "upgrade.yml"
new=$(release n1)
[ "$new" != "$old" ] || fail "upgrade.yml did not upgrade"
for host in "${hosts[@]}"; do
    [ "$(release "$host")" = "$new" ] || fail "$host was not upgraded"
    runs "$host" "$new" || fail "$host does not run the new release"
done
row_is_there "${hosts[@]}"
play upgrade-again upgrade.yml "${second[@]}" || fail "upgrade.yml, again"
nothing_changed "the second upgrade"
play upgrade-site site.yml "${second[@]}" || fail "site.yml after the upgrade"
nothing_changed "site.yml after the upgrade"

step "the end of the upgrade"
play finish upgrade.yml "${second[@]}" -e gnomondb_finish=true || fail "upgrade.yml with gnomondb_finish"
ctl n3 upgrade | grep -q 'there is nothing to finish' || fail "the upgrade is not finished"
nothing_changed "the end of an upgrade that brought no new version"

step "an upgrade to what does not start"
! play broken upgrade.yml -e "gnomondb_binary=$work/broken/gnomond" -e "gnomondb_gnomonctl=$work/broken/gnomonctl" \
    -e gnomondb_wait_s=15 || fail "the broken upgrade went through"
grep -q 'is back on' "$log" || fail "the broken upgrade was not rolled back"
for host in "${hosts[@]}"; do
    [ "$(release "$host")" = "$new" ] || fail "$host was left on a broken release"
    runs "$host" "$new" || fail "$host does not run what it ran before"
done
ctl n2 status >/dev/null || fail "the cluster is not well after the rollback"
row_is_there "${hosts[@]}"

step "a node is removed"
play remove-check remove.yml --check -e gnomondb_remove=n2 || fail "remove.yml --check"
[ "$(sql n1 "SELECT count(*) FROM gnomon_nodes WHERE state = 'active'")" = 4 ] || fail "check mode removed a node"
play remove remove.yml -e gnomondb_remove=n2 || fail "remove.yml"
"$work/n2/enter" /opt/gnomondb/gnomondb-process status >/dev/null && fail "the removed node still runs"
[ "$(sql n1 "SELECT count(*) FROM gnomon_nodes WHERE state = 'active'")" = 3 ] || fail "the removed node is still a member"
ctl n1 status >/dev/null || fail "the cluster is not well after the removal"
row_is_there n1 n3 n4
play remove-again remove.yml -e gnomondb_remove=n2 || fail "remove.yml, again"
nothing_changed "the second removal"
inventory n1 n3 n4 >"$work/hosts.yml"
play after site.yml "${second[@]}" || fail "site.yml after the removal"
play after-again site.yml "${second[@]}" || fail "site.yml after the removal, again"
nothing_changed "the second run after the removal"

step "it joins again, as a new node"
inventory n1 n2 n3 n4 >"$work/hosts.yml"
play forget remove.yml -e gnomondb_remove=n2 -e gnomondb_remove_data=true || fail "remove.yml with the data"
play rejoin site.yml "${second[@]}" || fail "site.yml with the host that had left"
row_is_there n2

step "a dead node is removed"
"$work/n3/enter" /opt/gnomondb/gnomondb-process stop >/dev/null
sed -i "s|n3: {ansible_host: $(address n3),|n3: {ansible_connection: ssh, ansible_port: 1, ansible_host: 127.0.0.1, gnomondb_address: $(address n3),|" "$work/hosts.yml"
play dead remove.yml -e gnomondb_remove=n3 || fail "remove.yml for a dead node"
ctl n1 status >/dev/null || fail "the cluster is not well without the dead node"
row_is_there n1 n2 n4

step "passed"
