/* The parts below transactions, each against a model: write sets, read sets, the window of recent commits, keys, the
 * forms of commands and change records. */
#include "fixture.h"
#include "shard/change_log_private.h"
#include "shard/command_private.h"
#include "shard/files_private.h"
#include "shard/schema_private.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t rnd_state;
static uint32_t rnd(uint32_t n)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rnd_state >> 33) % n;
}

static gn_bytes key3(char *buf, uint32_t n)
{
    snprintf(buf, 8, "%04u", n % 10000);
    return gn_bytes_str(buf);
}

/* ---- write sets ---- */

enum { KEYS = 500 };

typedef struct own_model {
    struct {
        bool written, deleted;
        uint32_t value;
    } at[KEYS];
} own_model;

static void check_cursor(const gn_write_set *ws, gn_own_mark mark, const own_model *m, uint32_t from, uint32_t to,
                         bool reverse)
{
    char lo[8], hi[8], value[16], name[8];
    gn_key_span span = {.start = key3(lo, from), .end = key3(hi, to)};
    gn_own_cursor c;
    gn_own_cursor_open(&c, ws, mark, &span, reverse);
    for (uint32_t i = from; i < to; i++) {
        uint32_t k = reverse ? to - 1 - (i - from) : i;
        gn_own_row own;
        if (!m->at[k].written)
            continue;
        assert_true(gn_own_cursor_next(&c, &own));
        assert_true(gn_bytes_eq(own.key, key3(name, k)));
        assert_int_equal(own.deleted, m->at[k].deleted);
        snprintf(value, sizeof value, "v%u", m->at[k].value);
        assert_true(own.deleted || gn_bytes_eq(own.row, gn_bytes_str(value)));
    }
    gn_own_row own;
    assert_false(gn_own_cursor_next(&c, &own));
}

static void write_sets_behave_as_an_ordered_map_with_history(void **state)
{
    (void)state;
    static own_model now, then;
    for (int round = 0; round < 6; round++) {
        rnd_state = 100 + (uint64_t)round;
        memset(&now, 0, sizeof now);
        gn_write_set *ws = gn_write_set_create(gn_catalog_desc(), NULL);
        gn_own_mark mark = gn_own_now(ws);
        then = now;
        uint32_t ascending = 0;
        for (uint32_t step = 0; step < 1500; step++) {
            char name[8], value[16];
            bool up = (uint32_t)round < rnd(6) && ascending < KEYS;
            uint32_t k = up ? ascending++ : rnd(KEYS);
            bool deletes = !up && rnd(4) == 0;
            snprintf(value, sizeof value, "v%u", step);
            if (deletes)
                assert_int_equal(gn_own_delete(ws, key3(name, k), NULL), GN_OK);
            else
                assert_int_equal(gn_own_put(ws, key3(name, k), gn_bytes_str(value), k % 2, NULL), GN_OK);
            now.at[k].written = true;
            now.at[k].deleted = deletes;
            now.at[k].value = step;
            uint32_t a = rnd(KEYS), b = a + rnd(KEYS - a) + 1;
            if (step % 50 == 0) {
                check_cursor(ws, gn_own_now(ws), &now, a, b, step & 1);
                check_cursor(ws, mark, &then, a, b, step & 1);
            }
            if (step % 300 == 299) {
                mark = gn_own_now(ws);
                then = now;
            }
        }
        check_cursor(ws, gn_own_now(ws), &now, 0, KEYS, false);
        check_cursor(ws, mark, &then, 0, KEYS, true);
        gn_buf packed;
        gn_buf_init(&packed, NULL, 1 << 20);
        uint64_t n;
        assert_true(gn_write_set_pack(ws, &packed, &n));
        gn_reader r = gn_reader_of(gn_buf_bytes(&packed));
        gn_write w;
        char before[8] = "";
        for (uint64_t i = 0; i < n; i++) {
            assert_true(gn_write_unpack(&r, &w));
            assert_true(gn_bytes_cmp(gn_bytes_str(before), w.key) < 0);
            memcpy(before, w.key.data, 4);
            assert_int_equal(w.op == GN_WRITE_DELETE, now.at[strtoul(before, NULL, 10)].deleted);
        }
        assert_int_equal(gn_reader_left(&r), 0);
        gn_buf_close(&packed);
        gn_write_set_destroy(ws);
    }
}

