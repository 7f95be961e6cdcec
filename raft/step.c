/* The only caller of raft_step. An update's parts are taken in the order that safety wants: term and vote, entries,
 * snapshot, messages (held until term and vote are durable), role, and then the configurations that commit passed. */
#include "raft/raft_private.h"

#include <stdlib.h>

enum { EAGERNESS = 20 };

/* libraft's flag macros lack parentheses. */
enum {
    HARD_STATE = (RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR),
    ENTRIES = (RAFT_UPDATE_ENTRIES),
    SNAPSHOT = (RAFT_UPDATE_SNAPSHOT),
    MESSAGES = (RAFT_UPDATE_MESSAGES),
};

/* The barrier of a new leader comes from the core itself and lies inside struct raft: only its batch is ours to free.
 */
static void append_barrier(gn_raft_group *group, const struct raft_update *update)
{
    const struct raft_entry *entry = &update->entries.batch[0];
    GN_ASSERT(update->entries.n == 1 && entry->type == RAFT_BARRIER);
    gn_raft_segment *segment = gn_raft_segment_create(GN_RAFT_RECORD_HEADER);
    gn_raft_record record = {.term = entry->term, .type = RAFT_BARRIER};
    gn_raft_record_write(segment->data, group->id, update->entries.index, &record);
    gn_raft_slot slot = {.segment = segment, .record = segment->data, .len = GN_RAFT_RECORD_HEADER};
    gn_raft_log_append(group, update->entries.index, &slot, 1);
    gn_raft_segment_unref(segment);
    raft_free(entry->batch);
}

static void take_entries(gn_raft_group *group, const struct raft_update *update, const struct raft_event *event)
{
    gn_raft_host *host = group->host;
    const struct raft_entry *batch = update->entries.batch;
    if (batch == &group->raft.barrier) {
        append_barrier(group, update);
        return;
    }
    size_t at = (size_t)(batch - host->entries);
    GN_ASSERT(batch >= host->entries && at + update->entries.n <= host->cap_entries);
    gn_raft_log_append(group, update->entries.index, host->slots + at, update->entries.n);
    if (event->type == RAFT_RECEIVE)
        raft_free(batch[0].batch); /* given back to us by the core: see transport.c */
}

static void became_leader(gn_raft_group *group)
{
    group->leads = true;
    group->lead_first = 0;
    group->leader = group->host->self;
    gn_counter_add(group->host->metrics.elections, 1);
    gn_gauge_add(group->host->metrics.leaders, 1);
    gn_log_info("raft", "leads", GN_KV_U64("group", group->id), GN_KV_U64("term", group->term),
                GN_KV_U64("last", group->last_index));
    if (group->fsm.leadership)
        group->fsm.leadership(group->fsm.ctx, true, group->term);
}

void gn_raft_waiting_fail(gn_raft_group *group)
{
    gn_raft_fifo committed = {0}, unknown = {0};
    for (gn_raft_request *request; (request = gn_raft_fifo_pop(&group->waiting));)
        gn_raft_fifo_push(request->index <= group->commit ? &committed : &unknown, request);
    group->waiting = committed;
    gn_raft_fifo_finish(&unknown, GN_OUTCOME_UNKNOWN, group->leader);
}

/* What was committed before this step will be applied and answered; the rest may be overwritten or may yet commit. (The
 * step that ends a leadership may both replace an entry and commit its successor.) */
static void ceased_to_lead(gn_raft_group *group)
{
    group->leads = false;
    group->lead_first = 0;
    gn_gauge_add(group->host->metrics.leaders, -1);
    gn_log_info("raft", "leads no more", GN_KV_U64("group", group->id), GN_KV_U64("term", group->term),
                GN_KV_U64("leader", group->leader));
    gn_raft_waiting_fail(group);
    gn_raft_fifo_finish(&group->pending, GN_NOT_LEADER, group->leader);
    gn_raft_read_fail(group, GN_NOT_LEADER);
    gn_raft_membership_fail(group, GN_NOT_LEADER);
    if (group->fsm.leadership)
        group->fsm.leadership(group->fsm.ctx, false, group->term);
}

