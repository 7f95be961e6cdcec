/* transfer-leader, move, rebalance, drain, undrain, decommission, split, merge. */
#include "ops/commands.h"
#include "ops/text.h"

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

/* ---- replicas ---- */

static bool is_settled(const gn_model *m, uint64_t group)
{
    const gn_model_group *g = gn_model_group_of(m, group);
    return g && g->state != GN_GROUP_CHANGING && g->state != GN_GROUP_LEADERLESS && g->n == g->n_wanted;
}

/* Of the snapshot that the newcomer installs; 0 of 0 when there is none. */
static void install_of(const gn_model *m, uint64_t group, uint64_t *bytes, uint64_t *total)
{
    const gn_model_group *g = gn_model_group_of(m, group);
    *bytes = *total = 0;
    for (uint32_t i = 0; g && i < g->n; i++)
        if (g->members[i].install_total) {
            *bytes = g->members[i].install_bytes;
            *total = g->members[i].install_total;
        }
}

static int await_move(const gn_ctl *ctl, gn_ctl_client *client, uint64_t group)
{
    int status = GN_EXIT_OK;
    for (bool settled = false; !settled;) {
        gn_model model;
        uint64_t bytes, total;
        json_t *document = gn_ctl_look(ctl, client, &model, &status);
        if (!document)
            break;
        settled = is_settled(&model, group);
        install_of(&model, group, &bytes, &total);
        gn_model_close(&model);
        json_decref(document);
        gn_ctl_progress(settled ? 1 : bytes, settled ? 1 : total ? total : 1, "of the replica's snapshot");
        if (!settled)
            gn_ctl_pause(gn_ctl_world(client), LOOK_MS);
    }
    gn_ctl_progress_end();
    return status;
}

int gn_cmd_move(gn_ctl *ctl)
{
    static const char *const NAMES[] = {"GROUP", "FROM", "TO"};
    char done[120];
    uint64_t group;
    gn_error err = {0};
    int status = GN_EXIT_USAGE;
    if (!check_numbers(ctl, NAMES))
        return status;
    gn_ctl_number("GROUP", ctl->args[0], 1, INT64_MAX, &group, &err);
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    const char *args[] = {ctl->args[0], ctl->args[1], ctl->args[2], NULL};
    json_t *document = client ? gn_ctl_ask(client, 0, GN_ADMIN_MOVE, args, &status) : NULL;
    bool wait = !gn_ctl_has(ctl, GN_OPT_NO_WAIT);
    if (document)
        status = wait ? await_move(ctl, client, group) : GN_EXIT_OK;
    snprintf(done, sizeof done, "group %s %s node %s to node %s", ctl->args[0], wait ? "moved from" : "moves from",
             ctl->args[1], ctl->args[2]);
    if (document && status == GN_EXIT_OK && gn_ctl_has(ctl, GN_OPT_JSON))
        gn_json_print(document);
    else if (document && status == GN_EXIT_OK)
        puts(done);
    json_decref(document);
    gn_ctl_disconnect(client);
    return status;
}

static void print_moves(const json_t *plan, bool waits)
{
    static const char *const HEADS[] = {"GROUP>", "MOVES", "FROM>", "TO>", "WHY"};
    const json_t *moves = json_object_get(plan, "moves");
    gn_text_table t;
    gn_buf text;
    gn_buf_init(&text, NULL, 1 << 20);
    gn_text_table_init(&t, HEADS, sizeof HEADS / sizeof *HEADS);
    for (size_t i = 0; i < json_array_size(moves); i++) {
        const json_t *m = json_array_get(moves, i);
        gn_text_cell(&t, "%" PRIu64, gn_json_u64(m, "group"));
        gn_text_cell(&t, "%s", gn_json_true(m, "leads") ? "lead" : "replica");
        gn_text_cell(&t, "%" PRIu64, gn_json_u64(m, "from"));
        gn_text_cell(&t, "%" PRIu64, gn_json_u64(m, "to"));
        gn_text_cell(&t, "%s", gn_json_str(m, "why"));
    }
    if (json_array_size(moves) == 0)
        gn_buf_append_str(&text, "nothing is to be moved\n");
    else
        gn_text_table_write(&t, &text);
    if (gn_json_true(plan, "more"))
        gn_buf_append_str(&text, "and more after these\n");
    if (json_array_size(moves) && !waits)
        gn_buf_append_str(&text,
                          "\nThe cluster does this by itself, two groups at a time; --watch waits until it is done.\n");
    gn_ctl_print(&text);
    gn_text_table_close(&t);
    gn_buf_close(&text);
}

static uint64_t changing_groups(const gn_model *m)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < m->n_groups; i++)
        n += m->groups[i].distribution && !is_settled(m, m->groups[i].id);
    return n;
}

static uint64_t replicas_to_move(const json_t *plan)
{
    uint64_t n = 0;
    const json_t *moves = json_object_get(plan, "moves");
    for (size_t i = 0; i < json_array_size(moves); i++)
        n += !gn_json_true(json_array_get(moves, i), "leads");
    return n;
}

/* Until no replica is to be moved and every group is what its row says. Who leads changes with the load, and is not
 * waited for. */
static int await_balance(const gn_ctl *ctl, gn_ctl_client *client, uint64_t first)
{
    int status = GN_EXIT_OK;
    for (uint64_t left = 1; left;) {
        gn_model model;
        char words[64];
        json_t *plan = gn_ctl_ask(client, 0, GN_ADMIN_REBALANCE, NULL, &status);
        json_t *document = plan ? gn_ctl_look(ctl, client, &model, &status) : NULL;
        left = replicas_to_move(plan);
        json_decref(plan);
        if (!document)
            break;
        left += changing_groups(&model);
        gn_model_close(&model);
        json_decref(document);
        first = left > first ? left : first;
        snprintf(words, sizeof words, "%" PRIu64 " of %" PRIu64 " moves are left", left, first);
        gn_ctl_progress(first - left, first, words);
        if (left)
            gn_ctl_pause(gn_ctl_world(client), LOOK_MS);
    }
    gn_ctl_progress_end();
    return status;
}

