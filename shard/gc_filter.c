#include "shard/gc_filter_private.h"

#include <stdlib.h>

typedef struct factory {
    gn_scn (*horizon)(void *ctx);
    void *ctx;
} factory;

/* One compaction's: keys come in order, so it is enough to remember the last stem. */
typedef struct filter {
    gn_scn horizon;
    gn_buf stem;
    bool settled; /* a version of `stem` at or below the horizon has been seen */
} filter;

static unsigned char filter_key(void *state, int level, const char *key, size_t key_len, const char *value,
                                size_t value_len, char **new_value, size_t *new_len, unsigned char *changed)
{
    (void)level, (void)value, (void)value_len, (void)new_value, (void)new_len;
    filter *f = state;
    gn_bytes k = gn_bytes_of(key, key_len);
    *changed = 0;
    if (!gn_is_versioned(k))
        return 0;
    gn_bytes stem = gn_version_stem(k);
    if (!gn_bytes_eq(stem, gn_buf_bytes(&f->stem))) {
        gn_buf_clear(&f->stem);
        gn_buf_append_bytes(&f->stem, stem);
        f->settled = false;
        if (f->stem.failed)
            return 0;
    }
    if (gn_version_scn(k) > f->horizon)
        return 0;
    if (f->settled)
        return 1;
    f->settled = true;
    return 0;
}

static void filter_destroy(void *state)
{
    filter *f = state;
    gn_buf_close(&f->stem);
    free(f);
}

static const char *filter_name(void *state)
{
    (void)state;
    return "gnomon.gc";
}

static rocksdb_compactionfilter_t *filter_create(void *state, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    factory *fa = state;
    filter *f = gn_xcalloc(1, sizeof *f);
    f->horizon = fa->horizon(fa->ctx);
    gn_buf_init(&f->stem, NULL, GN_STORE_KEY_MAX);
    return rocksdb_compactionfilter_create(f, filter_destroy, filter_key, filter_name);
}

static void factory_destroy(void *state)
{
    free(state);
}

rocksdb_compactionfilterfactory_t *gn_gc_filter_factory(gn_scn (*horizon)(void *ctx), void *ctx)
{
    factory *fa = gn_xcalloc(1, sizeof *fa);
    *fa = (factory){.horizon = horizon, .ctx = ctx};
    return rocksdb_compactionfilterfactory_create(fa, factory_destroy, filter_create, filter_name);
}
