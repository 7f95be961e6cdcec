#include "tests/sim/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

/* An entry as a disk has it; term 0 = none. */
typedef struct entry {
    uint64_t term, hash;
    uint8_t type;
} entry;

/* The picture of a node's disk, as a crash would leave it. */
typedef struct disk {
    uint64_t term, vote, snapshot_index;
    entry *entries; /* by index */
    size_t cap;
    uint64_t last;
} disk;

/* One (index, term) that some disk has had, and the term before it (0: not known). */
typedef struct variant {
    entry entry;
    uint64_t prev_term;
} variant;

typedef struct place {
    variant *variants;
    size_t n;
    entry committed;
    uint64_t commit_term; /* committed in this term or an earlier one */
    uint64_t state_hash;  /* of a state machine that has everything up to here */
    bool has_state;
} place;

struct check {
    uint64_t group;
    unsigned n_nodes, fewest_voters;
    bool may_shrink;
    disk *disks; /* by node - 1 */
    place *places;
    size_t n_places;
    gn_node_id *leaders; /* by term */
    size_t n_leaders;
    uint64_t last_committed, floor;
    check_counts counts;
    bool violated;
    char violation[300];
};

uint64_t check_hash(uint64_t seed, gn_bytes bytes)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

check *check_create(uint64_t group, unsigned n_nodes, unsigned n_voters)
{
    check *c = gn_xcalloc(1, sizeof *c);
    c->group = group;
    c->n_nodes = n_nodes;
    c->fewest_voters = n_voters;
    c->disks = gn_xcalloc(n_nodes, sizeof c->disks[0]);
    return c;
}

void check_destroy(check *c)
{
    for (unsigned i = 0; i < c->n_nodes; i++)
        free(c->disks[i].entries);
    for (size_t i = 0; i < c->n_places; i++)
        free(c->places[i].variants);
    free(c->disks);
    free(c->places);
    free(c->leaders);
    free(c);
}

const char *check_violation(const check *c)
{
    return c->violated ? c->violation : NULL;
}

check_counts check_count(const check *c)
{
    return c->counts;
}

void check_fail(check *c, const char *format, ...)
{
    if (c->violated)
        return;
    c->violated = true;
    int n = snprintf(c->violation, sizeof c->violation, "group %" PRIu64 ": ", c->group);
    va_list args;
    va_start(args, format);
    vsnprintf(c->violation + n, sizeof c->violation - (size_t)n, format, args);
    va_end(args);
}

/* ---- the picture ---- */

static void *grow(void *items, size_t *n, size_t want, size_t size)
{
    if (want <= *n)
        return items;
    size_t more = *n ? *n : 256;
    while (more < want)
        more *= 2;
    items = gn_xrealloc(items, more * size);
    memset((char *)items + *n * size, 0, (more - *n) * size);
    *n = more;
    return items;
}

static place *place_at(check *c, uint64_t index)
{
    c->places = grow(c->places, &c->n_places, index + 1, sizeof c->places[0]);
    return &c->places[index];
}

static entry entry_at(const disk *d, uint64_t index)
{
    return index < d->cap ? d->entries[index] : (entry){0};
}

static bool same(entry a, entry b)
{
    return a.term == b.term && a.hash == b.hash && a.type == b.type;
}

static uint64_t last_index(const disk *d)
{
    return d->last > d->snapshot_index ? d->last : d->snapshot_index;
}

static unsigned majority(const check *c)
{
    return (c->fewest_voters - (c->may_shrink && c->fewest_voters > 1)) / 2 + 1;
}

void check_may_shrink(check *c)
{
    c->may_shrink = true;
}

static unsigned count_disks(const check *c, uint64_t index, entry e, bool or_snapshot)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_nodes; i++)
        n += same(entry_at(&c->disks[i], index), e) || (or_snapshot && c->disks[i].snapshot_index >= index);
    return n;
}

/* ---- writes that became durable ---- */

static void see_state(check *c, gn_node_id node, gn_bytes value)
{
    disk *d = &c->disks[node - 1];
    uint64_t term, vote;
    if (!gn_raft_state_read(value, c->group, &term, &vote)) {
        check_fail(c, "node %" PRIu64 " wrote a bad record of term and vote", node);
        return;
    }
    if (term < d->term)
        check_fail(c, "node %" PRIu64 " went back from term %" PRIu64 " to %" PRIu64, node, d->term, term);
    if (term == d->term && d->vote != 0 && vote != d->vote)
        check_fail(c, "node %" PRIu64 " voted twice in term %" PRIu64, node, term);
    d->term = term;
    d->vote = vote;
}

