/* Sections are streamed out one after the other through one buffer; their checksums are made on the way. The header,
 * which alone makes the file a segment, is written last, and the file gets its name after everything is synced. */
#include "base/assert.h"
#include "index/keymap_private.h"
#include "index/segment_private.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A huge page: what is written at once lies together in the page cache where the file system can do that, and is then
 * mapped as one, which spares walks the look-up of an address for every node. */
enum { BUFFER = 2 << 20 };

typedef struct gn_segment_writer {
    int fd;
    const char *path;
    uint8_t *buffer;
    size_t used;
    uint64_t offset; /* of the next byte, buffered ones included */
    XXH3_state_t *state;
    gn_segment_header *header;
    const _Atomic bool *cancel;
    gn_code code; /* the first failure; later calls do nothing */
    gn_error *err;
} gn_segment_writer;

static void flush(gn_segment_writer *w)
{
    if (w->cancel && atomic_load(w->cancel) && w->code == GN_OK)
        w->code = gn_error_set(w->err, GN_CANCELED, "building the vector index was canceled");
    for (size_t at = 0; at < w->used && w->code == GN_OK;) {
        ssize_t n = write(w->fd, w->buffer + at, w->used - at);
        if (n < 0 && errno != EINTR)
            w->code = gn_error_errno(w->err, GN_IO, errno, "could not write \"%s\"", w->path);
        at += n > 0 ? (size_t)n : 0;
    }
    w->used = 0;
}

static void put(gn_segment_writer *w, const void *data, size_t len)
{
    XXH3_64bits_update(w->state, data, len);
    w->offset += len;
    const uint8_t *p = data;
    while (len && w->code == GN_OK) {
        size_t n = BUFFER - w->used < len ? BUFFER - w->used : len;
        memcpy(w->buffer + w->used, p, n);
        w->used += n;
        p += n;
        len -= n;
        if (w->used == BUFFER)
            flush(w);
    }
}

static void begin_section(gn_segment_writer *w, gn_section_kind kind)
{
    static const uint8_t zeros[GN_SEGMENT_PAGE];
    put(w, zeros, (GN_SEGMENT_PAGE - w->offset % GN_SEGMENT_PAGE) % GN_SEGMENT_PAGE);
    GN_ASSERT(w->header->n_sections < GN_SEGMENT_MAX_SECTIONS);
    w->header->section[w->header->n_sections] = (gn_section){.kind = kind, .offset = w->offset};
    XXH3_64bits_reset(w->state);
}

static void end_section(gn_segment_writer *w)
{
    gn_section *s = &w->header->section[w->header->n_sections++];
    s->bytes = w->offset - s->offset;
    s->checksum = XXH3_64bits_digest(w->state);
}

static size_t row_bytes(const gn_segment_header *h)
{
    return gn_vector_row_bytes((gn_metric_kind)h->metric, h->dimensions, h->vectors == GN_VECTORS_FLOAT16);
}

static void write_vectors(gn_segment_writer *w, gn_segment_image *image)
{
    const size_t bytes = row_bytes(&image->header);
    begin_section(w, GN_SECTION_VECTORS);
    for (uint32_t i = 0; i < image->header.n_nodes && w->code == GN_OK; i++)
        put(w, image->vector(image->ctx, i), bytes);
    end_section(w);
}

static bool has_codes(const gn_segment_image *image)
{
    return image->codec && !gn_codec_exact(image->codec);
}

static void write_codes(gn_segment_writer *w, gn_segment_image *image)
{
    if (!has_codes(image))
        return;
    gn_bytes params = gn_codec_params(image->codec);
    uint8_t *code = gn_xmalloc(image->header.code_stride);
    begin_section(w, GN_SECTION_QUANTIZER);
    put(w, params.data, params.len);
    end_section(w);
    begin_section(w, GN_SECTION_CODES);
    for (uint32_t i = 0; i < image->header.n_nodes && w->code == GN_OK; i++) {
        image->code(image->ctx, i, code);
        put(w, code, image->header.code_stride);
    }
    end_section(w);
    free(code);
}

static void write_links(gn_segment_writer *w, gn_segment_image *image)
{
    uint32_t block[UINT8_MAX + 1];
    const gn_segment_header *h = &image->header;
    if (h->graph != GN_GRAPH_HNSW)
        return;
    GN_ASSERT(h->m0 <= sizeof block / sizeof block[0] && h->m <= h->m0);
    begin_section(w, GN_SECTION_LINKS0);
    for (uint32_t i = 0; i < h->n_nodes && w->code == GN_OK; i++) {
        image->links(image->ctx, 0, i, block);
        put(w, block, h->m0 * sizeof *block);
    }
    end_section(w);
    begin_section(w, GN_SECTION_LINKS_UPPER);
    for (uint32_t l = 1; l < h->levels; l++) {
        for (uint32_t i = 0; i < h->level_count[l] && w->code == GN_OK; i++) {
            image->links(image->ctx, l, i, block);
            put(w, block, h->m * sizeof *block);
        }
    }
    end_section(w);
}