int gn_cmd_rebalance(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    json_t *plan = client ? gn_ctl_ask(client, 0, GN_ADMIN_REBALANCE, NULL, &status) : NULL;
    if (plan && gn_ctl_has(ctl, GN_OPT_JSON))
        gn_json_print(plan);
    else if (plan)
        print_moves(plan, gn_ctl_has(ctl, GN_OPT_WATCH));
    if (plan && gn_ctl_has(ctl, GN_OPT_WATCH) && !gn_ctl_has(ctl, GN_OPT_DRY_RUN))
        status = await_balance(ctl, client, replicas_to_move(plan));
    json_decref(plan);
    gn_ctl_disconnect(client);
    return status;
}

/* ---- split, merge ---- */

/* Replicas of both halves that have removed the rows of the other, and how many there are. False: a half has no leader
 * yet, or lacks a replica. */
static bool count_cleaned(const gn_model *m, const uint64_t *halves, uint64_t *cleaned, uint64_t *replicas)
{
    bool there = true;
    *cleaned = *replicas = 0;
    for (int h = 0; h < 2; h++) {
        const gn_model_group *g = gn_model_group_of(m, halves[h]);
        there &= is_settled(m, halves[h]) && g->state == GN_GROUP_WELL;
        for (uint32_t i = 0; g && i < g->n; i++) {
            *cleaned += g->members[i].answers && g->members[i].cleaned;
            ++*replicas;
        }
    }
    return there;
}

static int await_split(const gn_ctl *ctl, gn_ctl_client *client, uint64_t group, uint64_t child)
{
    const uint64_t halves[] = {group, child};
    int status = GN_EXIT_OK;
    for (bool done = false; !done;) {
        gn_model model;
        uint64_t cleaned, replicas;
        char words[120];
        json_t *document = gn_ctl_look(ctl, client, &model, &status);
        if (!document)
            break;
        done = count_cleaned(&model, halves, &cleaned, &replicas) && cleaned == replicas;
        snprintf(words, sizeof words, "%" PRIu64 " of %" PRIu64 " replicas have removed the other half's rows", cleaned,
                 replicas);
        gn_model_close(&model);
        json_decref(document);
        gn_ctl_progress(cleaned, replicas ? replicas : 1, words);
        if (!done)
            gn_ctl_pause(gn_ctl_world(client), LOOK_MS);
    }
    gn_ctl_progress_end();
    return status;
}

static void print_split(const json_t *d)
{
    printf("group %" PRIu64 " keeps slots %" PRIu64 " to %" PRIu64 "; group %" PRIu64 " has slots %" PRIu64
           " to %" PRIu64 "\n",
           gn_json_u64(d, "group"), gn_json_u64(d, "slot_lo"), gn_json_u64(d, "slot_hi") - 1, gn_json_u64(d, "child"),
           gn_json_u64(d, "child_slot_lo"), gn_json_u64(d, "child_slot_hi") - 1);
}

int gn_cmd_split(gn_ctl *ctl)
{
    static const char *const NAMES[] = {"GROUP", "SLOT"};
    int status = GN_EXIT_USAGE;
    if (!check_numbers(ctl, NAMES))
        return status;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    const char *args[] = {ctl->args[0], ctl->n_args > 1 ? ctl->args[1] : NULL, NULL};
    json_t *document = client ? gn_ctl_ask(client, 0, GN_ADMIN_SPLIT, args, &status) : NULL;
    if (document)
        status = gn_ctl_has(ctl, GN_OPT_NO_WAIT)
                     ? GN_EXIT_OK
                     : await_split(ctl, client, gn_json_u64(document, "group"), gn_json_u64(document, "child"));
    if (document && status == GN_EXIT_OK && gn_ctl_has(ctl, GN_OPT_JSON))
        gn_json_print(document);
    else if (document && status == GN_EXIT_OK)
        print_split(document);
    json_decref(document);
    gn_ctl_disconnect(client);
    return status;
}

enum { MERGE_S = 120 }; /* the nodes give up before */

int gn_cmd_merge(gn_ctl *ctl)
{
    static const char *const NAMES[] = {"GROUP"};
    uint64_t number;
    int status = GN_EXIT_USAGE;
    const char *into = ctl->values[GN_OPT_INTO];
    gn_error err = {0};
    if (!check_numbers(ctl, NAMES))
        return status;
    if (into && gn_ctl_number("--into", into, 1, INT64_MAX, &number, &err) != GN_OK) {
        gn_ctl_complain(ctl, &err);
        return status;
    }
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    const char *args[] = {ctl->args[0], into, NULL};
    json_t *d = client ? gn_ctl_ask_long(client, 0, GN_ADMIN_MERGE, args, MERGE_S, &status) : NULL;
    if (d)
        status = GN_EXIT_OK;
    if (d && gn_ctl_has(ctl, GN_OPT_JSON))
        gn_json_print(d);
    else if (d)
        printf("group %" PRIu64 " has slots %" PRIu64 " to %" PRIu64 "; group %" PRIu64 " has ended\n",
               gn_json_u64(d, "group"), gn_json_u64(d, "slot_lo"), gn_json_u64(d, "slot_hi") - 1,
               gn_json_u64(d, "ended"));
    json_decref(d);
    gn_ctl_disconnect(client);
    return status;
}
