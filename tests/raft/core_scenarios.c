#include "tests/raft/core_scenarios.h"

#include <raft.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- driving one server ---- */

enum { ENTRIES = (RAFT_UPDATE_ENTRIES), MESSAGES = (RAFT_UPDATE_MESSAGES), TERM = (RAFT_UPDATE_CURRENT_TERM) };

typedef struct server {
    struct raft raft;
    struct raft_update update;
    raft_time now;
    char address[8];
} server;

static int step(server *s, struct raft_event *event)
{
    event->time = s->now;
    memset(&s->update, 0, sizeof s->update);
    return raft_step(&s->raft, event, &s->update);
}

/* "1v2v3s": servers 1 and 2 vote, 3 stands by. */
static void configuration(struct raft_configuration *c, const char *text)
{
    raft_configuration_init(c);
    for (; *text; text += 2) {
        char address[2] = {text[0], 0};
        if (raft_configuration_add(c, (raft_id)(text[0] - '0'), address, text[1] == 'v' ? RAFT_VOTER : RAFT_STANDBY))
            abort();
    }
}

static bool configured(const server *s, const char *text)
{
    char now[64] = "";
    size_t len = 0;
    for (unsigned i = 0; i < s->raft.configuration.n && len < sizeof now; i++) {
        const struct raft_server *member = &s->raft.configuration.servers[i];
        len +=
            (size_t)snprintf(now + len, sizeof now - len, "%llu%c", member->id, member->role == RAFT_VOTER ? 'v' : 's');
    }
    return strcmp(now, text) == 0;
}

/* What an entry is: a CHANGE where `change` is given, else a command. */
typedef struct entry {
    raft_term term;
    const char *change;
} entry;

/* Entries in one batch, as the core wants them from a host. */
static struct raft_entry *entries_of(const entry *list, unsigned n)
{
    struct raft_entry *entries = raft_calloc(n, sizeof *entries);
    uint8_t *batch = raft_malloc(n * 256u), *at = batch;
    for (unsigned i = 0; i < n; i++) {
        entries[i].term = list[i].term;
        entries[i].type = list[i].change ? RAFT_CHANGE : RAFT_COMMAND;
        entries[i].batch = batch;
        entries[i].buf.base = at;
        entries[i].buf.len = 8;
        if (list[i].change) {
            struct raft_configuration c;
            struct raft_buffer encoded;
            configuration(&c, list[i].change);
            raft_configuration_encode(&c, &encoded);
            memcpy(at, encoded.base, encoded.len);
            entries[i].buf.len = encoded.len;
            raft_free(encoded.base);
            raft_configuration_close(&c);
        } else {
            memset(at, 0, 8);
        }
        at += 256;
    }
    return entries;
}

static void start(server *s, raft_id id, raft_term term, const entry *list, unsigned n)
{
    struct raft_event event = {.type = RAFT_START};
    memset(s, 0, sizeof *s);
    s->now = 1000;
    snprintf(s->address, sizeof s->address, "%llu", id);
    raft_init(&s->raft, NULL, NULL, id, s->address);
    s->raft.tracer = NULL;
    raft_seed(&s->raft, (unsigned)id);
    struct raft_entry *entries = entries_of(list, n);
    void *batch = entries[0].batch;
    event.start.term = term;
    event.start.start_index = 1;
    event.start.entries = entries;
    event.start.n_entries = n;
    if (step(s, &event))
        abort();
    raft_free(batch);
    raft_free(entries);
}

static void stop(server *s)
{
    raft_close(&s->raft, NULL);
}

static int receive(server *s, raft_id from, struct raft_message *message)
{
    char address[8];
    struct raft_event event = {.type = RAFT_RECEIVE};
    snprintf(address, sizeof address, "%llu", from);
    message->server_id = from;
    message->server_address = address;
    event.receive.message = message;
    return step(s, &event);
}

static int persisted(server *s, raft_index index)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    event.persisted_entries.index = index;
    return step(s, &event);
}

static int append_entries(server *s, raft_id from, raft_term term, raft_index prev, raft_term prev_term,
                          raft_index commit, const entry *list, unsigned n)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES};
    struct raft_entry *entries = n ? entries_of(list, n) : NULL;
    m.append_entries.term = term;
    m.append_entries.prev_log_index = prev;
    m.append_entries.prev_log_term = prev_term;
    m.append_entries.leader_commit = commit;
    m.append_entries.entries = entries;
    m.append_entries.n_entries = n;
    int rv = receive(s, from, &m);
    if (rv == 0 && s->update.flags & ENTRIES) {
        raft_index last = s->update.entries.index + s->update.entries.n - 1;
        raft_free(s->update.entries.batch[0].batch);
        rv = persisted(s, last);
    }
    raft_free(entries);
    return rv;
}

