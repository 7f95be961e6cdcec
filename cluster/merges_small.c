/* Merging by itself what splits have left too small: two neighbours go together when they have been small together for
 * a while. So that splits and merges do not undo each other, what would be merged has to be less than half of what is
 * split; and a table keeps as many groups as it was made with, since these are there to be written side by side. One
 * node decides, the one that leads the meta group, and one merge of a table's groups is under way at a time. */
#include "base/log.h"
#include "cluster/merges_private.h"

#define LOOK_NS 5000000000u

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool gn_merge_is_worth(const gn_cluster *c, uint64_t bytes, uint64_t rate)
{
    uint64_t most = least(c->merge_bytes, c->merge_most);
    if (c->split_bytes)
        most = least(most, c->split_bytes / 2);
    return c->merge_bytes && bytes <= most && (c->split_rate == 0 || rate <= c->split_rate / 2);
}

/* The two that have least together. 0: there are none, or not all can be asked, or something goes on there. */
static void find_pair(gn_cluster *c, const gn_placement *p, const gn_distribution *d, uint64_t *survivor,
                      uint64_t *victim)
{
    gn_group_weight below = {0}, here;
    uint64_t fewest = UINT64_MAX;
    *survivor = *victim = 0;
    for (uint32_t i = 0; i < d->n; i++, below = here) {
        gn_error ignored = {0};
        uint64_t id = p->groups[d->first + i].id;
        if (c->stopping || gn_merge_weigh(c, id, &here, &ignored) != GN_OK || here.merging) {
            *survivor = *victim = 0;
            return;
        }
        uint64_t bytes = below.bytes + here.bytes;
        if (i == 0 || bytes >= fewest || !gn_merge_is_worth(c, bytes, below.rate + here.rate))
            continue;
        fewest = bytes;
        *survivor = p->groups[d->first + i - 1].id;
        *victim = id;
    }
}

/* Whether these have been small so long. Whatever comes of it then, the next time is a while off. */
static bool is_due(gn_cluster *c, uint64_t survivor, uint64_t victim)
{
    uint64_t now = gn_now_ns(c->world);
    if (c->small.survivor != survivor || c->small.victim != victim) {
        c->small.survivor = survivor;
        c->small.victim = victim;
        c->small.since_ns = now;
    }
    bool due = survivor && now - c->small.since_ns >= c->merge_calm_ns;
    if (due)
        c->small.survivor = c->small.victim = 0;
    return due;
}

void gn_merges_small(gn_cluster *c)
{
    gn_error err = {0};
    uint64_t term, survivor = 0, victim = 0, now = gn_now_ns(c->world);
    if (c->merge_bytes == 0 || now < c->small.look_ns ||
        gn_raft_leader(gn_shard_raft_group(c->meta), &term) != gn_net_self(c->world))
        return;
    c->small.look_ns = now + least(c->merge_calm_ns, LOOK_NS);
    gn_placement *p = gn_meta_placement(c);
    for (uint32_t i = 0; i < p->n_distributions && !survivor; i++)
        if (p->distributions[i].n > p->distributions[i].shards)
            find_pair(c, p, &p->distributions[i], &survivor, &victim);
    gn_placement_release(p);
    if (is_due(c, survivor, victim) && gn_merge_ask(c, victim, survivor, &err) != GN_OK)
        gn_log_info("cluster", "small groups are not merged yet", GN_KV_U64("group", survivor),
                    GN_KV_U64("victim", victim), GN_KV_STR("why", err.message));
}