/* ---- read sets and the window ---- */

static void read_sets_cover_what_was_added_and_survive_packing(void **state)
{
    (void)state;
    const gn_space space = {.kind = GN_KIND_ROW, .id = 20000, .branch = 1};
    for (int round = 0; round < 40; round++) {
        rnd_state = 900 + (uint64_t)round;
        bool in[KEYS] = {false};
        gn_read_set set = {0}, read;
        for (uint32_t i = rnd(30) + 1; i > 0; i--) {
            char lo[8], hi[8];
            uint32_t a = rnd(KEYS), b = a + rnd(20);
            if (rnd(2)) {
                gn_read_set_point(&set, &space, key3(lo, a));
                in[a] = true;
                continue;
            }
            gn_key_span span = {.start = key3(lo, a), .end = key3(hi, b)};
            gn_read_set_range(&set, &space, &span);
            for (uint32_t k = a; k < b && k < KEYS; k++)
                in[k] = true;
        }
        gn_buf packed;
        gn_buf_init(&packed, NULL, 1 << 20);
        gn_arena *arena = gn_arena_create(NULL);
        assert_true(gn_read_set_pack(&set, &packed));
        assert_int_equal(gn_read_set_unpack(gn_buf_bytes(&packed), arena, &read, NULL), GN_OK);
        const gn_read_space *rs = gn_read_set_space(&read, &space);
        for (uint32_t k = 0; k < KEYS; k++) {
            char name[8], other[8];
            assert_int_equal(rs && gn_read_space_has(rs, key3(name, k)), in[k]);
            uint32_t to = k + rnd(10);
            bool meets = false;
            for (uint32_t j = k; j <= to && j < KEYS; j++)
                meets |= in[j];
            /* between keys there may be parts of ranges that the model does not know: only this direction is exact */
            if (meets)
                assert_true(gn_read_space_meets(rs, key3(name, k), key3(other, to)));
        }
        for (size_t cut = 0; cut < packed.len; cut++) { /* cut short anywhere it is refused, not read beyond */
            gn_read_set bad;
            gn_code code = gn_read_set_unpack(gn_bytes_of(packed.data, cut), arena, &bad, NULL);
            assert_true(code == GN_CORRUPT || code == GN_OK);
        }
        gn_arena_destroy(arena);
        gn_buf_close(&packed);
        gn_read_set_close(&set);
    }
}

static void a_read_set_too_large_becomes_the_whole_space(void **state)
{
    (void)state;
    const gn_space space = {.kind = GN_KIND_ROW, .id = 20000, .branch = 1};
    gn_read_set set = {0};
    char name[16];
    for (uint32_t i = 0; i < GN_READ_ITEMS_MAX + 10; i++) {
        snprintf(name, sizeof name, "%08u", i);
        gn_read_set_point(&set, &space, gn_bytes_str(name));
    }
    assert_int_equal(set.spaces[0].n, 1);
    assert_true(gn_read_space_has(&set.spaces[0], gn_bytes_str("elsewhere")));
    gn_read_set_close(&set);
}

static gn_code validate(const gn_recent *recent, const gn_space *space, const char *key, gn_scn start)
{
    gn_read_set set = {0};
    gn_buf packed;
    gn_buf_init(&packed, NULL, 4096);
    gn_read_set_point(&set, space, gn_bytes_str(key));
    gn_read_set_pack(&set, &packed);
    gn_code code = gn_recent_validate(recent, &set, start, NULL);
    gn_read_set_close(&set);
    gn_buf_close(&packed);
    return code;
}

