/* See prepared_private.h: the list, its records, and who is in whose way. */
#include "base/assert.h"
#include "base/versions.h"
#include "shard/prepared_private.h"
#include "shard/shard_private.h"

#include <stdlib.h>

enum { RECORD_VERSION = GN_FORMAT_PREPARED, TABLE_CAP = 256, GROUPS_MAX = 65536 };
enum { CATALOG_KEY_MAX = 64 };

/* ---- memory ---- */

static void prepared_free(gn_prepared *p)
{
    free(p->groups);
    free(p->rowids);
    free(p->footprint);
    gn_read_set_close(&p->writes);
    gn_read_set_close(&p->held);
    free(p);
}

static void decided_free(gn_decided *d)
{
    free(d->groups);
    free(d);
}

static void clear(gn_prepared_list *list)
{
    for (gn_prepared *p = list->first, *next; p; p = next) {
        next = p->next;
        prepared_free(p);
    }
    for (size_t i = 0; i < list->table_cap; i++)
        for (gn_decided *d = list->table[i], *next; d; d = next) {
            next = d->next;
            decided_free(d);
        }
    free(list->table);
    free(list->aborts);
    list->first = NULL;
    list->table = gn_xcalloc(TABLE_CAP, sizeof(gn_decided *));
    list->table_cap = TABLE_CAP;
    list->aborts = NULL;
    list->n_decided = list->aborts_at = list->n_aborts = list->cap_aborts = 0;
    list->abort_floor = 0;
    list->n = list->n_defines = 0;
}

void gn_prepared_init(gn_prepared_list *list, gn_shard *shard)
{
    *list = (gn_prepared_list){.shard = shard};
    gn_wait_room_init(&list->room, shard->world);
    clear(list);
}

void gn_prepared_close(gn_prepared_list *list)
{
    clear(list);
    free(list->table);
    gn_wait_room_close(&list->room);
}

/* ---- what was decided ---- */

static gn_decided **decided_slot(gn_prepared_list *list, uint64_t txn_id)
{
    gn_decided **at = &list->table[(txn_id * 0x9e3779b97f4a7c15ull >> 20) & (list->table_cap - 1)];
    while (*at && (*at)->txn_id != txn_id)
        at = &(*at)->next;
    return at;
}

gn_decided *gn_decided_find(gn_prepared_list *list, uint64_t txn_id)
{
    return *decided_slot(list, txn_id);
}

static void grow_table(gn_prepared_list *list)
{
    gn_decided **old = list->table;
    size_t cap = list->table_cap;
    list->table_cap = 2 * cap;
    list->table = gn_xcalloc(list->table_cap, sizeof(gn_decided *));
    for (size_t i = 0; i < cap; i++)
        for (gn_decided *d = old[i], *next; d; d = next) {
            next = d->next;
            d->next = NULL;
            *decided_slot(list, d->txn_id) = d;
        }
    free(old);
}

static uint64_t *copy_groups(const uint64_t *groups, uint32_t n)
{
    uint64_t *copy = n ? gn_xcalloc(n, sizeof *copy) : NULL;
    if (n)
        memcpy(copy, groups, n * sizeof *copy);
    return copy;
}

static void push_abort(gn_prepared_list *list, gn_decided *d)
{
    if (list->aborts_at > 64 && list->aborts_at > list->n_aborts / 2) {
        list->n_aborts -= list->aborts_at;
        memmove(list->aborts, list->aborts + list->aborts_at, list->n_aborts * sizeof(gn_decided *));
        list->aborts_at = 0;
    }
    if (list->n_aborts == list->cap_aborts) {
        list->cap_aborts = list->cap_aborts ? 2 * list->cap_aborts : 64;
        list->aborts = gn_xrealloc(list->aborts, list->cap_aborts * sizeof(gn_decided *));
    }
    list->aborts[list->n_aborts++] = d;
}

