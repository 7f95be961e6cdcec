/* The way to a group's leader, from any replica: for reads, up to where to have applied; for commits, the command.
 *
 * A command that may have been proposed is handed on again, to the leader of a later term: by its transaction id it is
 * applied once. It carries the term in which it may be proposed. So when a later leader's answer is here, whatever
 * became of earlier tries is in the log before that answer, or can never get there; only an answer of the same term's
 * leader says nothing about an earlier try that is still on its way, unless it is that the transaction is committed. */
#include "base/assert.h"
#include "base/versions.h"
#include "query/pack.h"
#include "shard/apply_private.h"
#include "shard/slots_private.h"

#include <stdlib.h>

enum { REQUEST_VERSION = GN_FORMAT_GROUP, REQUEST_CATCH_UP = 1, REQUEST_COMMAND = 2, REQUEST_HEADER = 10 };
#define PATIENCE_NS 10000000000u /* with a group that has no leader */
#define ASK_NS 5000000000u       /* with one request to it */
#define PAUSE_MIN_NS 5000000u
#define PAUSE_MAX_NS 100000000u

/* ---- a search for a leader that answers ---- */

typedef struct quest {
    gn_shard *shard;
    const _Atomic bool *cancel;
    uint64_t deadline_ns, pause_ns;
    gn_node_id leader; /* 0: nobody is known */
    uint64_t term;
} quest;

static quest quest_begin(gn_shard *shard, const gn_patience *patience)
{
    uint64_t deadline = gn_now_ns(shard->world) + PATIENCE_NS;
    if (patience && patience->deadline_ns && patience->deadline_ns < deadline)
        deadline = patience->deadline_ns;
    return (quest){.shard = shard,
                   .cancel = patience ? patience->cancel : NULL,
                   .deadline_ns = deadline,
                   .pause_ns = PAUSE_MIN_NS};
}

/* GN_NOT_LEADER: nobody is known. GN_CRASH_SHUTDOWN: this replica has stopped. */
static gn_code find_leader(quest *q)
{
    q->leader = gn_raft_leader(q->shard->group, &q->term);
    if (q->leader)
        return GN_OK;
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_raft_status_get(q->shard->group, status);
    bool stopped = status->stopped;
    free(status);
    return stopped ? GN_CRASH_SHUTDOWN : GN_NOT_LEADER;
}

static bool leads_here(const quest *q)
{
    return q->leader == gn_net_self(q->shard->world);
}

/* This node is at its end, so that it need not look any further. */
static bool ends_here(const quest *q, gn_code code)
{
    return (q->leader == 0 || leads_here(q)) && (code == GN_CRASH_SHUTDOWN || code == GN_SHUTDOWN);
}

static bool may_heal(gn_code code)
{
    return code == GN_NOT_LEADER || code == GN_UNAVAILABLE || code == GN_TIMEOUT || code == GN_OUTCOME_UNKNOWN ||
           code == GN_SHUTDOWN || code == GN_CRASH_SHUTDOWN;
}

/* Whether to look again after this code: not if it is an answer, nor if there is no time left. Pauses. */
static bool look_again(quest *q, gn_code code)
{
    uint64_t now = gn_now_ns(q->shard->world);
    if (!may_heal(code) || gn_shard_failed(q->shard) != GN_OK || q->shard->stopping || now >= q->deadline_ns ||
        (q->cancel && *q->cancel))
        return false;
    gn_event never;
    gn_event_init(&never, q->shard->world);
    gn_event_wait(&never, now + q->pause_ns < q->deadline_ns ? now + q->pause_ns : q->deadline_ns);
    q->pause_ns = q->pause_ns * 2 < PAUSE_MAX_NS ? q->pause_ns * 2 : PAUSE_MAX_NS;
    return true;
}

static gn_code ask(const quest *q, uint8_t kind, gn_bytes body, gn_buf *answer, gn_error *err)
{
    gn_shard *shard = q->shard;
    gn_buf request;
    uint64_t deadline = gn_now_ns(shard->world) + ASK_NS;
    gn_buf_init(&request, NULL, REQUEST_HEADER + (size_t)GN_MAX_ENTRY);
    gn_buf_append_u8(&request, REQUEST_VERSION);
    gn_buf_append_u8(&request, kind);
    gn_buf_append_be64(&request, q->term);
    gn_buf_append_bytes(&request, body);
    gn_code code =
        request.failed
            ? gn_error_set(err, GN_LIMIT, "a transaction is too large for the log")
            : shard->leader.ask(shard->leader.ctx, shard->group_id, q->leader, gn_buf_bytes(&request),
                                deadline < q->deadline_ns ? deadline : q->deadline_ns, q->cancel, answer, err);
    gn_buf_close(&request);
    return code;
}

