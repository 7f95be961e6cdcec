/* Segment files as an enemy would write them. The input is a list of changes to a good file; the checksums are then
 * made right again, so that what is tested is not the checksum but everything behind it: whatever the file says,
 * opening and using it may fail, but reads nothing outside. */
#include "base/limits.h"
#include "index/segment_private.h"
#include "index/vector_index.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

enum { DIM = 5, ROWS = 60, WIDE = 96, CODED_ROWS = 1100, FILES = 5 };

/* A file of plain vectors, and of codes; the first byte of the input says which. */
static uint8_t *good_files[FILES];
static size_t good_lens[FILES];
static uint8_t *good;
static size_t good_len;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void read_segment(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (!strstr(e->d_name, ".seg"))
            continue;
        int fd = openat(dirfd(d), e->d_name, O_RDONLY);
        good_len = (size_t)lseek(fd, 0, SEEK_END);
        good = malloc(good_len);
        must(pread(fd, good, good_len, 0) == (ssize_t)good_len);
        close(fd);
    }
    closedir(d);
}

/* A small graph with two branches, ended rows and a hide: every section is there. */
static void make_good_file(bool halves)
{
    char dir[] = "/tmp/gnomon-fuzz-XXXXXX";
    gn_vindex_options o = {.metric = halves ? GN_METRIC_COSINE : GN_METRIC_L2,
                           .dimensions = DIM,
                           .m = 2,
                           .tail_rows = 1u << 20,
                           .halves = halves};
    gn_vindex *index;
    must(mkdtemp(dir) != NULL);
    gn_world *world = gn_world_real_create(&(gn_world_options){.node_id = 1, .threads = 2});
    must(gn_vindex_open(world, dir, &o, &index, NULL) == GN_OK);
    for (uint32_t i = 0; i < ROWS; i++) {
        float v[DIM] = {(float)(i % 7), (float)(i % 5), (float)(i % 3), (float)i, 1};
        must(gn_vindex_insert(index, gn_bytes_of(&i, 1 + i % 4), i % 2, 10 + i, v, NULL) == GN_OK);
    }
    for (uint32_t i = 0; i < ROWS; i += 9)
        gn_vindex_end(index, gn_bytes_of(&i, 1 + i % 4), i % 2, 200);
    uint32_t hidden = 4;
    must(gn_vindex_hide(index, gn_bytes_of(&hidden, 1), 9, 300, NULL) == GN_OK);
    must(gn_vindex_build(index, NULL, NULL, NULL, NULL) == GN_OK);
    must(gn_vindex_close(index, true, NULL) == GN_OK);
    gn_world_real_destroy(world);
    read_segment(dir);
    must(good && gn_vindex_wipe(dir, NULL) == GN_OK && rmdir(dir) == 0);
}

/* Training needs more rows; they are cheap with few links. */
static void make_coded_file(gn_code_kind kind)
{
    char dir[] = "/tmp/gnomon-fuzz-XXXXXX";
    gn_vindex_options o = {.metric = GN_METRIC_L2,
                           .dimensions = WIDE,
                           .m = 2,
                           .ef_construction = 4,
                           .tail_rows = 1u << 20,
                           .codes = kind,
                           .pq_subquantizers = 8,
                           .pq_centroids = 17};
    gn_vindex *index;
    must(mkdtemp(dir) != NULL);
    gn_world *world = gn_world_real_create(&(gn_world_options){.node_id = 1, .threads = 2});
    must(gn_vindex_open(world, dir, &o, &index, NULL) == GN_OK);
    for (uint32_t i = 0; i < CODED_ROWS; i++) {
        float v[WIDE];
        for (uint32_t d = 0; d < WIDE; d++)
            v[d] = (float)((i * (d % 7 + 3) + d) % 31);
        must(gn_vindex_insert(index, gn_bytes_of(&i, sizeof i), 0, 10, v, NULL) == GN_OK);
    }
    must(gn_vindex_build(index, NULL, NULL, NULL, NULL) == GN_OK);
    must(gn_vindex_close(index, true, NULL) == GN_OK);
    gn_world_real_destroy(world);
    read_segment(dir);
    must(good && gn_vindex_wipe(dir, NULL) == GN_OK && rmdir(dir) == 0);
}

static void make_good_files(void)
{
    static const gn_code_kind kinds[FILES] = {GN_CODES_FLOAT32, GN_CODES_REDUCED, GN_CODES_RABITQ, GN_CODES_PRODUCT,
                                              GN_CODES_FLOAT32};
    for (size_t i = 0; i < FILES; i++) {
        if (kinds[i] == GN_CODES_FLOAT32)
            make_good_file(i > 0);
        else
            make_coded_file(kinds[i]);
        good_files[i] = good;
        good_lens[i] = good_len;
    }
}

