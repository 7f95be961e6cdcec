/* recover: a majority of some groups' replicas was lost for ever, and those that are left go on (cluster/recover.h).
 *
 *   look    what is left has of each group; which groups cannot go on; for each the replica with the longest log
 *   note    every node that is left agrees, and keeps what it is to do
 *   start   each starts again and does it, the one that we talk to last
 *   settle  all are there, each group has a leader; the lost nodes are gone for ever; what may be lost is told */
#include "net/remains.h"
#include "ops/commands.h"
#include "ops/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_TEXT = 16 << 20,
    LOOK_MS = 500,
    PATIENCE_S = 300,
    LIST_BYTES = 15000,
    LISTS = 4,
    META_GROUP = 1,
    OPENING_S = 20
};

/* A group, and the replica of it that is to go on. */
typedef struct subject {
    uint64_t id;
    gn_fate fate;
    unsigned voters, left; /* of the group as that replica knows it; with a whole replica */
    const json_t *chosen;
    gn_node_id node;
    uint64_t scn;      /* what was applied there */
    uint64_t complete; /* nothing up to there is missing: an SCN below it may yet be given to what is prepared */
} subject;

typedef struct recovery {
    const gn_ctl *ctl;
    gn_ctl_client *client;
    gn_model model;
    json_t *document;
    subject *subjects;
    unsigned n, n_forced, n_lost, n_waits;
    uint64_t above;   /* no replica that is left has applied a higher SCN */
    char cluster[33]; /* the new one's id */
} recovery;

/* ---- looking ---- */

static const json_t *replica_on(const gn_model_node *node, uint64_t group)
{
    const json_t *groups = node && node->report ? json_object_get(node->report, "groups") : NULL;
    for (size_t i = 0; i < json_array_size(groups); i++)
        if (gn_json_u64(json_array_get(groups, i), "group") == group)
            return json_array_get(groups, i);
    return NULL;
}

/* Its members are to be freed. */
static gn_remains_replica describe(const json_t *replica, gn_node_id node)
{
    const json_t *members = json_object_get(replica, "members");
    bool leads = strcmp(gn_json_str(replica, "role"), "leader") == 0;
    gn_remains_replica out = {.node = node,
                              .whole = strcmp(gn_json_str(replica, "role"), "stopped") != 0 &&
                                       !json_object_get(replica, "install"),
                              .serves = leads && gn_json_true(replica, "serves"),
                              .last_term = gn_json_u64(replica, "last_term"),
                              .last_index = gn_json_u64(replica, "last_index"),
                              .members = gn_xcalloc(json_array_size(members) + 1, sizeof *out.members)};
    for (; out.n_members < json_array_size(members); out.n_members++) {
        const json_t *m = json_array_get(members, out.n_members);
        out.members[out.n_members] = (gn_remains_member){gn_json_u64(m, "node"), gn_json_true(m, "votes")};
    }
    return out;
}

static bool can_go_on(const json_t *json, gn_node_id node)
{
    gn_remains_replica replica = describe(json, node);
    bool can = gn_remains_can_go_on(&replica);
    free(replica.members);
    return can;
}

static void take_chosen(const recovery *r, subject *s, const gn_remains *found)
{
    s->fate = found->fate;
    s->voters = found->voters;
    s->left = found->left;
    if (!found->chosen)
        return;
    s->node = found->chosen->node;
    s->chosen = replica_on(gn_model_node_of(&r->model, s->node), s->id);
    s->scn = s->complete = gn_json_u64(s->chosen, "last_scn");
    if (json_object_get(s->chosen, "closed_scn"))
        s->complete = gn_json_u64(s->chosen, "closed_scn");
}

static void judge(recovery *r, subject *s)
{
    gn_remains_replica *replicas = gn_xcalloc(r->model.n_nodes + 1, sizeof *replicas);
    gn_node_id *answering = gn_xcalloc(r->model.n_nodes + 1, sizeof *answering);
    size_t n = 0, n_answering = 0;
    for (uint32_t i = 0; i < r->model.n_nodes; i++) {
        const gn_model_node *node = &r->model.nodes[i];
        const json_t *replica = replica_on(node, s->id);
        if (node->answers)
            answering[n_answering++] = node->id;
        if (replica)
            replicas[n++] = describe(replica, node->id);
        uint64_t scn = replica ? gn_json_u64(replica, "last_scn") : 0;
        r->above = scn > r->above ? scn : r->above;
    }
    gn_remains found;
    gn_remains_judge(replicas, n, answering, n_answering, &found);
    take_chosen(r, s, &found);
    r->n_waits += s->fate == GN_FATE_WAITS;
    r->n_forced += s->fate == GN_FATE_FORCED;
    r->n_lost += s->fate == GN_FATE_LOST;
    for (size_t i = 0; i < n; i++)
        free(replicas[i].members);
    free(replicas);
    free(answering);
}