static gn_code malformed(gn_error *err)
{
    return gn_error_set(err, GN_PROTOCOL, "a message between replicas is malformed");
}

/* ---- reads ---- */

static void confirmed(gn_raft_request *request, gn_code code)
{
    gn_confirmation *c = GN_CONTAINER(request, gn_confirmation, request);
    c->code = code;
    gn_event_signal(&c->event);
}

static void confirm_begin(gn_shard *shard, gn_raft_voucher voucher, gn_confirmation *c)
{
    *c = (gn_confirmation){.request = {.done = confirmed, .voucher = voucher},
                           .lost = gn_proposer_lost(&shard->proposer)};
    gn_event_init(&c->event, shard->world);
}

void gn_shards_confirm_start(gn_shard *const *shards, const gn_raft_voucher *vouchers, gn_confirmation *confirmations,
                             uint32_t n)
{
    gn_raft_group **groups = gn_xcalloc(n + 1, sizeof *groups);
    gn_raft_request **requests = gn_xcalloc(n + 1, sizeof *requests);
    size_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!shards[i])
            continue;
        confirm_begin(shards[i], vouchers ? vouchers[i] : (gn_raft_voucher){0}, &confirmations[i]);
        groups[m] = shards[i]->group;
        requests[m++] = &confirmations[i].request;
    }
    gn_raft_read_index_all(groups, requests, m);
    free(requests);
    free(groups);
}

static gn_code await_confirmation(gn_shard *shard, gn_confirmation *c, const gn_patience *patience, gn_error *err)
{
    gn_event_wait(&c->event, UINT64_MAX);
    if (c->code != GN_OK)
        return gn_error_set(err, c->code, "%s", gn_code_text(c->code));
    gn_code code = shard->clocked ? gn_proposer_barrier(&shard->proposer, patience, err) : GN_OK;
    /* What was under way may come to be applied yet, under another leader, with an SCN that others read above. */
    if (code == GN_OK && gn_proposer_lost(&shard->proposer) != c->lost)
        code = gn_error_set(err, GN_NOT_LEADER, "%s", gn_code_text(GN_NOT_LEADER));
    return code;
}

gn_code gn_shard_confirm_await(gn_shard *shard, gn_confirmation *c, const _Atomic bool *cancel, gn_error *err)
{
    return await_confirmation(shard, c,
                              &(gn_patience){.deadline_ns = gn_now_ns(shard->world) + ASK_NS, .cancel = cancel}, err);
}

static gn_code catch_up_here(gn_shard *shard, gn_raft_voucher voucher, const gn_patience *patience, gn_error *err)
{
    gn_confirmation c;
    confirm_begin(shard, voucher, &c);
    gn_raft_read_index(shard->group, &c.request);
    return await_confirmation(shard, &c, patience, err);
}

void gn_shard_applied(gn_shard *shard, uint64_t index)
{
    pthread_mutex_lock(&shard->applied.lock);
    shard->applied_seen = index;
    gn_wait_room_wake(&shard->applied, index);
    pthread_mutex_unlock(&shard->applied.lock);
}

void gn_shard_leaves(gn_shard *shard)
{
    pthread_mutex_lock(&shard->applied.lock);
    shard->leaves = true;
    gn_wait_room_wake(&shard->applied, UINT64_MAX);
    pthread_mutex_unlock(&shard->applied.lock);
    pthread_mutex_lock(&shard->prepared.room.lock);
    gn_wait_room_wake(&shard->prepared.room, UINT64_MAX);
    pthread_mutex_unlock(&shard->prepared.room.lock);
}

void gn_shard_stays(gn_shard *shard)
{
    shard->leaves = false;
}

uint64_t gn_shard_has_applied(gn_shard *shard)
{
    pthread_mutex_lock(&shard->applied.lock);
    uint64_t index = shard->applied_seen;
    pthread_mutex_unlock(&shard->applied.lock);
    return index;
}

static gn_code await_applied(gn_shard *shard, uint64_t index, const gn_patience *patience)
{
    gn_code code = GN_OK;
    pthread_mutex_lock(&shard->applied.lock);
    while (code == GN_OK && shard->applied_seen < index && (code = gn_shard_failed(shard)) == GN_OK)
        code = shard->leaves ? GN_NO_OBJECT : gn_wait_room_wait(&shard->applied, index, patience);
    pthread_mutex_unlock(&shard->applied.lock);
    return code;
}