static int append_entries_result(server *s, raft_id from, raft_term term, raft_index rejected, raft_index last)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES_RESULT};
    m.append_entries_result.term = term;
    m.append_entries_result.rejected = rejected;
    m.append_entries_result.last_log_index = last;
    return receive(s, from, &m);
}

static void committed(server *s, raft_index index, const char *text)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    event.configuration.index = index;
    configuration(&event.configuration.conf, text);
    step(s, &event);
}

static void install_snapshot(server *s, raft_id from, raft_term term, raft_index last, raft_term last_term,
                             const char *text)
{
    struct raft_message m = {.type = RAFT_INSTALL_SNAPSHOT};
    m.install_snapshot.term = term;
    m.install_snapshot.last_index = last;
    m.install_snapshot.last_term = last_term;
    m.install_snapshot.conf_index = 1;
    m.install_snapshot.data.base = raft_malloc(8);
    m.install_snapshot.data.len = 8;
    configuration(&m.install_snapshot.conf, text);
    receive(s, from, &m);
}

static void request_vote(server *s, raft_id from, raft_term term, raft_index last, raft_term last_term, bool pre)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE};
    m.request_vote.version = 2;
    m.request_vote.term = term;
    m.request_vote.candidate_id = from;
    m.request_vote.last_log_index = last;
    m.request_vote.last_log_term = last_term;
    m.request_vote.pre_vote = pre;
    receive(s, from, &m);
}

static void timeout(server *s)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    raft_time due = raft_timeout(&s->raft);
    s->now = due > s->now ? due : s->now;
    step(s, &event);
}

/* The last message of this type that the last step sent. */
static const struct raft_message *sent(const server *s, int type, raft_id to)
{
    const struct raft_message *found = NULL;
    for (unsigned i = 0; s->update.flags & MESSAGES && i < s->update.messages.n; i++)
        if ((int)s->update.messages.batch[i].type == type && s->update.messages.batch[i].server_id == to)
            found = &s->update.messages.batch[i];
    return found;
}

static bool vote_granted(const server *s, raft_id to)
{
    const struct raft_message *m = sent(s, RAFT_REQUEST_VOTE_RESULT, to);
    return m && m->request_vote_result.vote_granted;
}

/* Makes server 1 of "1v2v3v" leader of the next term with the vote of 2; what the core appends is not persisted. */
static void lead(server *s)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};
    timeout(s);
    m.request_vote_result.version = 2;
    m.request_vote_result.term = raft_current_term(&s->raft);
    m.request_vote_result.vote_granted = true;
    receive(s, 2, &m);
    if (raft_state(&s->raft) != RAFT_LEADER)
        abort();
    if (s->update.flags & ENTRIES) /* the barrier */
        raft_free(s->update.entries.batch[0].batch);
}

/* Leaves known rubbish where the core's next calls have their local variables. */
static __attribute__((noinline)) void dirty_stack(void)
{
    volatile uint8_t rubbish[8192];
    for (size_t i = 0; i < sizeof rubbish; i++)
        rubbish[i] = 0x5a;
}

/* ---- the scenarios ---- */

static const entry THREE[] = {{1, "1v2v3v"}};

static const char *stale_messages_get_no_made_up_match(void)
{
    server s;
    const char *wrong = NULL;
    start(&s, 2, 5, THREE, 1);
    dirty_stack();
    install_snapshot(&s, 1, 3, 10, 3, "1v2v3v");
    const struct raft_message *m = sent(&s, RAFT_APPEND_ENTRIES_RESULT, 1);
    if (!m || m->append_entries_result.last_log_index != 0)
        wrong = "a stale InstallSnapshot is answered with a log index from nowhere";
    dirty_stack();
    append_entries(&s, 1, 3, 0, 0, 0, NULL, 0);
    m = sent(&s, RAFT_APPEND_ENTRIES_RESULT, 1);
    if (!m || m->append_entries_result.last_log_index != 0)
        wrong = "a stale AppendEntries is answered with a log index from nowhere";
    stop(&s);
    return wrong;
}

static const char *a_change_inside_a_batch_is_rolled_back(void)
{
    server s;
    const char *wrong = NULL;
    const entry batch[] = {{2, NULL}, {2, "1v2v"}}, other[] = {{3, NULL}};
    start(&s, 2, 1, THREE, 1);
    append_entries(&s, 1, 2, 1, 1, 1, batch, 2); /* 2: command, 3: CHANGE */
    if (s.raft.configuration_uncommitted_index != 3)
        wrong = "the change is noted at the index of another entry";
    append_entries(&s, 3, 3, 2, 2, 1, other, 1); /* a new leader replaces 3 */
    if (!configured(&s, "1v2v3v"))
        wrong = "the replaced change is still in force";
    stop(&s);
    return wrong;
}