static void take_role(gn_raft_group *group, const struct raft_event *event)
{
    struct raft *raft = &group->raft;
    bool leads = raft_state(raft) == RAFT_LEADER;
    bool new_term = raft->current_term != group->term;
    if (new_term) {
        GN_ASSERT(raft->current_term > group->term);
        group->term = raft->current_term;
        group->leader = 0;
        gn_counter_add(group->host->metrics.term_changes, 1);
    }
    if (raft_state(raft) == RAFT_CANDIDATE)
        group->leader = 0;
    if (event->type == RAFT_RECEIVE && raft_state(raft) == RAFT_FOLLOWER) {
        const struct raft_message *m = event->receive.message;
        if ((m->type == RAFT_APPEND_ENTRIES && m->append_entries.term == group->term) ||
            (m->type == RAFT_INSTALL_SNAPSHOT && m->install_snapshot.term == group->term))
            group->leader = m->server_id;
    }
    if (group->leads && (!leads || new_term))
        ceased_to_lead(group);
    if (leads && !group->leads)
        became_leader(group);
}

/* The core wants to hear of each CHANGE as commit passes it, at once. */
static void fire_configurations(gn_raft_group *group)
{
    uint64_t commit = group->raft.commit_index;
    for (size_t i = 0; i < group->n_changes && !group->stopped; i++) {
        const gn_raft_change *change = &group->changes[i];
        if (change->index <= group->changes_fired)
            continue;
        if (change->index > commit)
            break;
        struct raft_event event = {.type = RAFT_CONFIGURATION};
        event.configuration.index = group->changes_fired = change->index;
        gn_raft_configuration_decode(gn_bytes_of(change->data, change->len), &event.configuration.conf);
        gn_raft_step(group, &event);
        gn_raft_membership_committed(group, event.configuration.index);
    }
}

static void take_update(gn_raft_group *group, struct raft_update *update, const struct raft_event *event)
{
    if (update->flags & HARD_STATE)
        gn_raft_batch_put_state(group);
    if (update->flags & ENTRIES)
        take_entries(group, update, event);
    if (group->stopped)
        return;
    if (update->flags & SNAPSHOT)
        gn_raft_install_begin(group, &update->snapshot.metadata, &update->snapshot.chunk);
    if (update->flags & MESSAGES)
        for (unsigned i = 0; i < update->messages.n; i++)
            gn_raft_outbox_add(group, &update->messages.batch[i]);
    take_role(group, event);
    if (group->leads && group->lead_first == 0 && (update->flags & ENTRIES))
        group->lead_first = update->entries.index;
    if (group->commit < group->raft.commit_index)
        group->commit = group->raft.commit_index;
    gn_raft_group_touch(group);
}

/* A group that never had a leader: one of its members, another for each group, tries soon and often until somebody
 * leads, rather than all of them after an election timeout. */
static bool is_first_candidate(const gn_raft_group *group)
{
    const gn_raft_recovery *recovery = group->recovery;
    if (recovery->term != 1 || recovery->vote != 0 || group->last_index > GN_RAFT_SEED_INDEX || group->n_changes != 1)
        return false;
    struct raft_configuration c;
    gn_raft_configuration_decode(gn_bytes_of(group->changes[0].data, group->changes[0].len), &c);
    bool first = c.n > 1 && c.servers[group->id % c.n].id == group->host->self;
    raft_configuration_close(&c);
    return first;
}

/* After each step: enough is enough. */
static void calm_down(gn_raft_group *group)
{
    if (!group->eager || (group->term == 1 && group->leader == 0 && !group->leads))
        return;
    group->eager = false;
    raft_set_election_timeout(&group->raft, (unsigned)group->host->options.election_timeout_ms);
}

