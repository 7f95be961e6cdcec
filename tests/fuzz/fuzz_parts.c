/* What nodes say to each other of parts of transactions: whatever comes is an error, or something that is sound. The
 * first byte says what the rest is taken for. */
#include "base/assert.h"
#include "cluster/part_wire_private.h"
#include "cluster/parts_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_body(gn_part_request *r)
{
    gn_wire_scan scan;
    gn_wire_run run;
    gn_wire_vector_run vectors;
    gn_key_range range;
    uint64_t *groups = NULL;
    uint32_t n;
    switch (r->action) {
    case GN_PART_SCAN:
    case GN_PART_VECTOR_SCAN:
        if (gn_wire_scan_read(&r->body, r->action == GN_PART_VECTOR_SCAN, &scan))
            GN_ASSERT(gn_reader_left(&scan.ordinals) == (size_t)4 * scan.n_ordinals);
        break;
    case GN_PART_RUN:
        if (gn_wire_scan_read(&r->body, false, &scan) && gn_wire_run_read(&r->body, &run))
            for (uint32_t i = 0; i < run.n_more; i++) {
                bool sound = gn_wire_range_read(&run.more, &range);
                GN_ASSERT(sound);
            }
        break;
    case GN_PART_VECTOR_RUN:
        if (gn_wire_scan_read(&r->body, true, &scan) && gn_wire_vector_run_read(&r->body, &vectors))
            for (uint32_t b = 0; b < vectors.n_bounds; b++)
                for (uint32_t i = 0; i < vectors.bounds[b].n_ranges; i++) {
                    bool sound = gn_wire_range_read(&vectors.bounds[b].ranges, &range);
                    GN_ASSERT(sound);
                }
        break;
    case GN_PART_PREPARE:
    case GN_PART_DECIDE:
        gn_read_be64(&r->body);
        gn_wire_groups_read(&r->body, &groups, &n);
        free(groups);
        break;
    default:
        gn_read_be64(&r->body);
    }
}

/* The writes come back as they were. */
static void read_writes(gn_reader in)
{
    gn_part_write w, again;
    gn_buf out;
    gn_buf_init(&out, NULL, 1 << 20);
    while (gn_reader_left(&in) > 0 && gn_part_write_read(&in, &w)) {
        gn_buf_clear(&out);
        gn_part_write_append(&out, &w);
        gn_reader back = gn_reader_of(gn_buf_bytes(&out));
        bool ok = gn_part_write_read(&back, &again);
        GN_ASSERT(ok && gn_reader_left(&back) == 0 && again.kind == w.kind && again.id == w.id);
        GN_ASSERT(gn_bytes_eq(again.key, w.key) && gn_bytes_eq(again.row, w.row));
    }
    gn_buf_close(&out);
}

static void read_answer(gn_bytes bytes)
{
    gn_part_answer a;
    gn_error err = {0};
    gn_vector_scan_stats stats;
    if (!gn_part_answer_read(bytes, &a, &err))
        return;
    GN_ASSERT(strnlen(err.message, sizeof err.message) < sizeof err.message);
    gn_reader again = a.body;
    gn_wire_stats_read(&a.body, false, &stats);
    if (gn_wire_stats_read(&again, true, &stats))
        GN_ASSERT(stats.way <= GN_VECTOR_BY_WALK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gn_part_request request;
    gn_part_list list;
    if (size < 1 || size > 100000)
        return 0;
    gn_bytes bytes = gn_bytes_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        if (gn_part_request_read(bytes, &request)) {
            read_writes(request.writes);
            read_body(&request);
        }
        break;
    case 1:
        read_answer(bytes);
        break;
    default:
        if (gn_part_list_read(bytes, &list))
            GN_ASSERT(gn_reader_left(&list.numbers) == (size_t)8 * list.n);
    }
    return 0;
}
