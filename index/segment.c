/* Opening checks everything that later pointer arithmetic relies on, and nothing that would read the whole file. */
#include "base/assert.h"
#include "base/limits.h"
#include "index/calibrate_private.h"
#include "index/keymap_private.h"
#include "index/segment_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "atomics lie in the file as plain numbers");

static gn_code corrupt(gn_error *err, const char *path, const char *what)
{
    gn_error_set(err, GN_INDEX_CORRUPT, "vector index segment \"%s\" is damaged: %s", path, what);
    return gn_error_hint(err, "The index can be rebuilt from the rows.");
}

/* ---- header and sections ---- */

static gn_code check_header(const gn_segment_header *h, uint64_t file_bytes, const char *path, gn_error *err)
{
    if (h->magic != GN_SEGMENT_MAGIC)
        return corrupt(err, path, "it does not begin as a segment does");
    if (XXH3_64bits(h, offsetof(gn_segment_header, checksum)) != h->checksum)
        return corrupt(err, path, "checksum of the header");
    if (h->version < GN_SEGMENT_FIRST_VERSION || h->version > GN_SEGMENT_VERSION)
        return gn_error_set(err, GN_FEATURE, "vector index segment \"%s\" has format version %u, not %d", path,
                            h->version, GN_SEGMENT_VERSION);
    if (h->codes < GN_CODES_FLOAT32 || h->codes >= GN_CODES_KNOWN ||
        (h->version == GN_SEGMENT_FIRST_VERSION && h->codes != GN_CODES_FLOAT32) ||
        (h->graph != GN_GRAPH_NONE && h->graph != GN_GRAPH_HNSW))
        return gn_error_set(err, GN_FEATURE, "vector index segment \"%s\" has codes or a graph of an unknown kind",
                            path);
    if (h->vectors > GN_VECTORS_FLOAT16)
        return gn_error_set(err, GN_FEATURE, "vector index segment \"%s\" has vectors of an unknown kind", path);
    if (h->file_bytes != file_bytes)
        return corrupt(err, path, "it was cut short or extended");
    if (h->dimensions < 1 || h->dimensions > gn_metric_max_dimensions((gn_metric_kind)h->metric) ||
        h->metric < GN_METRIC_L2 || h->metric >= GN_METRIC_KNOWN ||
        h->stride != gn_vector_stride((gn_metric_kind)h->metric, h->dimensions) || h->n_nodes > h->n_rows ||
        h->n_rows > GN_SEGMENT_MAX_ROWS || h->n_ended > h->n_rows || h->n_sections > GN_SEGMENT_MAX_SECTIONS ||
        h->levels > GN_SEGMENT_MAX_LEVELS ||
        (h->vectors == GN_VECTORS_FLOAT16 &&
         (h->version <= GN_SEGMENT_FLOATS_VERSION || gn_metric_of_bits((gn_metric_kind)h->metric))))
        return corrupt(err, path, "impossible sizes in the header");
    if (h->graph == GN_GRAPH_HNSW) {
        if (h->m < 2 || h->m > GN_MAX_HNSW_M || h->m0 < h->m || h->m0 > 2 * GN_MAX_HNSW_M || h->levels < 1 ||
            h->level_count[0] != h->n_nodes)
            return corrupt(err, path, "impossible graph in the header");
        for (uint32_t l = 1; l < h->levels; l++) {
            if (h->level_count[l] < 1 || h->level_count[l] > h->level_count[l - 1])
                return corrupt(err, path, "impossible layers in the header");
        }
    }
    return GN_OK;
}

/* Finds one section of exactly `bytes` (UINT64_MAX: any size). NULL when it is missing or lies outside the file. */
static const uint8_t *section_of(const gn_segment *s, gn_section_kind kind, uint64_t bytes, uint64_t *got)
{
    const gn_segment_header *h = s->header;
    for (uint32_t i = 0; i < h->n_sections; i++) {
        const gn_section *t = &h->section[i];
        if (t->kind != (uint32_t)kind)
            continue;
        if (t->offset % GN_SEGMENT_PAGE || t->offset < sizeof *h || t->offset > s->map_bytes ||
            t->bytes > s->map_bytes - t->offset || (bytes != UINT64_MAX && t->bytes != bytes))
            return NULL;
        if (got)
            *got = t->bytes;
        return s->map + t->offset;
    }
    return NULL;
}

