/* Does to a stopped replica what a disk or a fault of ours might: a row is lost, or another has a changed byte, or an
 * index loses an entry, without any checksum that tells. For tests of what compares replicas.
 *
 *   damage STORE lose|change|unindex */
#include "base/memory.h"
#include "shard/keyspace_private.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *why)
{
    fprintf(stderr, "damage: %s\n", why);
    return 1;
}

/* To the first row of a user's table. */
static char *damage(rocksdb_t *db, uint8_t kind, bool change)
{
    char *message = NULL;
    uint8_t prefix[GN_SPACE_PREFIX_MAX];
    size_t key_len, value_len, n = gn_space_prefix(&(gn_space){kind, GN_FIRST_USER_ID, 0, 0}, prefix);
    rocksdb_readoptions_t *reading = rocksdb_readoptions_create();
    rocksdb_writeoptions_t *writing = rocksdb_writeoptions_create();
    rocksdb_iterator_t *it = rocksdb_create_iterator(db, reading);
    rocksdb_iter_seek(it, (const char *)prefix, n);
    const char *key = rocksdb_iter_valid(it) ? rocksdb_iter_key(it, &key_len) : NULL;
    if (!key || key[0] != (char)kind) {
        message = strdup("there is nothing of that kind");
    } else if (change) {
        const char *value = rocksdb_iter_value(it, &value_len);
        char *copy = gn_xmalloc(value_len);
        memcpy(copy, value, value_len);
        copy[value_len - 1] ^= 1; /* the end of the last column's text */
        rocksdb_put(db, writing, key, key_len, copy, value_len, &message);
        free(copy);
    } else {
        rocksdb_delete(db, writing, key, key_len, &message);
    }
    rocksdb_iter_destroy(it);
    rocksdb_writeoptions_destroy(writing);
    rocksdb_readoptions_destroy(reading);
    return message;
}

int main(int argc, char **argv)
{
    char *message = NULL;
    if (argc != 3)
        return fail("STORE lose|change|unindex");
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_t *db = rocksdb_open(options, argv[1], &message);
    if (db) {
        message =
            damage(db, strcmp(argv[2], "unindex") == 0 ? GN_KIND_INDEX : GN_KIND_ROW, strcmp(argv[2], "change") == 0);
        rocksdb_close(db);
    }
    rocksdb_options_destroy(options);
    int status = message ? fail(message) : 0;
    free(message);
    return status;
}
