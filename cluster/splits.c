/* Splitting a group, and what follows from a split, step by step; each step looks at what there is, so it may be
 * repeated by anybody after whatever crash.
 *
 *  1. The leader of the group proposes the split (gn_split_group). Its log entry is the split itself.
 *  2. Each replica that applies it leaves the child's files in its own directory (shard/split.c).
 *  3. Each node that has such files opens the child's replica on them (gn_split_adopt_child).
 *  4. The leader of the parent says in the placement what the split has done (gn_splits_publish).
 *  5. A coordinator that is refused waits for 4 (gn_slots_moved), and goes to the child.
 *
 * Nobody goes to the child before the parent has refused what is now the child's. */
#include "base/log.h"
#include "cluster/balance_private.h"
#include "cluster/loads_private.h"
#include "cluster/merges_private.h"
#include "cluster/splits_private.h"
#include "cluster/system_tables_private.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_NS 1000000000u     /* transactions over groups wait so long for a split */
#define PUBLISH_NS 10000000000u /* a split is waited for */
#define MOVED_NS 10000000000u
#define PAUSE_NS 10000000u

static void pause_for(gn_cluster *c, uint64_t ns)
{
    gn_event never;
    gn_event_init(&never, c->world);
    gn_event_wait(&never, gn_now_ns(c->world) + ns);
}

/* ---- 1. proposing ---- */

static bool is_as_placed(const gn_group_place *row, const gn_raft_status *s)
{
    if (!s->leads || !s->can_read || s->n_members != row->n_members)
        return false;
    for (size_t i = 0; i < s->n_members; i++)
        if (s->members[i].role != GN_RAFT_VOTER || !gn_group_has_member(row, s->members[i].id))
            return false;
    return true;
}

static gn_code check_row(const gn_group_place *row, uint64_t group, uint32_t *mid, gn_error *err)
{
    if (!row)
        return gn_error_set(err, GN_NO_OBJECT, "there is no group %" PRIu64, group);
    if (row->distribution_id == 0)
        return gn_error_set(err, GN_NOT_IN_STATE, "the meta group cannot be split");
    if (row->slot_hi - row->slot_lo < 2)
        return gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " has one slot only", group);
    if (*mid == 0)
        *mid = row->slot_lo + (row->slot_hi - row->slot_lo) / 2;
    if (*mid <= row->slot_lo || *mid >= row->slot_hi)
        return gn_error_set(err, GN_INVALID_PARAMETER,
                            "group %" PRIu64 " has the slots %u to %u: it can be split at %u to %u", group,
                            row->slot_lo, row->slot_hi - 1, row->slot_lo + 1, row->slot_hi - 1);
    return GN_OK;
}

/* The split of this replica's group as it is now, without the child's id. */
static gn_code plan_split(gn_cluster *c, gn_shard *shard, const gn_group_place *row, uint32_t mid, gn_split *out,
                          gn_error *err)
{
    gn_slots own;
    gn_shard_slots(shard, &own);
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(shard), s);
    bool leads = s->leads, placed = is_as_placed(row, s);
    free(s);
    (void)c;
    if (!leads)
        return gn_error_set(err, GN_NOT_LEADER, "this node does not lead group %" PRIu64, row->id);
    if (!placed)
        return gn_error_set(err, GN_OBJECT_IN_USE, "the members of group %" PRIu64 " are changing", row->id);
    if (own.generation && (own.lo != row->slot_lo || own.hi != row->slot_hi))
        return gn_error_set(err, GN_OBJECT_IN_USE, "an earlier split of group %" PRIu64 " is not finished", row->id);
    *out = (gn_split){
        .generation = own.generation, .lo = row->slot_lo, .mid = mid, .hi = row->slot_hi, .n_members = row->n_members};
    _Static_assert(sizeof out->members == sizeof row->members, "the members of a group");
    memcpy(out->members, row->members, sizeof out->members);
    return GN_OK;
}

