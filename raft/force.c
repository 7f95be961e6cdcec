/* A group is forced by an entry at the end of its log: a configuration of this node alone, in a term that nobody has
 * had. A voter that is alone takes its whole log for committed when it starts (recovery.c), so nothing else is needed.
 */
#include "raft/force.h"

#include "raft/raft_private.h"

#include <inttypes.h>
#include <stdlib.h>

/* What the records of a group say, in the order of their keys: state, snapshot, install, entries. */
typedef struct found {
    gn_raft_force_group group;
    uint64_t snapshot_index, configuration_index, last_entry;
} found;

typedef struct survey {
    found *items;
    size_t n;
    gn_node_id self;
    gn_error *err;
    gn_code code;
} survey;

static bool damaged(survey *s, uint64_t group, const char *what)
{
    s->code = gn_error_set(s->err, GN_CORRUPT, "group %" PRIu64 ": %s in the Raft log is damaged", group, what);
    return false;
}

static void take_configuration(found *f, gn_bytes encoded)
{
    struct raft_configuration c;
    gn_raft_configuration_decode(encoded, &c);
    f->group.n_members = 0;
    for (unsigned i = 0; i < c.n && i < 64; i++)
        f->group.members[f->group.n_members++] = (gn_raft_member){
            .id = c.servers[i].id, .role = c.servers[i].role == RAFT_VOTER ? GN_RAFT_VOTER : GN_RAFT_NON_VOTER};
    raft_configuration_close(&c);
}

static bool take_snapshot(survey *s, found *f, gn_bytes value)
{
    gn_raft_snapshot_record record;
    if (!gn_raft_snapshot_read(value, f->group.id, &record))
        return damaged(s, f->group.id, "the snapshot's record");
    f->snapshot_index = f->group.last_index = record.index;
    f->group.last_term = record.term;
    f->configuration_index = record.configuration_index;
    take_configuration(f, record.configuration);
    return true;
}

static bool take_entry(survey *s, found *f, uint64_t index, gn_bytes value)
{
    gn_raft_record record;
    if (!gn_raft_record_read(value, f->group.id, index, &record) ||
        (record.type == RAFT_CHANGE && !gn_raft_configuration_valid(record.payload)))
        return damaged(s, f->group.id, "an entry");
    f->last_entry = index;
    if (record.type == RAFT_CHANGE && index > f->configuration_index)
        take_configuration(f, record.payload);
    if (index >= f->group.last_index) {
        f->group.last_index = index;
        f->group.last_term = record.term;
    }
    return true;
}

static bool take_record(void *ctx, gn_bytes key, gn_bytes value)
{
    survey *s = ctx;
    uint64_t id, index, vote;
    gn_raft_kind kind;
    if (!gn_raft_key_read(key, &id, &kind, &index))
        return damaged(s, 0, "a key");
    if (s->n == 0 || s->items[s->n - 1].group.id != id) {
        s->items = gn_xrealloc(s->items, (s->n + 1) * sizeof *s->items);
        s->items[s->n++] = (found){.group = {.id = id}};
    }
    found *f = &s->items[s->n - 1];
    switch (kind) {
    case GN_RAFT_KIND_STATE:
        return gn_raft_state_read(value, id, &f->group.term, &vote) || damaged(s, id, "term and vote");
    case GN_RAFT_KIND_SNAPSHOT:
        return take_snapshot(s, f, value);
    case GN_RAFT_KIND_INSTALL:
        f->group.state = GN_RAFT_FORCE_INSTALLING;
        return true;
    case GN_RAFT_KIND_ENTRY:
        return take_entry(s, f, index, value);
    default:
        return damaged(s, id, "a key");
    }
}

static void judge(survey *s)
{
    for (size_t i = 0; i < s->n; i++) {
        gn_raft_force_group *g = &s->items[i].group;
        bool member = false;
        for (size_t k = 0; k < g->n_members; k++)
            member |= g->members[k].id == s->self;
        if (g->state == GN_RAFT_FORCE_INSTALLING)
            continue;
        g->state = !member ? GN_RAFT_FORCE_NOT_MEMBER : g->n_members == 1 ? GN_RAFT_FORCE_ALONE : GN_RAFT_FORCE_CAN;
    }
}

/* ---- writing ---- */

typedef struct writing {
    gn_disk_write write;
    gn_event event;
} writing;

static void written(gn_disk_write *write, gn_code code, const char *message)
{
    (void)code, (void)message; /* they are in the write, too */
    gn_event_signal(&GN_CONTAINER(write, writing, write)->event);
}

static gn_code write_all(gn_world *world, gn_log_disk *disk, const gn_disk_op *ops, size_t n, gn_error *err)
{
    gn_queue *queue = gn_queue_create(world, "force");
    writing w = {.write = {.ops = ops, .n = n, .sync = true, .queue = queue, .done = written}};
    gn_event_init(&w.event, world);
    gn_log_disk_write(disk, &w.write);
    gn_event_wait(&w.event, UINT64_MAX);
    gn_queue_destroy(queue);
    return w.write.code == GN_OK
               ? GN_OK
               : gn_error_set(err, w.write.code, "the Raft log could not be written: %s", w.write.message);
}

static gn_bytes key_at(gn_arena *arena, uint64_t group, gn_raft_kind kind, uint64_t index)
{
    uint8_t *key = gn_arena_alloc(arena, GN_RAFT_KEY_SIZE);
    gn_raft_key(key, group, kind, index);
    return gn_bytes_of(key, GN_RAFT_KEY_SIZE);
}

