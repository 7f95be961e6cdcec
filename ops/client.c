#include "ops/client.h"

#include "net/mesh.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gn_ctl_client {
    const gn_ctl *ctl;
    gn_world *world;
    gn_mesh *mesh;
    gn_rpc *rpc;
    gn_node_id contact;
    uint64_t timeout_s;
};

void gn_ctl_complain(const gn_ctl *ctl, const gn_error *err)
{
    const char *message = err->message[0] ? err->message : gn_code_text(err->code);
    if (gn_ctl_has(ctl, GN_OPT_JSON)) {
        json_t *document = json_pack("{s:{s:s,s:s*,s:s*}}", "error", "code", gn_code_name(err->code), "message",
                                     message, "hint", err->hint[0] ? err->hint : NULL);
        gn_json_print(document);
        json_decref(document);
    }
    fprintf(stderr, "gnomonctl: %s\n", message);
    if (err->hint[0])
        fprintf(stderr, "gnomonctl: hint: %s\n", err->hint);
}

int gn_ctl_status_of(gn_code code)
{
    return code == GN_OK                                                                ? GN_EXIT_OK
           : code == GN_CONFIGURATION                                                   ? GN_EXIT_USAGE
           : code == GN_CONNECTION_FAILURE || code == GN_TIMEOUT || code == GN_SHUTDOWN ? GN_EXIT_UNREACHABLE
                                                                                        : GN_EXIT_FAILED;
}

/* ---- connecting ---- */

static gn_code contact_one(gn_ctl_client *c, gn_error *err)
{
    char list[1024], *rest = list, *address;
    const char *given = c->ctl->values[GN_OPT_ADDRESS];
    gn_code code = gn_error_set(err, GN_CONFIGURATION, "--address names no node");
    if (strlen(given) >= sizeof list)
        return gn_error_set(err, GN_CONFIGURATION, "--address is longer than %zu bytes", sizeof list - 1);
    memcpy(list, given, strlen(given) + 1);
    while ((address = strsep(&rest, ", "))) {
        if (!address[0])
            continue;
        *err = (gn_error){0};
        uint64_t deadline = gn_now_ns(c->world) + c->timeout_s * 1000000000ull;
        code = gn_mesh_contact(c->mesh, address, deadline, &c->contact, err);
        if (code == GN_OK)
            return code;
    }
    return code == GN_CONFIGURATION ? code : GN_CONNECTION_FAILURE;
}

static gn_code open_client(gn_ctl_client *c, gn_error *err)
{
    const char *const *v = c->ctl->values;
    gn_code code = gn_ctl_number("--timeout", v[GN_OPT_TIMEOUT], 1, 3600, &c->timeout_s, err);
    if (code != GN_OK)
        return code;
    gn_world *seed = gn_world_real_create(&(gn_world_options){.threads = 1, .node_id = 1});
    gn_node_id stranger = GN_MESH_STRANGER | gn_random_u64(seed) >> 2;
    gn_world_real_destroy(seed);
    c->world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = stranger});
    gn_mesh_options options = {.listen = "127.0.0.1:0",
                               .cluster_id = "",
                               .tls_ca = v[GN_OPT_CA],
                               .tls_cert = v[GN_OPT_CERT],
                               .tls_key = v[GN_OPT_KEY],
                               .insecure = gn_ctl_has(c->ctl, GN_OPT_INSECURE)};
    code = gn_mesh_open(c->world, &options, &c->mesh, err);
    if (code != GN_OK)
        return code == GN_CONFIGURATION || code == GN_NO_FILE ? GN_CONFIGURATION : code;
    c->rpc = gn_rpc_create(c->world, 0);
    return contact_one(c, err);
}

gn_ctl_client *gn_ctl_try(const gn_ctl *ctl, gn_error *err)
{
    gn_ctl_client *c = gn_xcalloc(1, sizeof *c);
    c->ctl = ctl;
    gn_code code = open_client(c, err);
    if (code == GN_OK)
        return c;
    err->code = code;
    gn_ctl_disconnect(c);
    return NULL;
}