/* A node of the release before does not say how its log ends. */
static gn_code know_all(const recovery *r, gn_error *err)
{
    for (uint32_t i = 0; i < r->model.n_nodes; i++) {
        const gn_model_node *node = &r->model.nodes[i];
        const json_t *groups = json_object_get(node->report, "groups");
        if (json_array_size(groups) && !json_object_get(json_array_get(groups, 0), "last_term"))
            return gn_error_set(err, GN_FEATURE,
                                "node %" PRIu64 " runs version %s, which cannot be recovered from afar: upgrade it",
                                node->id, gn_json_str(node->report, "version"));
    }
    return GN_OK;
}

static void judge_all(recovery *r)
{
    r->subjects = gn_xcalloc(r->model.n_groups + 1, sizeof *r->subjects);
    for (uint32_t i = 0; i < r->model.n_groups; i++) {
        subject *s = &r->subjects[r->n++];
        s->id = r->model.groups[i].id;
        judge(r, s);
    }
}

static bool look(recovery *r, int *status)
{
    gn_error err = {0};
    r->document = gn_ctl_look(r->ctl, r->client, &r->model, status);
    if (!r->document)
        return false;
    if (know_all(r, &err) != GN_OK) {
        gn_ctl_complain(r->ctl, &err);
        *status = GN_EXIT_FAILED;
        return false;
    }
    judge_all(r);
    return true;
}

static void forget(recovery *r)
{
    free(r->subjects);
    gn_model_close(&r->model);
    json_decref(r->document);
    r->document = NULL;
    r->subjects = NULL;
    r->n = r->n_forced = r->n_lost = r->n_waits = 0;
}

/* ---- saying ---- */

static const char *time_of(uint64_t scn, char out[40])
{
    time_t s = (time_t)((scn >> 18) / 1000);
    struct tm tm;
    char text[24];
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", gmtime_r(&s, &tm));
    snprintf(out, 40, "%s.%03u UTC", text, (unsigned)((scn >> 18) % 1000));
    return out;
}

static void silent_nodes(const recovery *r, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < r->model.n_nodes && at + 24 < size; i++)
        if (r->model.nodes[i].asked && !r->model.nodes[i].answers)
            at += (size_t)snprintf(out + at, size - at, "%s%" PRIu64, at ? "," : "", r->model.nodes[i].id);
}

static void add_rows(gn_text_table *t, const recovery *r, const subject *s)
{
    static const char *const FATES[] = {"has a majority", "GOES ON ALONE", "LOST", "WAITS"};
    char when[40];
    if (s->fate == GN_FATE_LOST) {
        gn_text_cell(t, "%" PRIu64, s->id);
        gn_text_cell(t, "%s", FATES[GN_FATE_LOST]);
        for (int i = 0; i < 5; i++)
            gn_text_cell(t, "-");
    }
    for (uint32_t i = 0; i < r->model.n_nodes; i++) {
        const gn_model_node *node = &r->model.nodes[i];
        const json_t *replica = replica_on(node, s->id);
        if (!replica)
            continue;
        bool chosen = s->fate == GN_FATE_FORCED && node->id == s->node;
        gn_text_cell(t, "%" PRIu64, s->id);
        gn_text_cell(t, "%s", s->fate == GN_FATE_FORCED && !chosen ? "follows" : FATES[s->fate]);
        gn_text_cell(t, "%" PRIu64 "%s", node->id, can_go_on(replica, node->id) ? "" : " (not whole)");
        gn_text_cell(t, "%" PRIu64, gn_json_u64(replica, "last_term"));
        gn_text_cell(t, "%" PRIu64, gn_json_u64(replica, "last_index"));
        gn_text_cell(t, "%" PRIu64, gn_json_u64(replica, "last_scn"));
        gn_text_cell(t, "%s", time_of(gn_json_u64(replica, "last_scn"), when));
    }
}