static const char *a_rollback_restores_the_newest_committed_configuration(void)
{
    server s;
    const char *wrong = NULL;
    const entry add[] = {{2, "1v2v3v4s"}}, promote[] = {{2, "1v2v3v4v"}}, other[] = {{3, NULL}};
    start(&s, 2, 1, THREE, 1);
    append_entries(&s, 1, 2, 1, 1, 1, add, 1);
    append_entries(&s, 1, 2, 2, 2, 2, promote, 1); /* says too that 2 is committed */
    committed(&s, 2, "1v2v3v4s");
    append_entries(&s, 3, 3, 2, 2, 2, other, 1); /* replaces the promotion */
    if (!configured(&s, "1v2v3v4s"))
        wrong = "the configuration restored is older than the committed one";
    stop(&s);
    return wrong;
}

static const char *a_sole_voter_leads_in_a_new_term(void)
{
    server s;
    const char *wrong = NULL;
    const entry alone[] = {{1, "1v2s"}};
    start(&s, 1, 1, alone, 1);
    if (raft_current_term(&s.raft) != 2 || raft_voted_for(&s.raft) != 1 || !(s.update.flags & TERM))
        wrong = "a restarted sole voter leads twice in one term";
    stop(&s);
    return wrong;
}

static const char *a_new_leader_changes_nothing_before_it_has_committed(void)
{
    server s;
    struct raft_event event = {.type = RAFT_SUBMIT};
    const entry change[] = {{2, "1v2v"}};
    start(&s, 1, 1, THREE, 1);
    lead(&s);
    struct raft_entry *entries = entries_of(change, 1);
    event.submit.entries = entries;
    event.submit.n = 1;
    int rv = step(&s, &event);
    raft_free(entries[0].batch);
    raft_free(entries);
    stop(&s);
    return rv == RAFT_CANTCHANGE ? NULL : "a change was accepted before the leader has committed in its own term";
}

static const char *a_duplicate_of_compacted_entries_appends_nothing(void)
{
    server s;
    const char *wrong = NULL;
    entry list[10] = {{1, "1v2v3v"}};
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    for (int i = 1; i < 10; i++)
        list[i] = (entry){1, NULL};
    start(&s, 2, 1, THREE, 1);
    append_entries(&s, 1, 1, 0, 0, 10, list, 10);
    event.snapshot.metadata.index = 8;
    event.snapshot.metadata.term = 1;
    event.snapshot.metadata.configuration_index = 1;
    configuration(&event.snapshot.metadata.configuration, "1v2v3v");
    step(&s, &event);
    append_entries(&s, 1, 1, 0, 0, 10, list, 10); /* the first message again */
    if (s.raft.last_stored != 10)
        wrong = "entries of a duplicated message were appended behind the log";
    stop(&s);
    return wrong;
}

static const char *a_stale_rejection_does_not_undo_what_matched(void)
{
    server s;
    const char *wrong = NULL;
    const entry log[] = {{1, "1v2v3v"}, {1, NULL}, {1, NULL}, {1, NULL}, {1, NULL}};
    start(&s, 1, 1, log, 5);
    lead(&s); /* the barrier is 6 */
    append_entries_result(&s, 2, 2, 0, 5);
    for (int i = 0; i < 30; i++) { /* server 3 keeps this leader in office, 2 is silent: back to probing */
        timeout(&s);
        append_entries_result(&s, 3, 2, 0, 1);
    }
    append_entries_result(&s, 2, 2, 5, 2); /* an old "I have only 2" */
    timeout(&s);
    const struct raft_message *m = sent(&s, RAFT_APPEND_ENTRIES, 2);
    if (!m || m->append_entries.prev_log_index != 5 || m->append_entries.n_entries != 1)
        wrong = "the follower is not sent what it lacks";
    stop(&s);
    return wrong;
}

static const char *a_server_votes_before_it_knows_that_it_is_a_voter(void)
{
    server s;
    const entry log[] = {{1, "1v2v4s"}};
    start(&s, 4, 1, log, 1);
    request_vote(&s, 2, 2, 2, 1, false); /* 2 has the entry that makes 4 a voter */
    bool granted = vote_granted(&s, 2);
    stop(&s);
    return granted ? NULL : "a vote is refused that the candidate needs";
}

static const char *a_non_voter_forgets_a_silent_leader(void)
{
    server s;
    const entry log[] = {{1, "1v2v4s"}};
    start(&s, 4, 1, log, 1);
    append_entries(&s, 1, 1, 1, 1, 1, NULL, 0);
    timeout(&s); /* nothing from the leader for a whole election timeout */
    request_vote(&s, 2, 2, 2, 1, false);
    bool granted = vote_granted(&s, 2);
    stop(&s);
    return granted ? NULL : "a vote is refused for the sake of a leader that is gone";
}

