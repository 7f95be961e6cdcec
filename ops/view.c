#include "ops/view.h"

#include "ops/client.h"
#include "ops/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t memory_of(const gn_model_node *n, const char *key)
{
    return gn_json_u64(json_object_get(n->report, "memory"), key);
}

/* ---- nodes ---- */

static void node_row(gn_text_table *t, const gn_model_node *n)
{
    char resident[32], left[32], up[32];
    const json_t *disk = json_object_get(n->report, "disk");
    gn_text_cell(t, "%" PRIu64, n->id);
    gn_text_cell(t, "%s", n->address[0] ? n->address : "-");
    gn_text_cell(t, "%s", n->zone[0] ? n->zone : "-");
    gn_text_cell(t, "%s%s", n->state, n->asked && !n->answers ? ", silent" : "");
    if (!n->answers) {
        for (int i = 0; i < 6; i++)
            gn_text_cell(t, "-");
        return;
    }
    gn_text_cell(t, "%s", gn_json_str(n->report, "version"));
    gn_text_cell(t, "%s", gn_text_duration(gn_json_u64(n->report, "uptime_s"), up));
    gn_text_cell(t, "%u", n->replicas);
    gn_text_cell(t, "%u", n->leads);
    gn_text_cell(t, "%s", gn_text_bytes(memory_of(n, "resident_bytes"), resident));
    gn_text_cell(t, "%s", gn_text_bytes(gn_json_u64(disk, "free_bytes"), left));
}

void gn_view_nodes(gn_buf *out, const gn_model *m)
{
    static const char *const HEADS[] = {"NODE>", "ADDRESS",   "ZONE",   "STATE",   "VERSION",
                                        "UP>",   "REPLICAS>", "LEADS>", "MEMORY>", "DISK FREE>"};
    gn_text_table t;
    gn_text_table_init(&t, HEADS, sizeof HEADS / sizeof *HEADS);
    for (uint32_t i = 0; i < m->n_nodes; i++)
        node_row(&t, &m->nodes[i]);
    gn_text_table_write(&t, out);
    gn_text_table_close(&t);
}

json_t *gn_view_nodes_json(const gn_model *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const gn_model_node *n = &m->nodes[i];
        json_t *node =
            json_pack("{s:I,s:s,s:s,s:s,s:b,s:I,s:I,s:I}", "node", (json_int_t)n->id, "address", n->address, "zone",
                      n->zone, "state", n->state, "answers", n->answers, "replicas", (json_int_t)n->replicas, "leads",
                      (json_int_t)n->leads, "wanted", (json_int_t)n->wanted);
        if (n->error[0])
            json_object_set_new(node, "error", json_string(n->error));
        for (int k = 0; n->report && k < 5; k++) {
            static const char *const KEYS[] = {"version", "uptime_s", "memory", "disk", "peers"};
            json_object_set(node, KEYS[k], json_object_get(n->report, KEYS[k]));
        }
        json_array_append_new(list, node);
    }
    return list;
}

/* ---- shards ---- */

/* "1 2 3+": 3 does not vote yet; "(3)": it does not answer. */
static void members_text(const gn_model_group *g, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < g->n && at < size - 1; i++) {
        const gn_model_replica *r = &g->members[i];
        int n = snprintf(out + at, size - at, r->answers ? "%s%" PRIu64 "%s" : "%s(%" PRIu64 ")%s", i ? " " : "",
                         r->node, r->votes ? "" : "+");
        at += n > 0 ? (size_t)n : 0;
    }
}

/* How far the slowest replica that answers is behind, or how far an install has come. */
static void progress_text(const gn_model_group *g, char *out, size_t size)
{
    uint64_t behind = 0;
    snprintf(out, size, "-");
    for (uint32_t i = 0; i < g->n; i++) {
        const gn_model_replica *r = &g->members[i];
        char percent[32];
        if (r->install_total) {
            snprintf(out, size, "node %" PRIu64 " installs, %s", r->node,
                     gn_text_percent(r->install_bytes, r->install_total, percent));
            return;
        }
        if (r->answers && g->last_index > r->applied && g->last_index - r->applied > behind)
            behind = g->last_index - r->applied;
    }
    if (behind)
        snprintf(out, size, "%" PRIu64, behind);
}

