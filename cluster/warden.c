/* Makes of the placement what it says, step by step, on one strand of each node. Each node opens the replicas that it
 * is to have; each leader adds, promotes and removes members of its group until they are those of the placement. Every
 * step looks at what there is, so it may be repeated, by another leader too, after whatever crash. */
#include "base/log.h"
#include "cluster/balance_private.h"
#include "cluster/merges_private.h"
#include "cluster/methods_private.h"
#include "cluster/splits_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PERIOD_MS = 500 };
#define BALANCE_NS 1000000000u
#define PRESENT_NS 10000000000u
#define LOADS_NS 5000000000u
#define HANDOVER_PAUSE_NS 3000000000u
#define PING_NS 300000000u

/* A change of a group's members that is under way. */
typedef struct change {
    gn_raft_request request;
    struct change *next;
    gn_warden *warden;
    uint64_t group;
    const char *what;
    gn_node_id node;
    _Atomic bool done;
    gn_code code;
} change;

struct gn_warden {
    gn_cluster *cluster;
    gn_strand *strand;
    pthread_mutex_t lock;
    gn_event *wake; /* the strand waits */
    bool nudged, stop;
    /* the strand's */
    gn_scn seen; /* of the placement that was worked on */
    bool announced;
    uint32_t announced_at; /* the cluster's version then */
    uint64_t balance_at, no_handover_before, present_at, loads_at;
    gn_loads loads;
    bool loads_known;
    uint32_t turn;
    uint64_t leaving; /* a group whose replica here is to go; 0 = none */
    change *changes;
};

/* ---- waking ---- */

static void wake(gn_warden *w, bool stop)
{
    pthread_mutex_lock(&w->lock);
    w->nudged = true;
    w->stop |= stop;
    gn_event *event = w->wake;
    w->wake = NULL;
    if (event)
        gn_event_signal(event);
    pthread_mutex_unlock(&w->lock);
}

/* ---- members ---- */

static void change_done(gn_raft_request *request, gn_code code)
{
    change *ch = GN_CONTAINER(request, change, request);
    gn_warden *w = ch->warden;
    ch->code = code;
    ch->done = true;   /* the strand may free it from here on */
    if (code == GN_OK) /* what failed at once would fail again at once: not before its time */
        gn_warden_nudge(w);
}

static bool is_changing(gn_warden *w, uint64_t group)
{
    for (const change *ch = w->changes; ch; ch = ch->next)
        if (ch->group == group)
            return true;
    return false;
}

static void start_change(gn_warden *w, const gn_local_group *g, const char *what, gn_node_id node,
                         void (*fn)(gn_raft_group *, gn_node_id, gn_raft_request *))
{
    change *ch = gn_xcalloc(1, sizeof *ch);
    *ch = (change){.request = {.done = change_done}, .next = w->changes, .warden = w, .group = g->id, .what = what};
    ch->node = node;
    w->changes = ch;
    gn_log_info("cluster", what, GN_KV_U64("group", g->id), GN_KV_U64("node", node));
    fn(gn_shard_raft_group(g->shard), node, &ch->request);
}

static void reap_changes(gn_warden *w)
{
    for (change **at = &w->changes; *at;) {
        change *ch = *at;
        if (!ch->done) {
            at = &ch->next;
            continue;
        }
        if (ch->code != GN_OK)
            gn_log_info("cluster", "a change of members has not been made", GN_KV_STR("change", ch->what),
                        GN_KV_U64("group", ch->group), GN_KV_U64("node", ch->node),
                        GN_KV_STR("why", gn_code_name(ch->code)));
        *at = ch->next;
        free(ch);
    }
}

static const gn_raft_member *member(const gn_raft_status *s, gn_node_id id)
{
    for (size_t i = 0; i < s->n_members; i++)
        if (s->members[i].id == id)
            return &s->members[i];
    return NULL;
}

static bool is_wanted(const gn_node_id *wanted, size_t n, gn_node_id id)
{
    for (size_t i = 0; i < n; i++)
        if (wanted[i] == id)
            return true;
    return false;
}