static bool has_section(const gn_segment *s, gn_section_kind kind)
{
    for (uint32_t i = 0; i < s->header->n_sections; i++) {
        if (s->header->section[i].kind == (uint32_t)kind)
            return true;
    }
    return false;
}

/* The codec, over the file's params or made for plain vectors. */
static gn_code map_codes(gn_segment *s, gn_error *err)
{
    const gn_segment_header *h = s->header;
    if (h->codes == GN_CODES_FLOAT32) {
        s->codec = gn_codec_plain((gn_metric_kind)h->metric, h->dimensions, s->measure.halves);
        s->codes = s->vectors;
        s->code_stride = gn_codec_stride(s->codec);
        return GN_OK;
    }
    uint64_t bytes = 0;
    const uint8_t *params = section_of(s, GN_SECTION_QUANTIZER, UINT64_MAX, &bytes);
    if (!params)
        return corrupt(err, s->path, "the section of the quantizer is missing");
    gn_code code = gn_codec_open(gn_bytes_of(params, bytes), &s->codec, err);
    if (code != GN_OK)
        return code;
    s->code_stride = gn_codec_stride(s->codec);
    s->codes = section_of(s, GN_SECTION_CODES, (uint64_t)h->n_nodes * s->code_stride, NULL);
    if (!s->codes || h->code_stride != s->code_stride || gn_codec_kind(s->codec) != h->codes ||
        gn_codec_dimensions(s->codec) != h->dimensions || gn_codec_metric(s->codec) != h->metric)
        return corrupt(err, s->path, "codes and quantizer do not fit");
    return GN_OK;
}

static gn_code map_sections(gn_segment *s, gn_error *err)
{
    const gn_segment_header *h = s->header;
    uint64_t n = h->n_rows, upper = 0, slots_bytes = 0;
    s->measure =
        gn_measure_of(gn_kernels_best(), (gn_metric_kind)h->metric, h->dimensions, h->vectors == GN_VECTORS_FLOAT16);
    s->vectors = section_of(s, GN_SECTION_VECTORS, (uint64_t)h->n_nodes * s->measure.row_bytes, NULL);
    s->begin = (const void *)section_of(s, GN_SECTION_BEGIN, n * sizeof(uint64_t), NULL);
    s->key_offsets = (const void *)section_of(s, GN_SECTION_KEY_OFFSETS, (n + 1) * sizeof(uint64_t), NULL);
    s->keys = section_of(s, GN_SECTION_KEYS, UINT64_MAX, &s->keys_bytes);
    s->key_slots = (const void *)section_of(s, GN_SECTION_KEY_SLOTS, UINT64_MAX, &slots_bytes);
    s->key_older = (const void *)section_of(s, GN_SECTION_KEY_OLDER, n * sizeof(uint32_t), NULL);
    const uint8_t *end = section_of(s, GN_SECTION_END, n * sizeof(uint64_t), NULL);
    s->n_slots = slots_bytes / sizeof(uint64_t);
    if (!s->vectors || !s->begin || !s->key_offsets || !s->keys || !s->key_slots || !s->key_older || !end ||
        s->n_slots == 0 || (s->n_slots & (s->n_slots - 1)) || s->n_slots * sizeof(uint64_t) != slots_bytes)
        return corrupt(err, s->path, "a section is missing or has the wrong size");
    if (h->many_branches) {
        s->branch = (const void *)section_of(s, GN_SECTION_BRANCH, n * sizeof(uint64_t), NULL);
        if (!s->branch)
            return corrupt(err, s->path, "the section of branches is missing or has the wrong size");
    }
    if (h->graph == GN_GRAPH_HNSW) {
        for (uint32_t l = 1; l < h->levels; l++)
            upper += h->level_count[l];
        s->links0 =
            (const void *)section_of(s, GN_SECTION_LINKS0, (uint64_t)h->n_nodes * h->m0 * sizeof(uint32_t), NULL);
        s->links_upper = (const void *)section_of(s, GN_SECTION_LINKS_UPPER, upper * h->m * sizeof(uint32_t), NULL);
        size_t n_cells = gn_segment_cells_at(h->level_count, GN_SEGMENT_MAX_LEVELS);
        const uint32_t *cells = (const void *)section_of(s, GN_SECTION_CELLS, n_cells * sizeof(uint32_t), NULL);
        if (!cells && has_section(s, GN_SECTION_CELLS))
            return corrupt(err, s->path, "the section of cells has the wrong size");
        for (uint32_t l = 1; cells && l < h->levels; l++)
            s->cells[l] = cells + gn_segment_cells_at(h->level_count, l);
        if (!s->links0 || !s->links_upper)
            return corrupt(err, s->path, "a section of links is missing or has the wrong size");
    }
    s->end_bytes = n ? n * sizeof(uint64_t) : 1;
    void *p = mmap(NULL, s->end_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, s->fd, (off_t)(end - s->map));
    if (p == MAP_FAILED)
        return gn_error_errno(err, GN_IO, errno, "could not map \"%s\"", s->path);
    s->end = p;
    return GN_OK;
}