static void group_row(gn_text_table *t, const gn_model_group *g)
{
    char text[GN_TEXT_CELL], n[32];
    gn_text_cell(t, "%" PRIu64, g->id);
    if (g->distribution) {
        gn_text_cell(t, "%" PRIu64, g->distribution);
        gn_text_cell(t, "%u-%u", g->slot_lo, g->slot_hi ? g->slot_hi - 1 : 0);
    } else {
        gn_text_cell(t, "-");
        gn_text_cell(t, "meta");
    }
    gn_text_cell(t, "%s", gn_model_state_text(g->state));
    if (g->leader)
        gn_text_cell(t, "%" PRIu64, g->leader);
    else
        gn_text_cell(t, "-");
    members_text(g, text, sizeof text);
    gn_text_cell(t, "%s", text);
    gn_text_cell(t, "%" PRIu64, g->term);
    gn_text_cell(t, "%s", gn_text_count(g->rows, n));
    gn_text_cell(t, "%s", gn_text_bytes(g->bytes, n));
    progress_text(g, text, sizeof text);
    gn_text_cell(t, "%s", text);
    gn_text_cell(t, "%" PRIu64, g->prepared);
}

void gn_view_shards(gn_buf *out, const gn_model *m)
{
    static const char *const HEADS[] = {"GROUP>", "DISTRIBUTION>", "SLOTS", "STATE",   "LEADER>",  "REPLICAS",
                                        "TERM>",  "ROWS>",         "SIZE>", "BEHIND>", "PREPARED>"};
    gn_text_table t;
    gn_text_table_init(&t, HEADS, sizeof HEADS / sizeof *HEADS);
    for (uint32_t i = 0; i < m->n_groups; i++)
        group_row(&t, &m->groups[i]);
    gn_text_table_write(&t, out);
    gn_text_table_close(&t);
}

static json_t *replica_json(const gn_model_replica *r)
{
    json_t *one = json_pack("{s:I,s:b,s:b,s:I}", "node", (json_int_t)r->node, "votes", r->votes, "answers", r->answers,
                            "applied_index", (json_int_t)r->applied);
    if (r->install_total)
        json_object_set_new(
            one, "install",
            json_pack("{s:I,s:I}", "bytes", (json_int_t)r->install_bytes, "bytes_total", (json_int_t)r->install_total));
    return one;
}

json_t *gn_view_shards_json(const gn_model *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->n_groups; i++) {
        const gn_model_group *g = &m->groups[i];
        json_t *wanted = json_array(), *replicas = json_array();
        for (uint32_t k = 0; k < g->n_wanted; k++)
            json_array_append_new(wanted, json_integer((json_int_t)g->wanted[k]));
        for (uint32_t k = 0; k < g->n; k++)
            json_array_append_new(replicas, replica_json(&g->members[k]));
        json_array_append_new(list, json_pack("{s:I,s:I,s:I,s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "group",
                                              (json_int_t)g->id, "distribution", (json_int_t)g->distribution, "slot_lo",
                                              (json_int_t)g->slot_lo, "slot_hi", (json_int_t)g->slot_hi, "state",
                                              gn_model_state_text(g->state), "leader", (json_int_t)g->leader, "term",
                                              (json_int_t)g->term, "last_index", (json_int_t)g->last_index, "rows",
                                              (json_int_t)g->rows, "bytes", (json_int_t)g->bytes, "prepared",
                                              (json_int_t)g->prepared, "wanted", wanted, "replicas", replicas));
    }
    return list;
}

/* ---- status ---- */

static void totals(const gn_model *m, uint64_t *rows, uint64_t *bytes)
{
    *rows = *bytes = 0;
    for (uint32_t i = 0; i < m->n_groups; i++) {
        *rows += m->groups[i].rows;
        *bytes += m->groups[i].bytes;
    }
}

/* "program  0.2.0, cluster version 2", or "0.1.0 on 1 2, 0.2.0 on 3". */
static void programs(gn_buf *out, const gn_model *m)
{
    uint64_t version = 0;
    const char *first = NULL;
    bool same = true;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const json_t *report = m->nodes[i].report;
        const char *program = gn_json_str(report, "version");
        version = gn_json_u64(report, "cluster_version") > version ? gn_json_u64(report, "cluster_version") : version;
        same = same && (!report || !first || strcmp(program, first) == 0);
        first = report && !first ? program : first;
    }
    gn_buf_printf(out, "program  %s", same && first ? first : "");
    for (uint32_t i = 0; i < m->n_nodes && !same; i++)
        if (m->nodes[i].report)
            gn_buf_printf(out, "%s on %" PRIu64 "  ", gn_json_str(m->nodes[i].report, "version"), m->nodes[i].id);
    if (version)
        gn_buf_printf(out, "%scluster version %" PRIu64, same ? ", " : "", version);
    gn_buf_append_str(out, "\n");
}

