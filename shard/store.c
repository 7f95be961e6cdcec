#include "base/assert.h"
#include "base/log.h"
#include "shard/files_private.h"
#include "shard/gc_filter_private.h"
#include "shard/store_private.h"

#include <stdlib.h>

enum {
    BLOCK_BYTES = 16 << 10,
    METADATA_BLOCK_BYTES = 8 << 10,
    CACHE_SHARD_BYTES = 4 << 20,
    BLOOM_BITS = 10,
    LEVELS = 7,
    UNCOMPRESSED_LEVELS = 2,
};

/* ---- the prefix that all versions of one key share: what the bloom filters are about ---- */

static char *stem_of(void *state, const char *key, size_t len, size_t *out_len)
{
    (void)state;
    *out_len = len - GN_VERSION_SUFFIX;
    return (char *)(uintptr_t)key; /* RocksDB's C API wants a non-const pointer, and only reads it */
}

static unsigned char has_stem(void *state, const char *key, size_t len)
{
    (void)state;
    return gn_is_versioned(gn_bytes_of(key, len));
}

static unsigned char in_range(void *state, const char *key, size_t len)
{
    (void)state, (void)key, (void)len;
    return 0;
}

static const char *stem_name(void *state)
{
    (void)state;
    return "gnomon.stem.1";
}

static void no_state(void *state)
{
    (void)state;
}

/* ---- options ---- */

/* A block that does not fit a shard of the cache is read again for every look-up, and by default a cache of 32 MiB has
 * 64 shards: few and large ones. */