static void print_survey(const recovery *r)
{
    static const char *const HEADS[] = {"GROUP>",      "FATE",         "NODE>",   "LAST TERM>",
                                        "LAST INDEX>", "APPLIED SCN>", "WHICH IS"};
    gn_text_table t;
    gn_buf text;
    gn_text_table_init(&t, HEADS, sizeof HEADS / sizeof *HEADS);
    for (unsigned i = 0; i < r->n; i++)
        if (r->subjects[i].fate != GN_FATE_WELL)
            add_rows(&t, r, &r->subjects[i]);
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_buf_printf(&text, "%u of %u groups have a majority of their replicas\n",
                  r->n - r->n_forced - r->n_lost - r->n_waits, r->n);
    if (r->n_forced + r->n_lost + r->n_waits) {
        gn_buf_append_str(&text, "\n");
        gn_text_table_write(&t, &text);
    }
    gn_ctl_print(&text);
    gn_buf_close(&text);
    gn_text_table_close(&t);
}

static json_t *survey_json(const recovery *r)
{
    static const char *const FATES[] = {"well", "forced", "lost", "waits"};
    json_t *groups = json_array();
    for (unsigned i = 0; i < r->n; i++) {
        const subject *s = &r->subjects[i];
        json_t *g = json_pack("{s:I,s:s,s:I,s:I}", "group", (json_int_t)s->id, "fate", FATES[s->fate], "voters",
                              (json_int_t)s->voters, "voters_left", (json_int_t)s->left);
        if (s->chosen) {
            json_object_set_new(g, "node", json_integer((json_int_t)s->node));
            json_object_set(g, "last_term", json_object_get(s->chosen, "last_term"));
            json_object_set(g, "last_index", json_object_get(s->chosen, "last_index"));
            json_object_set_new(g, "applied_scn", json_integer((json_int_t)s->scn));
            json_object_set_new(g, "complete_scn", json_integer((json_int_t)s->complete));
        }
        json_array_append_new(groups, g);
    }
    return groups;
}

/* Then a replica may not be open because its node does not know that it has it, having been cut short: that is not
 * waited for, since it does not come before the meta group goes on. What waits then is looked at again afterwards. */
static bool is_meta_forced(const recovery *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->subjects[i].id == META_GROUP)
            return r->subjects[i].fate == GN_FATE_FORCED;
    return false;
}

/* What is known is from before the end of the log. */
static bool knows_little(const recovery *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        const subject *s = &r->subjects[i];
        if (s->id == META_GROUP && s->fate == GN_FATE_FORCED &&
            gn_json_u64(s->chosen, "applied_index") < gn_json_u64(s->chosen, "last_index"))
            return true;
    }
    return false;
}

static void explain(const recovery *r, const char *silent)
{
    if (r->n_waits)
        printf(
            "\n%u groups wait for replicas on nodes that answer: they are not open yet, or not whole. Look again in a "
            "moment.\nIf a node's disk is damaged, stop that node: then it counts as lost.\n",
            r->n_waits);
    if (r->n_forced + r->n_lost == 0) {
        if (r->n_waits == 0)
            puts("There is nothing to "
                 "recover.");
        return;
    }
    if (knows_little(r))
        puts("\nThe nodes that are left were cut short: they may not know yet of groups that were made lately, which "
             "are recovered\nwith the others, nor have applied all that their logs have.");
    printf("\n%u of %u groups have lost their majority as long as nodes %s are down", r->n_forced + r->n_lost, r->n,
           silent);
    printf(r->n_lost ? "; of %u of them NOTHING is left.\n" : ".\n", r->n_lost);
    printf("BRING NODES BACK if you can: that loses nothing. Nothing was changed.\n\n"
           "If they are lost FOR EVER:\n"
           "  1. Make sure that they cannot start again: switch them off, pull their disks.\n"
           "  2. Copy the data directories of the others away, if you can.\n"
           "  3. gnomonctl recover --lost %s\n"
           "THIS LOSES DATA: commits that only the lost nodes had are gone though they were acknowledged.\n",
           silent);
}