static gn_code await_published(gn_cluster *c, uint64_t child, gn_error *err)
{
    uint64_t until = gn_now_ns(c->world) + PUBLISH_NS;
    for (;;) {
        gn_error ignored = {0};
        bool unfinished;
        gn_splits_look(c, &unfinished); /* the warden does, too, but it may be the one that waits */
        gn_meta_refresh(c, true, &ignored);
        gn_placement *p = gn_meta_placement(c);
        bool there = gn_placement_group(p, child) != NULL;
        gn_placement_release(p);
        if (there)
            return GN_OK;
        if (gn_now_ns(c->world) >= until || c->stopping)
            return gn_error_set(err, GN_TIMEOUT,
                                "the group is split; that the placement says so takes longer than usual");
        pause_for(c, PAUSE_NS);
    }
}

gn_code gn_split_group(gn_cluster *c, uint64_t group, uint32_t slot, gn_split *out, gn_error *err)
{
    int64_t child = 0;
    if (!gn_cluster_is_at(c, GN_SINCE_SPLITS)) {
        gn_error_set(err, GN_NOT_IN_STATE, "groups cannot be split while the cluster is at an older version");
        gn_error_hint(err, "End the upgrade: gnomonctl upgrade --finish.");
        return GN_NOT_IN_STATE;
    }
    gn_code code = gn_meta_refresh(c, false, err);
    if (code != GN_OK)
        return code;
    gn_placement *p = gn_meta_placement(c);
    gn_shard *shard = gn_group_hold(c, group);
    const gn_group_place *row = gn_placement_group(p, group);
    code = check_row(row, group, &slot, err);
    if (code == GN_OK && !shard)
        code = gn_error_set(err, GN_NOT_LEADER, "this node does not lead group %" PRIu64, group);
    if (code == GN_OK)
        code = plan_split(c, shard, row, slot, out, err);
    if (code == GN_OK)
        code = gn_shard_sequence_next(c->meta, GN_GROUP_SEQUENCE, GN_META_GROUP + 1, 1, &child, err);
    out->child = (uint64_t)child;
    if (code == GN_OK) {
        gn_log_info("cluster", "splitting a group", GN_KV_U64("group", group), GN_KV_U64("child", out->child),
                    GN_KV_U64("at_slot", slot));
        code = gn_shard_split(shard, out, HOLD_NS, err);
    }
    if (code == GN_OK)
        code = await_published(c, out->child, err);
    gn_group_release(c, shard);
    gn_placement_release(p);
    return code;
}

/* ---- 3. the child's replica ---- */

static gn_code child_files(gn_cluster *c, uint64_t child, char *parent_dir, size_t size, bool *there, gn_error *err)
{
    uint64_t *groups;
    size_t n;
    gn_code code = gn_group_directories(c, &groups, &n, err);
    *there = false;
    for (size_t i = 0; i < n && code == GN_OK && !*there; i++) {
        char path[4096];
        code = gn_group_path(c, groups[i], parent_dir, size, err);
        if (code == GN_OK)
            code = gn_split_path(parent_dir, child, path, sizeof path, there, err);
    }
    free(groups);
    return code;
}

/* The parent here has applied the split for good, so what was made of it is made once: if the group is not known here,
 * it has never been, and has voted for nobody here. As long as this node is a member, or nobody has heard of the group,
 * it may begin then. (A majority of those that made it has taken part in every change since, or there was none; so
 * those that are wrong here, having read this long ago, are a minority.) */
static gn_code may_begin(gn_cluster *c, uint64_t child, bool *may, gn_error *err)
{
    gn_code code = gn_meta_refresh(c, false, err);
    gn_placement *p = code == GN_OK ? gn_meta_placement(c) : NULL;
    const gn_group_place *row = p ? gn_placement_group(p, child) : NULL;
    *may = p && !gn_placement_has_ended(p, child) && (!row || gn_group_has_member(row, gn_net_self(c->world)));
    gn_placement_release(p);
    return code;
}

gn_code gn_split_adopt_child(gn_cluster *c, uint64_t child, const char *dir, gn_error *err)
{
    char parent_dir[4096], path[4096];
    bool there, known = false, may = false;
    gn_code code = child_files(c, child, parent_dir, sizeof parent_dir, &there, err);
    if (code != GN_OK || !there)
        return code;
    code = gn_raft_knows(c->host, child, &known, err);
    if (code == GN_OK && !known && c->starting) /* there may be no leader to be asked */
        return gn_error_set(err, GN_STARTING, "%s", gn_code_text(GN_STARTING));
    if (code == GN_OK && !known)
        code = may_begin(c, child, &may, err);
    if (code == GN_OK && may)
        return gn_split_adopt(parent_dir, child, dir, err);
    if (code == GN_OK)
        code = gn_split_path(parent_dir, child, path, sizeof path, &there, err);
    return code == GN_OK ? gn_shard_remove(path, err) : code;
}