void gn_decided_add(gn_prepared_list *list, uint64_t txn_id, gn_decision_state state, gn_scn scn,
                    const uint64_t *groups, uint32_t n_groups)
{
    gn_decided *d = gn_xcalloc(1, sizeof *d);
    *d = (gn_decided){.txn_id = txn_id, .state = state, .scn = scn, .n_groups = n_groups};
    d->groups = copy_groups(groups, n_groups);
    d->since_ns = gn_now_ns(list->shard->world);
    pthread_mutex_lock(&list->room.lock);
    if (list->n_decided++ == list->table_cap)
        grow_table(list);
    gn_decided **at = decided_slot(list, txn_id);
    GN_ASSERT(!*at);
    *at = d;
    if (state == GN_ABORTED)
        push_abort(list, d);
    pthread_mutex_unlock(&list->room.lock);
}

void gn_decided_remove(gn_prepared_list *list, uint64_t txn_id)
{
    pthread_mutex_lock(&list->room.lock);
    gn_decided **at = decided_slot(list, txn_id), *d = *at;
    GN_ASSERT(d);
    if (d->state == GN_ABORTED) { /* only the oldest go */
        GN_ASSERT(list->aborts[list->aborts_at] == d);
        list->aborts_at++;
    }
    *at = d->next;
    list->n_decided--;
    pthread_mutex_unlock(&list->room.lock);
    decided_free(d);
}

/* ---- records ---- */

bool gn_prepared_pack(gn_scn scn, const gn_first_rowid *rowids, size_t n, const gn_recent_commit *footprint,
                      gn_bytes command, gn_buf *out)
{
    gn_buf_append_u8(out, RECORD_VERSION);
    gn_buf_append_be64(out, scn);
    gn_buf_append_varint(out, n);
    for (size_t i = 0; i < n; i++) {
        gn_buf_append_varint(out, rowids[i].table_id);
        gn_buf_append_varint(out, rowids[i].rowid);
    }
    gn_buf_append_varbytes(out, gn_bytes_of(footprint->sections, footprint->len));
    return gn_buf_append_bytes(out, command);
}

static bool read_groups(gn_bytes bytes, gn_prepared *p)
{
    gn_reader r = gn_reader_of(bytes);
    p->groups = gn_xcalloc(bytes.len + 1, sizeof *p->groups);
    while (gn_reader_left(&r) > 0 && !r.failed && p->n_groups < GROUPS_MAX)
        p->groups[p->n_groups++] = gn_read_varint(&r);
    return !r.failed && gn_reader_left(&r) == 0 && p->n_groups > 0;
}

static bool read_head(gn_reader *r, gn_prepared *p)
{
    bool ok = gn_read_u8(r) == RECORD_VERSION;
    p->scn = gn_read_be64(r);
    uint64_t n = gn_read_varint(r);
    if (!ok || r->failed || n > gn_reader_left(r))
        return false;
    p->rowids = gn_xcalloc(n + 1, sizeof *p->rowids);
    for (; p->n_rowids < n && !r->failed; p->n_rowids++) {
        p->rowids[p->n_rowids].table_id = gn_read_varint(r);
        p->rowids[p->n_rowids].rowid = gn_read_varint(r);
    }
    gn_bytes sections = gn_read_varbytes(r);
    if (r->failed)
        return false;
    p->footprint = gn_xmalloc(sizeof *p->footprint + sections.len);
    *p->footprint = (gn_recent_commit){.scn = p->scn, .txn_id = p->txn_id, .len = sections.len};
    if (sections.len)
        memcpy(p->footprint->sections, sections.data, sections.len);
    return true;
}

gn_code gn_prepared_command(gn_bytes record, gn_bytes *command, gn_error *err)
{
    gn_prepared p = {0};
    gn_reader r = gn_reader_of(record);
    bool ok = read_head(&r, &p);
    *command = gn_bytes_of(r.p, gn_reader_left(&r));
    free(p.rowids);
    free(p.footprint);
    return ok ? GN_OK : gn_error_set(err, GN_CORRUPT, "the record of a prepared transaction is malformed");
}

