#include "base/assert.h"
#include "query/pack.h"
#include "shard/command_private.h"

#include <msgpack.h>

enum {
    TXN_FIELDS = 9,
    SEQUENCE_FIELDS = 8,
    PREPARE_FIELDS = 10,
    DECIDE_FIELDS = 11,
    DECISION_FIELDS = 5,
    SPLIT_FIELDS = 10,
    MERGE_FIELDS = 9,
    MOST_FIELDS = 12
};
enum { BIN32 = 0xc6, UINT64 = 0xcf };
/* Of a whole head of fixed width: array, version, kind, transaction id, clock. */
enum { VERSION_AT = 1, KIND_AT = 2, CLOCK_AT = 13, HEAD_BYTES = 21 };

static void pack_bin(msgpack_packer *p, gn_bytes b)
{
    msgpack_pack_bin(p, b.len);
    msgpack_pack_bin_body(p, b.data, b.len);
}

static void pack_fixed(gn_buf *out, uint64_t v)
{
    gn_buf_append_u8(out, UINT64);
    gn_buf_append_be64(out, v);
}

static void pack_head(msgpack_packer *p, gn_buf *out, size_t fields, gn_command_kind kind, const gn_command *c)
{
    msgpack_pack_array(p, fields);
    msgpack_pack_uint8(p, c->from_clock ? GN_COMMAND_VERSION_CLOCK : GN_COMMAND_VERSION);
    msgpack_pack_uint8(p, (uint8_t)kind);
    pack_fixed(out, c->txn_id);
    pack_fixed(out, c->clock);
}

void gn_command_set_clock(uint8_t *command, size_t len, gn_scn scn)
{
    GN_ASSERT(len >= HEAD_BYTES && command[CLOCK_AT - 1] == UINT64);
    command[VERSION_AT] = GN_COMMAND_VERSION_CLOCK;
    for (int i = 7; i >= 0; i--, scn >>= 8)
        command[CLOCK_AT + i] = (uint8_t)scn;
}

gn_command_kind gn_command_kind_of(gn_bytes command)
{
    GN_ASSERT(command.len >= HEAD_BYTES);
    return (gn_command_kind)command.data[KIND_AT];
}

bool gn_command_encode_decision(const gn_command *c, gn_buf *out)
{
    msgpack_packer p;
    msgpack_packer_init(&p, out, gn_pack_write);
    pack_head(&p, out, DECISION_FIELDS, c->kind, c);
    msgpack_pack_uint64(&p, c->scn);
    return !out->failed;
}

bool gn_command_encode_split(const gn_command *c, gn_buf *out)
{
    msgpack_packer p;
    gn_buf members;
    gn_buf_init(&members, NULL, 1024);
    for (uint32_t i = 0; i < c->split.n_members; i++)
        gn_buf_append_varint(&members, c->split.members[i]);
    msgpack_packer_init(&p, out, gn_pack_write);
    pack_head(&p, out, SPLIT_FIELDS, GN_COMMAND_SPLIT, c);
    msgpack_pack_uint64(&p, c->split.generation);
    msgpack_pack_uint64(&p, c->split.lo);
    msgpack_pack_uint64(&p, c->split.mid);
    msgpack_pack_uint64(&p, c->split.hi);
    msgpack_pack_uint64(&p, c->split.child);
    pack_bin(&p, gn_buf_bytes(&members));
    gn_buf_close(&members);
    return !out->failed;
}

bool gn_command_encode_merge(const gn_command *c, gn_buf *out)
{
    msgpack_packer p;
    gn_buf fields;
    gn_buf_init(&fields, NULL, 256);
    gn_buf_append_be64(&fields, c->merge.generation);
    gn_buf_append_be32(&fields, c->merge.lo);
    gn_buf_append_be32(&fields, c->merge.hi);
    gn_buf_append_be64(&fields, c->merge.other);
    gn_buf_append_be64(&fields, c->merge.other_generation);
    gn_buf_append_be32(&fields, c->merge.other_lo);
    gn_buf_append_be32(&fields, c->merge.other_hi);
    gn_buf_append_be64(&fields, c->merge.seals);
    gn_buf_append_be64(&fields, c->history);
    gn_buf_append_be64(&fields, c->last_scn);
    msgpack_packer_init(&p, out, gn_pack_write);
    pack_head(&p, out, MERGE_FIELDS, GN_COMMAND_MERGE, c);
    msgpack_pack_uint8(&p, (uint8_t)c->step);
    pack_bin(&p, gn_buf_bytes(&fields));
    pack_bin(&p, c->from);
    pack_bin(&p, c->to);
    pack_bin(&p, c->entries);
    gn_buf_close(&fields);
    return !out->failed;
}