static int show_survey(const recovery *r)
{
    char silent[1024];
    silent_nodes(r, silent, sizeof silent);
    if (gn_ctl_has(r->ctl, GN_OPT_JSON)) {
        json_t *document =
            json_pack("{s:s,s:s,s:o}", "cluster", r->model.cluster, "silent", silent, "groups", survey_json(r));
        gn_json_print(document);
        json_decref(document);
    } else {
        print_survey(r);
        explain(r, silent);
    }
    return r->n_forced + r->n_lost + r->n_waits ? GN_EXIT_UNHEALTHY : GN_EXIT_OK;
}

/* ---- agreeing ---- */

static gn_code refuse(gn_error *err, gn_node_id node, const char *why, const char *hint)
{
    gn_error_set(err, GN_CONFIGURATION, "node %" PRIu64 " %s", node, why);
    gn_error_hint(err, "%s", hint);
    return GN_CONFIGURATION;
}

static bool is_listed(const char *list, gn_node_id node)
{
    char *end;
    for (const char *p = list; *p; p = *end ? end + 1 : end) {
        unsigned long long id = strtoull(p, &end, 10);
        if (end == p)
            return false;
        if (id == node)
            return true;
    }
    return false;
}

/* --lost names the silent nodes, all of them and no others: who types it has looked at each. */
static gn_code check_lost(const recovery *r, const char *lost, gn_error *err)
{
    if (strspn(lost, "0123456789,") != strlen(lost) || !lost[0])
        return gn_error_set(err, GN_CONFIGURATION, "--lost takes numbers of nodes: 2,3");
    for (const char *p = lost; *p;) {
        char *end;
        gn_node_id node = strtoull(p, &end, 10);
        if (end == p || !gn_model_node_of(&r->model, node))
            return gn_error_set(err, GN_CONFIGURATION, "--lost: there is no node %.*s", (int)strcspn(p, ","), p);
        p = *end ? end + 1 : end;
    }
    for (uint32_t i = 0; i < r->model.n_nodes; i++) {
        const gn_model_node *node = &r->model.nodes[i];
        bool listed = is_listed(lost, node->id);
        if (listed && node->answers)
            return refuse(err, node->id, "answers: it is not lost", "Leave it out of --lost.");
        if (!listed && node->asked && !node->answers)
            return refuse(err, node->id, "does not answer, and --lost does not name it",
                          "Start it, or give it up with the others: what it has would be missed.");
    }
    return GN_OK;
}

static bool confirm(const recovery *r, const char *lost)
{
    char answer[32] = "";
    if (gn_ctl_has(r->ctl, GN_OPT_LOSE_DATA))
        return true;
    fprintf(stderr,
            "\nNodes %s are given up for ever. %u groups go on with one replica each, %u are lost altogether.\n"
            "Commits that only the lost nodes had are LOST, though they were acknowledged.\n",
            lost, r->n_forced, r->n_lost);
    if (!gn_ctl_is_asked()) {
        fprintf(stderr, "gnomonctl: this needs --yes-i-lose-data\n");
        return false;
    }
    fprintf(stderr, "Type \"lose data\" to go on: ");
    if (fgets(answer, sizeof answer, stdin) && strcmp(answer, "lose data\n") == 0)
        return true;
    fprintf(stderr, "gnomonctl: nothing was done\n");
    return false;
}

/* ---- doing ---- */

/* What the node's replicas of forced groups look like, in arguments that are not too long. GN_LIMIT. */
static gn_code list_groups(const recovery *r, gn_node_id node, char lists[LISTS][LIST_BYTES + 80], unsigned *n,
                           gn_error *err)
{
    size_t at = 0;
    *n = 0;
    for (unsigned i = 0; i < r->n; i++) {
        const subject *s = &r->subjects[i];
        if (s->fate != GN_FATE_FORCED || s->node != node)
            continue;
        if (*n == 0 || at >= LIST_BYTES) {
            if (*n == LISTS)
                return gn_error_set(err, GN_LIMIT, "node %" PRIu64 " has too many groups to be told of", node);
            lists[(*n)++][0] = '\0';
            at = 0;
        }
        at += (size_t)snprintf(lists[*n - 1] + at, LIST_BYTES + 80 - at, "%s%" PRIu64 ":%" PRIu64 ":%" PRIu64,
                               at ? "," : "", s->id, gn_json_u64(s->chosen, "last_term"),
                               gn_json_u64(s->chosen, "last_index"));
    }
    return GN_OK;
}

