/* What a node knows of itself, and what all of them know together. */
#include "base/metrics.h"
#include "cluster/admin_private.h"
#include "cluster/parts_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { DEFAULT_WAIT_MS = 2000, MAX_WAIT_MS = 60000, MAX_TEXT = 4 << 20 };

/* ---- one node ---- */

static void write_members(gn_json_writer *j, const char *key, const gn_raft_status *s)
{
    gn_jw_open(j, key, '[');
    for (size_t i = 0; i < s->n_members; i++) {
        gn_jw_open(j, NULL, '{');
        gn_jw_u64(j, "node", s->members[i].id);
        gn_jw_bool(j, "votes", s->members[i].role == GN_RAFT_VOTER);
        gn_jw_close(j, '}');
    }
    gn_jw_close(j, ']');
}

static void write_install(gn_json_writer *j, gn_shard *shard)
{
    gn_install_progress p;
    gn_shard_install_progress(shard, &p);
    if (!p.running)
        return;
    gn_jw_open(j, "install", '{');
    gn_jw_u64(j, "bytes", p.bytes);
    gn_jw_u64(j, "bytes_total", p.bytes_total);
    gn_jw_close(j, '}');
}

/* Of a group that was split. */
static void write_slots(gn_json_writer *j, gn_shard *shard)
{
    gn_slots own;
    gn_shard_slots(shard, &own);
    if (own.generation == 0)
        return;
    gn_jw_open(j, "slots", '{');
    gn_jw_u64(j, "lo", own.lo);
    gn_jw_u64(j, "hi", own.hi);
    gn_jw_u64(j, "splits", own.generation);
    gn_jw_bool(j, "cleaned", own.cleaned >= own.generation);
    gn_jw_u64(j, "removed", gn_shard_slots_removed(shard));
    gn_jw_close(j, '}');
}

static void write_group(gn_json_writer *j, const gn_local_group *g)
{
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_shard_totals totals;
    gn_raft_status_get(gn_shard_raft_group(g->shard), s);
    gn_shard_totals_get(g->shard, &totals);
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "group", g->id);
    gn_jw_str(j, "role", s->stopped ? "stopped" : s->leads ? "leader" : "follower");
    gn_jw_bool(j, "serves", s->can_read);
    gn_jw_u64(j, "term", s->term);
    gn_jw_u64(j, "leader", s->leader);
    gn_jw_u64(j, "first_index", s->first_index);
    gn_jw_u64(j, "last_term", s->last_term);
    gn_jw_u64(j, "last_index", s->last_index);
    gn_jw_u64(j, "commit_index", s->commit_index);
    gn_jw_u64(j, "applied_index", s->applied_index);
    gn_jw_u64(j, "snapshot_index", s->snapshot_index);
    gn_jw_u64(j, "last_scn", gn_shard_last_scn(g->shard));
    gn_jw_u64(j, "closed_scn", gn_shard_closed_scn(g->shard));
    gn_jw_u64(j, "tables", totals.tables);
    gn_jw_u64(j, "rows", totals.rows_estimate);
    gn_jw_u64(j, "bytes", totals.bytes_estimate);
    gn_jw_u64(j, "prepared", totals.prepared);
    write_slots(j, g->shard);
    write_members(j, "members", s);
    write_install(j, g->shard);
    gn_jw_close(j, '}');
    free(s);
}

static void write_groups(gn_json_writer *j, gn_cluster *c)
{
    gn_local_group *groups;
    size_t n = gn_group_list(c, &groups);
    gn_jw_open(j, "groups", '[');
    for (size_t i = 0; i < n; i++)
        write_group(j, &groups[i]);
    gn_jw_close(j, ']');
    gn_group_list_free(c, groups, n);
}