int gn_raft_step(gn_raft_group *group, struct raft_event *event)
{
    struct raft_update update;
    GN_ASSERT(group->started && !group->stopped);
    event->time = gn_raft_now_ms(group->host);
    int rv = raft_step(&group->raft, event, &update);
    if (rv == RAFT_NOMEM || rv == RAFT_SHUTDOWN || rv == RAFT_MALFORMED || rv == RAFT_CORRUPT) {
        gn_raft_group_stop(group, rv == RAFT_NOMEM ? GN_OUT_OF_MEMORY : GN_CORRUPT,
                           rv == RAFT_SHUTDOWN ? "a peer's log conflicts with a committed entry" : raft_strerror(rv));
        return rv;
    }
    if (rv != 0)
        return rv;
    take_update(group, &update, event);
    calm_down(group);
    if (event->type != RAFT_CONFIGURATION)
        fire_configurations(group);
    return 0;
}

void gn_raft_step_persisted(gn_raft_group *group, uint64_t index)
{
    if (index <= group->raft.last_stored || group->install != GN_RAFT_INSTALL_NONE)
        return; /* overtaken by a truncation or a snapshot */
    GN_ASSERT(index <= group->last_index);
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    event.persisted_entries.index = index;
    gn_raft_step(group, &event);
}

/* ---- a leader that is gone ---- */

static bool follows(gn_raft_group *group)
{
    return raft_state(&group->raft) == RAFT_FOLLOWER && group->raft.follower_state.current_leader.id != 0 &&
           group->install == GN_RAFT_INSTALL_NONE;
}

/* As the core itself does when its timer has expired (fix 09). */
static void forget_leader(struct raft *raft)
{
    raft->follower_state.current_leader.id = 0;
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
}

/* Whoever else waits for that node is told. */
static bool leader_is_silent(gn_raft_group *group)
{
    const gn_raft_options *options = &group->host->options;
    const struct raft *raft = &group->raft;
    if (!follows(group) || gn_raft_now_ms(group->host) - raft->election_timer_start < raft->election_timeout)
        return false;
    gn_node_id leader = raft->follower_state.current_leader.id;
    if (options->silent && !gn_raft_transport_hears(group->host, leader))
        options->silent(options->silent_ctx, leader);
    return true;
}

/* The core refuses a vote until its own timer has expired, which is drawn from one to two timeouts. So who notices
 * first would have to wait for who notices last. What the thesis wants (4.2.3) is the shortest timeout since the leader
 * was heard. */
void gn_raft_step_forget_silent(gn_raft_group *group)
{
    if (leader_is_silent(group))
        forget_leader(&group->raft);
}

/* The voters' turns, another one first in each group: two at once would share the votes. */
static unsigned turn_of(const gn_raft_group *group, gn_node_id leader)
{
    const struct raft_configuration *c = &group->raft.configuration;
    unsigned n = 0, own = 0;
    for (unsigned i = 0; i < c->n; i++) {
        if (c->servers[i].role != RAFT_VOTER || c->servers[i].id == leader)
            continue;
        if (c->servers[i].id == group->host->self)
            own = n;
        n++;
    }
    return n ? (unsigned)((own + group->id) % n) : 0;
}

/* Its process has ended, so nobody need wait a timeout to be sure. Were it a mistake: who hears the leader refuses a
 * pre-vote, and its next heartbeat makes it the leader here again. */
void gn_raft_step_leader_gone(gn_raft_group *group, gn_node_id leader)
{
    struct raft *raft = &group->raft;
    if (!follows(group) || raft->follower_state.current_leader.id != leader)
        return;
    forget_leader(raft);
    uint64_t now = gn_raft_now_ms(group->host), from = raft->election_timer_start;
    uint64_t due = now + GN_RAFT_GONE_MS + turn_of(group, leader) * GN_RAFT_GONE_TURN_MS +
                   gn_random_u64(group->host->world) % GN_RAFT_GONE_MS;
    if (due < from + raft->follower_state.randomized_election_timeout)
        raft->follower_state.randomized_election_timeout = (unsigned)(due - from);
    gn_raft_group_touch(group);
}

void gn_raft_step_timeout(gn_raft_group *group)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    leader_is_silent(group);
    gn_raft_step(group, &event);
    if (!group->stopped && group->leads)
        gn_raft_read_retry(group);
    gn_raft_stall_check(group);
}