/* A group waits for a transfer's target, and for whom it is to promote, so it had better be there. */
static bool answers(gn_cluster *c, gn_node_id node)
{
    gn_error err = {0};
    return gn_rpc_ask(c->rpc, node, GN_METHOD_NUDGE, gn_bytes_of(NULL, 0), gn_now_ns(c->world) + PING_NS, NULL, NULL,
                      &err) == GN_OK;
}

/* Nobody can remove itself: another member that votes leads first. */
static void hand_over_to_any(gn_warden *w, const gn_local_group *g, const gn_raft_status *s, const gn_node_id *wanted,
                             size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const gn_raft_member *m = member(s, wanted[i]);
        if (m && m->role == GN_RAFT_VOTER) {
            start_change(w, g, "handing over", wanted[i], gn_raft_transfer);
            return;
        }
    }
}

/* One step towards: all of `wanted` are members, `n_voters` of them vote, nobody else is a member. Nobody is removed
 * before the others are there. */
static void reconcile(gn_warden *w, const gn_local_group *g, const gn_node_id *wanted, size_t n, size_t n_voters)
{
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(g->shard), s);
    size_t voters = 0;
    bool busy = !s->leads || !s->can_read || s->stopped || is_changing(w, g->id);
    for (size_t i = 0; i < n && !busy; i++) {
        const gn_raft_member *m = member(s, wanted[i]);
        voters += m && m->role == GN_RAFT_VOTER;
        if (!m) {
            start_change(w, g, "adding a replica", wanted[i], gn_raft_add);
            busy = true;
        }
    }
    for (size_t i = 0; i < n && !busy && voters < n_voters; i++)
        if (member(s, wanted[i])->role != GN_RAFT_VOTER && answers(w->cluster, wanted[i])) {
            start_change(w, g, "promoting a replica", wanted[i], gn_raft_promote);
            busy = true;
        }
    for (size_t i = 0; i < s->n_members && !busy && voters >= n_voters; i++) {
        gn_node_id id = s->members[i].id;
        if (is_wanted(wanted, n, id))
            continue;
        if (id == gn_net_self(w->cluster->world))
            hand_over_to_any(w, g, s, wanted, n);
        else
            start_change(w, g, "removing a replica", id, gn_raft_remove);
        busy = true;
    }
    free(s);
}

/* ---- leaders ---- */

/* Leaders are spread as replicas are: each group has a member that should lead it while it can. */
static gn_node_id preferred_leader(const gn_placement *p, const gn_group_place *g)
{
    for (uint32_t i = 0; i < g->n_members; i++) {
        gn_node_id id = g->members[(gn_group_first_choice(g) + i) % g->n_members];
        const gn_node_place *node = gn_placement_node(p, id);
        if (node && strcmp(node->state, "active") == 0)
            return id;
    }
    return 0;
}

static void hand_over_to_preferred(gn_warden *w, const gn_local_group *g, const gn_placement *p,
                                   const gn_group_place *row)
{
    gn_node_id heir = preferred_leader(p, row);
    uint64_t now = gn_now_ns(w->cluster->world);
    if (heir == 0 || heir == gn_net_self(w->cluster->world) || is_changing(w, g->id) || now < w->no_handover_before)
        return;
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(g->shard), s);
    const gn_raft_member *m = member(s, heir);
    if (s->leads && s->can_read && !s->stopped && m && m->role == GN_RAFT_VOTER) {
        w->no_handover_before = now + HANDOVER_PAUSE_NS; /* one at a time, and time for a node to settle */
        if (answers(w->cluster, heir))
            start_change(w, g, "handing over to the preferred leader", heir, gn_raft_transfer);
    }
    free(s);
}

/* Every node has a replica of the meta group; an odd number of them vote. */
static void reconcile_meta(gn_warden *w, const gn_local_group *g, const gn_placement *p)
{
    gn_node_id wanted[64];
    gn_error err = {0};
    uint64_t term;
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_nodes && n < sizeof wanted / sizeof *wanted; i++)
        if (strcmp(p->nodes[i].state, "gone") != 0)
            wanted[n++] = p->nodes[i].id;
    if (n > 1 && gn_raft_leader(gn_shard_raft_group(g->shard), &term) == gn_net_self(w->cluster->world) &&
        gn_clock_use(w->cluster, &err) != GN_OK) {
        gn_log_error("cluster", "no node can be added", GN_KV_STR("error", err.message));
        return;
    }
    reconcile(w, g, wanted, n, n >= 5 ? 5 : n >= 3 ? 3 : 1);
}