/* Where the slots end that a group had at first which lies here now. */
static uint32_t first_end(const gn_distribution *d, const gn_group_place *row)
{
    uint64_t cell = (uint64_t)(row->slot_hi - 1) * d->shards / GN_SLOTS;
    while (cell * GN_SLOTS / d->shards < row->slot_hi)
        cell++;
    return (uint32_t)(cell * GN_SLOTS / d->shards);
}

/* Who splits keeps the lower slots. (Numbers of groups tell nothing: each node has a block of them to give.) */

/* May the one come out of the other, or have done so? As long as nothing was merged, only within the slots of one of
 * the groups that the table was made with: others need not wait for each other. */
static bool may_be_parent(const gn_placement *p, const gn_group_place *lower, const gn_group_place *row)
{
    if (lower->distribution_id != row->distribution_id || lower->slot_lo >= row->slot_lo)
        return false;
    const gn_distribution *d = gn_placement_distribution(p, row->distribution_id);
    return d->merged || row->slot_lo < first_end(d, lower);
}

/* A replica that the group may be split off yet: it has not applied all splits and merges that the placement knows of.
 * Where only splits are known, and no generation, its slots tell: it has still slots of that group, or may have. */
static bool is_behind(const gn_placement *p, const gn_local_group *g, const gn_group_place *row)
{
    gn_slots own;
    const gn_group_place *older = gn_placement_group(p, g->id);
    if (!older || !may_be_parent(p, older, row))
        return false;
    gn_shard_slots(g->shard, &own);
    if (older->generation)
        return own.generation < older->generation;
    if (own.generation)
        return own.lo <= row->slot_lo && row->slot_lo < own.hi;
    return row->slot_lo < first_end(gn_placement_distribution(p, row->distribution_id), older);
}

/* A group of lower slots is to have a replica here that is not open yet: that may be its parent. */
static bool lacks_lower(gn_cluster *c, const gn_placement *p, const gn_group_place *row)
{
    bool lacks = false;
    for (uint32_t i = 0; i < p->n_groups && !lacks; i++) {
        const gn_group_place *lower = &p->groups[i];
        if (!may_be_parent(p, lower, row) || !gn_group_has_member(lower, gn_net_self(c->world)))
            continue;
        gn_shard *shard = gn_group_hold(c, lower->id);
        lacks = !shard;
        gn_group_release(c, shard);
    }
    return lacks;
}

bool gn_split_is_to_come(gn_cluster *c, const gn_placement *p, const gn_group_place *row)
{
    bool known = false;
    gn_error ignored = {0};
    gn_local_group *groups;
    if (!(row->changes & GN_SPLIT_CHANGES) || (gn_raft_knows(c->host, row->id, &known, &ignored) == GN_OK && known))
        return false;
    bool behind = lacks_lower(c, p, row);
    size_t n = gn_group_list(c, &groups);
    for (size_t i = 0; i < n && !behind; i++)
        behind = is_behind(p, &groups[i], row);
    gn_group_list_free(c, groups, n);
    return behind;
}

static bool makes_child(const gn_cluster *c, const gn_slots *own)
{
    for (uint32_t i = 0; i < own->n_members; i++)
        if (own->members[i] == gn_net_self(c->world))
            return true;
    return false;
}

bool gn_replica_has_begun(gn_shard *shard)
{
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(shard), s);
    bool begun = s->n_members > 0;
    free(s);
    return begun;
}

/* A group for which a split has left files that it may want yet: its replica here has not begun, and should. */
static bool is_wanted(gn_cluster *c, uint64_t child)
{
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, child);
    bool elsewhere = row && !gn_group_has_member(row, gn_net_self(c->world)), ended = gn_placement_has_ended(p, child);
    gn_placement_release(p);
    gn_shard *shard = gn_group_hold(c, child);
    bool begun = shard && gn_replica_has_begun(shard);
    gn_group_release(c, shard);
    return !elsewhere && !ended && !begun;
}