static bool note_on(const recovery *r, gn_node_id node, const char *lost, int *status)
{
    char(*lists)[LIST_BYTES + 80] = gn_xcalloc(LISTS, sizeof *lists);
    unsigned n;
    gn_error err = {0};
    char above[24];
    const char *args[5 + LISTS] = {"note", r->cluster, lost, above};
    snprintf(above, sizeof above, "%" PRIu64, r->above);
    gn_code code = list_groups(r, node, lists, &n, &err);
    for (unsigned i = 0; i < n && code == GN_OK; i++)
        args[4 + i] = lists[i];
    json_t *answer = code == GN_OK ? gn_ctl_ask(r->client, node, GN_ADMIN_RECOVER, args, status) : NULL;
    if (code != GN_OK) {
        gn_ctl_complain(r->ctl, &err);
        *status = GN_EXIT_FAILED;
    }
    json_decref(answer);
    free(lists);
    return answer != NULL;
}

/* Nobody does anything before all have agreed. */
static bool note_everywhere(const recovery *r, const char *lost, int *status)
{
    for (uint32_t i = 0; i < r->model.n_nodes; i++)
        if (r->model.nodes[i].answers && !note_on(r, r->model.nodes[i].id, lost, status)) {
            fprintf(stderr, "gnomonctl: nothing was done. Nodes that agreed do it only if they are started again: run "
                            "this again, or remove the file RECOVER of their data directories.\n");
            return false;
        }
    return true;
}

/* An answer may not come: the node is ending. */
static void start_again(const recovery *r)
{
    const char *args[] = {"start", r->cluster, NULL};
    for (int last = 0; last < 2; last++)
        for (uint32_t i = 0; i < r->model.n_nodes; i++) {
            const gn_model_node *node = &r->model.nodes[i];
            if (!node->answers || (node->id == r->model.asked) != (last == 1))
                continue;
            gn_ctl_call call;
            gn_error err = {0};
            gn_ctl_call_start(r->client, &call, node->id, GN_ADMIN_RECOVER, args, 5);
            json_decref(gn_ctl_call_end(&call, &err));
        }
}

/* All that were left are in the new cluster, and nothing waits for a leader but what is lost altogether. */
static bool has_settled(const recovery *before, const recovery *now, unsigned *done)
{
    *done = 0;
    if (strcmp(now->model.cluster, before->cluster) != 0)
        return false;
    bool all = true;
    for (uint32_t i = 0; i < before->model.n_nodes; i++) {
        const gn_model_node *node = gn_model_node_of(&now->model, before->model.nodes[i].id);
        all = all && (!before->model.nodes[i].answers || (node && node->answers));
    }
    for (unsigned i = 0; i < before->n; i++) {
        const gn_model_group *g = gn_model_group_of(&now->model, before->subjects[i].id);
        gn_fate fate = before->subjects[i].fate;
        *done += fate == GN_FATE_LOST || fate == GN_FATE_WAITS || (g && g->leader);
    }
    return all && *done == before->n;
}

/* The connection is made anew each time: the node that we talked to starts, too. */
static bool settle(recovery *before, recovery *now)
{
    time_t end = time(NULL) + PATIENCE_S;
    bool settled = false;
    while (!settled && time(NULL) < end) {
        gn_error err = {0};
        unsigned done = 0;
        struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
        nanosleep(&pause, NULL);
        gn_ctl_disconnect(now->client);
        forget(now);
        now->client = gn_ctl_try(now->ctl, &err);
        now->document = now->client ? gn_ctl_try_look(now->client, &now->model) : NULL;
        settled = now->document && has_settled(before, now, &done);
        gn_ctl_progress(done, before->n, "groups have a leader");
    }
    gn_ctl_progress_end();
    return settled;
}

static bool give_up_nodes(const recovery *r, const char *lost, int *status)
{
    for (const char *p = lost; *p;) {
        char *end, node[24];
        snprintf(node, sizeof node, "%llu", strtoull(p, &end, 10));
        const char *args[] = {node, "gone", "force", NULL};
        json_t *answer = gn_ctl_ask(r->client, 0, GN_ADMIN_STATE, args, status);
        if (!answer)
            return false;
        json_decref(answer);
        p = *end ? end + 1 : end;
    }
    return true;
}

