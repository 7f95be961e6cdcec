/* Tables that are read at random places. Those of some megabytes come on large pages where the system gives them: else
 * every look-up of a node would first look up an address. */
#ifndef GN_INDEX_TABLE_PRIVATE_H
#define GN_INDEX_TABLE_PRIVATE_H

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Every byte is `fill`; 64-byte aligned; for free(). */
static inline void *gn_table_alloc(size_t bytes, int fill)
{
    const size_t large_page = (size_t)2 << 20;
    size_t align = bytes < large_page ? 64 : large_page, whole = (bytes / align + 1) * align;
    void *table = aligned_alloc(align, whole);
    GN_ASSERT(table != NULL);
    if (align == large_page)
        madvise(table, whole, MADV_HUGEPAGE); /* only a wish */
    memset(table, fill, bytes);
    return table;
}

#endif