gn_code gn_shard_await_applied(gn_shard *shard, uint64_t index, const _Atomic bool *cancel)
{
    return await_applied(shard, index,
                         &(gn_patience){.deadline_ns = gn_now_ns(shard->world) + ASK_NS, .cancel = cancel});
}

/* The request's term is this node's voucher. Its applied index may spare the leader to tell what is committed. */
static gn_code catch_up_there(const quest *q, gn_error *err)
{
    gn_buf applied, answer;
    gn_buf_init(&applied, NULL, 8);
    gn_buf_init(&answer, NULL, 64);
    gn_buf_append_be64(&applied, gn_shard_has_applied(q->shard));
    gn_code code = ask(q, REQUEST_CATCH_UP, gn_buf_bytes(&applied), &answer, err);
    gn_buf_close(&applied);
    gn_reader r = gn_reader_of(gn_buf_bytes(&answer));
    uint64_t index = gn_read_be64(&r);
    if (code == GN_OK && r.failed)
        code = malformed(err);
    if (code == GN_OK)
        code = await_applied(q->shard, index, &(gn_patience){.deadline_ns = q->deadline_ns, .cancel = q->cancel});
    gn_buf_close(&answer);
    return code;
}

gn_code gn_shard_catch_up(gn_shard *shard, const gn_patience *patience, gn_error *err)
{
    if (!shard->leader.ask)
        return catch_up_here(shard, (gn_raft_voucher){0}, patience, err);
    quest q = quest_begin(shard, patience);
    gn_error why = {0};
    gn_code code;
    do {
        code = find_leader(&q);
        if (code == GN_OK)
            code =
                leads_here(&q) ? catch_up_here(shard, (gn_raft_voucher){0}, patience, &why) : catch_up_there(&q, &why);
    } while (code != GN_OK && !shard->leaves && !ends_here(&q, code) && look_again(&q, code));
    if (code == GN_OK)
        return code;
    if (shard->leaves)
        return gn_error_set(err, GN_NO_OBJECT, "node %llu has no replica of group %llu any more",
                            (unsigned long long)gn_net_self(shard->world), (unsigned long long)shard->group_id);
    if (ends_here(&q, code))
        return gn_error_set(err, code, "%s", gn_code_text(code));
    if (code == GN_CANCELED || (q.cancel && *q.cancel))
        return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
    if (!may_heal(code)) {
        if (err)
            *err = why;
        return code;
    }
    gn_error_set(err, GN_UNAVAILABLE, "group %llu has no leader that answers", (unsigned long long)shard->group_id);
    gn_error_hint(err, "A majority of its replicas must be up and able to reach each other. Nothing was changed.");
    return GN_UNAVAILABLE;
}

/* ---- commands ---- */

static void command_done(gn_raft_request *request, gn_code code)
{
    gn_commit_op *op = GN_CONTAINER(request, gn_commit_op, request);
    if (code != GN_OK) {
        op->code = code;
        gn_error_set(&op->err, code, "%s",
                     op->no_clock ? "the clock of the database cannot be reached" : gn_code_text(code));
    }
    if (op->shard)
        gn_proposer_done(&op->shard->proposer, op, code);
    if (op->done)
        op->done(op);
    else
        gn_event_signal(&op->event);
}

/* Gives whether it got an SCN of the clock; if not, it is counted as under way without one until it is done. */
static bool start_command(gn_shard *shard, gn_commit_op *op)
{
    atomic_fetch_add(&shard->unclocked, 1); /* before the look at `clocked`: see gn_shard_use_clock */
    /* What has no SCN does not queue for one: the clock itself takes its numbers from a sequence. */
    bool clocked = shard->clocked && gn_command_kind_of(op->request.command) != GN_COMMAND_SEQUENCE;
    if (clocked) {
        atomic_fetch_sub(&shard->unclocked, 1);
        op->shard = shard;
        gn_propose(&shard->proposer, op);
    } else {
        gn_raft_submit(shard->group, &op->request);
    }
    return clocked;
}