/* Definitions that are there in part are made the same again. */
static void make_same(const recovery *r, int *status)
{
    const char *args[] = {"finish", r->model.cluster, NULL};
    json_t *answer = gn_ctl_ask_long(r->client, 0, GN_ADMIN_RECOVER, args, PATIENCE_S, status);
    uint64_t redefined = gn_json_u64(answer, "tables_redefined"), dropped = gn_json_u64(answer, "tables_dropped");
    if (redefined + dropped && !gn_ctl_has(r->ctl, GN_OPT_JSON))
        printf("\nA change of definitions was there in part: of %" PRIu64
               " tables the one before it is valid again, %" PRIu64 " half-made ones are gone.\n",
               redefined, dropped);
    json_decref(answer);
}

/* last: what is lost or waits now does so for good. */
static void print_groups(const recovery *r, bool last, uint64_t *earliest)
{
    char when[40];
    for (unsigned i = 0; i < r->n; i++) {
        const subject *s = &r->subjects[i];
        if (s->fate == GN_FATE_FORCED)
            printf("  group %" PRIu64 ": after SCN %" PRIu64 " (%s), from node %" PRIu64 "\n", s->id, s->complete,
                   time_of(s->complete, when), s->node);
        else if (s->fate == GN_FATE_LOST && last)
            printf("  group %" PRIu64 ": EVERYTHING. No replica is left; statements that need it fail\n", s->id);
        else if (s->fate == GN_FATE_WAITS && last)
            printf("  group %" PRIu64 ": WAITS. It was not recovered: look again, gnomonctl recover\n", s->id);
        if (s->fate == GN_FATE_FORCED && s->complete < *earliest)
            *earliest = s->complete;
    }
}

/* then: after the first round, with what turned up and was recovered in the second. */
static void print_outcome(const recovery *first, const recovery *then, const char *cluster, const char *lost)
{
    char when[40];
    uint64_t earliest = UINT64_MAX;
    printf("\nThe cluster goes on without nodes %s, as cluster %s.\n\n"
           "WHAT MAY BE LOST: acknowledged commits to these groups\n",
           lost, cluster);
    print_groups(first, false, &earliest);
    print_groups(then, true, &earliest);
    if (earliest != UINT64_MAX)
        printf("\nEverything up to SCN %" PRIu64 " (%s) is there in all groups but those that are lost. A transaction "
               "over several groups\nthat was committed later may be there in part.\n",
               earliest, time_of(earliest, when));
    puts("\nNow: start new nodes (empty data directories) so that every group has its replicas again, wait until "
         "`gnomonctl status`\nis well, then run `gnomonctl check`. Never start a lost node with its old data.");
}

/* Each group once, with what was decided about it. */
static json_t *all_groups(const recovery *first, const recovery *then)
{
    json_t *groups = survey_json(first), *later = survey_json(then);
    for (size_t i = 0; i < json_array_size(later); i++) {
        json_t *g = json_array_get(later, i);
        size_t at = 0;
        while (at < json_array_size(groups) &&
               gn_json_u64(json_array_get(groups, at), "group") != gn_json_u64(g, "group"))
            at++;
        if (at == json_array_size(groups))
            json_array_append(groups, g);
        else if (strcmp(gn_json_str(json_array_get(groups, at), "fate"), "forced") != 0)
            json_array_set(groups, at, g);
    }
    json_decref(later);
    return groups;
}

static void tell(const recovery *first, const recovery *then, const char *cluster, const char *lost)
{
    if (!gn_ctl_has(first->ctl, GN_OPT_JSON)) {
        print_outcome(first, then, cluster, lost);
        return;
    }
    json_t *document = json_pack("{s:s,s:s,s:o}", "cluster", cluster, "gone", lost, "groups", all_groups(first, then));
    gn_json_print(document);
    json_decref(document);
}

static void name_cluster(recovery *r)
{
    snprintf(r->cluster, sizeof r->cluster, "%016" PRIx64 "%016" PRIx64, gn_random_u64(gn_ctl_world(r->client)),
             gn_random_u64(gn_ctl_world(r->client)));
}