/* What is gone cannot be added, and is waited for by nobody: its place in the row is for the next one. */
static void reconcile_data(gn_warden *w, const gn_local_group *g, const gn_placement *p, const gn_group_place *place)
{
    gn_node_id wanted[GN_MAX_REPLICAS];
    size_t n = 0;
    for (uint32_t i = 0; i < place->n_members; i++)
        if (!gn_node_is_gone(p, place->members[i]))
            wanted[n++] = place->members[i];
    if (n)
        reconcile(w, g, wanted, n, n);
}

static void drop_removed(gn_warden *w, const gn_placement *p)
{
    gn_cluster *c = w->cluster;
    gn_local_group *groups;
    size_t n = gn_group_list(c, &groups);
    uint64_t removed = 0; /* one each time */
    for (size_t i = 0; i < n && !removed; i++) {
        const gn_group_place *row = gn_placement_group(p, groups[i].id);
        if (groups[i].id != GN_META_GROUP && row && !gn_group_has_member(row, gn_net_self(c->world)) &&
            gn_group_is_removed(c, groups[i].id) && !gn_split_has_left(c, groups[i].id))
            removed = groups[i].id;
    }
    gn_group_list_free(c, groups, n);
    if (removed && !w->leaving) {
        w->leaving = removed;
        gn_log_info("cluster", "removing a replica that has moved away", GN_KV_U64("group", removed));
    }
    const gn_group_place *leaving = w->leaving ? gn_placement_group(p, w->leaving) : NULL;
    if (leaving && gn_group_has_member(leaving, gn_net_self(c->world)) && gn_group_stay(c, w->leaving)) {
        gn_log_info("cluster", "a replica that was to be removed is wanted again", GN_KV_U64("group", w->leaving));
        w->leaving = 0;
    }
    if (w->leaving) {
        gn_error err = {0};
        gn_code code = gn_group_drop(c, w->leaving, &err);
        if (code != GN_OK && code != GN_OBJECT_IN_USE)
            gn_log_error("cluster", "a replica that has moved away is not removed", GN_KV_U64("group", w->leaving),
                         GN_KV_STR("error", err.message));
        if (code != GN_OBJECT_IN_USE)
            w->leaving = 0;
    }
}

static void reconcile_all(gn_warden *w)
{
    gn_local_group *groups;
    size_t n = gn_group_list(w->cluster, &groups);
    gn_placement *p = gn_meta_placement(w->cluster);
    for (size_t i = 0; i < n; i++) {
        const gn_group_place *place = gn_placement_group(p, groups[i].id);
        if (groups[i].id == GN_META_GROUP)
            reconcile_meta(w, &groups[i], p);
        else if (place) {
            reconcile_data(w, &groups[i], p, place);
            hand_over_to_preferred(w, &groups[i], p, place);
        }
    }
    gn_group_list_free(w->cluster, groups, n);
    drop_removed(w, p);
    gn_placement_release(p);
}

/* ---- the strand ---- */

static void complain(const char *what, const gn_error *err)
{
    gn_log_warn("cluster", what, GN_KV_STR("error", err->message));
}

/* Nothing happens by itself on a node without peers whose groups may be as large as they like. */
static bool is_at_rest(const gn_cluster *c)
{
    return !c->address[0] && c->split_bytes == 0 && c->split_rate == 0 && c->merge_bytes == 0;
}

/* Sizes and loads are asked for now and then; where not all are known any more, those that were stand. */
static void balance(gn_warden *w)
{
    gn_cluster *c = w->cluster;
    uint64_t term, now = gn_now_ns(c->world);
    if (gn_raft_leader(gn_shard_raft_group(c->meta), &term) != gn_net_self(c->world))
        return;
    if (now >= w->loads_at) {
        w->loads_at = now + LOADS_NS;
        w->loads_known |= gn_loads_gather(c, &w->loads);
    }
    gn_balance_run(c, w->loads_known ? &w->loads : NULL);
}