static rocksdb_cache_t *block_cache(uint64_t bytes)
{
    int bits = 0;
    while (bits < 6 && bytes >> (bits + 1) >= CACHE_SHARD_BYTES)
        bits++;
    rocksdb_lru_cache_options_t *lru = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(lru, bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(lru, bits);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(lru);
    rocksdb_lru_cache_options_destroy(lru);
    return cache;
}

static rocksdb_block_based_table_options_t *table_options(const gn_store_options *o)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = block_cache(o->block_cache_bytes);
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_cache_destroy(cache); /* the options hold it */
    rocksdb_block_based_options_set_block_size(t, BLOCK_BYTES);
    /* A look-up of one version by its whole key finds it in its block without a search. */
    rocksdb_block_based_options_set_data_block_index_type(
        t, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_block_based_options_set_whole_key_filtering(t, 0);
    rocksdb_block_based_options_set_format_version(t, 5);
    /* Index and filters count in the cache, so that memory stays bounded however large the data grows; they are cut
     * into small blocks, so that a look-up needs little of them. */
    rocksdb_block_based_options_set_index_type(t, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(t, 1);
    rocksdb_block_based_options_set_metadata_block_size(t, METADATA_BLOCK_BYTES);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    return t;
}

static rocksdb_options_t *db_options(const gn_store_options *o)
{
    rocksdb_options_t *r = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(r, 1);
    rocksdb_options_set_write_buffer_size(r, o->memtable_bytes);
    rocksdb_options_set_max_write_buffer_number(r, 4);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(r, 0.05);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(r, 1);
    rocksdb_options_set_max_background_jobs(r, 2);
    rocksdb_options_set_target_file_size_base(r, 32u << 20);
    rocksdb_options_set_max_bytes_for_level_base(r, 128u << 20);
    rocksdb_options_set_info_log_level(r, 2); /* warnings */
    rocksdb_options_set_keep_log_file_num(r, 2);
    rocksdb_options_set_max_log_file_size(r, 1u << 20);
    rocksdb_options_set_max_open_files(r, 512);
    rocksdb_options_set_prefix_extractor(
        r, rocksdb_slicetransform_create(NULL, no_state, stem_of, has_stem, in_range, stem_name));
    int levels[LEVELS];
    for (int i = 0; i < LEVELS; i++)
        levels[i] = i < UNCOMPRESSED_LEVELS ? rocksdb_no_compression : rocksdb_zstd_compression;
    rocksdb_options_set_compression_per_level(r, levels, LEVELS);
    rocksdb_options_set_compaction_filter_factory(r, gn_gc_filter_factory(o->horizon, o->horizon_ctx));
    rocksdb_block_based_table_options_t *t = table_options(o);
    rocksdb_options_set_block_based_table_factory(r, t);
    rocksdb_block_based_options_destroy(t);
    return r;
}

/* Without a WAL RocksDB would flush when it is closed. Here a clean close flushes by itself, and after a failure what
 * was not flushed comes from the Raft log: that way is the one that every crash takes, so it is the one to have. The C
 * API has no setter for this option. */
static gn_code no_flush_at_close(rocksdb_options_t **options, gn_error *err)
{
    char *message = NULL;
    rocksdb_options_t *changed = rocksdb_options_create();
    rocksdb_get_options_from_string(*options, "avoid_flush_during_shutdown=true", changed, &message);
    rocksdb_options_destroy(*options);
    *options = changed;
    return gn_store_check(message, "could not set the options of the shard's store", err);
}

gn_code gn_store_check(char *message, const char *what, gn_error *err)
{
    if (!message)
        return GN_OK;
    gn_code code = GN_IO;
    if (strstr(message, "No space left") || strstr(message, "Disk quota"))
        code = GN_DISK_FULL;
    else if (strstr(message, "lock hold by current process") || strstr(message, "While lock file"))
        code = GN_LOCKED;
    else if (strncmp(message, "Corruption", 10) == 0)
        code = GN_CORRUPT;
    gn_error_set(err, code, "%s: %s", what, message);
    rocksdb_free(message);
    return code;
}

static gn_code open_store(const char *path, const gn_store_options *o, bool to_read, gn_store **out, gn_error *err)
{
    rocksdb_options_t *options = db_options(o);
    gn_code code = no_flush_at_close(&options, err);
    if (code != GN_OK) {
        rocksdb_options_destroy(options);
        return code;
    }
    char *message = NULL;
    rocksdb_t *db =
        to_read ? rocksdb_open_for_read_only(options, path, 0, &message) : rocksdb_open(options, path, &message);
    if (!db) {
        rocksdb_options_destroy(options);
        return gn_store_check(message, "could not open the shard's store", err);
    }
    gn_store *s = gn_xcalloc(1, sizeof *s);
    s->db = db;
    s->options = options;
    s->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(s->write, 1);
    s->point = rocksdb_readoptions_create();
    rocksdb_readoptions_set_prefix_same_as_start(s->point, 1);
    s->sweep = rocksdb_readoptions_create();
    rocksdb_readoptions_set_total_order_seek(s->sweep, 1);
    rocksdb_readoptions_set_fill_cache(s->sweep, 0);
    s->path = gn_xstrdup(path);
    s->refs = 1;
    *out = s;
    return GN_OK;
}

gn_code gn_store_open(const char *path, const gn_store_options *o, gn_store **out, gn_error *err)
{
    return open_store(path, o, false, out, err);
}

gn_code gn_store_open_to_read(const char *path, const gn_store_options *o, gn_store **out, gn_error *err)
{
    return open_store(path, o, true, out, err);
}

gn_store *gn_store_retain(gn_store *store)
{
    uint32_t before = store->refs++;
    GN_ASSERT(before > 0);
    return store;
}

void gn_store_release(gn_store *s)
{
    if (!s)
        return;
    uint32_t before = s->refs--;
    GN_ASSERT(before > 0);
    if (before > 1)
        return;
    rocksdb_close(s->db);
    rocksdb_readoptions_destroy(s->sweep);
    rocksdb_readoptions_destroy(s->point);
    rocksdb_writeoptions_destroy(s->write);
    rocksdb_options_destroy(s->options);
    gn_error err = {0};
    if (s->doomed && gn_dir_remove(s->path, &err) != GN_OK)
        gn_log_warn("shard", "a replaced store was not removed", GN_KV_STR("error", err.message));
    free(s->path);
    free(s);
}

gn_code gn_store_write(gn_store *store, rocksdb_writebatch_t *batch, gn_error *err)
{
    char *message = NULL;
    rocksdb_write(store->db, store->write, batch, &message);
    return gn_store_check(message, "could not write to the shard's store", err);
}

gn_code gn_store_flush(gn_store *store, gn_error *err)
{
    char *message = NULL;
    rocksdb_flushoptions_t *f = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(f, 1);
    rocksdb_flush(store->db, f, &message);
    rocksdb_flushoptions_destroy(f);
    return gn_store_check(message, "could not flush the shard's store", err);
}

gn_code gn_store_get(gn_store *store, gn_bytes key, gn_buf *value, bool *found, gn_error *err)
{
    char *message = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(store->db, store->sweep, (const char *)key.data, key.len, &message);
    gn_code code = gn_store_check(message, "could not read the shard's store", err);
    *found = code == GN_OK && slice;
    if (*found) {
        size_t len;
        const char *data = rocksdb_pinnableslice_value(slice, &len);
        if (!gn_buf_append(value, data, len))
            code = gn_error_set(err, GN_LIMIT, "a stored value of %zu bytes is too long", len);
    }
    if (slice)
        rocksdb_pinnableslice_destroy(slice);
    return code;
}

static uint8_t *copy_bound(gn_bytes b)
{
    uint8_t *copy = gn_xmalloc(b.len ? b.len : 1);
    if (b.len)
        memcpy(copy, b.data, b.len);
    return copy;
}

void gn_store_iter_open(gn_store_iter *iter, gn_store *store, gn_bytes lower, gn_bytes upper, bool cached)
{
    iter->lower = copy_bound(lower);
    iter->upper = copy_bound(upper);
    iter->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_total_order_seek(iter->read, 1);
    rocksdb_readoptions_set_fill_cache(iter->read, cached);
    rocksdb_readoptions_set_iterate_lower_bound(iter->read, (const char *)iter->lower, lower.len);
    rocksdb_readoptions_set_iterate_upper_bound(iter->read, (const char *)iter->upper, upper.len);
    iter->it = rocksdb_create_iterator(store->db, iter->read);
}

void gn_store_iter_close(gn_store_iter *iter)
{
    if (!iter->it)
        return;
    rocksdb_iter_destroy(iter->it);
    rocksdb_readoptions_destroy(iter->read);
    free(iter->lower);
    free(iter->upper);
    *iter = (gn_store_iter){0};
}

gn_bytes gn_store_iter_key(const gn_store_iter *iter)
{
    size_t len;
    const char *key = rocksdb_iter_key(iter->it, &len);
    return gn_bytes_of(key, len);
}

gn_bytes gn_store_iter_value(const gn_store_iter *iter)
{
    size_t len;
    const char *value = rocksdb_iter_value(iter->it, &len);
    return gn_bytes_of(value, len);
}

gn_code gn_store_iter_status(const gn_store_iter *iter, gn_error *err)
{
    char *message = NULL;
    rocksdb_iter_get_error(iter->it, &message);
    return gn_store_check(message, "could not read the shard's store", err);
}