static void write_peers(gn_json_writer *j, gn_cluster *c)
{
    enum { MAX = 256 };
    gn_mesh_peer_status *peers = c->admin.mesh ? gn_xcalloc(MAX, sizeof *peers) : NULL;
    size_t n = peers ? gn_mesh_peers(c->admin.mesh, peers, MAX) : 0;
    uint64_t now = gn_now_ns(c->world);
    gn_jw_open(j, "peers", '[');
    for (size_t i = 0; i < n && i < MAX; i++) {
        const gn_mesh_peer_status *p = &peers[i];
        if (p->id >= GN_MESH_STRANGER)
            continue;
        gn_jw_open(j, NULL, '{');
        gn_jw_u64(j, "node", p->id);
        gn_jw_str(j, "address", p->address);
        gn_jw_bool(j, "connected", p->connected);
        if (p->heard_ns)
            gn_jw_u64(j, "heard_ms_ago", now > p->heard_ns ? (now - p->heard_ns) / 1000000 : 0);
        gn_jw_u64(j, "bytes_in", p->bytes_in);
        gn_jw_u64(j, "bytes_out", p->bytes_out);
        gn_jw_u64(j, "frames_in", p->frames_in);
        gn_jw_u64(j, "frames_out", p->frames_out);
        gn_jw_u64(j, "frames_dropped", p->frames_dropped);
        gn_jw_u64(j, "connections", p->connections);
        gn_jw_str(j, "last_error", p->last_error);
        gn_jw_close(j, '}');
    }
    gn_jw_close(j, ']');
    free(peers);
}

/* Of the process: the second number of /proc/self/statm, in pages. */
static uint64_t resident_bytes(void)
{
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    const char *second = read ? strchr(line, ' ') : NULL;
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void write_machine(gn_json_writer *j, gn_cluster *c)
{
    struct statvfs disk;
    gn_jw_open(j, "memory", '{');
    gn_jw_u64(j, "resident_bytes", resident_bytes());
    gn_jw_u64(j, "accounted_bytes", c->account ? gn_account_used(c->account) : 0);
    gn_jw_u64(j, "limit_bytes", c->account ? c->account->limit : 0);
    gn_jw_close(j, '}');
    if (statvfs(c->data_dir, &disk) != 0)
        return;
    gn_jw_open(j, "disk", '{');
    gn_jw_u64(j, "total_bytes", (uint64_t)disk.f_blocks * disk.f_frsize);
    gn_jw_u64(j, "free_bytes", (uint64_t)disk.f_bavail * disk.f_frsize);
    gn_jw_close(j, '}');
}

gn_code gn_admin_node(gn_admin_job *job, gn_error *err)
{
    gn_cluster *c = job->cluster;
    gn_json_writer *j = job->json;
    (void)err;
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "node", gn_net_self(c->world));
    gn_jw_str(j, "cluster", c->identity.cluster);
    gn_jw_str(j, "version", c->admin.version ? c->admin.version : "");
    gn_admin_write_versions(j, c);
    gn_jw_str(j, "address", c->address);
    gn_jw_str(j, "zone", c->zone);
    gn_jw_u64(j, "uptime_s", (gn_now_ns(c->world) - c->opened_ns) / 1000000000u);
    gn_jw_u64(j, "wall_us", gn_wall_us(c->world));
    gn_jw_bool(j, "ready", gn_cluster_ready(c));
    gn_jw_u64(j, "remote_parts", gn_part_server_count(gn_parts_server(c->parts)));
    write_machine(j, c);
    write_peers(j, c);
    write_groups(j, c);
    gn_jw_close(j, '}');
    return GN_OK;
}

/* ---- all of them ---- */

static void write_place(gn_json_writer *j, const gn_placement *p)
{
    gn_jw_open(j, "placement", '[');
    if (!gn_placement_group(p, GN_META_GROUP)) { /* known whatever is */
        gn_jw_open(j, NULL, '{');
        gn_jw_u64(j, "group", GN_META_GROUP);
        gn_jw_close(j, '}');
    }
    for (uint32_t i = 0; i < p->n_groups; i++) {
        const gn_group_place *g = &p->groups[i];
        gn_jw_open(j, NULL, '{');
        gn_jw_u64(j, "group", g->id);
        gn_jw_u64(j, "distribution", g->distribution_id);
        gn_jw_u64(j, "slot_lo", g->slot_lo);
        gn_jw_u64(j, "slot_hi", g->slot_hi);
        gn_jw_u64(j, "changes", g->changes);
        gn_jw_open(j, "members", '[');
        for (uint32_t k = 0; k < g->n_members; k++)
            gn_jw_u64(j, NULL, g->members[k]);
        gn_jw_close(j, ']');
        gn_jw_close(j, '}');
    }
    gn_jw_close(j, ']');
}

