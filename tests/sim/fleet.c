#include "tests/sim/fleet.h"

#include "tests/sim/machine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *const canary_names[N_CANARIES] = {"none",       "disk-lies",   "wrong-apply", "skips",
                                              "stale-read", "any-voucher", "early-ack"};

/* ---- violations ---- */

void fleet_fail(fleet *f, const char *format, ...)
{
    if (f->problem[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(f->problem, sizeof f->problem, format, args);
    va_end(args);
}

const char *fleet_violation(fleet *f)
{
    for (unsigned g = 0; g < f->options.n_groups; g++) {
        if (check_violation(f->checks[g]))
            return check_violation(f->checks[g]);
    }
    return f->problem[0] ? f->problem : NULL;
}

/* ---- what the checkers see ---- */

static void see_durable(void *ctx, gn_node_id node, const gn_disk_op *ops, size_t n)
{
    fleet *f = ctx;
    for (unsigned g = 0; g < f->options.n_groups; g++)
        check_durable(f->checks[g], node, ops, n);
}

static bool see_frame(void *ctx, gn_node_id from, gn_node_id to, uint8_t channel, gn_bytes frame)
{
    fleet *f = ctx;
    gn_raft_wire message;
    bool bad;
    if (channel != GN_RAFT_CHANNEL)
        return true;
    gn_reader r = gn_reader_of(frame);
    gn_read_u8(&r); /* the version */
    while (gn_raft_wire_next(&r, &message, &bad)) {
        for (unsigned g = 0; g < f->options.n_groups; g++)
            check_message(f->checks[g], from, to, &message);
    }
    if (bad)
        fleet_fail(f, "node %" PRIu64 " sent a malformed frame", from);
    return true;
}

/* ---- programs ---- */

static void host_failed(void *ctx, gn_code code, const char *message)
{
    program *p = ctx;
    (void)code;
    p->failed = true;
    if (p->dead)
        return;
    p->fleet->counts.fail_stops++;
    if (!p->fleet->nodes[p->node - 1].faulty)
        fleet_fail(p->fleet, "node %" PRIu64 " stopped although its disk is good: %s", p->node, message);
}

static gn_code open_host(program *p)
{
    const fleet_options *o = &p->fleet->options;
    gn_raft_options options = {.log_dir = "raft",
                               .election_timeout_ms = 150,
                               .heartbeat_ms = 30,
                               .snapshot_threshold_bytes = o->snapshot_threshold_bytes,
                               .log_keep_bytes = o->log_keep_bytes,
                               .failed = host_failed,
                               .failed_ctx = p};
    return gn_raft_host_open(p->world, &options, &p->host, &p->open_error);
}

static gn_code open_groups(program *p)
{
    const fleet_options *o = &p->fleet->options;
    gn_raft_member members[FLEET_NODES];
    for (unsigned i = 0; i < o->n_voters; i++)
        members[i] = (gn_raft_member){.id = i + 1, .role = GN_RAFT_VOTER};
    for (unsigned g = 0; g < o->n_groups; g++) {
        p->machines[g] = machine_create(p, g);
        gn_raft_fsm fsm = machine_fsm(p->machines[g]);
        gn_code code = gn_raft_group_open(p->host, g + 1, &fsm, machine_applied(p->machines[g]), members,
                                          p->node <= o->n_voters ? o->n_voters : 0, &p->groups[g], &p->open_error);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

static void program_main(void *arg)
{
    program *p = arg;
    p->open_code = open_host(p);
    if (p->open_code == GN_OK)
        p->open_code = open_groups(p);
    p->up = p->open_code == GN_OK && !p->told_to_stop;
    if (p->open_code == GN_OK)
        gn_event_wait(&p->stop, UINT64_MAX);
    p->up = false;
    for (unsigned g = 0; g < FLEET_GROUPS; g++) {
        if (p->groups[g])
            gn_raft_group_close(p->groups[g]);
        p->groups[g] = NULL;
    }
    for (unsigned g = 0; g < FLEET_GROUPS; g++)
        machine_destroy(p->machines[g]);
    if (p->host)
        gn_raft_host_close(p->host);
    p->ended = true;
}

static void start_program(fleet *f, gn_node_id node)
{
    program *p = gn_xcalloc(1, sizeof *p);
    p->fleet = f;
    p->node = node;
    p->world = gn_sim_world(f->sim, node);
    p->next = f->programs;
    f->programs = p;
    f->nodes[node - 1].program = p;
    gn_event_init(&p->stop, p->world);
    p->strand = gn_strand_start(p->world, "program", program_main, p);
    GN_ASSERT(p->strand);
}

static void stop_program(program *p)
{
    if (p->told_to_stop)
        return;
    p->told_to_stop = true;
    p->up = false;
    gn_event_signal(&p->stop);
}

static void reap(fleet *f)
{
    for (program **at = &f->programs; *at;) {
        program *p = *at;
        if (!p->ended || (!p->dead && !p->told_to_stop)) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        gn_strand_join(p->strand);
        free(p);
    }
}

program *fleet_up(fleet *f, gn_node_id node)
{
    program *p = f->nodes[node - 1].program;
    return p && p->up ? p : NULL;
}

void fleet_crash(fleet *f, gn_node_id node, gn_sim_tear tear)
{
    program *p = f->nodes[node - 1].program;
    if (!p)
        return;
    f->counts.crashes++;
    p->dead = true;
    f->nodes[node - 1].program = NULL;
    gn_sim_crash(f->sim, node, tear);
    stop_program(p);
}

void fleet_restart(fleet *f, gn_node_id node)
{
    if (f->nodes[node - 1].program || f->nodes[node - 1].lost)
        return;
    gn_sim_restart(f->sim, node);
    start_program(f, node);
}

/* A group that stops alone says that the host contradicts itself, unless the whole host has failed. */
static void look_for_stopped_groups(fleet *f, const program *p)
{
    if (!p->up || p->failed || f->nodes[p->node - 1].faulty)
        return;
    for (unsigned g = 0; g < f->options.n_groups; g++) {
        if (fleet_status(f, p->node, g).stopped)
            fleet_fail(f, "group %u of node %" PRIu64 " stopped without a fault", g + 1, p->node);
    }
}

void fleet_tend(fleet *f)
{
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++) {
        fleet_node *node = &f->nodes[id - 1];
        program *p = node->program;
        if (!p)
            continue;
        look_for_stopped_groups(f, p);
        bool could_not_open = p->ended && p->open_code != GN_OK;
        if (could_not_open && node->flipped && !node->lost) {
            node->lost = true;
            f->counts.lost_nodes++;
        } else if (could_not_open && !node->faulty) {
            fleet_fail(f, "node %" PRIu64 " could not open its log: %s", id, p->open_error.message);
        }
        if (p->failed || could_not_open)
            fleet_crash(f, id, gn_sim_chance(f->sim, 0.5) ? GN_SIM_TEAR : GN_SIM_FORGET);
    }
    reap(f);
}

/* ---- running ---- */

static bool has_violation(void *ctx)
{
    return fleet_violation(ctx) != NULL;
}

void fleet_run(fleet *f, uint64_t ns)
{
    gn_sim_run_until(f->sim, has_violation, f, ns);
}

bool fleet_run_until(fleet *f, bool (*done)(fleet *f, void *arg), void *arg, uint64_t at_most_ns)
{
    uint64_t end = gn_sim_now_ns(f->sim) + at_most_ns;
    while (!done(f, arg)) {
        if (fleet_violation(f) || gn_sim_now_ns(f->sim) >= end)
            return false;
        fleet_run(f, 5 * MS);
        fleet_tend(f);
    }
    return true;
}

gn_raft_status fleet_status(fleet *f, gn_node_id node, unsigned group)
{
    gn_raft_status status = {0};
    program *p = fleet_up(f, node);
    if (p)
        gn_raft_status_get(p->groups[group], &status);
    return status;
}

gn_node_id fleet_leader(fleet *f, unsigned group)
{
    gn_node_id leader = 0;
    uint64_t term = 0;
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++) {
        gn_raft_status status = fleet_status(f, id, group);
        if (status.leads && status.term > term) {
            term = status.term;
            leader = id;
        }
    }
    return leader;
}

/* ---- clients ---- */

static void free_op(op *o)
{
    free(o->command);
    o->command = NULL;
    o->busy = false;
    o->next_free = o->fleet->free_ops;
    o->fleet->free_ops = o;
    o->fleet->n_busy--;
}

static void acknowledge(op *o)
{
    o->fleet->counts.acknowledged++;
    o->fleet->acknowledged[o->id] = true;
}

static void op_done(gn_raft_request *request, gn_code code)
{
    op *o = GN_CONTAINER(request, op, request);
    fleet *f = o->fleet;
    check *c = f->checks[o->group];
    if (!o->busy) {
        fleet_fail(f, "a request was answered twice");
        return;
    }
    if (code != GN_OK || o->program->dead) {
        bool unknown =
            o->program->dead || code == GN_OUTCOME_UNKNOWN || code == GN_SHUTDOWN || code == GN_CRASH_SHUTDOWN;
        f->counts.unknown += unknown;
        f->counts.refused += !unknown;
    } else if (o->kind == OP_WRITE) {
        check_acknowledged(c, request->index, gn_bytes_of(o->command, o->len));
        acknowledge(o);
    } else if (o->kind == OP_READ) {
        uint64_t seen = machine_applied(o->program->machines[o->group]);
        if (seen < request->index)
            fleet_fail(f, "a read was answered at entry %" PRIu64 " when only %" PRIu64 " was applied", request->index,
                       seen);
        check_read_ends(c, o->floor, seen);
        f->counts.reads++;
    } else {
        f->counts.admin++;
    }
    free_op(o);
}

static op *take_op(fleet *f, gn_node_id node, unsigned group, op_kind kind)
{
    program *p = fleet_up(f, node);
    op *o = f->free_ops;
    if (!p || !o)
        return NULL;
    f->free_ops = o->next_free;
    f->n_busy++;
    *o = (op){.fleet = f, .program = p, .busy = true, .kind = kind, .group = group};
    o->request.done = op_done;
    return o;
}

bool fleet_write(fleet *f, gn_node_id node, unsigned group, size_t len)
{
    op *o = f->n_commands < FLEET_COMMANDS ? take_op(f, node, group, OP_WRITE) : NULL;
    if (!o)
        return false;
    o->id = f->n_commands++;
    o->len = len < sizeof o->id ? sizeof o->id : len;
    o->command = gn_xmalloc(o->len);
    memset(o->command, (int)(o->id & 0xFF), o->len);
    memcpy(o->command, &o->id, sizeof o->id);
    o->request.command = gn_bytes_of(o->command, o->len);
    if (f->options.canary == CANARY_EARLY_ACK)
        acknowledge(o);
    gn_raft_submit(o->program->groups[group], &o->request);
    return true;
}

static gn_raft_voucher some_voucher(fleet *f, gn_node_id to, unsigned group)
{
    gn_raft_voucher voucher = {.node = 1 + gn_sim_random(f->sim, f->options.n_nodes)};
    program *p = fleet_up(f, voucher.node);
    if (!p || voucher.node == to)
        return (gn_raft_voucher){0};
    gn_raft_leader(p->groups[group], &voucher.term);
    return voucher;
}

/* Who leads without knowing of newer leaders is asked, if there is somebody, and told what it wants to hear. */
static void plant_any_voucher(fleet *f, asked_read *read)
{
    uint64_t oldest = UINT64_MAX;
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++) {
        gn_raft_status status = fleet_status(f, id, read->group);
        if (status.leads && status.term < oldest && id != read->voucher.node) {
            oldest = read->voucher.term = status.term;
            read->to = id;
        }
    }
}

static bool read_arrives(fleet *f, asked_read *read)
{
    if (f->options.canary == CANARY_ANY_VOUCHER && read->voucher.node)
        plant_any_voucher(f, read);
    op *o = take_op(f, read->to, read->group, OP_READ);
    if (!o)
        return false;
    o->floor = read->floor;
    o->request.voucher = read->voucher;
    if (f->options.canary == CANARY_STALE_READ)
        op_done(&o->request, GN_OK);
    else
        gn_raft_read_index(o->program->groups[read->group], &o->request);
    return true;
}

/* What comes from another node may be on its way until the next one comes. */
bool fleet_read(fleet *f, gn_node_id node, unsigned group)
{
    asked_read read = {.to = node,
                       .group = group,
                       .floor = check_read_begins(f->checks[group]),
                       .voucher = some_voucher(f, node, group)};
    if (read.voucher.node && gn_sim_chance(f->sim, 0.5)) {
        asked_read before = f->underway;
        f->underway = read;
        read = before;
    }
    return read.to != 0 && read_arrives(f, &read);
}

bool fleet_admin(fleet *f, gn_node_id node, unsigned group, void (*fn)(gn_raft_group *, gn_node_id, gn_raft_request *),
                 gn_node_id target)
{
    op *o = take_op(f, node, group, OP_ADMIN);
    if (!o)
        return false;
    fn(o->program->groups[group], target, &o->request);
    return true;
}

/* ---- the end ---- */

typedef struct healing {
    unsigned group;
    uint64_t wanted; /* applied index that all members must reach; 0: the write is not yet acknowledged */
    uint64_t acknowledged_before;
} healing;

static bool is_member(const gn_raft_status *status, gn_node_id id)
{
    for (size_t i = 0; i < status->n_members; i++) {
        if (status->members[i].id == id)
            return true;
    }
    return false;
}

static bool is_healed(fleet *f, void *arg)
{
    healing *h = arg;
    gn_node_id leader = fleet_leader(f, h->group);
    if (!leader)
        return false;
    if (!h->wanted) {
        if (f->counts.acknowledged > h->acknowledged_before)
            h->wanted = check_read_begins(f->checks[h->group]);
        else if (f->n_busy == 0)
            fleet_write(f, leader, h->group, 100);
        return false;
    }
    gn_raft_status leads = fleet_status(f, leader, h->group);
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++) {
        if (!f->nodes[id - 1].lost && is_member(&leads, id) && fleet_status(f, id, h->group).applied_index < h->wanted)
            return false;
    }
    return leads.can_read;
}