static void read_calibration(gn_segment *s)
{
    gn_calibration c;
    const uint8_t *p = section_of(s, GN_SECTION_CALIBRATION, sizeof c, NULL);
    if (!p || s->header->graph != GN_GRAPH_HNSW)
        return;
    memcpy(&c, p, sizeof c);
    if (gn_calibration_is_sound(&c))
        gn_segment_set_calibration(s, &c);
}

static gn_code verify_small_sections(const gn_segment *s, gn_error *err)
{
    for (uint32_t i = 0; i < s->header->n_sections; i++) {
        const gn_section *t = &s->header->section[i];
        if (t->offset > s->map_bytes || t->bytes > s->map_bytes - t->offset)
            return corrupt(err, s->path, "a section lies outside the file");
        if (t->bytes <= GN_SEGMENT_EAGER_BYTES && XXH3_64bits(s->map + t->offset, t->bytes) != t->checksum)
            return corrupt(err, s->path, "checksum of a section");
    }
    return GN_OK;
}

gn_code gn_segment_verify(const gn_segment *s, const _Atomic bool *cancel, gn_error *err)
{
    enum { STEP = 1 << 20 };
    uint8_t *buffer = gn_xmalloc(STEP);
    XXH3_state_t *state = XXH3_createState();
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < s->header->n_sections && code == GN_OK; i++) {
        const gn_section *t = &s->header->section[i];
        XXH3_64bits_reset(state);
        /* Read, not mapped: a failing disk gives an error here and SIGBUS there, and ends changed in memory do not
         * matter. */
        for (uint64_t at = 0; at < t->bytes && code == GN_OK;) {
            size_t want = t->bytes - at < STEP ? (size_t)(t->bytes - at) : STEP;
            ssize_t got = pread(s->fd, buffer, want, (off_t)(t->offset + at));
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                code = got ? gn_error_errno(err, GN_IO, errno, "could not read \"%s\"", s->path)
                           : corrupt(err, s->path, "it was cut short");
            else if (cancel && atomic_load(cancel))
                code = gn_error_set(err, GN_CANCELED, "verification was canceled");
            else
                XXH3_64bits_update(state, buffer, (size_t)got);
            at += got > 0 ? (uint64_t)got : 0;
        }
        if (code == GN_OK && XXH3_64bits_digest(state) != t->checksum)
            code = corrupt(err, s->path, "checksum of a section");
    }
    XXH3_freeState(state);
    free(buffer);
    if (code == GN_INDEX_CORRUPT)
        gn_segment_damage(s);
    return code;
}

static void segment_destroy(gn_segment *s)
{
    gn_walks_free(s);
    for (gn_calibrated *c = atomic_load(&s->calibrated), *older; c; c = older) {
        older = c->older;
        free(c);
    }
    gn_codec_destroy(s->codec);
    if (s->end)
        munmap((void *)s->end, s->end_bytes);
    if (s->map)
        munmap((void *)(uintptr_t)s->map, s->map_bytes);
    if (s->fd >= 0)
        close(s->fd);
    pthread_mutex_destroy(&s->walks_lock);
    free(s->changed);
    free(s->path);
    free(s);
}