static void write_cells(gn_segment_writer *w, const gn_segment_image *image)
{
    if (!image->cells)
        return;
    begin_section(w, GN_SECTION_CELLS);
    put(w, image->cells, gn_segment_cells_at(image->header.level_count, GN_SEGMENT_MAX_LEVELS) * sizeof *image->cells);
    end_section(w);
}

/* Its place; what belongs there is known when the file can be searched. */
static void reserve_calibration(gn_segment_writer *w, const gn_segment_image *image)
{
    const gn_calibration nothing = {0};
    if (image->header.graph != GN_GRAPH_HNSW)
        return;
    begin_section(w, GN_SECTION_CALIBRATION);
    put(w, &nothing, sizeof nothing);
    end_section(w);
}

static void note_end(gn_segment_header *h, uint32_t row, uint64_t end)
{
    if (end == GN_SCN_OPEN || row >= h->n_nodes)
        return;
    h->n_ended++;
    h->max_end = end > h->max_end ? end : h->max_end;
}

/* One of the arrays of numbers that the rows have. */
static void write_scns(gn_segment_writer *w, gn_segment_image *image, gn_section_kind kind)
{
    begin_section(w, kind);
    for (uint32_t i = 0; i < image->header.n_rows && w->code == GN_OK; i++) {
        gn_row row;
        image->row(image->ctx, i, &row);
        if (kind == GN_SECTION_END)
            note_end(w->header, i, row.end);
        put(w,
            kind == GN_SECTION_BEGIN ? &row.begin
            : kind == GN_SECTION_END ? &row.end
                                     : &row.branch,
            sizeof(uint64_t));
    }
    end_section(w);
}

static void write_keys(gn_segment_writer *w, gn_segment_image *image)
{
    uint64_t at = 0;
    gn_row row;
    begin_section(w, GN_SECTION_KEY_OFFSETS);
    put(w, &at, sizeof at);
    for (uint32_t i = 0; i < image->header.n_rows && w->code == GN_OK; i++) {
        image->row(image->ctx, i, &row);
        at += row.key.len;
        put(w, &at, sizeof at);
    }
    end_section(w);
    begin_section(w, GN_SECTION_KEYS);
    for (uint32_t i = 0; i < image->header.n_rows && w->code == GN_OK; i++) {
        image->row(image->ctx, i, &row);
        put(w, row.key.data, row.key.len);
    }
    end_section(w);
}

static bool image_key_is(const void *owner, uint32_t row, gn_bytes key)
{
    const gn_segment_image *image = owner;
    gn_row has;
    image->row(image->ctx, row, &has);
    return gn_bytes_eq(has.key, key);
}

/* Puts a row where its begin SCN belongs in the chain of its key, newest first. */
static void chain_row(gn_segment_image *image, _Atomic uint64_t *slot, uint64_t fingerprint, uint32_t *older,
                      uint32_t row, uint64_t begin)
{
    uint64_t head = atomic_load_explicit(slot, memory_order_relaxed);
    uint32_t next = (uint32_t)head, before = 0;
    while (next) {
        gn_row other;
        image->row(image->ctx, next - 1, &other);
        if (other.begin <= begin)
            break;
        before = next;
        next = older[next - 1];
    }
    older[row] = next;
    if (before)
        older[before - 1] = row + 1;
    else
        atomic_store_explicit(slot, fingerprint | (row + 1), memory_order_relaxed);
}

static void write_keymap(gn_segment_writer *w, gn_segment_image *image)
{
    uint32_t n = image->header.n_rows;
    uint64_t n_slots = gn_keymap_slots_for(n);
    size_t bytes = n_slots * sizeof(uint64_t) + (size_t)n * sizeof(uint32_t);
    if (w->code != GN_OK)
        return;
    if (!gn_account_charge(image->account, bytes)) {
        w->code = gn_error_oom(w->err, image->account);
        return;
    }
    _Atomic uint64_t *slots = gn_xcalloc(n_slots, sizeof *slots);
    uint32_t *older = gn_xcalloc((size_t)n + 1, sizeof *older);
    for (uint32_t i = 0; i < n; i++) {
        gn_row row;
        image->row(image->ctx, i, &row);
        uint64_t hash = gn_keymap_hash(row.key);
        uint64_t at = gn_keymap_probe(slots, n_slots, row.key, hash, image_key_is, image);
        GN_ASSERT(at != UINT64_MAX);
        chain_row(image, &slots[at], hash & 0xffffffff00000000u, older, i, row.begin);
    }
    begin_section(w, GN_SECTION_KEY_SLOTS);
    put(w, (const void *)slots, n_slots * sizeof(uint64_t));
    end_section(w);
    begin_section(w, GN_SECTION_KEY_OLDER);
    put(w, older, n * sizeof *older);
    end_section(w);
    free((void *)slots);
    free(older);
    gn_account_release(image->account, bytes);
}