/* Until all groups that were seen have a leader. */
static bool go_on(recovery *r, const char *lost, recovery *now, int *status)
{
    if (!note_everywhere(r, lost, status)) {
        *status = *status ? *status : GN_EXIT_FAILED;
        return false;
    }
    start_again(r);
    if (settle(r, now))
        return true;
    gn_error err = {0};
    gn_error_set(&err, GN_TIMEOUT, "not all nodes that are left came back within %d s", PATIENCE_S);
    gn_error_hint(&err,
                  "Look at their logs. When they run: gnomonctl recover, then `gnomonctl decommission --force NODE` "
                  "for each lost one.");
    gn_ctl_complain(r->ctl, &err);
    *status = GN_EXIT_FAILED;
    return false;
}

/* The node that is asked has not the placement that the meta group has, or its replicas are not open yet. */
static bool is_behind(const recovery *before, const recovery *now)
{
    const json_t *meta = replica_on(gn_model_node_of(&now->model, now->model.asked), META_GROUP);
    for (unsigned i = 0; i < before->n; i++)
        if (before->subjects[i].id == META_GROUP && before->subjects[i].fate == GN_FATE_FORCED &&
            gn_json_u64(meta, "applied_index") <= gn_json_u64(before->subjects[i].chosen, "last_index"))
            return true;
    return now->n_waits + now->n_lost > 0; /* what is not open yet looks lost */
}

/* A node that was cut short has an old placement, or none, until the meta group goes on: only then are groups seen that
 * came later. */
static bool finds_more(const recovery *before, recovery *now)
{
    time_t end = time(NULL) + OPENING_S;
    bool behind;
    do {
        struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
        nanosleep(&pause, NULL);
        forget(now);
        now->document = gn_ctl_try_look(now->client, &now->model);
        if (now->document)
            judge_all(now);
        behind = !now->document || is_behind(before, now);
    } while (behind && time(NULL) < end);
    return now->n_forced > 0;
}

static int recover(recovery *r, const char *lost)
{
    int status = GN_EXIT_OK;
    recovery now = {.ctl = r->ctl}, then = {.ctl = r->ctl};
    bool more = false, done = go_on(r, lost, &now, &status);
    if (done && (more = finds_more(r, &now))) {
        if (!gn_ctl_has(r->ctl, GN_OPT_JSON))
            print_survey(&now);
        name_cluster(&now);
        done = go_on(&now, lost, &then, &status);
    }
    const recovery *last = more ? &then : &now;
    if (done && give_up_nodes(last, lost, &status)) {
        make_same(last, &status);
        tell(r, &now, last->model.cluster, lost);
    }
    forget(&now);
    gn_ctl_disconnect(now.client);
    forget(&then);
    gn_ctl_disconnect(then.client);
    return status;
}

int gn_cmd_recover(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    gn_error err = {0};
    const char *lost = ctl->values[GN_OPT_LOST];
    recovery r = {.ctl = ctl, .client = gn_ctl_connect(ctl, &status)};
    if (r.client && look(&r, &status)) {
        name_cluster(&r);
        if (!lost) {
            status = show_survey(&r);
        } else if (check_lost(&r, lost, &err) != GN_OK) {
            gn_ctl_complain(ctl, &err);
            status = GN_EXIT_USAGE;
        } else if (r.n_waits && !is_meta_forced(&r)) {
            gn_error_set(&err, GN_NOT_IN_STATE, "%u groups wait for replicas on nodes that answer", r.n_waits);
            gn_error_hint(&err, "Look again in a moment; `gnomonctl recover` shows which.");
            gn_ctl_complain(ctl, &err);
            status = GN_EXIT_FAILED;
        } else if (r.n_forced == 0) {
            gn_error_set(&err, GN_NOT_IN_STATE, "no group has lost its majority and has a replica left");
            gn_error_hint(&err, "For a dead node whose groups go on: gnomonctl decommission NODE.");
            gn_ctl_complain(ctl, &err);
            status = GN_EXIT_FAILED;
        } else {
            if (!gn_ctl_has(ctl, GN_OPT_JSON))
                print_survey(&r);
            status = confirm(&r, lost) ? recover(&r, lost) : GN_EXIT_USAGE;
        }
    }
    forget(&r);
    gn_ctl_disconnect(r.client);
    return status;
}
