#include "base/assert.h"
#include "shard/mvcc_private.h"

#include <stdlib.h>

/* So many versions of a key are stepped over before a seek is thought cheaper. */
enum { STEPS_BEFORE_SEEK = 6 };

/* ---- one key ---- */

void gn_point_open(gn_point_reader *reader, gn_store *store)
{
    *reader = (gn_point_reader){.store = store};
    gn_buf_init(&reader->seek, NULL, GN_STORE_KEY_MAX);
}

void gn_point_close(gn_point_reader *reader)
{
    if (reader->it)
        rocksdb_iter_destroy(reader->it);
    if (reader->pinned)
        rocksdb_pinnableslice_destroy(reader->pinned);
    if (reader->store)
        gn_buf_close(&reader->seek);
    *reader = (gn_point_reader){0};
}

gn_code gn_point_get_version(gn_point_reader *reader, const gn_space *space, gn_bytes key, gn_scn scn, gn_bytes *row,
                             bool *found, gn_error *err)
{
    char *message = NULL;
    bool dead = true;
    gn_code code = GN_OK;
    if (reader->pinned)
        rocksdb_pinnableslice_destroy(reader->pinned);
    gn_version_key(&reader->seek, space, key, scn);
    reader->pinned = rocksdb_get_pinned(reader->store->db, reader->store->point, (const char *)reader->seek.data,
                                        reader->seek.len, &message);
    if (message)
        code = gn_store_check(message, "could not read the shard's store", err);
    if (reader->pinned) {
        size_t len;
        const char *value = rocksdb_pinnableslice_value(reader->pinned, &len);
        code = gn_value_open(gn_bytes_of(value, len), &dead, row, err);
    }
    *found = code == GN_OK && reader->pinned && !dead;
    return code;
}

gn_code gn_point_get(gn_point_reader *reader, const gn_space *space, const gn_chain *chain, gn_bytes key,
                     gn_version *out, bool *found, gn_error *err)
{
    *found = false;
    if (!reader->it)
        reader->it = rocksdb_create_iterator(reader->store->db, reader->store->point);
    for (size_t i = 0; i < chain->n; i++) {
        gn_space in = *space;
        in.branch = chain->links[i].branch;
        gn_version_key(&reader->seek, &in, key, chain->links[i].scn);
        rocksdb_iter_seek(reader->it, (const char *)reader->seek.data, reader->seek.len);
        if (!rocksdb_iter_valid(reader->it)) {
            char *message = NULL;
            rocksdb_iter_get_error(reader->it, &message);
            gn_code code = gn_store_check(message, "could not read the shard's store", err);
            if (code != GN_OK)
                return code;
            continue;
        }
        size_t len;
        const char *at = rocksdb_iter_key(reader->it, &len);
        gn_bytes k = gn_bytes_of(at, len);
        if (len != reader->seek.len || !gn_bytes_eq(gn_version_stem(k), gn_version_stem(gn_buf_bytes(&reader->seek))))
            continue;
        const char *value = rocksdb_iter_value(reader->it, &len);
        bool dead;
        gn_code code = gn_value_open(gn_bytes_of(value, len), &dead, &out->row, err);
        out->scn = gn_version_scn(k);
        *found = code == GN_OK && !dead;
        return code;
    }
    return GN_OK;
}

/* ---- one branch of a range ---- */

static bool same_stem(const gn_mvcc_link *link, gn_bytes key)
{
    return key.len == link->stem.len + GN_VERSION_SUFFIX && memcmp(key.data, link->stem.data, link->stem.len) == 0;
}

static void seek_stem(gn_mvcc_link *link, gn_scn scn)
{
    size_t len = link->stem.len;
    gn_buf_append_be64(&link->stem, ~scn);
    rocksdb_iter_seek(link->iter.it, (const char *)link->stem.data, link->stem.len);
    link->stem.len = len;
}

static void set_stem(gn_mvcc_link *link, gn_bytes key)
{
    gn_buf_clear(&link->stem);
    gn_buf_append_bytes(&link->stem, gn_version_stem(key));
    GN_ASSERT(!link->stem.failed);
}