static void the_window_forgets_the_oldest_and_then_refuses(void **state)
{
    (void)state;
    const gn_space space = {.kind = GN_KIND_ROW, .id = 20000, .branch = 1};
    gn_recent recent;
    gn_recent_init(&recent);
    char *big = calloc(1, GN_MAX_KEY);
    memset(big, 'k', GN_MAX_KEY - 1);
    gn_scn scn = 0, found;
    while (recent.floor == 0) {
        gn_recent_begin(&recent);
        for (int i = 0; i < 10; i++) {
            big[0] = (char)('a' + i);
            gn_recent_key(&recent, &space, gn_bytes_str(big));
        }
        scn++;
        gn_recent_add(&recent, gn_recent_finish(&recent, scn, scn + 1000, gn_bytes_of(NULL, 0)));
    }
    assert_true(recent.weight <= GN_RECENT_WEIGHT_MAX && scn > 10);
    assert_false(gn_recent_find_txn(&recent, 1001, &found));
    assert_true(gn_recent_find_txn(&recent, scn + 1000, &found));
    assert_int_equal(found, scn);
    assert_int_equal(validate(&recent, &space, "unwritten", recent.floor), GN_OK);
    assert_int_equal(validate(&recent, &space, "unwritten", recent.floor - 1), GN_SERIALIZATION);
    assert_int_equal(validate(&recent, &space, big, scn), GN_OK);
    assert_int_equal(validate(&recent, &space, big, scn - 1), GN_SERIALIZATION);
    free(big);
    gn_recent_close(&recent);
}

static void transaction_ids_are_found_until_they_are_forgotten(void **state)
{
    (void)state;
    gn_recent recent;
    gn_recent_init(&recent);
    const gn_space space = {.kind = GN_KIND_ROW, .id = 1, .branch = 1};
    enum { N = 700000 };
    rnd_state = 77;
    for (gn_scn scn = 1; scn <= N; scn++) {
        gn_recent_begin(&recent);
        gn_recent_key(&recent, &space, gn_bytes_str("k"));
        gn_recent_add(&recent, gn_recent_finish(&recent, scn, scn * 0x9e3779b97f4a7c15ull, gn_bytes_of(NULL, 0)));
    }
    assert_true(recent.floor > 0);
    for (gn_scn scn = 1; scn <= N; scn += 997) {
        gn_scn found;
        assert_int_equal(gn_recent_find_txn(&recent, scn * 0x9e3779b97f4a7c15ull, &found), scn > recent.floor);
    }
    gn_recent_close(&recent);
}

/* ---- keys ---- */

static void versions_of_a_key_lie_together_newest_first(void **state)
{
    (void)state;
    const gn_space spaces[] = {{GN_KIND_INDEX, 5, 0, 1},    {GN_KIND_INDEX, 300, 0, 1}, {GN_KIND_ROW, 1, 0, 1},
                               {GN_KIND_ROW, 255, 0, 1},    {GN_KIND_ROW, 256, 0, 1},   {GN_KIND_ROW, 256, 0, 2},
                               {GN_KIND_ROW, 256, 70000, 1}};
    const gn_scn scns[] = {UINT64_MAX - 1, 1000, 3, 1};
    gn_buf last, key;
    gn_buf_init(&last, NULL, GN_STORE_KEY_MAX);
    gn_buf_init(&key, NULL, GN_STORE_KEY_MAX);
    for (size_t s = 0; s < sizeof spaces / sizeof *spaces; s++)
        for (uint32_t k = 0; k < 3; k++)
            for (size_t v = 0; v < 4; v++) {
                char name[8];
                gn_version_key(&key, &spaces[s], key3(name, k), scns[v]);
                assert_true(gn_bytes_cmp(gn_buf_bytes(&last), gn_buf_bytes(&key)) < 0);
                assert_int_equal(gn_version_scn(gn_buf_bytes(&key)), scns[v]);
                gn_buf_clear(&last);
                gn_buf_append_bytes(&last, gn_buf_bytes(&key));
            }
    gn_buf_close(&last);
    gn_buf_close(&key);
}