bool gn_split_has_left(gn_cluster *c, uint64_t group)
{
    char path[4096];
    gn_error err = {0};
    bool left = false;
    gn_code code = gn_group_path(c, group, path, sizeof path, &err);
    DIR *dir = code == GN_OK ? opendir(path) : NULL;
    if (!dir)
        return code != GN_OK || errno != ENOENT;
    for (const struct dirent *e; !left && (e = readdir(dir));) {
        char *end;
        uint64_t child = strncmp(e->d_name, "split-", 6) == 0 ? strtoull(e->d_name + 6, &end, 10) : 0;
        left = child && !*end && is_wanted(c, child);
    }
    closedir(dir);
    return left;
}

/* must: whether or not it has files. False: it is not open. Another strand may be opening it, and is waited for. */
static bool open_child(gn_cluster *c, const gn_local_group *g, const gn_slots *own, bool must)
{
    char dir[4096], path[4096];
    bool there = false;
    gn_error err = {0};
    gn_code code = gn_group_path(c, g->id, dir, sizeof dir, &err);
    if (code == GN_OK)
        code = gn_split_path(dir, own->child, path, sizeof path, &there, &err);
    gn_placement *p = gn_meta_placement(c);
    bool ended = gn_placement_has_ended(p, own->child); /* merged into another by now */
    gn_placement_release(p);
    if (code == GN_OK && ended)
        return !there || gn_shard_remove(path, &err) == GN_OK;
    if (code == GN_OK && !there && !must)
        return true;
    gn_shard *child = gn_group_hold(c, own->child);
    if (code == GN_OK && child && there && gn_replica_has_begun(child))
        code = gn_shard_remove(path, &err);   /* it came by a snapshot before */
    else if (code == GN_OK && child && there) /* never to be thrown away: there may be no other copy */
        code = gn_error_set(&err, GN_OBJECT_IN_USE, "an empty replica stands in its place");
    else if (code == GN_OK && !child)
        code = gn_group_open(c, own->child, NULL, 0, &err);
    gn_group_release(c, child);
    if (code != GN_OK)
        gn_log_warn("cluster", "the replica of a group that was split off is not open yet",
                    GN_KV_U64("group", own->child), GN_KV_STR("error", err.message));
    return code == GN_OK;
}

/* ---- 4. the placement ---- */

static gn_code put_rows(gn_txn *meta, const gn_group_place *row, const gn_slots *own, gn_error *err)
{
    gn_group_place parent = *row, child = {.id = own->child,
                                           .distribution_id = row->distribution_id,
                                           .slot_lo = own->hi,
                                           .slot_hi = own->child_hi,
                                           .n_members = own->n_members,
                                           .changes = GN_SPLIT_CHANGES,
                                           .generation = (uint32_t)own->generation};
    memcpy(child.members, own->members, sizeof child.members);
    parent.slot_hi = own->hi;
    parent.generation = (uint32_t)own->generation;
    gn_code code = gn_meta_put_group(meta, &parent, err);
    return code == GN_OK ? gn_meta_put_group(meta, &child, err) : code;
}

static bool is_unpublished(const gn_group_place *row, const gn_slots *own)
{
    return row && own->child && row->slot_lo == own->lo && row->slot_hi == own->child_hi;
}

/* What the parent's log has is looked up after the placement was read: the halves may be one again by now, and the row
 * then says what it said before the split. Or it was split once more, and nobody has opened what came of that. */
