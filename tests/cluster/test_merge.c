#include "cluster/merge_private.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A stream of the numbers that a text lists, `step` in a batch; column 0 is the number, the last one its distance. */
typedef struct list {
    const int *numbers;
    uint32_t n, at, step;
    bool closed, fails;
    uint8_t keys[GN_BATCH_ROWS][4];
} list;

static gn_code list_next(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    list *l = stream;
    gn_type types[2] = {gn_type_of(GN_T_TEXT), gn_type_of(GN_T_FLOAT8)};
    gn_arena_reset(batch->arena);
    gn_code code = gn_batch_init(batch, types, 2, batch->arena, err);
    if (l->fails && l->at > 0)
        return gn_error_set(err, GN_IO, "the stream broke");
    uint32_t n = 0;
    for (; n < l->step && l->at < l->n; n++, l->at++) {
        char *text = gn_arena_alloc(batch->arena, 16);
        int len = snprintf(text, 16, "%d", l->numbers[l->at]);
        batch->columns[0].bytes[n] = gn_bytes_of(text, (size_t)len);
        batch->columns[1].f64[n] = l->numbers[l->at];
        if (keys) {
            l->keys[n][0] = (uint8_t)(l->numbers[l->at] >> 8);
            l->keys[n][1] = (uint8_t)l->numbers[l->at];
            keys[n] = gn_bytes_of(l->keys[n], 2);
        }
    }
    batch->n_rows = n;
    return code;
}

static void list_close(void *stream)
{
    ((list *)stream)->closed = true;
}

static const int ODD[] = {1, 3, 5, 700}, EVEN[] = {2, 4}, DOWN_A[] = {9, 5, 1}, DOWN_B[] = {8, 2};

/* All rows as text, numbers separated by blanks. */
static void merged(list *lists, uint32_t n, gn_merge_order order, const char *wanted)
{
    gn_stream streams[4];
    for (uint32_t i = 0; i < n; i++)
        streams[i] = (gn_stream){.next = list_next, .close = list_close, .stream = &lists[i]};
    gn_merge *m = gn_merge_open(streams, n, 2, order, NULL);
    gn_batch batch = {.n_columns = 2, .arena = gn_arena_create(NULL)};
    gn_bytes keys[GN_BATCH_ROWS];
    char text[4096] = "";
    gn_error err = {0};
    do {
        assert_int_equal(gn_merge_next(m, &batch, keys, &err), GN_OK);
        for (uint32_t r = 0; r < batch.n_rows; r++) {
            gn_bytes b = batch.columns[0].bytes[r];
            size_t at = strlen(text);
            snprintf(text + at, sizeof text - at, "%.*s ", (int)b.len, (const char *)b.data);
            assert_int_equal(keys[r].data[0] << 8 | keys[r].data[1], atoi(text + at));
        }
    } while (batch.n_rows);
    assert_string_equal(text, wanted);
    gn_merge_close(m);
    gn_arena_destroy(batch.arena);
    for (uint32_t i = 0; i < n; i++)
        assert_true(lists[i].closed);
}

static void streams_come_in_turn_or_in_order(void **state)
{
    (void)state;
    for (uint32_t step = 1; step < 4; step++) {
        merged((list[]){{.numbers = ODD, .n = 4, .step = step},
                        {.n = 0, .step = 1},
                        {.numbers = EVEN, .n = 2, .step = step}},
               3, GN_MERGE_NONE, "1 3 5 700 2 4 ");
        merged((list[]){{.numbers = ODD, .n = 4, .step = step},
                        {.n = 0, .step = 1},
                        {.numbers = EVEN, .n = 2, .step = step}},
               3, GN_MERGE_KEY, "1 2 3 4 5 700 ");
        merged((list[]){{.numbers = DOWN_A, .n = 3, .step = step}, {.numbers = DOWN_B, .n = 2, .step = step}}, 2,
               GN_MERGE_KEY_DESCENDING, "9 8 5 2 1 ");
    }
}