/* From the newest version of some key on: the first key with a version that is seen, and that version. */
static void settle_forward(gn_mvcc_link *link)
{
    unsigned steps = 0;
    bool fresh = true; /* at a key whose stem has not been taken yet */
    for (; gn_store_iter_valid(&link->iter); rocksdb_iter_next(link->iter.it)) {
        gn_bytes key = gn_store_iter_key(&link->iter);
        if (fresh || !same_stem(link, key)) {
            set_stem(link, key);
            fresh = false;
            steps = 0;
        }
        link->version = gn_version_scn(key);
        if (link->version <= link->scn) {
            link->value = gn_store_iter_value(&link->iter);
            return;
        }
        if (++steps > STEPS_BEFORE_SEEK) {
            seek_stem(link, link->scn);
            if (!gn_store_iter_valid(&link->iter))
                break;
            key = gn_store_iter_key(&link->iter);
            if (!same_stem(link, key))
                set_stem(link, key);
            link->version = gn_version_scn(key);
            steps = 0;
            if (link->version <= link->scn) {
                link->value = gn_store_iter_value(&link->iter);
                return;
            }
        }
    }
    link->done = true;
}

static void next_forward(gn_mvcc_link *link)
{
    for (unsigned steps = 0;; steps++) {
        rocksdb_iter_next(link->iter.it);
        if (!gn_store_iter_valid(&link->iter) || !same_stem(link, gn_store_iter_key(&link->iter)))
            break;
        if (steps == STEPS_BEFORE_SEEK) { /* SCN 0 is never written: its place is behind all versions */
            seek_stem(link, 0);
            break;
        }
    }
    settle_forward(link);
}

/* From the oldest version of some key on, backwards: keeps the newest version seen; ends on the key before. */
static void settle_reverse(gn_mvcc_link *link)
{
    while (gn_store_iter_valid(&link->iter)) {
        set_stem(link, gn_store_iter_key(&link->iter));
        bool found = false;
        unsigned steps = 0;
        for (; gn_store_iter_valid(&link->iter); rocksdb_iter_prev(link->iter.it)) {
            gn_bytes key = gn_store_iter_key(&link->iter);
            if (!same_stem(link, key))
                break;
            if (gn_version_scn(key) > link->scn) {
                if (++steps > STEPS_BEFORE_SEEK) { /* the stem itself lies before all its versions */
                    rocksdb_iter_seek_for_prev(link->iter.it, (const char *)link->stem.data, link->stem.len);
                    break;
                }
                continue;
            }
            found = true;
            link->version = gn_version_scn(key);
            gn_buf_clear(&link->copy);
            gn_buf_append_bytes(&link->copy, gn_store_iter_value(&link->iter));
            GN_ASSERT(!link->copy.failed);
        }
        if (found) {
            link->value = gn_buf_bytes(&link->copy);
            return;
        }
    }
    link->done = true;
}

static void link_open(gn_mvcc_link *link, gn_store *store, const gn_space *space, const gn_key_span *span)
{
    uint8_t prefix[GN_SPACE_PREFIX_MAX];
    size_t n = gn_space_prefix(space, prefix);
    gn_buf lower, upper;
    gn_buf_init(&lower, NULL, GN_STORE_KEY_MAX);
    gn_buf_init(&upper, NULL, GN_STORE_KEY_MAX);
    gn_buf_append(&lower, prefix, n);
    gn_buf_append_bytes(&lower, span->start);
    gn_buf_append(&upper, prefix, n);
    if (span->end_open)
        upper.len = gn_prefix_successor(upper.data, upper.len);
    else
        gn_buf_append_bytes(&upper, span->end);
    GN_ASSERT(!lower.failed && !upper.failed);
    gn_store_iter_open(&link->iter, store, gn_buf_bytes(&lower), gn_buf_bytes(&upper), true);
    gn_buf_close(&lower);
    gn_buf_close(&upper);
    link->prefix = n;
    gn_buf_init(&link->stem, NULL, GN_STORE_KEY_MAX);
    gn_buf_init(&link->copy, NULL, (size_t)GN_MAX_ROW + GN_ROW_HEADER);
}