static void mend(fleet *f)
{
    gn_sim_link_set(f->sim, 0, 0, &gn_sim_link_good);
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++) {
        gn_sim_disk_faults faults = gn_sim_disk_good;
        faults.lies = gn_sim_disk_get(f->sim, id).lies;
        gn_sim_disk_set(f->sim, id, &faults);
        gn_sim_pause(f->sim, id, false);
    }
    for (int round = 0; round < 3; round++) { /* a node may have to fail first, and end, and start again */
        for (gn_node_id id = 1; id <= f->options.n_nodes; id++)
            fleet_restart(f, id);
        fleet_run(f, 100 * MS);
        fleet_tend(f);
    }
}

static bool no_op_is_busy(fleet *f, void *arg)
{
    (void)arg;
    return f->n_busy == 0;
}

void fleet_heal(fleet *f)
{
    mend(f);
    for (unsigned g = 0; g < f->options.n_groups && !fleet_violation(f); g++) {
        if (!fleet_run_until(f, no_op_is_busy, NULL, 120 * SECOND)) {
            fleet_fail(f, "%zu requests were not answered in 120 s", f->n_busy);
            return;
        }
        healing h = {.group = g, .acknowledged_before = f->counts.acknowledged};
        if (!fleet_run_until(f, is_healed, &h, 120 * SECOND)) {
            fleet_fail(f, "group %u did not recover in 120 s", g + 1);
            return;
        }
        gn_node_id leader = fleet_leader(f, g);
        check_complete(f->checks[g], leader, fleet_status(f, leader, g).applied_index);
    }
    for (uint64_t id = 0; id < f->n_commands; id++) {
        if (f->acknowledged[id] && !f->applied[id])
            fleet_fail(f, "command %" PRIu64 " was acknowledged and never applied", id);
    }
}

