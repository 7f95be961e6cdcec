/* What a replica reads of a snapshot that another node sends: the manifest, whose names become paths, requests for
 * chunks, and chunks. */
#include "shard/snapshot_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const gn_snapshot_manifest *m)
{
    for (size_t i = 0; i < m->files.n; i++) {
        const char *name = m->files.items[i].name;
        if (!gn_snapshot_name_valid(name) || strstr(name, "..") == name || strstr(name, "/..") || name[0] == '/')
            abort();
    }
    gn_snapshot_manifest_bytes(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t raw[1 << 16];
    gn_bytes bytes = gn_bytes_of(data, size);
    gn_snapshot_manifest m;
    if (gn_snapshot_manifest_read(bytes, &m, NULL) == GN_OK) {
        check(&m);
        gn_snapshot_manifest_close(&m);
    }
    gn_chunk_request request = {.group_id = 1, .snapshot_id = 2, .file = 3};
    if (size >= 6) { /* at the length that it claims, so that it gets as far as it can */
        size_t len = (size_t)data[3] << 16 | (size_t)data[4] << 8 | data[5];
        gn_chunk_decode(&request, bytes, raw, len < sizeof raw ? len : sizeof raw, NULL);
    }
    gn_chunk_request_read(bytes, &request, NULL);
    return 0;
}