gn_ctl_client *gn_ctl_connect(const gn_ctl *ctl, int *status)
{
    gn_error err = {0};
    gn_ctl_client *c = gn_ctl_try(ctl, &err);
    if (!c) {
        gn_ctl_complain(ctl, &err);
        *status = gn_ctl_status_of(err.code);
    }
    return c;
}

void gn_ctl_disconnect(gn_ctl_client *c)
{
    if (!c)
        return;
    if (c->rpc)
        gn_rpc_destroy(c->rpc);
    gn_mesh_close(c->mesh);
    if (c->world)
        gn_world_real_destroy(c->world);
    free(c);
}

gn_world *gn_ctl_world(gn_ctl_client *c)
{
    return c->world;
}

/* ---- asking ---- */

static void answered(gn_rpc_call *rpc, gn_code code)
{
    gn_ctl_call *call = GN_CONTAINER(rpc, gn_ctl_call, rpc);
    call->code = code;
    gn_event_signal(&call->event);
}

void gn_ctl_call_start(gn_ctl_client *c, gn_ctl_call *call, gn_node_id node, gn_admin_command command,
                       const char *const *args, uint64_t timeout_s)
{
    gn_admin_request request = {.node = node, .command = command};
    for (; args && args[request.n_args]; request.n_args++)
        request.args[request.n_args] = args[request.n_args];
    *call = (gn_ctl_call){0};
    gn_buf_init(&call->request, NULL, GN_ADMIN_MAX_REQUEST);
    gn_event_init(&call->event, c->world);
    bool written = gn_admin_request_write(&call->request, &request);
    call->rpc =
        (gn_rpc_call){.to = c->contact,
                      .method = GN_ADMIN_METHOD,
                      .request = gn_buf_bytes(&call->request),
                      .deadline_ns = gn_now_ns(c->world) + (timeout_s ? timeout_s : c->timeout_s) * 1000000000ull,
                      .done = answered};
    if (written)
        gn_rpc_start(c->rpc, &call->rpc);
    else
        answered(&call->rpc, gn_error_set(&call->rpc.error, GN_CONFIGURATION, "an argument is too long"));
}

json_t *gn_ctl_call_end(gn_ctl_call *call, gn_error *err)
{
    json_error_t why;
    json_t *document = NULL;
    gn_event_wait(&call->event, UINT64_MAX);
    if (call->code == GN_OK) {
        document =
            json_loadb((const char *)call->rpc.response.data, call->rpc.response.len, JSON_REJECT_DUPLICATES, &why);
        if (!json_is_object(document)) {
            json_decref(document);
            document = NULL;
            gn_error_set(err, GN_PROTOCOL, "the node's answer is malformed: %s", why.text);
        }
    } else {
        *err = call->rpc.error;
        err->code = call->code;
        if (!err->message[0])
            gn_error_set(err, call->code == GN_UNAVAILABLE ? GN_CONNECTION_FAILURE : call->code,
                         call->code == GN_TIMEOUT ? "the node did not answer in time" : "%s", gn_code_text(call->code));
    }
    gn_buf_close(&call->request);
    gn_buf_close(&call->rpc.response);
    return document;
}

json_t *gn_ctl_ask(gn_ctl_client *c, gn_node_id node, gn_admin_command command, const char *const *args, int *status)
{
    return gn_ctl_ask_long(c, node, command, args, 0, status);
}

json_t *gn_ctl_ask_long(gn_ctl_client *c, gn_node_id node, gn_admin_command command, const char *const *args,
                        uint64_t timeout_s, int *status)
{
    gn_ctl_call call;
    gn_error err = {0};
    gn_ctl_call_start(c, &call, node, command, args, timeout_s);
    json_t *document = gn_ctl_call_end(&call, &err);
    if (!document) {
        gn_ctl_complain(c->ctl, &err);
        *status = gn_ctl_status_of(err.code);
    }
    return document;
}

/* ---- documents ---- */

uint64_t gn_json_u64(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));
    return v > 0 ? (uint64_t)v : 0;
}

const char *gn_json_str(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

bool gn_json_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

void gn_json_print(const json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
}
