/* Sequences and ids: blocks of numbers taken by small commands and handed out from memory. One strand fetches a block
 * for a sequence while others wait for it. Blocks grow while a sequence is busy, so that a bulk load is not paced by
 * the log, and an idle one leaves small gaps. What a clean close has left over is given back. */
#include "base/assert.h"
#include "shard/shard_private.h"

#include <stdlib.h>

enum { BLOCK_FIRST = 32, BLOCK_MAX = 8192, OBJECT_IDS = 0 /* the sequence of table and index ids */ };

typedef struct waiter {
    struct waiter *next;
    gn_event event;
} waiter;

typedef struct sequence {
    uint64_t id;
    int64_t next, end; /* numbers in hand: next .. end - 1 */
    uint32_t block;
    bool fetching;
    waiter *waiters;
} sequence;

struct gn_sequences {
    gn_shard *shard;
    pthread_mutex_t lock;
    sequence **items;
    size_t n, cap;
};

gn_sequences *gn_sequences_create(gn_shard *shard)
{
    gn_sequences *s = gn_xcalloc(1, sizeof *s);
    s->shard = shard;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void gn_sequences_destroy(gn_sequences *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        free(s->items[i]);
    free(s->items);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Under the lock. */
static sequence *sequence_of(gn_sequences *s, uint64_t id)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i]->id == id)
            return s->items[i];
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->items = gn_xrealloc(s->items, s->cap * sizeof(sequence *));
    }
    sequence *q = gn_xcalloc(1, sizeof *q);
    q->id = id;
    q->block = BLOCK_FIRST;
    s->items[s->n++] = q;
    return q;
}

static gn_code run(gn_shard *shard, uint64_t id, gn_sequence_op what, int64_t start, int64_t value, int64_t *first,
                   bool here, gn_error *err)
{
    gn_command c = {.kind = GN_COMMAND_SEQUENCE, .sequence_id = id, .op = what, .start = start, .value = value};
    c.clock = gn_shard_clock(shard);
    c.txn_id = gn_random_u64(shard->world) | 1;
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, 256);
    gn_command_encode_sequence(&c, &bytes);
    GN_ASSERT(!bytes.failed);
    gn_commit_op op = {0};
    gn_code code = here ? gn_shard_run_command_here(shard, gn_buf_bytes(&bytes), 0, &op)
                        : gn_shard_run_command(shard, gn_buf_bytes(&bytes), NULL, &op);
    gn_buf_close(&bytes);
    if (code == GN_OK)
        *first = op.first;
    else if (err)
        *err = op.err;
    return code;
}

/* Leaves the lock while it waits for a block or fetches one. */
static gn_code more(gn_sequences *s, sequence *q, int64_t start, uint32_t n, gn_error *err)
{
    gn_code code = GN_OK;
    if (q->fetching) {
        waiter w = {.next = q->waiters};
        gn_event_init(&w.event, s->shard->world);
        q->waiters = &w;
        pthread_mutex_unlock(&s->lock);
        gn_event_wait(&w.event, UINT64_MAX);
        pthread_mutex_lock(&s->lock);
        return GN_OK;
    }
    q->fetching = true;
    uint32_t block = q->id == OBJECT_IDS ? n : n > q->block ? n : q->block;
    pthread_mutex_unlock(&s->lock);
    int64_t first = 0;
    code = run(s->shard, q->id, GN_SEQUENCE_NEXT, start, block, &first, false, err);
    pthread_mutex_lock(&s->lock);
    q->fetching = false;
    if (code == GN_OK) {
        q->next = first;
        q->end = first + block;
        if (q->block < BLOCK_MAX)
            q->block *= 2;
    }
    for (waiter *w = q->waiters, *next; w; w = next) {
        next = w->next;
        gn_event_signal(&w->event);
    }
    q->waiters = NULL;
    return code;
}

static gn_code take(gn_shard *shard, uint64_t id, int64_t start, uint32_t n, int64_t *first, gn_error *err)
{
    gn_sequences *s = shard->sequences;
    gn_code code = GN_OK;
    pthread_mutex_lock(&s->lock);
    sequence *q = sequence_of(s, id);
    while (code == GN_OK && q->end - q->next < (int64_t)n)
        code = more(s, q, start, n, err);
    if (code == GN_OK) {
        *first = q->next;
        q->next += n;
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

gn_code gn_shard_sequence_next(gn_shard *shard, uint64_t sequence_id, int64_t start, uint32_t n, int64_t *first,
                               gn_error *err)
{
    GN_ASSERT(sequence_id != OBJECT_IDS && n > 0);
    return take(shard, sequence_id, start, n, first, err);
}

gn_code gn_shard_new_ids(gn_shard *shard, uint64_t n, uint64_t *first, gn_error *err)
{
    int64_t id;
    if (n == 0 || n > UINT32_MAX)
        return gn_error_set(err, GN_INVALID_PARAMETER, "so many ids cannot be had at once");
    gn_code code = take(shard, OBJECT_IDS, GN_FIRST_USER_ID, (uint32_t)n, &id, err);
    if (code == GN_OK)
        *first = (uint64_t)id;
    return code;
}

/* In the block in hand it needs no command: every other number in existence is outside of the block. */
gn_code gn_shard_sequence_raise(gn_shard *shard, uint64_t sequence_id, int64_t value, gn_error *err)
{
    gn_sequences *s = shard->sequences;
    int64_t ignored;
    pthread_mutex_lock(&s->lock);
    sequence *q = sequence_of(s, sequence_id);
    while (q->fetching) /* no number: only waits */
        more(s, q, 0, 0, NULL);
    bool in_hand = q->next < q->end && value < q->end - 1;
    if (in_hand && value >= q->next)
        q->next = value + 1;
    else if (!in_hand)
        q->next = q->end;
    pthread_mutex_unlock(&s->lock);
    return in_hand ? GN_OK : run(shard, sequence_id, GN_SEQUENCE_RAISE, 1, value, &ignored, false, err);
}

gn_code gn_shard_reserve(gn_shard *shard, uint64_t sequence_id, int64_t above, int64_t n, int64_t *first, gn_error *err)
{
    int64_t ignored;
    gn_code code = run(shard, sequence_id, GN_SEQUENCE_RAISE, above, above, &ignored, true, err);
    return code == GN_OK ? run(shard, sequence_id, GN_SEQUENCE_NEXT, above, n, first, true, err) : code;
}

void gn_sequences_give_back(gn_sequences *s)
{
    for (size_t i = 0; i < s->n; i++) {
        sequence *q = s->items[i];
        int64_t ignored;
        if (q->next < q->end &&
            run(s->shard, q->id, GN_SEQUENCE_RETURN, q->next, q->end, &ignored, true, NULL) != GN_OK)
            return;
        q->end = q->next;
    }
}