static void write_node_answer(gn_json_writer *j, const gn_node_place *node, gn_admin_ask *ask)
{
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "node", node->id);
    gn_jw_str(j, "address", node->address);
    gn_jw_str(j, "zone", node->zone);
    gn_jw_str(j, "state", node->state);
    if (ask && gn_admin_await(ask) == GN_OK) {
        gn_jw_bool(j, "answers", true);
        gn_jw_raw(j, "report", gn_buf_bytes(&ask->call.response));
    } else if (ask) {
        gn_jw_bool(j, "answers", false);
        gn_jw_str(j, "error", ask->call.error.message);
    }
    gn_jw_close(j, '}');
}

/* Those of the placement, and those that only the log of the meta group names, which all have a replica of: a node that
 * was cut short has an old placement, or none, as long as that group has no leader. */
static gn_node_place *list_nodes(gn_cluster *c, const gn_placement *p, uint32_t *n)
{
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(c->meta), s);
    gn_node_place *nodes = gn_xcalloc(p->n_nodes + s->n_members + 1, sizeof *nodes);
    *n = p->n_nodes;
    if (p->n_nodes)
        memcpy(nodes, p->nodes, p->n_nodes * sizeof *nodes);
    for (size_t i = 0; i < s->n_members; i++)
        if (!gn_placement_node(p, s->members[i].id))
            nodes[(*n)++] = (gn_node_place){.id = s->members[i].id, .state = "unknown"};
    free(s);
    return nodes;
}

/* Asks all that are not gone at once, then writes what they said in their order. */
static void write_nodes(gn_json_writer *j, gn_cluster *c, const gn_placement *p, uint64_t wait_ms)
{
    uint32_t n;
    gn_node_place *nodes = list_nodes(c, p, &n);
    gn_admin_ask *asks = gn_xcalloc(n + 1, sizeof *asks);
    bool *asked = gn_xcalloc(n + 1, sizeof *asked);
    uint64_t deadline = gn_now_ns(c->world) + wait_ms * 1000000;
    for (uint32_t i = 0; i < n; i++) {
        asked[i] = strcmp(nodes[i].state, "gone") != 0;
        gn_admin_request request = {.node = nodes[i].id, .command = GN_ADMIN_NODE};
        if (asked[i])
            gn_admin_send(c, &asks[i], &request, deadline);
    }
    gn_jw_open(j, "nodes", '[');
    for (uint32_t i = 0; i < n; i++) {
        write_node_answer(j, &nodes[i], asked[i] ? &asks[i] : NULL);
        if (asked[i])
            gn_admin_ask_close(&asks[i]);
    }
    gn_jw_close(j, ']');
    free(asks);
    free(asked);
    free(nodes);
}

gn_code gn_admin_cluster(gn_admin_job *job, gn_error *err)
{
    gn_cluster *c = job->cluster;
    gn_json_writer *j = job->json;
    uint64_t wait_ms = DEFAULT_WAIT_MS;
    if (job->request->n_args) {
        gn_code code = gn_admin_number(job, 0, "the time to wait", &wait_ms, err);
        if (code != GN_OK)
            return code;
    }
    gn_error ignored = {0};
    gn_meta_refresh(c, true, &ignored); /* what this node has applied by now; if that fails, what it knew */
    gn_placement *p = gn_meta_placement(c);
    gn_jw_open(j, NULL, '{');
    gn_jw_str(j, "cluster", c->identity.cluster);
    gn_jw_u64(j, "asked", gn_net_self(c->world));
    write_place(j, p);
    write_nodes(j, c, p, wait_ms < MAX_WAIT_MS ? wait_ms : MAX_WAIT_MS);
    gn_jw_close(j, '}');
    gn_placement_release(p);
    return GN_OK;
}

/* ---- texts ---- */

static gn_code answer_text(gn_admin_job *job, gn_buf *text, gn_error *err)
{
    if (text->failed)
        return gn_error_set(err, GN_LIMIT, "the text is longer than %d bytes", MAX_TEXT);
    gn_jw_open(job->json, NULL, '{');
    gn_jw_text(job->json, "text", gn_buf_bytes(text));
    gn_jw_close(job->json, '}');
    return GN_OK;
}

gn_code gn_admin_metrics(gn_admin_job *job, gn_error *err)
{
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_metrics_write(&text);
    gn_code code = answer_text(job, &text, err);
    gn_buf_close(&text);
    return code;
}

gn_code gn_admin_config(gn_admin_job *job, gn_error *err)
{
    const gn_admin_host *host = &job->cluster->admin;
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_TEXT);
    if (host->configuration)
        host->configuration(host->ctx, &text);
    gn_code code = answer_text(job, &text, err);
    gn_buf_close(&text);
    return code;
}
