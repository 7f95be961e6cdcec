/* upgrade: how far a rolling upgrade is, and its end. */
#include "ops/commands.h"
#include "ops/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20, LOOK_MS = 300, TRIES = 100 };

/* Over all nodes of the answer. */
typedef struct summary {
    uint64_t at, can, behind, silent; /* behind: nodes that have not taken the cluster's version over yet */
} summary;

static summary sum_up(const json_t *answer)
{
    const json_t *nodes = json_object_get(answer, "nodes");
    summary s = {.at = gn_json_u64(answer, "cluster_version"), .can = UINT64_MAX};
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *n = json_array_get(nodes, i);
        uint64_t most = gn_json_u64(n, "most");
        s.silent += !gn_json_true(n, "answers");
        if (gn_json_true(n, "answers") && most < s.can)
            s.can = most;
        s.behind += gn_json_true(n, "answers") && gn_json_u64(n, "cluster_version") < s.at;
    }
    return s;
}

static bool print_nodes(const json_t *answer)
{
    static const char *const HEADS[] = {"NODE>", "ADDRESS", "PROGRAM", "CAN DO", "AT>"};
    const json_t *nodes = json_object_get(answer, "nodes");
    gn_text_table t;
    gn_buf text;
    gn_text_table_init(&t, HEADS, sizeof HEADS / sizeof *HEADS);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *n = json_array_get(nodes, i);
        gn_text_cell(&t, "%" PRIu64, gn_json_u64(n, "node"));
        gn_text_cell(&t, "%s", gn_json_str(n, "address"));
        if (!gn_json_true(n, "answers")) {
            gn_text_cell(&t, "does not answer");
            gn_text_cell(&t, "?");
            gn_text_cell(&t, "?");
            continue;
        }
        gn_text_cell(&t, "%s", gn_json_str(n, "program"));
        gn_text_cell(&t, "%" PRIu64 " to %" PRIu64, gn_json_u64(n, "least"), gn_json_u64(n, "most"));
        gn_text_cell(&t, "%" PRIu64, gn_json_u64(n, "cluster_version"));
    }
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_text_table_write(&t, &text);
    bool fine = gn_ctl_print(&text);
    gn_buf_close(&text);
    gn_text_table_close(&t);
    return fine;
}

static int show(const gn_ctl *ctl, const json_t *answer, bool finished)
{
    summary s = sum_up(answer);
    if (gn_ctl_has(ctl, GN_OPT_JSON)) {
        gn_json_print(answer);
        return GN_EXIT_OK;
    }
    if (!print_nodes(answer))
        return GN_EXIT_FAILED;
    if (finished && s.behind + s.silent == 0)
        printf("\nThe cluster is at version %" PRIu64 ", and so is every node. Nobody can go back.\n", s.at);
    else if (finished)
        printf("\nThe cluster is at version %" PRIu64 "; %" PRIu64 " of its nodes have not said that they know.\n",
               s.at, s.behind + s.silent);
    else if (s.silent)
        printf("\nThe cluster is at version %" PRIu64 ". What the silent nodes can do is not known.\n", s.at);
    else if (s.can > s.at)
        printf("\nThe cluster is at version %" PRIu64 " and every node can do %" PRIu64
               ". When all is well, and nobody will go back:\n  gnomonctl upgrade --finish\n",
               s.at, s.can);
    else
        printf("\nThe cluster is at version %" PRIu64 "; there is nothing to finish%s.\n", s.at,
               s.behind ? " (some nodes have not heard of it yet)" : "");
    return GN_EXIT_OK;
}

/* The end is known to the one that was asked; the others hear of it within a moment. */
static json_t *await_all(gn_ctl_client *client, json_t *answer, int *status)
{
    for (int i = 0; i < TRIES && answer; i++) {
        summary s = sum_up(answer);
        const json_t *nodes = json_object_get(answer, "nodes");
        if (s.behind + s.silent == 0)
            break;
        gn_ctl_progress(json_array_size(nodes) - s.behind - s.silent, json_array_size(nodes), "nodes know of it");
        gn_ctl_pause(gn_ctl_world(client), LOOK_MS);
        json_decref(answer);
        answer = gn_ctl_ask(client, 0, GN_ADMIN_UPGRADE, NULL, status);
    }
    gn_ctl_progress_end();
    return answer;
}

int gn_cmd_upgrade(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    bool finishes = gn_ctl_has(ctl, GN_OPT_FINISH);
    const char *args[] = {finishes ? "finish" : NULL, NULL};
    if (finishes && !gn_ctl_confirm(ctl, "After this no node can go back to the release before."))
        return GN_EXIT_USAGE;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    json_t *answer = client ? gn_ctl_ask(client, 0, GN_ADMIN_UPGRADE, args, &status) : NULL;
    if (finishes)
        answer = await_all(client, answer, &status);
    if (answer)
        status = show(ctl, answer, finishes);
    json_decref(answer);
    gn_ctl_disconnect(client);
    return status;
}