static void prefix_ranges_are_normalised(void **state)
{
    (void)state;
    static const uint8_t ff[] = {0x10, 0xff, 0xff}, all_ff[] = {0xff, 0xff};
    gn_arena *arena = gn_arena_create(NULL);
    gn_key_span span;
    gn_key_range r = {.lo = {ff, 3}, .hi = {ff, 3}, .hi_inclusive = true};
    assert_true(gn_key_span_of(&r, arena, &span));
    assert_int_equal(span.end.len, 1);
    assert_int_equal(span.end.data[0], 0x11);
    r = (gn_key_range){.lo = {all_ff, 2}, .lo_exclusive = true};
    assert_true(gn_key_span_of(&r, arena, &span));
    assert_true(!span.end_open && span.start.len == 0 && span.end.len == 0);
    r = (gn_key_range){.hi = {all_ff, 2}, .hi_inclusive = true};
    assert_true(gn_key_span_of(&r, arena, &span));
    assert_true(span.end_open);
    gn_arena_destroy(arena);
}

static void stored_rows_are_checked(void **state)
{
    (void)state;
    uint8_t value[GN_ROW_HEADER + 10] = {0};
    memcpy(value + GN_ROW_HEADER, "0123456789", 10);
    gn_row_header(gn_bytes_of(value + GN_ROW_HEADER, 10), value);
    bool dead;
    gn_bytes bytes;
    assert_int_equal(gn_value_open(gn_bytes_of(value, sizeof value), &dead, &bytes, NULL), GN_OK);
    assert_true(!dead && bytes.len == 10);
    for (size_t i = 0; i < sizeof value; i++) {
        uint8_t bad[sizeof value];
        memcpy(bad, value, sizeof bad);
        bad[i] ^= 0x20;
        if (i > 0)
            assert_int_equal(gn_value_open(gn_bytes_of(bad, sizeof bad), &dead, &bytes, NULL), GN_CORRUPT);
    }
    assert_int_equal(gn_value_open(gn_bytes_of(value, 3), &dead, &bytes, NULL), GN_CORRUPT);
    assert_int_equal(gn_value_open(gn_bytes_of(value, 0), &dead, &bytes, NULL), GN_CORRUPT);
}

/* ---- formats ---- */

static void check_damaged_commands(gn_command c)
{
    gn_write_set *ws = gn_write_set_create(gn_catalog_desc(), NULL);
    char name[8];
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(gn_own_put(ws, key3(name, rnd(1000)), gn_bytes_str("row"), i & 1, NULL), GN_OK);
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, 1 << 16);
    gn_command read;
    size_t patch;
    uint64_t n;
    assert_true(gn_command_begin_txn(&c, &bytes, &patch));
    assert_true(gn_command_add_section(&bytes, ws, &n));
    assert_true(gn_command_end_txn(&bytes, patch));
    assert_int_equal(gn_command_decode(gn_buf_bytes(&bytes), &read, NULL), GN_OK);
    assert_int_equal(read.clock, c.clock);
    assert_true(read.kind == c.kind && read.scn == c.scn && read.generation == c.generation);
    assert_true(gn_bytes_eq(read.tables, c.tables) && gn_bytes_eq(read.groups, c.groups));
    gn_section section;
    gn_reader r = gn_reader_of(read.writes);
    assert_true(gn_section_next(&r, &section));
    assert_int_equal(section.n, n);
    assert_false(gn_section_next(&r, &section));
    assert_false(r.failed);
    for (size_t cut = 0; cut < bytes.len; cut++)
        assert_int_equal(gn_command_decode(gn_bytes_of(bytes.data, cut), &read, NULL), GN_CORRUPT);
    for (size_t i = 0; i < bytes.len; i++) { /* no flipped bit makes it read outside */
        uint8_t kept = bytes.data[i];
        bytes.data[i] ^= (uint8_t)(1u << (i % 8));
        if (gn_command_decode(gn_buf_bytes(&bytes), &read, NULL) == GN_OK && read.kind == c.kind) {
            r = gn_reader_of(read.writes);
            while (gn_section_next(&r, &section)) {
                gn_reader body = gn_reader_of(section.body);
                gn_write w;
                while (gn_reader_left(&body) > 0 && gn_write_unpack(&body, &w))
                    ;
            }
        }
        bytes.data[i] = kept;
    }
    gn_buf_close(&bytes);
    gn_write_set_destroy(ws);
}