static void hold_definition(gn_prepared *p, uint64_t table_id)
{
    uint8_t bytes[CATALOG_KEY_MAX];
    gn_buf key = {.data = bytes, .cap = sizeof bytes, .max = sizeof bytes};
    gn_space catalog = gn_catalog_space(p->branch);
    if (gn_catalog_key(table_id, &key, NULL) == GN_OK)
        gn_read_set_point(&p->held, &catalog, gn_buf_bytes(&key));
}

/* What is held follows from the record. Definitions are changed by one at a time, since names are unique over all. */
static bool hold(gn_prepared *p, const gn_command *c)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_read_set reads;
    bool ok = gn_read_set_unpack(c->reads, arena, &reads, NULL) == GN_OK &&
              gn_recent_footprint(p->footprint, &p->writes) && gn_recent_footprint(p->footprint, &p->held);
    if (ok)
        gn_read_set_add(&p->held, &reads);
    gn_reader r = gn_reader_of(c->tables);
    while (ok && gn_reader_left(&r) > 0 && !r.failed)
        hold_definition(p, gn_read_varint(&r));
    r = gn_reader_of(c->writes);
    gn_section s;
    while (ok && gn_section_next(&r, &s)) {
        p->defines |= s.table_id == GN_CATALOG_TABLE;
        hold_definition(p, s.table_id);
    }
    if (p->defines) {
        gn_space catalog = gn_catalog_space(p->branch);
        gn_read_set_range(&p->held, &catalog, &(gn_key_span){.end_open = true});
    }
    gn_read_set_sort(&p->writes);
    gn_read_set_sort(&p->held);
    gn_arena_destroy(arena);
    return ok;
}

gn_code gn_prepared_add(gn_prepared_list *list, uint64_t txn_id, gn_bytes record, uint64_t index, gn_error *err)
{
    gn_prepared *p = gn_xcalloc(1, sizeof *p);
    p->txn_id = txn_id;
    p->index = index;
    gn_reader r = gn_reader_of(record);
    gn_command c;
    bool ok = read_head(&r, p) && gn_command_decode(gn_bytes_of(r.p, gn_reader_left(&r)), &c, err) == GN_OK &&
              c.kind == GN_COMMAND_PREPARE && c.txn_id == txn_id && read_groups(c.groups, p);
    if (ok) {
        p->start_scn = c.start_scn;
        p->branch = c.branch;
        ok = hold(p, &c);
    }
    if (!ok) {
        prepared_free(p);
        return gn_error_set(err, GN_CORRUPT, "the record of a prepared transaction is malformed");
    }
    p->since_ns = gn_now_ns(list->shard->world);
    pthread_mutex_lock(&list->room.lock);
    p->next = list->first;
    list->first = p;
    list->n++;
    list->n_defines += p->defines;
    pthread_mutex_unlock(&list->room.lock);
    return GN_OK;
}

/* ---- from the store ---- */

static gn_code load_decision(gn_prepared_list *list, uint64_t txn_id, gn_bytes value, gn_error *err)
{
    gn_reader r = gn_reader_of(value);
    bool ok = gn_read_u8(&r) == RECORD_VERSION;
    if (ok && txn_id == 0) {
        list->abort_floor = gn_read_be64(&r);
    } else if (ok) {
        uint8_t state = gn_read_u8(&r);
        gn_scn scn = gn_read_be64(&r);
        uint64_t n = gn_read_varint(&r);
        ok = (state == GN_COMMITTED || state == GN_ABORTED) && n <= gn_reader_left(&r) && n < GROUPS_MAX && !r.failed;
        uint64_t *groups = gn_xcalloc(ok ? n + 1 : 1, sizeof *groups);
        for (uint64_t i = 0; ok && i < n; i++)
            groups[i] = gn_read_varint(&r);
        if (ok && !r.failed)
            gn_decided_add(list, txn_id, (gn_decision_state)state, scn, groups, (uint32_t)n);
        free(groups);
    }
    return ok && !r.failed ? GN_OK : gn_error_set(err, GN_CORRUPT, "the record of a decision is malformed");
}