gn_code gn_segment_open(const char *path, uint64_t number, gn_account *account, gn_segment **out, gn_error *err)
{
    gn_code code = GN_OK;
    struct stat st;
    gn_segment *s = gn_xcalloc(1, sizeof *s);
    s->path = gn_xstrdup(path);
    s->number = number;
    s->account = account;
    atomic_init(&s->refs, 1);
    pthread_mutex_init(&s->walks_lock, NULL);
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st) != 0) {
        code = gn_error_errno(err, errno == ENOENT ? GN_NO_FILE : GN_IO, errno, "could not open \"%s\"", path);
        goto out;
    }
    if (st.st_size < (off_t)sizeof(gn_segment_header)) {
        code = corrupt(err, path, "it is too short");
        goto out;
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, s->fd, 0);
    if (map == MAP_FAILED) {
        code = gn_error_errno(err, GN_IO, errno, "could not map \"%s\"", path);
        goto out;
    }
    s->map = map;
    s->map_bytes = (size_t)st.st_size;
    s->header = map;
    code = check_header(s->header, (uint64_t)st.st_size, path, err);
    if (code == GN_OK)
        code = map_sections(s, err);
    if (code == GN_OK)
        code = verify_small_sections(s, err);
    if (code == GN_OK)
        code = map_codes(s, err);
    if (code == GN_OK) {
        read_calibration(s);
        atomic_init(&s->n_ended, s->header->n_ended);
        madvise(map, s->map_bytes, MADV_RANDOM); /* a walk's reads have no direction; read-ahead would only evict */
    }
out:
    if (code == GN_OK)
        *out = s;
    else
        segment_destroy(s);
    return code;
}

gn_segment *gn_segment_ref(gn_segment *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void gn_segment_unref(gn_segment *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        segment_destroy(s);
}

/* ---- rows ---- */

void gn_segment_damage(const gn_segment *s)
{
    /* The one thing that a reader may find out about a segment that is otherwise constant to it. */
    atomic_store(&((gn_segment *)(uintptr_t)s)->damaged, true);
}

void gn_segment_set_calibration(gn_segment *s, const gn_calibration *calibration)
{
    gn_calibrated *c = gn_xcalloc(1, sizeof *c);
    c->table = *calibration;
    c->older = atomic_load(&s->calibrated);
    atomic_store(&s->calibrated, c);
}

bool gn_segment_key(const gn_segment *s, uint32_t row, gn_bytes *key)
{
    uint64_t from = s->key_offsets[row], to = s->key_offsets[row + 1];
    if (from > to || to > s->keys_bytes || to - from > GN_MAX_KEY) {
        gn_segment_damage(s);
        return false;
    }
    *key = gn_bytes_of(s->keys + from, (size_t)(to - from));
    return true;
}

bool gn_segment_row(const void *source, uint32_t row, gn_row *out)
{
    const gn_segment *s = source;
    GN_ASSERT(row < s->header->n_rows);
    gn_segment_version(s, row, out);
    return gn_segment_key(s, row, &out->key);
}

static bool segment_key_is(const void *owner, uint32_t row, gn_bytes key)
{
    const gn_segment *s = owner;
    gn_bytes has;
    return row < s->header->n_rows && gn_segment_key(s, row, &has) && gn_bytes_eq(has, key);
}

uint32_t gn_segment_find(const gn_segment *s, gn_bytes key)
{
    uint64_t at = gn_keymap_probe(s->key_slots, s->n_slots, key, gn_keymap_hash(key), segment_key_is, s);
    if (at == UINT64_MAX) {
        gn_segment_damage(s);
        return UINT32_MAX;
    }
    return (uint32_t)atomic_load_explicit(&s->key_slots[at], memory_order_relaxed) - 1;
}

uint32_t gn_segment_older(const gn_segment *s, uint32_t row)
{
    uint32_t older = s->key_older[row] - 1;
    /* A chain only ever leads to other rows; the caller bounds its length by n_rows against a cycle. */
    if (older != UINT32_MAX && (older >= s->header->n_rows || older == row)) {
        gn_segment_damage(s);
        return UINT32_MAX;
    }
    return older;
}

void gn_segment_set_end(gn_segment *s, uint32_t row, uint64_t end)
{
    GN_ASSERT(row < s->header->n_rows);
    if (s->n_changed == s->cap_changed) {
        s->cap_changed = s->cap_changed ? s->cap_changed * 2 : 64;
        s->changed = gn_xrealloc(s->changed, s->cap_changed * sizeof *s->changed);
    }
    s->changed[s->n_changed++] = row;
    atomic_fetch_add_explicit(&s->n_ended, row < s->header->n_nodes, memory_order_release);
    atomic_store_explicit(&s->end[row], end, memory_order_release);
}
