#include "node/member.h"

#include "base/log.h"
#include "cluster/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESH_TEXT = 300 };
#define JOIN_PATIENCE_NS 60000000000u
#define CONTACT_NS 2000000000u
#define PAUSE_NS 500000000u

static gn_mesh_options mesh_options(const gn_config *config, const char *cluster_id)
{
    return (gn_mesh_options){.listen = config->cluster_listen,
                             .cluster_id = cluster_id,
                             .tls_ca = config->tls_ca[0] ? config->tls_ca : NULL,
                             .tls_cert = config->tls_cert[0] ? config->tls_cert : NULL,
                             .tls_key = config->tls_key[0] ? config->tls_key : NULL,
                             .insecure = strcmp(config->cluster_insecure, "yes") == 0,
                             .admit_strangers = cluster_id[0] != '\0'};
}

static gn_code take_address(const gn_config *config, gn_member *m, gn_error *err)
{
    const char *address = config->cluster_address[0] ? config->cluster_address : gn_mesh_address(m->mesh);
    size_t n = strlen(address);
    if (n >= sizeof m->address)
        return gn_error_set(err, GN_CONFIGURATION, "cluster_address is longer than %zu bytes", sizeof m->address - 1);
    memcpy(m->address, address, n + 1);
    return GN_OK;
}

static gn_world *make_world(const gn_config *config, gn_node_id id)
{
    return gn_world_real_create(&(gn_world_options){.threads = (unsigned)config->threads, .node_id = id});
}

/* listen: what this node has told the others when it joined just now; "" if it did not. */
static gn_code open_mesh(const gn_config *config, gn_member *m, const char *listen, gn_error *err)
{
    if (!config->cluster_listen[0])
        return GN_OK;
    gn_mesh_options options = mesh_options(config, m->identity.cluster);
    if (listen[0])
        options.listen = listen;
    gn_code code = gn_mesh_open(m->world, &options, &m->mesh, err);
    return code == GN_OK ? take_address(config, m, err) : code;
}

/* ---- joining ---- */

static gn_code ask_one(gn_member *stranger, gn_rpc *rpc, const gn_config *config, const char *address, gn_identity *out,
                       gn_error *err)
{
    gn_node_id contact;
    uint64_t deadline = gn_now_ns(stranger->world) + CONTACT_NS;
    gn_code code = gn_mesh_contact(stranger->mesh, address, deadline, &contact, err);
    const gn_newcomer who = {.address = stranger->address, .zone = config->zone, .program = GN_VERSION};
    if (code == GN_OK)
        code = gn_cluster_join(rpc, contact, &who, gn_now_ns(stranger->world) + 5 * CONTACT_NS, out, err);
    if (code == GN_OK)
        gn_cluster_remember(config->data_dir, contact, address);
    return code;
}

/* A refusal is final; whoever cannot be reached may be there later. */
static gn_code ask_in_turn(gn_member *stranger, gn_rpc *rpc, const gn_config *config, gn_identity *out, gn_error *err)
{
    uint64_t deadline = gn_now_ns(stranger->world) + JOIN_PATIENCE_NS;
    for (;;) {
        char list[GN_OPTION_TEXT], *rest = list, *address;
        gn_code code = GN_CONFIGURATION;
        gn_error why = {0};
        gn_event pause;
        memcpy(list, config->join, sizeof list);
        while ((address = strsep(&rest, ", "))) {
            if (!address[0])
                continue;
            why = (gn_error){0};
            code = ask_one(stranger, rpc, config, address, out, &why);
            if (code == GN_OK || code == GN_CONFIGURATION)
                break;
            gn_log_info("node", "could not join yet", GN_KV_STR("through", address), GN_KV_STR("why", why.message));
        }
        if (code == GN_OK || code == GN_CONFIGURATION || gn_now_ns(stranger->world) >= deadline) {
            if (code != GN_OK)
                gn_error_set(err, code, "could not join a cluster: %s", why.message);
            if (code != GN_OK)
                gn_error_hint(err, "join must name cluster_listen addresses of nodes that are up: \"%s\"",
                              config->join);
            return code;
        }
        gn_event_init(&pause, stranger->world);
        gn_event_wait(&pause, gn_now_ns(stranger->world) + PAUSE_NS);
    }
}

/* As a stranger: with a number that is nobody's, which only asking to join needs. */
static gn_code join_cluster(const gn_config *config, gn_identity *out, char listen[MESH_TEXT], gn_error *err)
{
    if (!config->cluster_listen[0])
        return gn_error_set(err, GN_CONFIGURATION, "join needs cluster_listen: the other nodes must find this one");
    gn_world *seed = make_world(config, 1);
    gn_member stranger = {.world = make_world(config, GN_MESH_STRANGER | gn_random_u64(seed) >> 2)};
    gn_world_real_destroy(seed);
    gn_mesh_options options = mesh_options(config, "");
    gn_code code = gn_mesh_open(stranger.world, &options, &stranger.mesh, err);
    if (code == GN_OK)
        code = take_address(config, &stranger, err);
    if (code == GN_OK) {
        gn_rpc *rpc = gn_rpc_create(stranger.world, 0);
        code = ask_in_turn(&stranger, rpc, config, out, err);
        gn_rpc_destroy(rpc);
        snprintf(listen, MESH_TEXT, "%s", gn_mesh_address(stranger.mesh)); /* port 0 would be another next time */
    }
    gn_member_close(&stranger);
    return code;
}

static gn_code make_identity(const gn_config *config, gn_identity *out, char listen[MESH_TEXT], gn_error *err)
{
    if (config->join[0]) {
        gn_code code = join_cluster(config, out, listen, err);
        if (code != GN_OK)
            return code;
        gn_log_info("node", "joined", GN_KV_STR("cluster", out->cluster), GN_KV_U64("node", out->node));
    } else {
        gn_world *world = make_world(config, 1);
        *out = gn_identity_found(world);
        gn_world_real_destroy(world);
        gn_log_info("node", "founds a cluster", GN_KV_STR("cluster", out->cluster));
    }
    return gn_identity_write(config->data_dir, out, err);
}

/* ---- */

gn_code gn_member_open(const gn_config *config, gn_member *m, gn_error *err)
{
    char listen[MESH_TEXT] = "";
    *m = (gn_member){0};
    gn_code code = gn_identity_read(config->data_dir, &m->identity, err);
    if (code == GN_NO_FILE) {
        if (err)
            *err = (gn_error){0};
        code = make_identity(config, &m->identity, listen, err);
    }
    if (code == GN_OK)
        code = gn_recovery_do(config->data_dir, &m->identity, err);
    if (code != GN_OK)
        return code;
    m->world = make_world(config, m->identity.node);
    return open_mesh(config, m, listen, err);
}

void gn_member_close(gn_member *m)
{
    gn_mesh_close(m->mesh);
    gn_world_real_destroy(m->world);
    *m = (gn_member){0};
}

void gn_member_peer(void *ctx, gn_node_id id, const char *address)
{
    gn_member *m = ctx;
    if (m->mesh)
        gn_mesh_peer(m->mesh, id, address);
}