static int by_scn(const void *a, const void *b)
{
    const gn_decided *x = *(gn_decided *const *)a, *y = *(gn_decided *const *)b;
    return x->scn < y->scn ? -1 : x->scn > y->scn;
}

static gn_code load_kind(gn_prepared_list *list, gn_store *store, uint8_t kind, gn_error *err)
{
    const uint8_t upper = kind + 1;
    gn_store_iter iter;
    gn_store_iter_open(&iter, store, gn_bytes_of(&kind, 1), gn_bytes_of(&upper, 1), false);
    gn_code code = GN_OK;
    rocksdb_iter_seek_to_first(iter.it);
    for (; code == GN_OK && gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it)) {
        gn_bytes key = gn_store_iter_key(&iter), value = gn_store_iter_value(&iter);
        uint64_t txn_id = key.len == 9 ? gn_get_be64(key.data + 1) : 0;
        code = kind == GN_KIND_PREPARED ? gn_prepared_add(list, txn_id, value, 0, err)
                                        : load_decision(list, txn_id, value, err);
    }
    if (code == GN_OK)
        code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    return code;
}

gn_code gn_prepared_load(gn_prepared_list *list, gn_store *store, gn_error *err)
{
    pthread_mutex_lock(&list->room.lock);
    clear(list);
    list->published++;
    gn_wait_room_wake(&list->room, UINT64_MAX);
    pthread_mutex_unlock(&list->room.lock);
    gn_code code = load_kind(list, store, GN_KIND_PREPARED, err);
    if (code == GN_OK)
        code = load_kind(list, store, GN_KIND_DECISION, err);
    if (list->n_aborts)
        qsort(list->aborts, list->n_aborts, sizeof(gn_decided *), by_scn);
    return code;
}

/* ---- the queue's ---- */

gn_prepared *gn_prepared_find(gn_prepared_list *list, uint64_t txn_id)
{
    gn_prepared *p = list->first;
    while (p && (p->txn_id != txn_id || p->decided))
        p = p->next;
    return p;
}

void gn_prepared_mark_decided(gn_prepared_list *list, gn_prepared *p)
{
    pthread_mutex_lock(&list->room.lock);
    p->decided = true;
    pthread_mutex_unlock(&list->room.lock);
}

void gn_prepared_publish(gn_prepared_list *list)
{
    if (!gn_prepared_any(list))
        return;
    gn_prepared *gone = NULL;
    pthread_mutex_lock(&list->room.lock);
    for (gn_prepared **at = &list->first; *at;) {
        gn_prepared *p = *at;
        if (!p->decided) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        p->next = gone;
        gone = p;
        list->n--;
        list->n_defines -= p->defines;
    }
    if (gone) {
        list->published++;
        gn_wait_room_wake(&list->room, UINT64_MAX);
    }
    pthread_mutex_unlock(&list->room.lock);
    for (gn_prepared *next; gone; gone = next) {
        next = gone->next;
        prepared_free(gone);
    }
}

gn_scn gn_prepared_closed(gn_prepared_list *list, gn_scn last_scn)
{
    for (const gn_prepared *p = gn_prepared_any(list) ? list->first : NULL; p; p = p->next)
        if (!p->decided && p->scn < last_scn)
            last_scn = p->scn;
    return last_scn;
}

/* ---- conflicts ---- */

static bool writes_key(const gn_prepared *p, const gn_space *space, gn_bytes key)
{
    const gn_read_space *rs = gn_read_set_space(&p->writes, space);
    return rs && gn_read_space_has(rs, key);
}