static gn_code publish(gn_cluster *c, gn_shard *shard, uint64_t group, uint64_t child, gn_error *err)
{
    gn_txn *meta;
    gn_slots own;
    gn_placement *p = NULL;
    gn_scn scn;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_placement_load(meta, &p, err);
    if (code == GN_OK)
        code = gn_slots_now(c, shard, &own, err);
    const gn_group_place *row = p ? gn_placement_group(p, group) : NULL;
    bool due = code == GN_OK && own.child == child && is_unpublished(row, &own);
    if (due)
        code = put_rows(meta, row, &own, err);
    gn_placement_release(p);
    if (code == GN_OK && due)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

static bool leads(const gn_cluster *c, const gn_shard *shard)
{
    uint64_t term;
    return gn_raft_leader(gn_shard_raft_group((gn_shard *)shard), &term) == gn_net_self(c->world);
}

bool gn_splits_look(gn_cluster *c, bool *unfinished)
{
    gn_local_group *groups;
    gn_placement *p = gn_meta_placement(c);
    size_t n = gn_group_list(c, &groups);
    bool published = false;
    *unfinished = false;
    for (size_t i = 0; i < n; i++) {
        gn_slots own;
        gn_error err = {0};
        gn_shard_slots(groups[i].shard, &own);
        bool unpublished = is_unpublished(gn_placement_group(p, groups[i].id), &own);
        bool open = own.child == 0 || open_child(c, &groups[i], &own, unpublished && makes_child(c, &own));
        *unfinished |= !open || unpublished;
        if (!open || !unpublished || !leads(c, groups[i].shard))
            continue;
        gn_code code = publish(c, groups[i].shard, groups[i].id, own.child, &err);
        published |= code == GN_OK;
        if (code != GN_OK)
            gn_log_warn("cluster", "the placement does not say yet that a group was split",
                        GN_KV_U64("group", groups[i].id), GN_KV_STR("error", err.message));
    }
    gn_group_list_free(c, groups, n);
    gn_placement_release(p);
    gn_error err = {0};
    if (published && gn_meta_refresh(c, false, &err) == GN_OK)
        gn_nodes_nudge_all(c);
    return published;
}

/* ---- 5. coordinators ---- */

void gn_group_believed(const gn_placement *p, uint64_t group, uint32_t *lo, uint32_t *hi)
{
    const gn_group_place *row = gn_placement_group(p, group);
    const gn_distribution *d = row ? gn_placement_distribution(p, row->distribution_id) : NULL;
    *lo = *hi = 0;
    if (!d || (d->n == d->shards && !d->merged)) /* as it was made */
        return;
    *lo = row->slot_lo;
    *hi = row->slot_hi;
}

gn_code gn_slots_moved(gn_cluster *c, uint64_t group, uint32_t lo, uint32_t hi, const _Atomic bool *cancel,
                       gn_error *err)
{
    uint64_t until = gn_now_ns(c->world) + MOVED_NS;
    for (;;) {
        uint32_t lo_now = lo, hi_now = hi;
        bool ended = false;
        gn_error why = {0};
        if (gn_meta_refresh(c, false, &why) == GN_OK) {
            gn_placement *p = gn_meta_placement(c);
            gn_group_believed(p, group, &lo_now, &hi_now);
            ended = gn_placement_has_ended(p, group);
            gn_placement_release(p);
        }
        if (ended || lo_now != lo || hi_now != hi) {
            gn_error_set(err, GN_SERIALIZATION, "could not serialize access: rows of group %" PRIu64 " have moved",
                         group);
            gn_error_hint(err, "The transaction might succeed if retried.");
            return GN_SERIALIZATION;
        }
        if (cancel && *cancel)
            return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        if (c->stopping || gn_now_ns(c->world) >= until)
            return gn_error_set(err, GN_UNAVAILABLE,
                                "rows of group %" PRIu64 " have moved, and it is not known yet where to", group);
        pause_for(c, PAUSE_NS);
    }
}

/* ---- automatic ---- */

static bool is_too_much(const gn_cluster *c, const gn_local_group *g)
{
    gn_shard_totals totals;
    gn_shard_totals_get(g->shard, &totals);
    return (c->split_bytes && totals.bytes_estimate >= c->split_bytes) ||
           (c->split_rate && g->rate >= (double)c->split_rate);
}

void gn_splits_large(gn_cluster *c)
{
    gn_local_group *groups;
    if (c->split_bytes == 0 && c->split_rate == 0)
        return;
    size_t n = gn_group_list(c, &groups);
    for (size_t i = 0; i < n; i++) {
        gn_slots own;
        gn_split split;
        gn_error err = {0};
        gn_shard_slots(groups[i].shard, &own);
        if (groups[i].id == GN_META_GROUP || own.cleaned < own.generation || own.victim || own.into ||
            !leads(c, groups[i].shard) || !is_too_much(c, &groups[i]))
            continue;
        if (gn_split_group(c, groups[i].id, 0, &split, &err) == GN_OK)
            gn_loads_halve(c, groups[i].id);
        else
            gn_log_info("cluster", "a large group is not split yet", GN_KV_U64("group", groups[i].id),
                        GN_KV_STR("why", err.message));
        break; /* one at a time */
    }
    gn_group_list_free(c, groups, n);
}