static const char *a_pre_vote_of_an_old_term_learns_the_new_one(void)
{
    server s;
    start(&s, 2, 5, THREE, 1);
    request_vote(&s, 1, 3, 1, 1, true);
    const struct raft_message *m = sent(&s, RAFT_REQUEST_VOTE_RESULT, 1);
    bool learns = m && m->request_vote_result.term == 5;
    stop(&s);
    return learns ? NULL : "the candidate hears its own term and never catches up";
}

static const char *a_follower_takes_a_newer_term_from_any_vote_result(void)
{
    server s;
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};
    start(&s, 2, 1, THREE, 1);
    append_entries(&s, 1, 1, 1, 1, 1, NULL, 0);
    /* Where a candidate has in_pre_vote a follower has a byte of a pointer: make it other than 0. */
    uint8_t *overlay = (uint8_t *)&s.raft.follower_state.current_leader.address + 1;
    char *hoard[64];
    int n = 0;
    for (; *overlay == 0 && n < 64; n++) {
        hoard[n] = s.raft.follower_state.current_leader.address;
        s.raft.follower_state.current_leader.address = raft_calloc(1, 64);
        s.raft.follower_state.current_leader.address[0] = '1';
    }
    m.request_vote_result.version = 2;
    m.request_vote_result.term = 9;
    receive(&s, 3, &m);
    bool bumped = raft_current_term(&s.raft) == 9;
    while (n > 0)
        raft_free(hoard[--n]);
    stop(&s);
    return bumped ? NULL : "a follower's leader was taken for a running pre-vote";
}

/* ---- a heap that counts, for fix 12 ---- */

static long allocated;

static void *count_malloc(void *data, size_t size)
{
    (void)data;
    allocated++;
    return malloc(size);
}

static void count_free(void *data, void *p)
{
    (void)data;
    allocated -= p != NULL;
    free(p);
}

static void *count_calloc(void *data, size_t n, size_t size)
{
    (void)data;
    allocated++;
    return calloc(n, size);
}

static void *count_realloc(void *data, void *p, size_t size)
{
    (void)data;
    allocated += p == NULL;
    return realloc(p, size);
}

static void *count_aligned_alloc(void *data, size_t alignment, size_t size)
{
    (void)data;
    allocated++;
    return aligned_alloc(alignment, size);
}

static void count_aligned_free(void *data, size_t alignment, void *p)
{
    (void)alignment;
    count_free(data, p);
}

static const char *a_snapshot_during_an_install_leaks_nothing(void)
{
    struct raft_heap heap = {NULL,          count_malloc,        count_free,        count_calloc,
                             count_realloc, count_aligned_alloc, count_aligned_free};
    server s;
    raft_heap_set(&heap);
    allocated = 0;
    start(&s, 2, 1, THREE, 1);
    install_snapshot(&s, 1, 1, 10, 1, "1v2v3v");
    struct raft_snapshot_metadata first = s.update.snapshot.metadata;
    void *chunk = s.update.snapshot.chunk.base;
    long before = allocated;
    install_snapshot(&s, 1, 1, 10, 1, "1v2v3v");
    bool leaked = allocated > before;
    raft_free(chunk);
    raft_configuration_close(&first.configuration);
    stop(&s);
    raft_heap_set_default();
    return leaked ? "memory is lost with each message" : NULL;
}

const core_scenario core_scenarios[CORE_SCENARIOS] = {
    {"stale_messages_get_no_made_up_match", stale_messages_get_no_made_up_match},
    {"a_change_inside_a_batch_is_rolled_back", a_change_inside_a_batch_is_rolled_back},
    {"a_rollback_restores_the_newest_committed_configuration", a_rollback_restores_the_newest_committed_configuration},
    {"a_sole_voter_leads_in_a_new_term", a_sole_voter_leads_in_a_new_term},
    {"a_new_leader_changes_nothing_before_it_has_committed", a_new_leader_changes_nothing_before_it_has_committed},
    {"a_duplicate_of_compacted_entries_appends_nothing", a_duplicate_of_compacted_entries_appends_nothing},
    {"a_stale_rejection_does_not_undo_what_matched", a_stale_rejection_does_not_undo_what_matched},
    {"a_server_votes_before_it_knows_that_it_is_a_voter", a_server_votes_before_it_knows_that_it_is_a_voter},
    {"a_non_voter_forgets_a_silent_leader", a_non_voter_forgets_a_silent_leader},
    {"a_pre_vote_of_an_old_term_learns_the_new_one", a_pre_vote_of_an_old_term_learns_the_new_one},
    {"a_follower_takes_a_newer_term_from_any_vote_result", a_follower_takes_a_newer_term_from_any_vote_result},
    {"a_snapshot_during_an_install_leaks_nothing", a_snapshot_during_an_install_leaks_nothing},
};
