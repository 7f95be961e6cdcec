#include "base/memory.h"
#include "shard/asked_private.h"

#include <stdlib.h>
#include <string.h>

void gn_asked_init(gn_asked *a, size_t words)
{
    *a = (gn_asked){.words = words};
    pthread_mutex_init(&a->lock, NULL);
}

void gn_asked_close(gn_asked *a)
{
    free(a->queries);
    pthread_mutex_destroy(&a->lock);
}

/* A number that seems to be drawn by chance (splitmix64). */
static uint64_t scatter(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* A reservoir (Vitter, 1985): the i-th takes the place of one of those kept with probability kept / i. */
void gn_asked_note(gn_asked *a, const float *query)
{
    uint64_t i = a->seen++;
    uint64_t place = i < GN_ASKED_MOST ? i : scatter(i) % (i + 1);
    if (place >= GN_ASKED_MOST)
        return;
    pthread_mutex_lock(&a->lock);
    if (!a->queries)
        a->queries = gn_xmalloc(GN_ASKED_MOST * a->words * sizeof(float));
    if (place > a->n)
        place = a->n;
    memcpy(a->queries + place * a->words, query, a->words * sizeof(float));
    a->n += place == a->n;
    pthread_mutex_unlock(&a->lock);
}

bool gn_asked_is_due(const gn_asked *a, uint64_t enough, uint64_t pause_ns, uint64_t now_ns)
{
    return a->seen >= enough && now_ns - a->taken_ns >= pause_ns;
}

uint32_t gn_asked_take(gn_asked *a, uint32_t most, uint64_t now_ns, float **out)
{
    pthread_mutex_lock(&a->lock);
    uint32_t n = a->n < most ? a->n : most;
    *out = a->queries;
    a->queries = NULL;
    a->n = 0;
    a->seen = 0;
    a->taken_ns = now_ns;
    pthread_mutex_unlock(&a->lock);
    return n;
}