static bool redefines(const gn_prepared *p, uint64_t table_id)
{
    uint8_t bytes[CATALOG_KEY_MAX];
    gn_buf key = {.data = bytes, .cap = sizeof bytes, .max = sizeof bytes};
    gn_space catalog = gn_catalog_space(p->branch);
    return gn_catalog_key(table_id, &key, NULL) == GN_OK && writes_key(p, &catalog, gn_buf_bytes(&key));
}

/* Does it write what the command relies on? */
static bool meets_reads(const gn_prepared *p, const gn_command *c, const gn_read_set *reads)
{
    if (gn_recent_conflicts(p->footprint, reads))
        return true;
    if (!p->defines)
        return false;
    gn_reader r = gn_reader_of(c->tables);
    while (gn_reader_left(&r) > 0 && !r.failed)
        if (redefines(p, gn_read_varint(&r)))
            return true;
    r = gn_reader_of(c->writes);
    gn_section s;
    while (gn_section_next(&r, &s))
        if (s.table_id == GN_CATALOG_TABLE || redefines(p, s.table_id))
            return true;
    return false;
}

static gn_code conflict(gn_error *err)
{
    gn_error_set(err, GN_SERIALIZATION, "could not serialize access: another transaction is about to commit");
    gn_error_hint(err, "The transaction might succeed if retried.");
    return GN_SERIALIZATION;
}

gn_code gn_prepared_check_reads(gn_prepared_list *list, const gn_command *command, const gn_read_set *reads,
                                gn_error *err)
{
    for (const gn_prepared *p = list->first; p; p = p->next)
        if (!p->decided && meets_reads(p, command, reads))
            return conflict(err);
    return GN_OK;
}

gn_code gn_prepared_check_writes(gn_prepared_list *list, const gn_recent_commit *writes, gn_error *err)
{
    for (const gn_prepared *p = list->first; p; p = p->next)
        if (!p->decided && gn_recent_conflicts(writes, &p->held))
            return conflict(err);
    return GN_OK;
}

bool gn_prepared_writes(gn_prepared_list *list, const gn_space *space, gn_bytes key)
{
    for (const gn_prepared *p = gn_prepared_any(list) ? list->first : NULL; p; p = p->next)
        if (!p->decided && writes_key(p, space, key))
            return true;
    return false;
}

/* ---- waiting ---- */

static void tell(gn_prepared_list *list, uint64_t txn_id, uint64_t primary, uint64_t since_ns)
{
    gn_shard *shard = list->shard;
    shard->unresolved(shard->unresolved_ctx, shard, txn_id, primary, gn_now_ns(shard->world) - since_ns);
}

/* Under the lock: whether it is time to tell; noted as done. */
static bool overdue(const gn_prepared_list *list, uint64_t since_ns, uint64_t *told_ns)
{
    uint64_t now = gn_now_ns(list->shard->world), limit = list->shard->unresolved_after_ns;
    uint64_t last = *told_ns ? *told_ns : since_ns;
    if (!list->shard->unresolved || now - last < limit)
        return false;
    *told_ns = now;
    return true;
}

static bool leads(gn_shard *shard)
{
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_raft_status_get(shard->group, status);
    bool yes = status->leads;
    free(status);
    return yes;
}

/* Under the lock, which it leaves meanwhile. */
static gn_code await(gn_prepared_list *list, gn_prepared *p, const gn_patience *patience, gn_error *err)
{
    uint64_t txn_id = p->txn_id, primary = p->groups[0], since_ns = p->since_ns;
    bool tells = overdue(list, p->since_ns, &p->told_ns);
    gn_code code = gn_shard_failed(list->shard);
    gn_counter_add(list->shard->metrics.decision_waits, 1);
    if (code == GN_OK && list->shard->leaves) /* it does not hear of the decision any more */
        return gn_error_set(err, GN_SERIALIZATION,
                            "could not serialize access: this replica of group %llu has been removed",
                            (unsigned long long)list->shard->group_id);
    if (code == GN_OK)
        code = gn_wait_room_wait(&list->room, 0, patience);
    if (tells) {
        pthread_mutex_unlock(&list->room.lock);
        if (leads(list->shard))
            tell(list, txn_id, primary, since_ns);
        pthread_mutex_lock(&list->room.lock);
    }
    if (code != GN_OK)
        gn_error_set(err, code, "%s while waiting for transaction %016llx, which group %llu is to decide",
                     gn_code_text(code), (unsigned long long)txn_id, (unsigned long long)primary);
    return code;
}