static void see_snapshot(check *c, gn_node_id node, gn_bytes value)
{
    disk *d = &c->disks[node - 1];
    gn_raft_snapshot_record record;
    if (!gn_raft_snapshot_read(value, c->group, &record)) {
        check_fail(c, "node %" PRIu64 " wrote a bad record of a snapshot", node);
        return;
    }
    if (record.index < d->snapshot_index)
        check_fail(c, "node %" PRIu64 " went back from snapshot %" PRIu64 " to %" PRIu64, node, d->snapshot_index,
                   record.index);
    d->snapshot_index = record.index;
}

static void see_configuration(check *c, gn_bytes payload)
{
    if (!gn_raft_configuration_valid(payload)) {
        check_fail(c, "a configuration in the log is not valid");
        return;
    }
    struct raft_configuration configuration;
    gn_raft_configuration_decode(payload, &configuration);
    unsigned voters = 0;
    for (unsigned i = 0; i < configuration.n; i++)
        voters += configuration.servers[i].role == RAFT_VOTER;
    if (voters < c->fewest_voters)
        c->fewest_voters = voters;
    raft_configuration_close(&configuration);
}

static void see_variant(check *c, gn_node_id node, uint64_t index, entry e, uint64_t prev_term)
{
    place *p = place_at(c, index);
    for (size_t i = 0; i < p->n; i++) {
        variant *v = &p->variants[i];
        if (v->entry.term != e.term)
            continue;
        if (!same(v->entry, e))
            check_fail(c, "entry %" PRIu64 " of term %" PRIu64 " of node %" PRIu64 " differs from another's", index,
                       e.term, node);
        if (v->prev_term && prev_term && v->prev_term != prev_term)
            check_fail(c, "logs differ before entry %" PRIu64 " of term %" PRIu64, index, e.term);
        if (!v->prev_term)
            v->prev_term = prev_term;
        return;
    }
    p->variants = gn_xrealloc(p->variants, (p->n + 1) * sizeof p->variants[0]);
    p->variants[p->n++] = (variant){.entry = e, .prev_term = prev_term};
}

/* An entry leaves a log: cut behind a snapshot, or replaced by another leader's. */
static void lose_entry(check *c, gn_node_id node, uint64_t index)
{
    disk *d = &c->disks[node - 1];
    entry e = entry_at(d, index);
    if (!e.term)
        return;
    place *p = place_at(c, index);
    if (index > d->snapshot_index) {
        if (p->committed.term && same(p->committed, e))
            check_fail(c, "node %" PRIu64 " removed committed entry %" PRIu64 " of term %" PRIu64, node, index, e.term);
        c->counts.overwritten++;
        c->counts.majority_overwritten += count_disks(c, index, e, false) >= majority(c);
    }
    d->entries[index] = (entry){0};
}

static void lose_range(check *c, gn_node_id node, uint64_t from, uint64_t to)
{
    disk *d = &c->disks[node - 1];
    for (uint64_t i = from; i < to && i <= d->last; i++)
        lose_entry(c, node, i);
    while (d->last > 0 && !entry_at(d, d->last).term)
        d->last--;
}

static void see_entry(check *c, gn_node_id node, uint64_t index, gn_bytes value)
{
    disk *d = &c->disks[node - 1];
    gn_raft_record record;
    if (!gn_raft_record_read(value, c->group, index, &record)) {
        check_fail(c, "node %" PRIu64 " wrote a bad record of entry %" PRIu64, node, index);
        return;
    }
    entry e = {.term = record.term, .type = record.type, .hash = check_hash(0, record.payload)};
    if (!same(entry_at(d, index), e))
        lose_entry(c, node, index);
    d->entries = grow(d->entries, &d->cap, index + 1, sizeof d->entries[0]);
    d->entries[index] = e;
    if (index > d->last)
        d->last = index;
    see_variant(c, node, index, e, index > 0 ? entry_at(d, index - 1).term : 0);
    if (record.type == RAFT_CHANGE)
        see_configuration(c, record.payload);
}

static bool key_of(const check *c, gn_bytes key, gn_raft_kind *kind, uint64_t *index)
{
    uint64_t group;
    return gn_raft_key_read(key, &group, kind, index) && group == c->group;
}

