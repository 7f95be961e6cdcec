/* The way to a cluster: a stranger's connection to one of its nodes, and requests of net/admin.h. */
#ifndef GN_OPS_CLIENT_H
#define GN_OPS_CLIENT_H

#include "net/admin.h"
#include "net/rpc.h"
#include "ops/options.h"

#include <jansson.h>

typedef struct gn_ctl_client gn_ctl_client;

/* Says what is wrong, as the command's output format wants it. */
void gn_ctl_complain(const gn_ctl *ctl, const gn_error *err);

/* The first of --address that answers. *status: why not, when NULL is given; it was said. */
gn_ctl_client *gn_ctl_connect(const gn_ctl *ctl, int *status);
/* The same; why not is in *err, and nothing is said. */
gn_ctl_client *gn_ctl_try(const gn_ctl *ctl, gn_error *err);
void gn_ctl_disconnect(gn_ctl_client *client); /* NULL is fine */
gn_world *gn_ctl_world(gn_ctl_client *client);

/* A request under way. */
typedef struct gn_ctl_call {
    gn_rpc_call rpc;
    gn_event event;
    gn_buf request;
    gn_code code;
    uint64_t deadline_ns;
} gn_ctl_call;
/* args: up to a NULL. node 0: the one connected to. timeout_s 0: --timeout. */
void gn_ctl_call_start(gn_ctl_client *client, gn_ctl_call *call, gn_node_id node, gn_admin_command command,
                       const char *const *args, uint64_t timeout_s);
/* The document (to be released), or NULL and the reason in *err. Ends the call. */
json_t *gn_ctl_call_end(gn_ctl_call *call, gn_error *err);

/* Asks and waits. NULL: *status says why, and it was said. */
json_t *gn_ctl_ask(gn_ctl_client *client, gn_node_id node, gn_admin_command command, const char *const *args,
                   int *status);
/* The same with a patience of its own. */
json_t *gn_ctl_ask_long(gn_ctl_client *client, gn_node_id node, gn_admin_command command, const char *const *args,
                        uint64_t timeout_s, int *status);
int gn_ctl_status_of(gn_code code); /* exit code for a request that failed */

/* ---- documents ---- members that may be missing */
uint64_t gn_json_u64(const json_t *object, const char *key);
const char *gn_json_str(const json_t *object, const char *key); /* "" when missing */
bool gn_json_true(const json_t *object, const char *key);
void gn_json_print(const json_t *document); /* to standard output */

#endif