static void fill_header(gn_segment_image *image)
{
    gn_segment_header *h = &image->header;
    h->magic = GN_SEGMENT_MAGIC;
    h->version = h->vectors == GN_VECTORS_FLOAT32 ? GN_SEGMENT_FLOATS_VERSION : GN_SEGMENT_VERSION;
    h->stride = (uint32_t)gn_vector_stride((gn_metric_kind)h->metric, h->dimensions);
    h->codes = has_codes(image) ? gn_codec_kind(image->codec) : GN_CODES_FLOAT32;
    h->code_stride = (uint32_t)(has_codes(image) ? gn_codec_stride(image->codec) : row_bytes(h));
    h->n_sections = h->n_ended = h->many_branches = 0;
    h->min_begin = UINT64_MAX;
    h->max_begin = h->max_end = 0;
    for (uint32_t i = 0; i < h->n_rows; i++) {
        gn_row row;
        image->row(image->ctx, i, &row);
        if (i == 0)
            h->branch = row.branch;
        h->many_branches |= row.branch != h->branch || i >= h->n_nodes;
        h->min_begin = row.begin < h->min_begin ? row.begin : h->min_begin;
        h->max_begin = row.begin > h->max_begin ? row.begin : h->max_begin;
    }
}

static void write_header(gn_segment_writer *w)
{
    gn_segment_header *h = w->header;
    h->file_bytes = w->offset;
    h->checksum = XXH3_64bits(h, offsetof(gn_segment_header, checksum));
    if (w->code == GN_OK && pwrite(w->fd, h, sizeof *h, 0) != (ssize_t)sizeof *h)
        w->code = gn_error_errno(w->err, GN_IO, errno, "could not write \"%s\"", w->path);
}

gn_code gn_sync_parent_dir(const char *path, gn_error *err)
{
    gn_code code = GN_OK;
    char *copy = gn_xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not sync the directory of \"%s\"", path);
    if (fd >= 0)
        close(fd);
    free(copy);
    return code;
}

gn_code gn_segment_write_calibration(gn_segment *s, const gn_calibration *calibration, gn_error *err)
{
    gn_segment_header h = *s->header;
    uint32_t i = 0;
    while (i < h.n_sections && h.section[i].kind != GN_SECTION_CALIBRATION)
        i++;
    GN_ASSERT(i < h.n_sections && h.section[i].bytes == sizeof *calibration);
    h.section[i].checksum = XXH3_64bits(calibration, sizeof *calibration);
    h.checksum = XXH3_64bits(&h, offsetof(gn_segment_header, checksum));
    int fd = open(s->path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 &&
              pwrite(fd, calibration, sizeof *calibration, (off_t)h.section[i].offset) == sizeof *calibration &&
              pwrite(fd, &h, sizeof h, 0) == (ssize_t)sizeof h && fsync(fd) == 0;
    gn_code code = ok ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not write \"%s\"", s->path);
    if (fd >= 0)
        close(fd);
    if (ok)
        gn_segment_set_calibration(s, calibration);
    return code;
}

gn_code gn_segment_write(const char *path, gn_segment_image *image, gn_error *err)
{
    size_t path_bytes = strlen(path) + sizeof ".tmp";
    char *tmp = gn_xmalloc(path_bytes);
    snprintf(tmp, path_bytes, "%s.tmp", path);
    gn_segment_writer w = {.path = tmp, .header = &image->header, .cancel = image->cancel, .err = err, .code = GN_OK};
    w.fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w.fd < 0) {
        w.code = gn_error_errno(err, GN_IO, errno, "could not create \"%s\"", tmp);
        free(tmp);
        return w.code;
    }
    w.buffer = gn_xmalloc(BUFFER);
    w.state = XXH3_createState();
    XXH3_64bits_reset(w.state);
    fill_header(image);
    put(&w, &image->header, sizeof image->header); /* its place; the true one comes last */
    write_codes(&w, image);
    write_links(&w, image);
    write_cells(&w, image);
    reserve_calibration(&w, image);
    write_scns(&w, image, GN_SECTION_BEGIN);
    write_scns(&w, image, GN_SECTION_END);
    if (image->header.many_branches)
        write_scns(&w, image, GN_SECTION_BRANCH);
    write_keys(&w, image);
    write_keymap(&w, image);
    write_vectors(&w, image);
    flush(&w);
    write_header(&w);
    if (w.code == GN_OK && fsync(w.fd) != 0)
        w.code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", tmp);
    close(w.fd);
    if (w.code == GN_OK && rename(tmp, path) != 0)
        w.code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", tmp);
    if (w.code != GN_OK)
        unlink(tmp);
    else if ((w.code = gn_sync_parent_dir(path, err)) != GN_OK)
        unlink(path);
    XXH3_freeState(w.state);
    free(w.buffer);
    free(tmp);
    return w.code;
}