gn_code gn_shard_run_command_here(gn_shard *shard, gn_bytes command, uint64_t only_term, gn_commit_op *op)
{
    *op = (gn_commit_op){.only_term = only_term};
    gn_code failed = gn_shard_failed(shard);
    if (failed != GN_OK)
        return op->code = gn_error_set(&op->err, failed, "%s", gn_code_text(failed));
    gn_split_hold_back(shard, command);
    op->request = (gn_raft_request){.done = command_done, .command = command, .only_term = only_term};
    gn_event_init(&op->event, shard->world);
    gn_strand_lend(shard->world);
    bool clocked = start_command(shard, op);
    gn_event_wait(&op->event, UINT64_MAX);
    if (!clocked)
        atomic_fetch_sub(&shard->unclocked, 1);
    if (op->code == GN_CRASH_SHUTDOWN && (failed = gn_shard_failed(shard)) != GN_OK)
        gn_error_detail(&op->err, "%s", gn_code_text(failed));
    return op->code;
}

static gn_code run_there(const quest *q, gn_bytes command, gn_commit_op *op)
{
    gn_buf answer;
    gn_buf_init(&answer, NULL, 64);
    *op = (gn_commit_op){0};
    op->code = ask(q, REQUEST_COMMAND, command, &answer, &op->err);
    gn_reader r = gn_reader_of(gn_buf_bytes(&answer));
    if (op->code == GN_OK) {
        op->scn = gn_read_be64(&r);
        op->first = (int64_t)gn_read_be64(&r);
        op->state = (gn_decision_state)gn_read_u8(&r);
        if (r.failed || op->state > GN_ABORTED)
            op->code = GN_OUTCOME_UNKNOWN;
    }
    gn_buf_close(&answer);
    return op->code;
}

static gn_code finish(gn_commit_op *op, uint64_t group_id, bool unknown)
{
    if (unknown) {
        op->code = gn_error_set(&op->err, GN_OUTCOME_UNKNOWN,
                                "the transaction may have been committed or not: group %llu has lost its leader",
                                (unsigned long long)group_id);
        gn_error_hint(&op->err, "Look for what it would have changed before it is run again.");
    } else if (op->code == GN_NOT_LEADER || op->code == GN_UNAVAILABLE) {
        op->code = gn_error_set(&op->err, GN_UNAVAILABLE, "group %llu has no leader that answers",
                                (unsigned long long)group_id);
        gn_error_hint(&op->err,
                      "A majority of its replicas must be up and able to reach each other. Nothing was changed.");
    }
    return op->code;
}

gn_code gn_shard_run_command(gn_shard *shard, gn_bytes command, const gn_patience *patience, gn_commit_op *op)
{
    if (!shard->leader.ask)
        return gn_shard_run_command_here(shard, command, 0, op);
    gn_patience uncancelled = {.deadline_ns = patience ? patience->deadline_ns : 0};
    quest q = quest_begin(shard, &uncancelled);
    uint64_t tried_term = 0; /* of the last try that may have been proposed */
    gn_code code;
    do {
        code = find_leader(&q);
        if (code == GN_OK) {
            code = leads_here(&q) ? gn_shard_run_command_here(shard, command, q.term, op) : run_there(&q, command, op);
        } else {
            *op = (gn_commit_op){.code = code};
            gn_error_set(&op->err, code, "%s", gn_code_text(code));
        }
        /* This replica has stopped: others may go on with what it has proposed. */
        if (ends_here(&q, code))
            return tried_term || op->request.done ? finish(op, shard->group_id, true) : code;
        bool nothing = code == GN_NOT_LEADER || code == GN_UNAVAILABLE;
        if (code != GN_OK && !may_heal(code))
            return finish(op, shard->group_id, tried_term == q.term);
        if (code != GN_OK && !nothing)
            tried_term = q.term;
    } while (code != GN_OK && look_again(&q, code));
    return code == GN_OK ? GN_OK : finish(op, shard->group_id, tried_term != 0);
}

/* ---- answering others ---- */

gn_code gn_shard_tell_applied(gn_shard *shard, gn_node_id to, uint64_t known, uint64_t *index, gn_error *err)
{
    if (!gn_raft_is_member(shard->group, to)) /* it would wait for what it never gets */
        return gn_error_set(err, GN_NO_OBJECT, "node %llu has no replica of group %llu any more",
                            (unsigned long long)to, (unsigned long long)shard->group_id);
    pthread_mutex_lock(&shard->view_lock);
    *index = shard->applied_index;
    pthread_mutex_unlock(&shard->view_lock);
    if (known < *index)
        gn_raft_tell_commit(shard->group, to);
    return GN_OK;
}