static void make_checksums_right(uint8_t *file, size_t len)
{
    gn_segment_header *h = (gn_segment_header *)(void *)file;
    uint32_t n = h->n_sections < GN_SEGMENT_MAX_SECTIONS ? h->n_sections : GN_SEGMENT_MAX_SECTIONS;
    for (uint32_t i = 0; i < n; i++) {
        gn_section *s = &h->section[i];
        if (s->offset <= len && s->bytes <= len - s->offset)
            s->checksum = XXH3_64bits(file + s->offset, s->bytes);
    }
    h->checksum = XXH3_64bits(h, offsetof(gn_segment_header, checksum));
}

static bool accept_odd(void *ctx, const void *segment, uint32_t row)
{
    (void)ctx;
    gn_row r;
    return row % 2 && gn_segment_row(segment, row, &r) && r.end == GN_SCN_OPEN;
}

/* Everything known: odd rows match. */
static gn_memo_part *know_all(const gn_segment *s)
{
    uint32_t n = s->header->n_nodes;
    gn_memo_part *memo = calloc(1, sizeof *memo + ((size_t)n + 63) / 64 * sizeof *memo->words);
    must(memo != NULL);
    memo->n_nodes = n;
    for (uint32_t i = 0; i < n; i++)
        gn_memo_set(memo, i, i % 2);
    return memo;
}

static void use(gn_segment *s)
{
    static float query[GN_MAX_DIMENSIONS + 16] = {3, 1, 2, 17, 1};
    gn_candidate best[128];
    gn_hit hits[64];
    gn_memo_part *memo = know_all(s);
    static const struct {
        bool filtered, known, dear;
        float share;
    } ways[] = {{.filtered = false},
                {.filtered = true},
                {.filtered = true, .share = 0.1F},
                {.filtered = true, .known = true, .dear = true, .share = 0.01F},
                {.filtered = true, .known = true, .dear = true, .share = 0.1F},
                {.filtered = true, .known = true, .dear = true, .share = 0.9F}};
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        gn_accept accept = {.fn = ways[way].filtered ? accept_odd : NULL,
                            .memo = ways[way].known ? memo : NULL,
                            .dear = ways[way].dear};
        gn_topk top = {.hits = hits, .k = 64};
        gn_segment_query q = {.vector = query,
                              .k = 10,
                              .ef = 64,
                              .hidden = GN_NO_LINK,
                              .bound = INFINITY,
                              .accept = accept,
                              .share = ways[way].share,
                              .scan_cost = ways[way].share > 0 ? 1e9F : 0,
                              .best = best};
        if (s->header->graph == GN_GRAPH_HNSW)
            gn_segment_search(s, &q, NULL);
        gn_segment_scan(s, query, accept, &top);
        gn_topk_sort(&top);
    }
    free(memo);
    for (uint32_t i = 0; i < s->header->n_rows; i++) {
        gn_row r;
        if (!gn_segment_row(s, i, &r))
            continue;
        uint32_t at = gn_segment_find(s, r.key);
        for (uint32_t steps = 0; at != UINT32_MAX && steps < s->header->n_rows; steps++)
            at = gn_segment_older(s, at);
        if (i % 16 == 0)
            gn_segment_set_end(s, i, 500);
    }
    gn_segment_verify(s, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!good)
        make_good_files();
    if (size == 0)
        return 0;
    good = good_files[data[0] % FILES];
    good_len = good_lens[data[0] % FILES];
    data++, size--;
    uint8_t *file = malloc(good_len);
    size_t len = good_len;
    memcpy(file, good, good_len);
    for (; size >= 5; data += 5, size -= 5) { /* where (24 bits), what, how */
        size_t at = (size_t)(data[0] | data[1] << 8 | data[2] << 16) % good_len;
        if (data[4] & 2) /* the header and the quantizer's head are where sizes are */
            at %= data[4] & 4 ? 4096 : 4096 + 128;
        size_t run = data[4] >> 4 ? 1 : 4; /* a byte or a word */
        for (size_t i = at; i < at + run && i < good_len; i++)
            file[i] = data[4] & 1 ? (uint8_t)(file[i] ^ data[3]) : data[3];
    }
    if (size >= 2 && data[0] & 1) /* a tail of odd length cuts it short */
        len = (size_t)(data[0] << 8 | data[1]) % good_len;
    if (len >= sizeof(gn_segment_header))
        make_checksums_right(file, len);
    int fd = memfd_create("segment", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, file, len) == (ssize_t)len);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    gn_segment *segment;
    gn_error err = {0};
    if (gn_segment_open(path, 1, NULL, &segment, &err) == GN_OK) {
        use(segment);
        gn_segment_unref(segment);
    }
    close(fd);
    free(file);
    return 0;
}