static void distances_ascend_over_all_streams(void **state)
{
    (void)state;
    list lists[] = {{.numbers = EVEN, .n = 2, .step = 2}, {.numbers = ODD, .n = 4, .step = 2}};
    gn_stream streams[2];
    for (int i = 0; i < 2; i++)
        streams[i] = (gn_stream){.next = list_next, .close = list_close, .stream = &lists[i]};
    gn_merge *m = gn_merge_open(streams, 2, 2, GN_MERGE_DISTANCE, NULL);
    gn_batch batch = {.n_columns = 2, .arena = gn_arena_create(NULL)};
    static const double WANTED[] = {1, 2, 3, 4, 5, 700};
    /* A batch ends before a stream would be asked again: after 3 for the odd numbers, after 4 for the even ones. */
    static const uint32_t ROWS[] = {3, 1, 2, 0}, ASKED[] = {2, 4, 4, 4};
    for (uint32_t i = 0, at = 0; i < 4; i++) {
        assert_int_equal(gn_merge_next(m, &batch, NULL, NULL), GN_OK);
        assert_int_equal(batch.n_rows, ROWS[i]);
        assert_int_equal(lists[1].at, ASKED[i]);
        if (ROWS[i])
            assert_memory_equal(batch.columns[1].f64, &WANTED[at], ROWS[i] * sizeof *WANTED);
        at += ROWS[i];
    }
    gn_merge_close(m);
    gn_arena_destroy(batch.arena);
}

static void columns_order_all_streams(void **state)
{
    (void)state;
    static const gn_row_order BY[] = {{.column = 0, .descending = true}};
    for (uint32_t step = 1; step < 4; step++) {
        list lists[] = {
            {.numbers = DOWN_A, .n = 3, .step = step}, {.n = 0, .step = 1}, {.numbers = DOWN_B, .n = 2, .step = step}};
        gn_stream streams[3];
        char text[64] = "";
        for (int i = 0; i < 3; i++)
            streams[i] = (gn_stream){.next = list_next, .close = list_close, .stream = &lists[i]};
        gn_merge *m = gn_merge_open_sorted(streams, 3, 2, BY, 1, NULL);
        gn_batch batch = {.n_columns = 2, .arena = gn_arena_create(NULL)};
        do {
            assert_int_equal(gn_merge_next(m, &batch, NULL, NULL), GN_OK);
            for (uint32_t r = 0; r < batch.n_rows; r++)
                strncat(text, (const char *)batch.columns[0].bytes[r].data, batch.columns[0].bytes[r].len);
        } while (batch.n_rows);
        assert_string_equal(text, "98521");
        gn_merge_close(m);
        gn_arena_destroy(batch.arena);
    }
}

static void an_error_of_a_stream_is_the_merge_s(void **state)
{
    (void)state;
    for (int order = GN_MERGE_NONE; order <= GN_MERGE_DISTANCE; order++) {
        list lists[] = {{.numbers = ODD, .n = 4, .step = 1}, {.numbers = EVEN, .n = 2, .step = 1, .fails = true}};
        gn_stream streams[2];
        for (int i = 0; i < 2; i++)
            streams[i] = (gn_stream){.next = list_next, .close = list_close, .stream = &lists[i]};
        gn_merge *m = gn_merge_open(streams, 2, 2, (gn_merge_order)order, NULL);
        gn_batch batch = {.n_columns = 2, .arena = gn_arena_create(NULL)};
        gn_error err = {0};
        gn_code code;
        do
            code = gn_merge_next(m, &batch, NULL, &err);
        while (code == GN_OK && batch.n_rows);
        assert_int_equal(code, GN_IO);
        assert_string_equal(err.message, "the stream broke");
        gn_merge_close(m);
        gn_arena_destroy(batch.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_come_in_turn_or_in_order),
        cmocka_unit_test(distances_ascend_over_all_streams),
        cmocka_unit_test(columns_order_all_streams),
        cmocka_unit_test(an_error_of_a_stream_is_the_merge_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