bool gn_prepared_before(gn_prepared_list *list, gn_scn scn)
{
    if (!gn_prepared_any(list))
        return false;
    pthread_mutex_lock(&list->room.lock);
    const gn_prepared *p = list->first;
    while (p && p->scn >= scn)
        p = p->next;
    pthread_mutex_unlock(&list->room.lock);
    return p != NULL;
}

gn_code gn_prepared_await_read(gn_prepared_list *list, gn_scn scn, const gn_space *space, const gn_key_span *span,
                               const gn_patience *patience, uint64_t *published, bool *none, gn_error *err)
{
    gn_code code = GN_OK;
    pthread_mutex_lock(&list->room.lock);
    for (bool again = true; code == GN_OK && again;) {
        again = false;
        *none = true;
        for (gn_prepared *p = list->first; p && !again; p = p->next) {
            if (p->scn >= scn)
                continue;
            *none = false;
            const gn_read_space *rs = gn_read_set_space(&p->writes, space);
            again = rs && gn_read_space_overlaps(rs, span);
            if (again) {
                code = await(list, p, patience, err);
                break;
            }
        }
    }
    *published = list->published;
    pthread_mutex_unlock(&list->room.lock);
    return code;
}

gn_code gn_prepared_await_definitions(gn_prepared_list *list, gn_scn scn, const gn_patience *patience, gn_error *err)
{
    gn_code code = GN_OK;
    if (!gn_prepared_any(list))
        return GN_OK;
    pthread_mutex_lock(&list->room.lock);
    while (code == GN_OK) {
        gn_prepared *p = list->first;
        while (p && !(p->defines && p->scn < scn))
            p = p->next;
        if (!p)
            break;
        code = await(list, p, patience, err);
    }
    pthread_mutex_unlock(&list->room.lock);
    return code;
}

/* Rows only, and of a large command not all: what is missed is found when it is applied. */
static bool meets_rows(const gn_prepared *p, const gn_command *c)
{
    enum { LOOK_AT = 4096 };
    gn_reader r = gn_reader_of(c->writes);
    gn_section s;
    uint64_t n = 0;
    while (gn_section_next(&r, &s)) {
        gn_space space = {.kind = GN_KIND_ROW, .id = s.table_id, .epoch = s.epoch, .branch = c->branch};
        const gn_read_space *rs = gn_read_set_space(&p->held, &space);
        gn_reader body = gn_reader_of(s.body);
        gn_write w;
        for (uint64_t i = 0; rs && i < s.n && n < LOOK_AT && gn_write_unpack(&body, &w); i++, n++)
            if (gn_read_space_has(rs, w.key))
                return true;
    }
    return false;
}

bool gn_prepared_goes_before(uint64_t txn_id, uint64_t other)
{
    const uint64_t scatter = 0x9e3779b97f4a7c15ull; /* odd, so no two are the same */
    return txn_id * scatter < other * scatter;
}