static void damaged_commands_are_refused(void **state)
{
    (void)state;
    gn_command c = {.txn_id = 9, .clock = 1 << 20, .start_scn = 5, .branch = 1, .tables = gn_bytes_str("abc")};
    c.kind = GN_COMMAND_TXN;
    check_damaged_commands(c);
    c.groups = gn_bytes_str("de");
    c.generation = 3;
    c.kind = GN_COMMAND_PREPARE;
    check_damaged_commands(c);
    c.scn = 1 << 19;
    c.kind = GN_COMMAND_DECIDE;
    check_damaged_commands(c);
}

static bool count_change(void *ctx, const gn_space *space, gn_bytes key, bool deleted)
{
    (void)space, (void)key, (void)deleted;
    ++*(int *)ctx;
    return true;
}

static void damaged_change_records_are_refused(void **state)
{
    (void)state;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    gn_change_writer w;
    gn_change_writer_init(&w);
    gn_space space = {.kind = GN_KIND_ROW, .id = 7, .branch = 1};
    gn_change_begin(&w, batch, 100, 200);
    char name[8];
    for (uint32_t i = 0; i < 30; i++) {
        space.id = 7 + i / 10;
        gn_change_row(&w, &space, key3(name, i), i & 1);
    }
    gn_change_end(&w, gn_bytes_str("indexes"));
    uint64_t txn;
    bool stopped;
    int n = 0;
    gn_bytes indexes, chunk = gn_buf_bytes(&w.buf);
    assert_int_equal(gn_change_read(chunk, &txn, count_change, &n, &stopped, &indexes, NULL), GN_OK);
    assert_int_equal(n, 30);
    assert_int_equal(txn, 200);
    assert_true(gn_bytes_eq(indexes, gn_bytes_str("indexes")));
    for (size_t i = 0; i < chunk.len; i++) {
        w.buf.data[i] ^= 0xff;
        gn_change_read(chunk, &txn, count_change, &n, &stopped, &indexes, NULL);
        gn_change_read(gn_bytes_of(chunk.data, i), &txn, count_change, &n, &stopped, &indexes, NULL);
        w.buf.data[i] ^= 0xff;
    }
    gn_change_writer_close(&w);
    rocksdb_writebatch_destroy(batch);
}

static void numbers_in_files_are_replaced_whole(void **state)
{
    (void)state;
    char dir[] = "/tmp/gnomon-number-XXXXXX", command[64];
    assert_non_null(mkdtemp(dir));
    uint64_t n = 42;
    assert_int_equal(gn_number_read(dir, "N", &n, NULL), GN_OK);
    assert_int_equal(n, 42);
    assert_int_equal(gn_number_write(dir, "N", UINT64_MAX, NULL), GN_OK);
    assert_int_equal(gn_number_read(dir, "N", &n, NULL), GN_OK);
    assert_true(n == UINT64_MAX);
    snprintf(command, sizeof command, "echo damaged >%s/N", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(gn_number_read(dir, "N", &n, NULL), GN_CORRUPT);
    assert_int_equal(gn_dir_remove(dir, NULL), GN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_sets_behave_as_an_ordered_map_with_history),
        cmocka_unit_test(read_sets_cover_what_was_added_and_survive_packing),
        cmocka_unit_test(a_read_set_too_large_becomes_the_whole_space),
        cmocka_unit_test(the_window_forgets_the_oldest_and_then_refuses),
        cmocka_unit_test(transaction_ids_are_found_until_they_are_forgotten),
        cmocka_unit_test(versions_of_a_key_lie_together_newest_first),
        cmocka_unit_test(prefix_ranges_are_normalised),
        cmocka_unit_test(stored_rows_are_checked),
        cmocka_unit_test(damaged_commands_are_refused),
        cmocka_unit_test(damaged_change_records_are_refused),
        cmocka_unit_test(numbers_in_files_are_replaced_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
