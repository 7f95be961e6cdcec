/* What a shard reads from its log, its store and its peers: commands, read sets, packed writes, change records, stored
 * values. */
#include "shard/change_log_private.h"
#include "shard/command_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_writes(gn_bytes writes)
{
    gn_reader r = gn_reader_of(writes);
    gn_section section;
    while (gn_section_next(&r, &section)) {
        gn_reader body = gn_reader_of(section.body);
        gn_write w;
        while (gn_reader_left(&body) > 0 && gn_write_unpack(&body, &w))
            ;
    }
}

static void read_reads(gn_bytes reads)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_read_set set;
    if (gn_read_set_unpack(reads, arena, &set, NULL) == GN_OK)
        for (uint32_t i = 0; i < set.n; i++) {
            gn_read_space_has(&set.spaces[i], gn_bytes_str("key"));
            gn_read_space_meets(&set.spaces[i], gn_bytes_str("a"), gn_bytes_str("z"));
        }
    gn_arena_destroy(arena);
}

static bool any_change(void *ctx, const gn_space *space, gn_bytes key, bool deleted)
{
    uint64_t *sum = ctx;
    *sum += space->id + deleted;
    for (size_t i = 0; i < key.len; i++)
        *sum += key.data[i];
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gn_bytes bytes = gn_bytes_of(data, size), row, indexes = {0};
    gn_command command;
    if (gn_command_decode(bytes, &command, NULL) == GN_OK && command.kind == GN_COMMAND_TXN) {
        read_writes(command.writes);
        read_reads(command.reads);
    }
    read_writes(bytes);
    read_reads(bytes);
    uint64_t txn, sum = 0;
    bool stopped, dead;
    gn_change_read(bytes, &txn, any_change, &sum, &stopped, &indexes, NULL);
    gn_value_open(bytes, &dead, &row, NULL);
    return 0;
}
