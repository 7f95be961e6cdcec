/* Linearizable reads (Raft thesis 6.4). The leader notes its commit index and asks all voters whether they are still in
 * its term; when a majority, with itself, has said so in answer to a question asked after the reads came, no newer
 * leader can have committed anything before they came. Reads that come during a round share the next one. A leader
 * serves none before an entry of its own term is committed: until then it does not know what is. A sole voter asks
 * nobody.
 *
 * Where one answer is enough (of three voters) one is asked: who was the quickest when all were asked, for whichever
 * group of the host that was last. That is done now and then, and again at the next heartbeat if no answer has come. To
 * wake a node for an answer that is not needed costs more than the answer.
 *
 * Nobody is asked for a read that comes from another voter with a word of its own that is as good (gn_raft_voucher):
 * it was in our term after the read came, and so had sent no vote for a newer one, nor had we, and without one of
 * us, of three, there is no newer leader. A node's term is published before the turn's messages leave, so that none of
 * them says more than it.
 *
 * Questions and answers are messages of our own beside libraft's: its heartbeats do not say what they answer. */
#include "raft/raft_private.h"

enum { ASK_ALL_EVERY = 64 }; /* rounds */

static bool votes(const gn_raft_group *group, gn_node_id id)
{
    const struct raft_configuration *c = &group->raft.configuration;
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].id == id)
            return c->servers[i].role == RAFT_VOTER;
    return false;
}

static size_t voters(const gn_raft_group *group)
{
    const struct raft_configuration *c = &group->raft.configuration;
    size_t n = 0;
    for (unsigned i = 0; i < c->n; i++)
        n += c->servers[i].role == RAFT_VOTER;
    return n;
}

bool gn_raft_is_sole_voter(const gn_raft_group *group)
{
    return voters(group) == 1 && votes(group, group->host->self);
}

/* A sole voter that leads answers on the caller's thread. What was acknowledged has been applied: in this life by the
 * order of things (the state machine acknowledges), of earlier lives once the first entry of this term is applied. And
 * nobody else can have committed anything: a second voter votes only after the entry that makes it one was made durable
 * here, in a turn that comes after the one that took `reads_alone` back. */
bool gn_raft_read_alone(gn_raft_group *group, gn_raft_request *request)
{
    if (!group->reads_alone)
        return false;
    pthread_mutex_lock(&group->status_lock);
    request->index = group->status.applied_index;
    pthread_mutex_unlock(&group->status_lock);
    if (request->index < group->acknowledged) /* the status is of the last turn */
        request->index = group->acknowledged;
    request->group = group;
    gn_counter_add(group->host->metrics.reads, 1);
    request->done(request, GN_OK);
    return true;
}

bool gn_raft_answers_alone(gn_raft_group *group)
{
    return group->reads_alone;
}

static bool is_vouched(const gn_raft_group *group, const gn_raft_voucher *voucher)
{
    size_t agree = votes(group, group->host->self) + votes(group, voucher->node);
    return voucher->node != 0 && voucher->node != group->host->self && voucher->term == group->term &&
           agree > voters(group) / 2 && gn_raft_can_read(group);
}

static bool majority(const gn_raft_group *group)
{
    size_t acks = votes(group, group->host->self);
    for (size_t i = 0; i < group->round.n_acked; i++)
        acks += votes(group, group->round.acked[i]);
    return acks > voters(group) / 2;
}

/* only: 0 = all voters. */
static void ask(gn_raft_group *group, gn_node_id only)
{
    const struct raft_configuration *c = &group->raft.configuration;
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].role == RAFT_VOTER && c->servers[i].id != group->host->self &&
            (only == 0 || c->servers[i].id == only))
            gn_raft_transport_probe(group, c->servers[i].id, false, group->term, group->round.number);
}

void gn_raft_read_add(gn_raft_group *group, gn_raft_request *request)
{
    if (group->reads.n + group->round.reads.n + group->reads_done.n >= GN_RAFT_PENDING_REQUESTS) {
        gn_raft_finish(request, GN_UNAVAILABLE);
    } else if (is_vouched(group, &request->voucher)) {
        request->index = group->raft.commit_index;
        gn_raft_fifo_push(&group->reads_done, request);
        gn_counter_add(group->host->metrics.reads, 1);
    } else {
        gn_raft_fifo_push(&group->reads, request);
    }
}

/* Whose answer is enough; 0: nobody's. The host's choice before the group's: what several groups ask one node leaves
 * in one frame. */
static gn_node_id enough(const gn_raft_group *group)
{
    gn_node_id quick = votes(group, group->host->quick) ? group->host->quick : group->round.quick;
    bool all = group->round.number % ASK_ALL_EVERY == 0 || voters(group) > 3 || !votes(group, group->host->self);
    return all || !votes(group, quick) ? 0 : quick;
}

static void begin_round(gn_raft_group *group)
{
    group->round.number = ++group->rounds;
    group->round.index = group->raft.commit_index;
    group->round.reads = group->reads;
    group->round.n_acked = 0;
    group->reads = (gn_raft_fifo){0};
    gn_counter_add(group->host->metrics.read_rounds, 1);
    ask(group, enough(group));
}

static void end_round(gn_raft_group *group)
{
    gn_counter_add(group->host->metrics.reads, group->round.reads.n);
    for (gn_raft_request *request; (request = gn_raft_fifo_pop(&group->round.reads));) {
        request->index = group->round.index;
        gn_raft_fifo_push(&group->reads_done, request);
    }
    group->round.number = 0;
}

void gn_raft_read_advance(gn_raft_group *group)
{
    if (group->round.number && majority(group))
        end_round(group);
    if (group->reads.n && !group->round.number && gn_raft_can_read(group)) {
        begin_round(group);
        if (majority(group))
            end_round(group);
    }
    while (group->reads_done.head && group->reads_done.head->index <= group->applied)
        gn_raft_finish(gn_raft_fifo_pop(&group->reads_done), GN_OK);
}

/* The network may have lost questions or answers. */
void gn_raft_read_retry(gn_raft_group *group)
{
    if (group->round.number)
        ask(group, 0);
}

void gn_raft_read_fail(gn_raft_group *group, gn_code code)
{
    group->round.number = 0;
    gn_raft_fifo_finish(&group->round.reads, code, group->leader);
    gn_raft_fifo_finish(&group->reads, code, group->leader);
    gn_raft_fifo_finish(&group->reads_done, code, group->leader);
}

void gn_raft_read_probe(gn_raft_group *group, gn_node_id from, uint64_t term, uint64_t round)
{
    if (term == group->term && !group->leads)
        gn_raft_transport_probe(group, from, true, term, round);
}

void gn_raft_read_ack(gn_raft_group *group, gn_node_id from, uint64_t term, uint64_t round)
{
    gn_raft_read_round *r = &group->round;
    if (!group->leads || term != group->term || r->number != round || round == 0 || r->n_acked == GN_MAX_PEERS)
        return;
    for (size_t i = 0; i < r->n_acked; i++)
        if (r->acked[i] == from)
            return;
    if (r->n_acked == 0)
        group->host->quick = r->quick = from;
    r->acked[r->n_acked++] = from;
    gn_raft_group_touch(group);
}