/* ---- all branches of a range ---- */

void gn_mvcc_open(gn_mvcc_cursor *cursor, gn_store *store, const gn_space *space, const gn_chain *chain,
                  const gn_key_span *span, bool reverse)
{
    GN_ASSERT(chain->n > 0 && chain->n <= GN_MAX_CHAIN);
    *cursor = (gn_mvcc_cursor){.n = chain->n, .reverse = reverse};
    cursor->links = gn_xcalloc(chain->n, sizeof *cursor->links);
    for (size_t i = 0; i < chain->n; i++) {
        gn_space in = *space;
        in.branch = chain->links[i].branch;
        cursor->links[i].scn = chain->links[i].scn;
        link_open(&cursor->links[i], store, &in, span);
    }
}

void gn_mvcc_close(gn_mvcc_cursor *cursor)
{
    for (size_t i = 0; i < cursor->n; i++) {
        gn_store_iter_close(&cursor->links[i].iter);
        gn_buf_close(&cursor->links[i].stem);
        gn_buf_close(&cursor->links[i].copy);
    }
    free(cursor->links);
    *cursor = (gn_mvcc_cursor){0};
}

static void link_start(gn_mvcc_link *link, bool reverse)
{
    if (reverse) {
        rocksdb_iter_seek_to_last(link->iter.it);
        settle_reverse(link);
    } else {
        rocksdb_iter_seek_to_first(link->iter.it);
        settle_forward(link);
    }
}

static void link_next(gn_mvcc_link *link, bool reverse)
{
    link->used = false;
    if (reverse)
        settle_reverse(link);
    else
        next_forward(link);
}

static gn_bytes link_key(const gn_mvcc_link *link)
{
    return gn_bytes_of(link->stem.data + link->prefix, link->stem.len - link->prefix);
}

/* The link with the foremost key, the nearest branch among equals; the others with that key are used up with it. */
static gn_mvcc_link *foremost(gn_mvcc_cursor *cursor)
{
    gn_mvcc_link *best = NULL;
    for (size_t i = 0; i < cursor->n; i++) {
        gn_mvcc_link *link = &cursor->links[i];
        if (link->done)
            continue;
        int c = best ? gn_bytes_cmp(link_key(link), link_key(best)) : 0;
        if (!best || (cursor->reverse ? c > 0 : c < 0))
            best = link;
    }
    for (size_t i = 0; best && i < cursor->n; i++) {
        gn_mvcc_link *link = &cursor->links[i];
        if (!link->done && (link == best || gn_bytes_eq(link_key(link), link_key(best))))
            link->used = true;
    }
    return best;
}

static gn_code links_status(const gn_mvcc_cursor *cursor, gn_error *err)
{
    for (size_t i = 0; i < cursor->n; i++) {
        gn_code code = gn_store_iter_status(&cursor->links[i].iter, err);
        if (code != GN_OK)
            return code;
    }
    return GN_NO_DATA;
}

gn_code gn_mvcc_next(gn_mvcc_cursor *cursor, gn_bytes *key, gn_version *out, gn_error *err)
{
    for (;;) {
        for (size_t i = 0; i < cursor->n; i++) {
            if (!cursor->started)
                link_start(&cursor->links[i], cursor->reverse);
            else if (cursor->links[i].used)
                link_next(&cursor->links[i], cursor->reverse);
        }
        cursor->started = true;
        gn_mvcc_link *link = foremost(cursor);
        if (!link)
            return links_status(cursor, err);
        bool dead;
        gn_code code = gn_value_open(link->value, &dead, &out->row, err);
        if (code != GN_OK)
            return code;
        if (dead)
            continue;
        *key = link_key(link);
        out->scn = link->version;
        return GN_OK;
    }
}
