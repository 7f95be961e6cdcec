/* Upgrades: what cluster versions the nodes can do, and the end of an upgrade, after which nobody can go back.
 *
 * Whether a node can is asked of the node itself, now: what it once wrote down may be of a program that has been gone
 * back from since. A node that starts later with an older program is refused by the others and by its own disk. */
#include "base/log.h"
#include "base/versions.h"
#include "cluster/admin_private.h"
#include "cluster/methods_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORM = 1, MAX_ANSWER = 64 };
#define ASK_NS 3000000000u

/* What one node says. */
typedef struct versions {
    bool answers;
    gn_version_range can;
    uint32_t at;
    char program[16];
} versions;

static versions own_versions(const gn_cluster *c)
{
    versions v = {.answers = true, .can = c->can, .at = c->at};
    snprintf(v.program, sizeof v.program, "%s", c->admin.version ? c->admin.version : "");
    return v;
}

static void serve_versions(void *ctx, gn_rpc_request *request)
{
    versions v = own_versions(ctx);
    gn_buf answer;
    gn_buf_init(&answer, NULL, MAX_ANSWER);
    gn_buf_append_u8(&answer, FORM);
    gn_buf_append_be16(&answer, v.can.least);
    gn_buf_append_be16(&answer, v.can.most);
    gn_buf_append_be16(&answer, (uint16_t)v.at);
    gn_buf_append_str(&answer, v.program);
    gn_rpc_answer(request, GN_OK, gn_buf_bytes(&answer), NULL);
    gn_buf_close(&answer);
}

void gn_versions_serve(gn_cluster *c)
{
    gn_rpc_serve(c->rpc, GN_METHOD_VERSIONS, serve_versions, c);
}

static bool read_versions(gn_bytes bytes, versions *out)
{
    gn_reader r = gn_reader_of(bytes);
    uint8_t form = gn_read_u8(&r);
    out->can.least = gn_read_be16(&r);
    out->can.most = gn_read_be16(&r);
    out->at = gn_read_be16(&r);
    gn_bytes program = gn_read_bytes(&r, gn_reader_left(&r));
    size_t n = program.len < sizeof out->program ? program.len : sizeof out->program - 1;
    if (n)
        memcpy(out->program, program.data, n);
    out->program[n] = '\0';
    return !r.failed && form == FORM;
}

/* A node of the first release does not know the question; it answers others. */
static versions ask_versions(gn_cluster *c, gn_node_id node)
{
    versions v = {0};
    gn_buf answer;
    gn_error err = {0};
    if (node == gn_net_self(c->world))
        return own_versions(c);
    gn_buf_init(&answer, NULL, MAX_ANSWER);
    gn_code code = gn_rpc_ask(c->rpc, node, GN_METHOD_VERSIONS, gn_bytes_of(NULL, 0), gn_now_ns(c->world) + ASK_NS,
                              NULL, &answer, &err);
    v.answers = code == GN_OK && read_versions(gn_buf_bytes(&answer), &v);
    if (code == GN_UNAVAILABLE && gn_rpc_ask(c->rpc, node, GN_METHOD_NUDGE, gn_bytes_of(NULL, 0),
                                             gn_now_ns(c->world) + ASK_NS, NULL, NULL, &err) == GN_OK)
        v = (versions){.answers = true, .can = {1, 1}, .at = 1, .program = "0.1"};
    gn_buf_close(&answer);
    return v;
}

/* ---- what an operator gets ---- */

static void write_range(gn_json_writer *j, const versions *v)
{
    gn_jw_u64(j, "cluster_version", v->at);
    gn_jw_u64(j, "least", v->can.least);
    gn_jw_u64(j, "most", v->can.most);
}

void gn_admin_write_versions(gn_json_writer *j, gn_cluster *c)
{
    versions v = own_versions(c);
    write_range(j, &v);
}

static void write_answer(gn_json_writer *j, const gn_node_place *node, const versions *v)
{
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "node", node->id);
    gn_jw_str(j, "address", node->address);
    gn_jw_bool(j, "answers", v->answers);
    if (v->answers) {
        gn_jw_str(j, "program", v->program);
        write_range(j, v);
    }
    gn_jw_close(j, '}');
}

static gn_code refuse_silent(gn_node_id node, gn_error *err)
{
    gn_error_set(err, GN_NOT_IN_STATE, "node %" PRIu64 " does not answer, so nobody knows what it can do", node);
    gn_error_hint(err, "Start it with the new program, or decommission it.");
    return GN_NOT_IN_STATE;
}

/* The newest version that all can do. GN_NOT_IN_STATE: it is not known, or no newer one. */
static gn_code find_target(const gn_placement *p, const versions *found, uint32_t *target, gn_error *err)
{
    gn_node_id oldest = 0;
    *target = UINT32_MAX;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        if (strcmp(p->nodes[i].state, "gone") == 0)
            continue;
        if (!found[i].answers)
            return refuse_silent(p->nodes[i].id, err);
        if (found[i].can.most < *target) {
            *target = found[i].can.most;
            oldest = p->nodes[i].id;
        }
    }
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (found[i].answers && found[i].can.most > *target && *target <= p->version) {
            gn_error_set(err, GN_NOT_IN_STATE,
                         "node %" PRIu64 " still runs a program that cannot do more than version %u", oldest, *target);
            gn_error_hint(err, "Upgrade every node first.");
            return GN_NOT_IN_STATE;
        }
    return GN_OK;
}

static gn_code finish(gn_admin_job *job, const gn_placement *p, const versions *found, gn_error *err)
{
    gn_cluster *c = job->cluster;
    uint32_t target;
    gn_code code = find_target(p, found, &target, err);
    if (code != GN_OK || target <= p->version)
        return code;
    if (target > c->can.most) {
        gn_error_set(err, GN_NOT_IN_STATE, "this node cannot do version %" PRIu32 ": ask another one", target);
        return GN_NOT_IN_STATE;
    }
    code = gn_versions_raise(c, target, p->n_nodes, err);
    if (code != GN_OK)
        return code;
    gn_log_info("cluster", "an operator finished an upgrade", GN_KV_U64("version", target));
    gn_warden_nudge(c->warden);
    gn_nodes_nudge_all(c);
    return GN_OK;
}

gn_code gn_admin_upgrade(gn_admin_job *job, gn_error *err)
{
    gn_cluster *c = job->cluster;
    bool finishes = job->request->n_args == 1;
    if (finishes && strcmp(job->request->args[0], "finish") != 0)
        return gn_error_set(err, GN_INVALID_PARAMETER, "the argument may be \"finish\" only");
    gn_code code = gn_meta_refresh(c, false, err); /* a node that has just joined must not be missed */
    if (code != GN_OK)
        return code;
    gn_placement *p = gn_meta_placement(c);
    versions *found = gn_xcalloc(p->n_nodes + 1, sizeof *found);
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (strcmp(p->nodes[i].state, "gone") != 0)
            found[i] = ask_versions(c, p->nodes[i].id);
    if (finishes)
        code = finish(job, p, found, err);
    if (code == GN_OK) {
        gn_jw_open(job->json, NULL, '{');
        gn_jw_u64(job->json, "cluster_version", c->at);
        gn_jw_open(job->json, "nodes", '[');
        for (uint32_t i = 0; i < p->n_nodes; i++)
            if (strcmp(p->nodes[i].state, "gone") != 0)
                write_answer(job->json, &p->nodes[i], &found[i]);
        gn_jw_close(job->json, ']');
        gn_jw_close(job->json, '}');
    }
    free(found);
    gn_placement_release(p);
    return code;
}