void gn_view_status(gn_buf *out, const gn_model *m, const json_t *problems, bool healthy)
{
    uint64_t rows, bytes;
    uint32_t answering = 0, asked = 0, well = 0, serving = 0;
    char a[32], b[32];
    totals(m, &rows, &bytes);
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        asked += m->nodes[i].asked;
        answering += m->nodes[i].answers;
    }
    for (uint32_t i = 0; i < m->n_groups; i++) {
        well += m->groups[i].state == GN_GROUP_WELL;
        serving += m->groups[i].state != GN_GROUP_LEADERLESS;
    }
    gn_buf_printf(out, "cluster  %s\nhealth   %s\nnodes    %u of %u answer\n", m->cluster,
                  healthy ? "well" : "NOT WELL", answering, asked);
    programs(out, m);
    gn_buf_printf(out, "groups   %u of %u serve, %u of %u well\ndata     %s rows, %s\n", serving, m->n_groups, well,
                  m->n_groups, gn_text_count(rows, a), gn_text_bytes(bytes, b));
    for (size_t i = 0; i < json_array_size(problems); i++) {
        const json_t *p = json_array_get(problems, i);
        gn_buf_printf(out, "%s%-7s  %s\n", i ? "" : "\n", gn_json_str(p, "severity"), gn_json_str(p, "text"));
    }
}

/* ---- top ---- */

static uint64_t traffic(const gn_model_node *n, const char *key)
{
    uint64_t sum = 0;
    const json_t *peers = json_object_get(n->report, "peers");
    for (size_t i = 0; i < json_array_size(peers); i++)
        sum += gn_json_u64(json_array_get(peers, i), key);
    return sum;
}

static void rate_cell(gn_text_table *t, uint64_t now, uint64_t before, bool known, double seconds, bool bytes)
{
    char n[32];
    if (!known || now < before || seconds <= 0) {
        gn_text_cell(t, "-");
        return;
    }
    uint64_t rate = (uint64_t)((double)(now - before) / seconds);
    gn_text_cell(t, "%s%s", bytes ? gn_text_bytes(rate, n) : gn_text_count(rate, n), "/s");
}

static void top_nodes(gn_buf *out, const gn_model *m, const gn_model *before, double seconds)
{
    static const char *const HEADS[] = {"NODE>", "STATE", "LEADS>", "MEMORY>", "USED>", "IN>", "OUT>", "DROPPED>"};
    gn_text_table t;
    char n[32];
    gn_text_table_init(&t, HEADS, sizeof HEADS / sizeof *HEADS);
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const gn_model_node *now = &m->nodes[i], *then = before ? gn_model_node_of(before, now->id) : NULL;
        bool known = now->report && then && then->report;
        if (!now->asked)
            continue;
        gn_text_cell(&t, "%" PRIu64, now->id);
        gn_text_cell(&t, "%s%s", now->state, now->answers ? "" : ", silent");
        gn_text_cell(&t, "%u", now->leads);
        gn_text_cell(&t, "%s", gn_text_bytes(memory_of(now, "resident_bytes"), n));
        gn_text_cell(&t, "%s",
                     gn_text_percent(memory_of(now, "accounted_bytes"),
                                     memory_of(now, "limit_bytes") ? memory_of(now, "limit_bytes") : 1, n));
        rate_cell(&t, traffic(now, "bytes_in"), known ? traffic(then, "bytes_in") : 0, known, seconds, true);
        rate_cell(&t, traffic(now, "bytes_out"), known ? traffic(then, "bytes_out") : 0, known, seconds, true);
        gn_text_cell(&t, "%s", gn_text_count(traffic(now, "frames_dropped"), n));
    }
    gn_text_table_write(&t, out);
    gn_text_table_close(&t);
}

static void top_groups(gn_buf *out, const gn_model *m, const gn_model *before, double seconds)
{
    static const char *const HEADS[] = {"GROUP>", "STATE", "LEADER>", "ROWS>", "SIZE>", "ENTRIES>", "BEHIND>"};
    gn_text_table t;
    char n[32], text[GN_TEXT_CELL];
    gn_text_table_init(&t, HEADS, sizeof HEADS / sizeof *HEADS);
    for (uint32_t i = 0; i < m->n_groups; i++) {
        const gn_model_group *now = &m->groups[i], *then = before ? gn_model_group_of(before, now->id) : NULL;
        gn_text_cell(&t, "%" PRIu64, now->id);
        gn_text_cell(&t, "%s", gn_model_state_text(now->state));
        gn_text_cell(&t, "%" PRIu64, now->leader);
        gn_text_cell(&t, "%s", gn_text_count(now->rows, n));
        gn_text_cell(&t, "%s", gn_text_bytes(now->bytes, n));
        rate_cell(&t, now->last_index, then ? then->last_index : 0, then != NULL, seconds, false);
        progress_text(now, text, sizeof text);
        gn_text_cell(&t, "%s", text);
    }
    gn_text_table_write(&t, out);
    gn_text_table_close(&t);
}

void gn_view_top(gn_buf *out, const gn_model *m, const gn_model *before, double seconds)
{
    top_nodes(out, m, before, seconds);
    gn_buf_append_str(out, "\n");
    top_groups(out, m, before, seconds);
}