static size_t force(const found *f, gn_node_id self, gn_arena *arena, gn_disk_op *ops)
{
    const gn_raft_force_group *g = &f->group;
    uint64_t term = g->term + 1, index = g->last_index + 1;
    gn_raft_member alone = {.id = self, .role = GN_RAFT_VOTER};
    gn_bytes configuration = gn_raft_configuration_encode(&alone, 1);
    gn_raft_record record = {.term = term, .type = RAFT_CHANGE, .payload = configuration};
    uint8_t *entry = gn_arena_alloc(arena, GN_RAFT_RECORD_HEADER + configuration.len);
    uint8_t *state = gn_arena_alloc(arena, GN_RAFT_STATE_SIZE);
    size_t n = 0;
    gn_raft_record_write(entry, g->id, index, &record);
    gn_raft_state_write(state, g->id, term, 0);
    if (f->last_entry &&
        f->last_entry < f->snapshot_index) /* a log from before the snapshot would not join the entry */
        ops[n++] = (gn_disk_op){.kind = GN_DISK_DELETE_RANGE,
                                .key = key_at(arena, g->id, GN_RAFT_KIND_ENTRY, 0),
                                .value = key_at(arena, g->id, GN_RAFT_KIND_ENTRY, index)};
    ops[n++] = (gn_disk_op){.kind = GN_DISK_PUT,
                            .key = key_at(arena, g->id, GN_RAFT_KIND_STATE, 0),
                            .value = gn_bytes_of(state, GN_RAFT_STATE_SIZE)};
    ops[n++] = (gn_disk_op){.kind = GN_DISK_PUT,
                            .key = key_at(arena, g->id, GN_RAFT_KIND_ENTRY, index),
                            .value = gn_bytes_of(entry, GN_RAFT_RECORD_HEADER + configuration.len)};
    raft_free((void *)(uintptr_t)configuration.data);
    return n;
}

/* Groups to be forced. */
typedef struct choice {
    bool all;
    const uint64_t *ids;
    size_t n;
} choice;

static bool is_chosen(const choice *c, uint64_t group)
{
    bool chosen = c->all;
    for (size_t i = 0; i < c->n && !chosen; i++)
        chosen = c->ids[i] == group;
    return chosen;
}

static gn_code force_all(gn_world *world, gn_log_disk *disk, const survey *s, const choice *chosen, gn_error *err)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_disk_op *ops = gn_xcalloc(3 * s->n + 1, sizeof *ops);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].group.state == GN_RAFT_FORCE_CAN && is_chosen(chosen, s->items[i].group.id))
            n += force(&s->items[i], s->self, arena, ops + n);
    gn_code code = n ? write_all(world, disk, ops, n, err) : GN_OK;
    free(ops);
    gn_arena_destroy(arena);
    return code;
}

static gn_code look(gn_log_disk *disk, survey *s, gn_error *err)
{
    uint8_t from[GN_RAFT_KEY_SIZE], to[GN_RAFT_KEY_SIZE];
    gn_raft_key(from, 1, GN_RAFT_KIND_STORE, 0);
    memset(to, 0xff, sizeof to);
    gn_code code =
        gn_log_disk_scan(disk, gn_bytes_of(from, sizeof from), gn_bytes_of(to, sizeof to), take_record, s, err);
    if (code == GN_OK)
        code = s->code;
    if (code == GN_OK)
        judge(s);
    return code;
}

gn_code gn_raft_force_alone(gn_world *world, const char *log_dir, bool apply, gn_raft_force_group **out, size_t *n,
                            gn_error *err)
{
    gn_log_disk *disk;
    survey s = {.self = gn_net_self(world), .err = err};
    *out = NULL;
    *n = 0;
    gn_code code = gn_log_disk_open(world, log_dir, &disk, err);
    if (code != GN_OK)
        return code;
    code = look(disk, &s, err);
    if (code == GN_OK && apply)
        code = force_all(world, disk, &s, &(choice){.all = true}, err);
    gn_log_disk_close(disk);
    *n = code == GN_OK ? s.n : 0;
    *out = gn_xcalloc(s.n + 1, sizeof **out);
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = s.items[i].group;
    free(s.items);
    return code;
}

static gn_code can_all(const survey *s, const uint64_t *groups, size_t n, gn_error *err)
{
    for (size_t i = 0; i < n; i++) {
        bool can = false;
        for (size_t k = 0; k < s->n; k++)
            can |= s->items[k].group.id == groups[i] && s->items[k].group.state <= GN_RAFT_FORCE_ALONE;
        if (!can)
            return gn_error_set(err, GN_NOT_IN_STATE, "this node has no whole replica of group %" PRIu64, groups[i]);
    }
    return GN_OK;
}

gn_code gn_raft_force_groups(gn_world *world, const char *log_dir, const uint64_t *groups, size_t n, gn_error *err)
{
    gn_log_disk *disk;
    survey s = {.self = gn_net_self(world), .err = err};
    gn_code code = gn_log_disk_open(world, log_dir, &disk, err);
    if (code != GN_OK)
        return code;
    code = look(disk, &s, err);
    if (code == GN_OK)
        code = can_all(&s, groups, n, err);
    if (code == GN_OK)
        code = force_all(world, disk, &s, &(choice){.ids = groups, .n = n}, err);
    gn_log_disk_close(disk);
    free(s.items);
    return code;
}