bool gn_command_encode_sequence(const gn_command *c, gn_buf *out)
{
    msgpack_packer p;
    msgpack_packer_init(&p, out, gn_pack_write);
    pack_head(&p, out, SEQUENCE_FIELDS, GN_COMMAND_SEQUENCE, c);
    msgpack_pack_uint64(&p, c->sequence_id);
    msgpack_pack_uint8(&p, (uint8_t)c->op);
    msgpack_pack_int64(&p, c->start);
    msgpack_pack_int64(&p, c->value);
    return !out->failed;
}

/* Lengths that are known only later are written as 32 bits and patched. */
static void patch_be32(gn_buf *out, size_t at)
{
    GN_ASSERT(at + 4 <= out->len);
    uint32_t n = (uint32_t)(out->len - at - 4);
    for (int i = 0; i < 4; i++)
        out->data[at + (size_t)i] = (uint8_t)(n >> (24 - 8 * i));
}

/* Without a generation. */
static uint32_t fields_of(gn_command_kind kind)
{
    return kind == GN_COMMAND_DECIDE ? DECIDE_FIELDS : kind == GN_COMMAND_PREPARE ? PREPARE_FIELDS : TXN_FIELDS;
}

bool gn_command_begin_txn(const gn_command *c, gn_buf *out, size_t *patch)
{
    msgpack_packer p;
    msgpack_packer_init(&p, out, gn_pack_write);
    pack_head(&p, out, fields_of(c->kind) + (c->generation ? 1 : 0), c->kind, c);
    msgpack_pack_uint64(&p, c->start_scn);
    msgpack_pack_uint64(&p, c->branch);
    pack_bin(&p, c->tables);
    pack_bin(&p, c->reads);
    if (c->kind == GN_COMMAND_DECIDE)
        msgpack_pack_uint64(&p, c->scn);
    if (gn_command_is_part(c->kind))
        pack_bin(&p, c->groups);
    if (c->generation)
        msgpack_pack_uint64(&p, c->generation);
    gn_buf_append_u8(out, BIN32);
    *patch = out->len;
    return gn_buf_append_be32(out, 0);
}

bool gn_command_add_section(gn_buf *out, const gn_write_set *ws, uint64_t *n_writes)
{
    size_t before = out->len;
    gn_buf_reserve(out, ws->bytes + 16 * ws->run_n + 64); /* grow once for a large run, not by doubling towards it */
    gn_buf_append_varint(out, ws->desc->id);
    gn_buf_append_varint(out, ws->desc->data_epoch);
    size_t count = out->len;
    gn_buf_append_be64(out, 0);
    size_t patch = out->len;
    gn_buf_append_be32(out, 0);
    if (!gn_write_set_pack(ws, out, n_writes))
        return false;
    if (*n_writes == 0) {
        out->len = before;
        return true;
    }
    gn_put_be64(out->data + count, *n_writes);
    patch_be32(out, patch);
    return true;
}

bool gn_command_end_txn(gn_buf *out, size_t patch)
{
    if (!out->failed)
        patch_be32(out, patch);
    return !out->failed;
}

bool gn_section_next(gn_reader *r, gn_section *out)
{
    if (gn_reader_left(r) == 0 || r->failed)
        return false;
    out->table_id = gn_read_varint(r);
    out->epoch = gn_read_varint(r);
    out->n = gn_read_be64(r);
    uint32_t len = gn_read_be32(r);
    out->body = gn_read_bytes(r, len);
    return !r->failed;
}

static bool read_txn(gn_unpack *u, uint32_t fields, gn_command *c)
{
    uint32_t least = fields_of(c->kind);
    if (fields != least && fields != least + 1)
        return false;
    c->start_scn = gn_unpack_uint(u);
    c->branch = gn_unpack_uint(u);
    c->tables = gn_unpack_str(u);
    c->reads = gn_unpack_str(u);
    if (c->kind == GN_COMMAND_DECIDE)
        c->scn = gn_unpack_uint(u);
    if (gn_command_is_part(c->kind))
        c->groups = gn_unpack_str(u);
    if (fields > least)
        c->generation = gn_unpack_uint(u);
    c->writes = gn_unpack_str(u);
    return gn_unpack_done(u);
}