static void see_op(check *c, gn_node_id node, const gn_disk_op *op)
{
    gn_raft_kind kind, end_kind;
    uint64_t index, end;
    if (!key_of(c, op->key, &kind, &index) || kind != GN_RAFT_KIND_ENTRY)
        return;
    if (op->kind == GN_DISK_PUT) {
        see_entry(c, node, index, op->value);
    } else if (op->kind == GN_DISK_DELETE) {
        lose_range(c, node, index, index + 1);
    } else {
        bool ends_here = key_of(c, op->value, &end_kind, &end) && end_kind == GN_RAFT_KIND_ENTRY;
        lose_range(c, node, index, ends_here ? end : UINT64_MAX);
    }
}

void check_durable(check *c, gn_node_id node, const gn_disk_op *ops, size_t n)
{
    gn_raft_kind kind;
    uint64_t index;
    /* A batch is one moment: a snapshot anywhere in it allows it to drop what the snapshot covers. */
    for (size_t i = 0; i < n; i++) {
        if (ops[i].kind != GN_DISK_PUT || !key_of(c, ops[i].key, &kind, &index))
            continue;
        if (kind == GN_RAFT_KIND_STATE)
            see_state(c, node, ops[i].value);
        else if (kind == GN_RAFT_KIND_SNAPSHOT)
            see_snapshot(c, node, ops[i].value);
    }
    for (size_t i = 0; i < n; i++)
        see_op(c, node, &ops[i]);
}

/* ---- messages ---- */

static void speaks_of_term(check *c, gn_node_id from, uint64_t term, const char *what)
{
    if (term > c->disks[from - 1].term)
        check_fail(c, "node %" PRIu64 " sent %s of term %" PRIu64 " before that term was durable", from, what, term);
}

static void speaks_of_vote(check *c, gn_node_id from, uint64_t term, gn_node_id candidate)
{
    const disk *d = &c->disks[from - 1];
    if (d->term == term && d->vote != candidate)
        check_fail(c, "node %" PRIu64 " sent its vote of term %" PRIu64 " before it was durable", from, term);
}

static void see_records(check *c, gn_node_id from, const gn_raft_wire *message)
{
    const struct raft_append_entries *m = &message->core.append_entries;
    gn_reader r = gn_reader_of(message->records);
    for (unsigned i = 0; i < m->n_entries; i++) {
        gn_bytes record = gn_read_bytes(&r, gn_read_be32(&r));
        uint64_t index = m->prev_log_index + 1 + i, term = gn_raft_record_term(record.data);
        if (gn_raft_record_type(record.data) == RAFT_CHANGE && entry_at(&c->disks[from - 1], index).term != term &&
            index > c->disks[from - 1].snapshot_index)
            check_fail(c, "node %" PRIu64 " sent configuration %" PRIu64 " before it was durable", from, index);
    }
}

void check_message(check *c, gn_node_id from, gn_node_id to, const gn_raft_wire *message)
{
    const struct raft_message *m = &message->core;
    if (message->group != c->group)
        return;
    switch ((int)message->type) {
    case RAFT_APPEND_ENTRIES:
        speaks_of_term(c, from, m->append_entries.term, "entries");
        see_records(c, from, message);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        speaks_of_term(c, from, m->append_entries_result.term, "an answer");
        if (m->append_entries_result.rejected == 0 &&
            m->append_entries_result.last_log_index > last_index(&c->disks[from - 1]))
            check_fail(c, "node %" PRIu64 " accepted entry %" PRIu64 " before it was durable", from,
                       (uint64_t)m->append_entries_result.last_log_index);
        break;
    case RAFT_REQUEST_VOTE:
        if (m->request_vote.pre_vote)
            break;
        speaks_of_term(c, from, m->request_vote.term, "a candidacy");
        speaks_of_vote(c, from, m->request_vote.term, from);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        if (m->request_vote_result.pre_vote || !m->request_vote_result.vote_granted)
            break;
        speaks_of_term(c, from, m->request_vote_result.term, "a vote");
        speaks_of_vote(c, from, m->request_vote_result.term, to);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        speaks_of_term(c, from, m->install_snapshot.term, "a snapshot");
        break;
    case RAFT_TIMEOUT_NOW:
        speaks_of_term(c, from, m->timeout_now.term, "a hand-over");
        break;
    case GN_RAFT_WIRE_READ_PROBE:
        speaks_of_term(c, from, message->term, "a read's round");
        break;
    default:
        /* An answer to a probe promises nothing for later: who led the term was voted for by a majority that will not
         * help an older leader, whatever this node forgets. */
        break;
    }
}