/* False: something did not succeed and is to be tried again. */
static bool look_around(gn_warden *w)
{
    gn_cluster *c = w->cluster;
    gn_error err = {0};
    gn_scn now = gn_shard_last_scn(c->meta);
    if (now != w->seen) {
        if (gn_meta_refresh(c, true, &err) != GN_OK) {
            complain("the placement cannot be read", &err);
            return false;
        }
        w->seen = now;
        if (gn_versions_follow(c, &err) != GN_OK) {
            complain("the cluster's version cannot be taken over", &err);
            w->seen = 0;
            return false;
        }
        gn_nodes_tell_peers(c);
        bool postponed = false;
        gn_code code = gn_groups_open_placed(c, &postponed, &err);
        if (code != GN_OK)
            complain("a replica cannot be opened", &err);
        if (code != GN_OK || postponed)
            w->seen = 0;
    }
    uint64_t term;
    w->announced = w->announced && w->announced_at == c->at; /* with another version there may be more to say */
    if (!w->announced && c->address[0] && gn_raft_leader(gn_shard_raft_group(c->meta), &term)) {
        w->announced_at = c->at;
        w->announced = gn_nodes_announce(c, &err) == GN_OK;
        if (!w->announced)
            complain("the node could not say where it is", &err);
    }
    bool unfinished = false, merging = false;
    if (gn_splits_look(c, &unfinished))
        wake(w, false); /* there is more to do with the placement as it is now */
    if (gn_merges_look(c, &merging))
        wake(w, false);
    reap_changes(w);
    reconcile_all(w);
    bool ending = gn_merges_remove_ended(c);
    if (gn_now_ns(c->world) >= w->present_at && c->address[0]) { /* is this node one of them yet? */
        w->present_at = gn_now_ns(c->world) + PRESENT_NS;
        gn_nodes_nudge_one(c, w->turn++);
    }
    if (gn_now_ns(c->world) >= w->balance_at && !is_at_rest(c)) {
        w->balance_at = gn_now_ns(c->world) + BALANCE_NS;
        gn_loads_sample(c);
        if (c->address[0])
            balance(w);
        gn_splits_large(c);
        gn_merges_small(c);
    }
    return w->seen && !unfinished && !merging && !ending;
}

/* done: there is nothing to try again. False: it is to stop. */
static bool wait_for_nudge(gn_warden *w, bool done)
{
    gn_event event;
    pthread_mutex_lock(&w->lock);
    gn_event_init(&event, w->cluster->world);
    bool wait = !w->nudged && !w->stop;
    w->wake = wait ? &event : NULL;
    pthread_mutex_unlock(&w->lock);
    uint64_t until =
        done && is_at_rest(w->cluster) ? UINT64_MAX : gn_now_ns(w->cluster->world) + PERIOD_MS * 1000000ull;
    if (wait && gn_event_wait(&event, until) == GN_TIMEOUT) {
        pthread_mutex_lock(&w->lock);
        bool taken = w->wake == NULL; /* somebody is about to signal */
        w->wake = NULL;
        pthread_mutex_unlock(&w->lock);
        if (taken)
            gn_event_wait(&event, UINT64_MAX);
    }
    pthread_mutex_lock(&w->lock);
    w->nudged = false;
    bool goes_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return goes_on;
}

static void watch(void *arg)
{
    gn_warden *w = arg;
    bool done;
    do
        done = look_around(w);
    while (wait_for_nudge(w, done));
}

void gn_warden_nudge(gn_warden *w)
{
    if (w)
        wake(w, false);
}

gn_warden *gn_warden_create(gn_cluster *cluster)
{
    gn_warden *w = gn_xcalloc(1, sizeof *w);
    w->cluster = cluster;
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

bool gn_warden_start(gn_warden *w)
{
    w->strand = gn_strand_start(w->cluster->world, "warden", watch, w);
    return w->strand != NULL;
}

void gn_warden_stop(gn_warden *w)
{
    wake(w, true);
    if (w->strand)
        gn_strand_join(w->strand);
}

void gn_warden_free(gn_warden *w)
{
    reap_changes(w); /* closing the groups has ended all */
    free(w->loads.items);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