static bool read_sequence(gn_unpack *u, gn_command *c)
{
    c->sequence_id = gn_unpack_uint(u);
    uint64_t op = gn_unpack_uint(u);
    c->op = (gn_sequence_op)op;
    c->start = gn_unpack_int(u);
    c->value = gn_unpack_int(u);
    return gn_unpack_done(u) && op >= GN_SEQUENCE_NEXT && op <= GN_SEQUENCE_RETURN;
}

static bool read_split(gn_unpack *u, gn_command *c)
{
    gn_split *s = &c->split;
    s->generation = gn_unpack_uint(u);
    uint64_t lo = gn_unpack_uint(u), mid = gn_unpack_uint(u), hi = gn_unpack_uint(u);
    s->child = gn_unpack_uint(u);
    gn_reader members = gn_reader_of(gn_unpack_str(u));
    while (gn_reader_left(&members) > 0 && !members.failed && s->n_members < GN_SPLIT_MEMBERS)
        s->members[s->n_members++] = gn_read_varint(&members);
    s->lo = (uint32_t)lo;
    s->mid = (uint32_t)mid;
    s->hi = (uint32_t)hi;
    return gn_unpack_done(u) && lo < mid && mid < hi && hi <= GN_SLOTS && s->child != 0 && s->n_members > 0 &&
           !members.failed && gn_reader_left(&members) == 0;
}

static bool read_merge(gn_unpack *u, gn_command *c)
{
    uint64_t step = gn_unpack_uint(u);
    gn_reader r = gn_reader_of(gn_unpack_str(u));
    gn_merge *m = &c->merge;
    c->step = (gn_merge_step)step;
    m->generation = gn_read_be64(&r);
    m->lo = gn_read_be32(&r);
    m->hi = gn_read_be32(&r);
    m->other = gn_read_be64(&r);
    m->other_generation = gn_read_be64(&r);
    m->other_lo = gn_read_be32(&r);
    m->other_hi = gn_read_be32(&r);
    m->seals = gn_read_be64(&r);
    c->history = gn_read_be64(&r);
    c->last_scn = gn_read_be64(&r);
    c->from = gn_unpack_str(u);
    c->to = gn_unpack_str(u);
    c->entries = gn_unpack_str(u);
    bool whole = step != GN_MERGE_ADD && step != GN_MERGE_TAKE;
    return gn_unpack_done(u) && !r.failed && gn_reader_left(&r) == 0 && step >= GN_MERGE_RESERVE &&
           step <= GN_MERGE_ABANDON && m->other != 0 &&
           (!whole || (m->lo < m->hi && m->hi <= GN_SLOTS && m->other_lo < m->other_hi && m->other_hi <= GN_SLOTS &&
                       (m->hi == m->other_lo || m->other_hi == m->lo)));
}

static bool read_body(gn_unpack *u, uint32_t fields, gn_command *c)
{
    switch (c->kind) {
    case GN_COMMAND_TXN:
    case GN_COMMAND_PREPARE:
    case GN_COMMAND_DECIDE:
        return read_txn(u, fields, c);
    case GN_COMMAND_SEQUENCE:
        return fields == SEQUENCE_FIELDS && read_sequence(u, c);
    case GN_COMMAND_SPLIT:
        return fields == SPLIT_FIELDS && read_split(u, c);
    case GN_COMMAND_MERGE:
        return fields == MERGE_FIELDS && read_merge(u, c);
    case GN_COMMAND_COMMIT:
    case GN_COMMAND_ABORT:
    case GN_COMMAND_FORGET:
        c->scn = gn_unpack_uint(u);
        return fields == DECISION_FIELDS && gn_unpack_done(u) && (c->scn != 0) == (c->kind == GN_COMMAND_COMMIT);
    }
    return false;
}

gn_code gn_command_decode(gn_bytes bytes, gn_command *out, gn_error *err)
{
    gn_unpack u = gn_unpack_of(bytes);
    uint32_t fields = gn_unpack_array(&u, MOST_FIELDS);
    uint64_t version = gn_unpack_uint(&u);
    uint64_t kind = gn_unpack_uint(&u);
    *out = (gn_command){.kind = (gn_command_kind)kind, .from_clock = version == GN_COMMAND_VERSION_CLOCK};
    out->txn_id = gn_unpack_uint(&u);
    out->clock = gn_unpack_uint(&u);
    bool ok = !u.failed && (version == GN_COMMAND_VERSION || version == GN_COMMAND_VERSION_CLOCK) &&
              kind <= GN_COMMAND_DECIDE && out->txn_id != 0;
    ok = ok && read_body(&u, fields, out);
    return ok ? GN_OK : gn_error_set(err, GN_CORRUPT, "a command in the log is malformed");
}
