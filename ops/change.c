/* transfer-leader, drain, undrain, decommission, split, merge. */
#include "ops/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 500 };

/* ---- what they share ---- */

static int ask_and_print(const gn_ctl *ctl, gn_ctl_client *client, gn_admin_command command, const char *const *args,
                         const char *done)
{
    int status = GN_EXIT_OK;
    json_t *document = gn_ctl_ask(client, 0, command, args, &status);
    if (document && gn_ctl_has(ctl, GN_OPT_JSON))
        gn_json_print(document);
    else if (document)
        puts(done);
    json_decref(document);
    return status;
}

static bool check_numbers(const gn_ctl *ctl, const char *const *names)
{
    uint64_t v;
    gn_error err = {0};
    for (unsigned i = 0; i < ctl->n_args; i++)
        if (gn_ctl_number(names[i], ctl->args[i], 1, INT64_MAX, &v, &err) != GN_OK) {
            gn_ctl_complain(ctl, &err);
            return false;
        }
    return true;
}

/* ---- transfer-leader ---- */

int gn_cmd_transfer(gn_ctl *ctl)
{
    static const char *const NAMES[] = {"GROUP", "NODE"};
    char done[120];
    int status = GN_EXIT_USAGE;
    if (!check_numbers(ctl, NAMES))
        return status;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    snprintf(done, sizeof done, "node %s leads group %s", ctl->args[1], ctl->args[0]);
    const char *args[] = {ctl->args[0], ctl->args[1], NULL};
    if (client)
        status = ask_and_print(ctl, client, GN_ADMIN_TRANSFER, args, done);
    gn_ctl_disconnect(client);
    return status;
}

/* ---- states of nodes ---- */

static int set_state(const gn_ctl *ctl, gn_ctl_client *client, const char *state, bool say)
{
    char done[120];
    int status = GN_EXIT_OK;
    const char *args[] = {ctl->args[0], state, gn_ctl_has(ctl, GN_OPT_FORCE) ? "force" : NULL, NULL};
    snprintf(done, sizeof done, "node %s is %s", ctl->args[0], state);
    if (say)
        return ask_and_print(ctl, client, GN_ADMIN_STATE, args, done);
    json_decref(gn_ctl_ask(client, 0, GN_ADMIN_STATE, args, &status));
    return status;
}

/* Groups, besides the meta group, that the node should have or that have it as a member. */
static uint64_t holds(const gn_model *m, gn_node_id node)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < m->n_groups; i++) {
        const gn_model_group *g = &m->groups[i];
        bool has = false;
        for (uint32_t k = 0; k < g->n_wanted && g->distribution; k++)
            has |= g->wanted[k] == node;
        for (uint32_t k = 0; k < g->n && g->distribution; k++)
            has |= g->members[k].node == node;
        n += has;
    }
    return n;
}

/* Until the node holds nothing. Who ends it ends only the waiting. */
static int await_empty(const gn_ctl *ctl, gn_ctl_client *client, gn_node_id node)
{
    int status = GN_EXIT_OK;
    uint64_t first = 0, left = 1;
    for (bool begun = false; left; begun = true) {
        gn_model model;
        char words[64];
        json_t *document = gn_ctl_look(ctl, client, &model, &status);
        if (!document)
            break;
        left = holds(&model, node);
        gn_model_close(&model);
        json_decref(document);
        if (!begun)
            first = left;
        snprintf(words, sizeof words, "%" PRIu64 " of %" PRIu64 " replicas are left", left, first);
        gn_ctl_progress(first > left ? first - left : 0, first, words);
        if (left)
            gn_ctl_pause(gn_ctl_world(client), LOOK_MS);
    }
    gn_ctl_progress_end();
    return status;
}

static int leave(gn_ctl *ctl, gn_ctl_client *client, bool for_ever)
{
    uint64_t node;
    gn_error err = {0};
    bool wait = !gn_ctl_has(ctl, GN_OPT_NO_WAIT);
    gn_ctl_number("NODE", ctl->args[0], 1, INT64_MAX, &node, &err);
    int status = set_state(ctl, client, "draining", !wait);
    if (status == GN_EXIT_OK && wait)
        status = await_empty(ctl, client, node);
    if (status == GN_EXIT_OK && wait && for_ever)
        return set_state(ctl, client, "gone", true);
    if (status == GN_EXIT_OK && wait && gn_ctl_has(ctl, GN_OPT_JSON))
        printf("{\"node\": %" PRIu64 ", \"state\": \"draining\", \"empty\": true}\n", node);
    else if (status == GN_EXIT_OK && wait)
        printf("node %" PRIu64 " holds nothing; it can be stopped\n", node);
    return status;
}

static int change_node(gn_ctl *ctl, const char *question, int (*change)(gn_ctl *ctl, gn_ctl_client *client))
{
    static const char *const NAMES[] = {"NODE"};
    int status = GN_EXIT_USAGE;
    if (!check_numbers(ctl, NAMES))
        return status;
    if (question && !gn_ctl_confirm(ctl, question))
        return GN_EXIT_USAGE;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    if (client)
        status = change(ctl, client);
    gn_ctl_disconnect(client);
    return status;
}

static int drain(gn_ctl *ctl, gn_ctl_client *client)
{
    return leave(ctl, client, false);
}

static int decommission(gn_ctl *ctl, gn_ctl_client *client)
{
    return leave(ctl, client, true);
}

static int undrain(gn_ctl *ctl, gn_ctl_client *client)
{
    return set_state(ctl, client, "active", true);
}

int gn_cmd_drain(gn_ctl *ctl)
{
    return change_node(ctl, NULL, drain);
}

int gn_cmd_undrain(gn_ctl *ctl)
{
    return change_node(ctl, NULL, undrain);
}

int gn_cmd_decommission(gn_ctl *ctl)
{
    char question[200];
    if (gn_ctl_has(ctl, GN_OPT_NO_WAIT)) { /* what follows the waiting would not be done */
        gn_error err = {0};
        gn_error_set(&err, GN_CONFIGURATION, "decommission takes no option --no-wait; drain does");
        gn_ctl_complain(ctl, &err);
        return GN_EXIT_USAGE;
    }
    snprintf(question, sizeof question, "Node %.20s will leave the cluster for ever.", ctl->args[0]);
    return change_node(ctl, question, decommission);
}

/* ---- not yet ---- */

int gn_cmd_split(gn_ctl *ctl)
{
    gn_error err = {0};
    gn_error_set(&err, GN_FEATURE, "groups cannot be split or merged yet");
    gn_error_hint(&err, "A table's number of groups is chosen when it is made: CREATE TABLE ... WITH (shards = n).");
    gn_ctl_complain(ctl, &err);
    return GN_EXIT_FAILED;
}
