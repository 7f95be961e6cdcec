/* What a vector index was asked of late with a wanted recall: a fair sample of the queries, by which its calibration is
 * made anew when there are enough. For a calibration by an index's own vectors holds for queries of their kind alone,
 * and applications ask others: texts are looked for by questions. Kept in memory only. */
#ifndef GN_SHARD_ASKED_PRIVATE_H
#define GN_SHARD_ASKED_PRIVATE_H

#include "base/world.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    GN_ASKED_MOST = 128,    /* are kept */
    GN_ASKED_ENOUGH = 1024, /* were asked since the last calibration: the default */
    GN_ASKED_PAUSE_S = 600, /* between two calibrations: the default */
    GN_ASKED_FEWEST = 32,   /* to calibrate by */
};

typedef struct gn_asked {
    pthread_mutex_t lock;
    size_t words; /* of a query */
    float *queries;
    uint32_t n;
    _Atomic uint64_t seen; /* since the last take */
    uint64_t taken_ns;
} gn_asked;

void gn_asked_init(gn_asked *asked, size_t words);
void gn_asked_close(gn_asked *asked);
void gn_asked_note(gn_asked *asked, const float *query); /* any thread; seldom takes the lock */
bool gn_asked_is_due(const gn_asked *asked, uint64_t enough, uint64_t pause_ns, uint64_t now_ns);
/* Up to `most` of the queries; begins the next sample. *out: free(). One thread. */
uint32_t gn_asked_take(gn_asked *asked, uint32_t most, uint64_t now_ns, float **out);

#endif