gn_code gn_prepared_await_write(gn_prepared_list *list, gn_bytes command, const gn_patience *patience, gn_error *err)
{
    if (!gn_prepared_any(list))
        return GN_OK;
    gn_command c;
    gn_read_set reads;
    gn_arena *arena = gn_arena_create(NULL);
    gn_code code = gn_command_decode(command, &c, err);
    if (code == GN_OK)
        code = gn_read_set_unpack(c.reads, arena, &reads, err);
    pthread_mutex_lock(&list->room.lock);
    while (code == GN_OK) {
        gn_prepared *p = list->first;
        while (p && (p->decided || p->txn_id == c.txn_id || !(meets_reads(p, &c, &reads) || meets_rows(p, &c))))
            p = p->next;
        if (!p)
            break;
        if (gn_command_is_part(c.kind) && !gn_prepared_goes_before(c.txn_id, p->txn_id))
            code = conflict(err);
        else if (!list->shard->leader.ask && !leads(list->shard)) /* it may never hear of the decision */
            code = gn_error_set(err, GN_NOT_LEADER, "%s", gn_code_text(GN_NOT_LEADER));
        else
            code = await(list, p, patience, err);
    }
    pthread_mutex_unlock(&list->room.lock);
    gn_arena_destroy(arena);
    return code;
}

/* ---- asking ---- */

void gn_decision_close(gn_decision *decision)
{
    free(decision->groups);
    *decision = (gn_decision){0};
}

gn_code gn_prepared_decision(gn_prepared_list *list, uint64_t txn_id, gn_decision *out)
{
    *out = (gn_decision){.state = GN_UNKNOWN_TXN};
    pthread_mutex_lock(&list->room.lock);
    const gn_prepared *p = gn_prepared_find(list, txn_id);
    const gn_decided *d = gn_decided_find(list, txn_id);
    if (d)
        *out = (gn_decision){d->state, d->scn, copy_groups(d->groups, d->n_groups), d->n_groups};
    else if (p)
        *out = (gn_decision){GN_PREPARED, p->scn, copy_groups(p->groups, p->n_groups), p->n_groups};
    pthread_mutex_unlock(&list->room.lock);
    return GN_OK;
}

static void tell_waiting(gn_prepared_list *list, bool all)
{
    enum { AT_ONCE = 64 };
    struct {
        uint64_t txn_id, primary, since_ns;
    } late[AT_ONCE];
    size_t n = 0;
    if (!list->shard->unresolved || (!all && !leads(list->shard)))
        return;
    pthread_mutex_lock(&list->room.lock);
    for (gn_prepared *p = list->first; p && n < AT_ONCE; p = p->next)
        if (!p->decided && (all || overdue(list, p->since_ns, &p->told_ns))) {
            late[n].txn_id = p->txn_id;
            late[n].since_ns = p->since_ns;
            late[n++].primary = p->groups[0];
        }
    for (size_t i = 0; list->n_decided > list->n_aborts - list->aborts_at && i < list->table_cap; i++)
        for (gn_decided *d = list->table[i]; d && n < AT_ONCE; d = d->next)
            if (d->state == GN_COMMITTED && (all || overdue(list, d->since_ns, &d->told_ns))) {
                late[n].txn_id = d->txn_id;
                late[n].since_ns = d->since_ns;
                late[n++].primary = list->shard->group_id;
            }
    pthread_mutex_unlock(&list->room.lock);
    for (size_t i = 0; i < n; i++)
        tell(list, late[i].txn_id, late[i].primary, late[i].since_ns);
}

void gn_prepared_tell_overdue(gn_prepared_list *list)
{
    tell_waiting(list, false);
}

uint64_t gn_shard_undecided_for(gn_shard *shard)
{
    gn_prepared_list *list = &shard->prepared;
    uint64_t now = gn_now_ns(shard->world), longest = 0;
    pthread_mutex_lock(&list->room.lock);
    for (const gn_prepared *p = list->first; p; p = p->next)
        if (!p->decided && now - p->since_ns >= longest)
            longest = now - p->since_ns + 1;
    pthread_mutex_unlock(&list->room.lock);
    return longest;
}

void gn_shard_tell_unresolved(gn_shard *shard)
{
    tell_waiting(&shard->prepared, true);
}