bool gn_raft_step_submit(gn_raft_group *group, size_t n)
{
    uint64_t index = group->last_index + 1;
    struct raft_event event = {.type = RAFT_SUBMIT};
    event.submit.entries = group->host->entries;
    event.submit.n = (unsigned)n;
    int rv = gn_raft_step(group, &event);
    GN_ASSERT(rv != 0 || group->last_index == index + n - 1);
    return rv == 0;
}

/* ---- start ---- */

/* The log as the core wants it at its start: terms and types, and the bytes of configurations. */
static struct raft_entry *start_entries(gn_raft_group *group, const gn_raft_recovery *recovery)
{
    struct raft_entry *entries = raft_calloc(recovery->n, sizeof *entries);
    void *batch = raft_malloc(1); /* the core wants one, and frees it on errors */
    GN_ASSERT(entries && batch);
    size_t next = 0;
    for (size_t i = 0; i < recovery->n; i++) {
        entries[i].term = recovery->terms[i];
        entries[i].type = recovery->types[i];
        entries[i].batch = batch;
        if (recovery->types[i] != RAFT_CHANGE)
            continue;
        uint64_t index = recovery->first_index + i;
        while (next < group->n_changes && group->changes[next].index < index)
            next++;
        if (next < group->n_changes && group->changes[next].index == index) {
            entries[i].buf.base = group->changes[next].data;
            entries[i].buf.len = group->changes[next].len;
        } else {
            entries[i].type = RAFT_BARRIER; /* behind the snapshot's configuration: the core looks at none of these */
        }
    }
    return entries;
}

static void configure(gn_raft_group *group)
{
    gn_raft_host *host = group->host;
    struct raft *raft = &group->raft;
    group->eager = is_first_candidate(group);
    int rv = raft_init(raft, NULL, NULL, host->self, host->address);
    GN_ASSERT(rv == 0);
    raft->tracer = NULL; /* the default one formats every trace, into memory that all threads share */
    raft_seed(raft, (unsigned)gn_random_u64(host->world));
    raft_set_heartbeat_timeout(raft, (unsigned)host->options.heartbeat_ms);
    unsigned election_ms = (unsigned)host->options.election_timeout_ms;
    raft_set_election_timeout(raft, group->eager ? election_ms / EAGERNESS : election_ms);
    raft_set_install_snapshot_timeout(raft, GN_RAFT_INSTALL_TIMEOUT_MS);
    raft_set_pre_vote(raft, true);
    raft_set_max_inflight_entries(raft, GN_RAFT_STEP_ENTRIES);
    raft_set_max_catch_up_rounds(raft, 10);
    raft_set_max_catch_up_round_duration(raft, GN_RAFT_CATCH_UP_MS);
}

void gn_raft_step_start(gn_raft_group *group)
{
    gn_raft_recovery *recovery = group->recovery;
    struct raft_snapshot_metadata metadata;
    struct raft_event event = {.type = RAFT_START};
    configure(group);
    group->started = true;
    group->term = recovery->term;
    event.start.term = recovery->term;
    event.start.voted_for = recovery->vote;
    event.start.start_index = group->first_index;
    if (group->snapshot_bytes) {
        metadata.index = group->snapshot.index;
        metadata.term = group->snapshot.term;
        metadata.configuration_index = group->snapshot.configuration_index;
        gn_raft_configuration_decode(group->snapshot.configuration, &metadata.configuration);
        event.start.metadata = &metadata; /* ours, but the configuration is the core's from here on */
    }
    struct raft_entry *entries = NULL;
    if (recovery->n > 0) {
        entries = start_entries(group, recovery);
        event.start.entries = entries;
        event.start.n_entries = (unsigned)recovery->n;
    }
    void *batch = entries ? entries[0].batch : NULL;
    int rv = gn_raft_step(group, &event);
    if (rv == 0 && entries) {
        raft_free(batch);
        raft_free(entries);
    }
    gn_raft_recovery_destroy(recovery);
    group->recovery = NULL;
}