/* ---- leaders ---- */

void check_leader(check *c, gn_node_id node, uint64_t term)
{
    const disk *d = &c->disks[node - 1];
    c->leaders = grow(c->leaders, &c->n_leaders, term + 1, sizeof c->leaders[0]);
    if (c->leaders[term] && c->leaders[term] != node)
        check_fail(c, "term %" PRIu64 " has two leaders, nodes %" PRIu64 " and %" PRIu64, term, c->leaders[term], node);
    c->counts.elections += !c->leaders[term];
    c->leaders[term] = node;
    for (uint64_t i = d->snapshot_index + 1; i <= c->last_committed; i++) {
        const place *p = place_at(c, i);
        if (p->committed.term && p->commit_term < term && !same(entry_at(d, i), p->committed)) {
            check_fail(c, "node %" PRIu64 " leads term %" PRIu64 " without committed entry %" PRIu64, node, term, i);
            return;
        }
    }
}

/* ---- what is applied ---- */

static void commit(check *c, gn_node_id node, uint64_t index, entry e)
{
    place *p = place_at(c, index);
    if (p->committed.term) {
        if (!same(p->committed, e))
            check_fail(c, "node %" PRIu64 " applied another entry %" PRIu64 " than others did", node, index);
        return;
    }
    p->committed = e;
    p->commit_term = c->disks[node - 1].term;
    c->counts.committed++;
    if (index > c->last_committed)
        c->last_committed = index;
    unsigned n = count_disks(c, index, e, true);
    if (index > 1 && n < majority(c)) /* entry 1 is what every member begins with */
        check_fail(c, "entry %" PRIu64 " was applied when only %u disks had it", index, n);
}

void check_applied(check *c, gn_node_id node, uint64_t first, uint64_t last, const gn_raft_entry *commands, size_t n)
{
    const disk *d = &c->disks[node - 1];
    size_t shown = 0;
    for (uint64_t i = first; i <= last; i++) {
        entry e = entry_at(d, i);
        if (!e.term) {
            check_fail(c, "node %" PRIu64 " applied entry %" PRIu64 " that is not on its disk", node, i);
            return;
        }
        commit(c, node, i, e);
        if (e.type != RAFT_COMMAND)
            continue;
        if (shown == n || commands[shown].index != i || commands[shown].term != e.term ||
            check_hash(0, commands[shown].command) != e.hash)
            check_fail(c, "node %" PRIu64 " applied something else than entry %" PRIu64 " of its disk", node, i);
        shown += shown < n;
    }
    if (shown != n)
        check_fail(c, "node %" PRIu64 " applied entries that its log does not have", node);
}

void check_state(check *c, gn_node_id node, uint64_t index, uint64_t hash)
{
    place *p = place_at(c, index);
    if (p->has_state && p->state_hash != hash)
        check_fail(c, "the state of node %" PRIu64 " at entry %" PRIu64 " differs from others'", node, index);
    p->has_state = true;
    p->state_hash = hash;
}

/* ---- clients ---- */

void check_acknowledged(check *c, uint64_t index, gn_bytes command)
{
    const place *p = place_at(c, index);
    if (!p->committed.term || p->committed.type != RAFT_COMMAND || p->committed.hash != check_hash(0, command))
        check_fail(c, "a command was acknowledged as entry %" PRIu64 ", which is not it", index);
    if (index > c->floor)
        c->floor = index;
}

uint64_t check_read_begins(const check *c)
{
    return c->floor;
}

void check_read_ends(check *c, uint64_t floor, uint64_t index)
{
    if (index < floor)
        check_fail(c, "a read saw entry %" PRIu64 " and not %" PRIu64 ", acknowledged or read before it began", index,
                   floor);
    if (index > c->floor)
        c->floor = index;
}

void check_complete(check *c, gn_node_id node, uint64_t index)
{
    if (index < c->floor)
        check_fail(c, "node %" PRIu64 " ends at entry %" PRIu64 " although %" PRIu64 " was acknowledged", node, index,
                   c->floor);
}