/* ---- life ---- */

fleet *fleet_create(const fleet_options *options)
{
    fleet *f = gn_xcalloc(1, sizeof *f);
    f->options = *options;
    f->sim = gn_sim_create(options->seed, options->n_nodes);
    gn_sim_trace_to(f->sim, options->trace);
    for (unsigned g = 0; g < options->n_groups; g++)
        f->checks[g] = check_create(g + 1, options->n_nodes, options->n_voters);
    gn_sim_on_durable(f->sim, see_durable, f);
    gn_sim_on_frame(f->sim, see_frame, f);
    for (size_t i = 0; i < FLEET_OPS; i++) {
        f->ops[i].next_free = f->free_ops;
        f->free_ops = &f->ops[i];
    }
    for (gn_node_id id = 1; id <= options->n_nodes; id++) {
        gn_sim_disk_faults faults = gn_sim_disk_good;
        faults.lies = options->canary == CANARY_DISK_LIES;
        gn_sim_disk_set(f->sim, id, &faults);
        start_program(f, id);
    }
    return f;
}

static bool all_ended(void *ctx)
{
    for (const program *p = ((fleet *)ctx)->programs; p; p = p->next) {
        if (!p->ended)
            return false;
    }
    return true;
}

void fleet_destroy(fleet *f)
{
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++)
        gn_sim_pause(f->sim, id, false);
    for (program *p = f->programs; p; p = p->next)
        stop_program(p);
    bool ended = gn_sim_run_until(f->sim, all_ended, f, 600 * SECOND);
    GN_ASSERT(ended); /* closing must not hang, whatever went before */
    reap(f);
    GN_ASSERT(f->n_busy == 0); /* every request was answered */
    gn_sim_destroy(f->sim);
    for (unsigned g = 0; g < f->options.n_groups; g++)
        check_destroy(f->checks[g]);
    free(f);
}
