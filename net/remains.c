#include "net/remains.h"

static const gn_remains_member *member_of(const gn_remains_replica *replica, gn_node_id node)
{
    for (size_t i = 0; i < replica->n_members; i++)
        if (replica->members[i].node == node)
            return &replica->members[i];
    return NULL;
}

bool gn_remains_can_go_on(const gn_remains_replica *replica)
{
    return replica->whole && member_of(replica, replica->node);
}

/* As Raft compares logs before a vote. */
static bool has_more(const gn_remains_replica *a, const gn_remains_replica *b)
{
    return a->last_term != b->last_term ? a->last_term > b->last_term : a->last_index > b->last_index;
}

static bool is_among(const gn_node_id *nodes, size_t n, gn_node_id node)
{
    for (size_t i = 0; i < n; i++)
        if (nodes[i] == node)
            return true;
    return false;
}

static const gn_remains_replica *replica_on(const gn_remains_replica *replicas, size_t n, gn_node_id node)
{
    for (size_t i = 0; i < n; i++)
        if (replicas[i].node == node)
            return &replicas[i];
    return NULL;
}

void gn_remains_judge(const gn_remains_replica *replicas, size_t n, const gn_node_id *answering, size_t n_answering,
                      gn_remains *out)
{
    bool led = false;
    unsigned up = 0, unseen = 0;
    *out = (gn_remains){0};
    for (size_t i = 0; i < n; i++) {
        led |= replicas[i].serves;
        if (gn_remains_can_go_on(&replicas[i]) && (!out->chosen || has_more(&replicas[i], out->chosen)))
            out->chosen = &replicas[i];
    }
    for (size_t i = 0; out->chosen && i < out->chosen->n_members; i++) {
        const gn_remains_member *m = &out->chosen->members[i];
        out->voters += m->votes;
        const gn_remains_replica *there = replica_on(replicas, n, m->node);
        bool answers = is_among(answering, n_answering, m->node);
        out->left += m->votes && there && gn_remains_can_go_on(there);
        up += m->votes && answers;
        unseen += m->votes && answers && !there;
    }
    out->fate = !out->chosen                         ? GN_FATE_LOST
                : led || out->left > out->voters / 2 ? GN_FATE_WELL
                : up > out->voters / 2 || unseen     ? GN_FATE_WAITS
                                                     : GN_FATE_FORCED;
}