static gn_code serve_catch_up(gn_shard *shard, gn_raft_voucher voucher, gn_reader *in, gn_buf *answer, gn_error *err)
{
    gn_patience patience = {.deadline_ns = gn_now_ns(shard->world) + ASK_NS};
    uint64_t index = 0, known = gn_reader_left(in) ? gn_read_be64(in) : 0; /* no program before 0.2 says it */
    gn_code code = catch_up_here(shard, voucher, &patience, err);
    if (code == GN_OK)
        code = gn_shard_tell_applied(shard, voucher.node, known, &index, err);
    gn_buf_append_be64(answer, index);
    return code;
}

static void append_outcome(gn_buf *answer, const gn_commit_op *op)
{
    gn_buf_append_be64(answer, op->scn);
    gn_buf_append_be64(answer, (uint64_t)op->first);
    gn_buf_append_u8(answer, (uint8_t)op->state);
}

/* The command is copied: its clock is written into it. */
static gn_code serve_command(gn_shard *shard, uint64_t term, gn_bytes command, gn_buf *answer, gn_error *err)
{
    gn_command checked;
    gn_commit_op op;
    gn_buf copy;
    gn_buf_init(&copy, shard->account, GN_MAX_ENTRY);
    gn_buf_append_bytes(&copy, command);
    gn_code code = copy.failed ? gn_error_set(err, GN_UNAVAILABLE, "the leader has no memory for the transaction")
                               : gn_command_decode(gn_buf_bytes(&copy), &checked, err);
    if (code == GN_OK && (code = gn_shard_run_command_here(shard, gn_buf_bytes(&copy), term, &op)) != GN_OK && err)
        *err = op.err;
    if (code == GN_OK)
        append_outcome(answer, &op);
    gn_buf_close(&copy);
    return code;
}

/* ---- the same without a strand ---- */

/* A command that came from another node, until it is done. */
typedef struct served_command {
    gn_commit_op op;
    gn_buf command;
    gn_shard_served done;
    void *ctx;
} served_command;

static void command_served(gn_commit_op *op)
{
    served_command *s = GN_CONTAINER(op, served_command, op);
    gn_buf answer;
    gn_buf_init(&answer, NULL, 64);
    if (op->code == GN_OK)
        append_outcome(&answer, op);
    s->done(s->ctx, op->code, gn_buf_bytes(&answer), &op->err);
    gn_buf_close(&answer);
    gn_buf_close(&s->command);
    free(s);
}

/* Only while there is a clock: what goes without one is counted by whoever waits for it. */
bool gn_shard_serve_soon(gn_shard *shard, gn_bytes request, gn_shard_served done, void *ctx)
{
    gn_command checked;
    gn_reader r = gn_reader_of(request);
    bool known = gn_read_u8(&r) == REQUEST_VERSION, command = gn_read_u8(&r) == REQUEST_COMMAND;
    uint64_t term = gn_read_be64(&r);
    gn_bytes bytes = gn_read_bytes(&r, gn_reader_left(&r));
    if (r.failed || !known || !command || term == 0 || !shard->clocked || shard->split_until_ns != 0 ||
        gn_shard_failed(shard) != GN_OK || gn_command_kind_of(bytes) == GN_COMMAND_SEQUENCE)
        return false;
    served_command *s = gn_xcalloc(1, sizeof *s);
    *s = (served_command){.done = done, .ctx = ctx};
    gn_buf_init(&s->command, shard->account, GN_MAX_ENTRY);
    gn_buf_append_bytes(&s->command, bytes);
    if (s->command.failed || gn_command_decode(gn_buf_bytes(&s->command), &checked, NULL) != GN_OK) {
        gn_buf_close(&s->command);
        free(s);
        return false; /* for its words */
    }
    s->op =
        (gn_commit_op){.only_term = term, .done = command_served, .shard = shard, .request = {.done = command_done}};
    s->op.request.command = gn_buf_bytes(&s->command);
    s->op.request.only_term = term;
    gn_propose(&shard->proposer, &s->op);
    return true;
}

gn_code gn_shard_serve(gn_shard *shard, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_reader r = gn_reader_of(request);
    bool known = gn_read_u8(&r) == REQUEST_VERSION;
    uint8_t kind = gn_read_u8(&r);
    uint64_t term = gn_read_be64(&r);
    if (r.failed || !known || term == 0)
        return malformed(err);
    if (kind == REQUEST_CATCH_UP)
        return serve_catch_up(shard, (gn_raft_voucher){.node = from, .term = term}, &r, answer, err);
    if (kind == REQUEST_COMMAND)
        return serve_command(shard, term, gn_read_bytes(&r, gn_reader_left(&r)), answer, err);
    return malformed(err);
}
