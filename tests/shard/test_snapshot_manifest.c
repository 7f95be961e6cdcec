/* Manifests and chunks of snapshots: what comes from a node that is damaged or hostile is refused. */
#include "fixture.h"
#include "shard/snapshot_private.h"

#include <msgpack.h>
#include <query/pack.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

static void add_file(gn_snapshot_manifest *m, const char *name, uint64_t size)
{
    gn_snapshot_file f = {.size = size};
    snprintf(f.name, sizeof f.name, "%s", name);
    memset(f.sum, 7, sizeof f.sum);
    gn_snapshot_manifest_add(m, &f);
}

static void write_ok(gn_snapshot_manifest *m, gn_buf *out)
{
    gn_error err = {0};
    gn_buf_init(out, NULL, 32 << 20);
    ASSERT_OK(gn_snapshot_manifest_write(m, out, &err), &err);
}

static void a_manifest_comes_back(void **state)
{
    (void)state;
    gn_snapshot_manifest m = {.group_id = 3, .index = 17, .id = UINT64_MAX, .maker = 5, .last_scn = 9, .horizon = 8}, r;
    add_file(&m, "vector/12-0/MANIFEST", 100);
    add_file(&m, "store/000012.sst", (uint64_t)1 << 40);
    add_file(&m, "store/CURRENT", 0);
    gn_buf bytes;
    gn_error err = {0};
    write_ok(&m, &bytes);
    ASSERT_OK(gn_snapshot_manifest_read(gn_buf_bytes(&bytes), &r, &err), &err);
    assert_true(r.group_id == 3 && r.index == 17 && r.id == UINT64_MAX && r.maker == 5);
    assert_true(r.last_scn == 9 && r.horizon == 8 && r.files.n == 3);
    assert_string_equal(r.files.items[0].name, "store/000012.sst"); /* sorted */
    assert_string_equal(r.files.items[2].name, "vector/12-0/MANIFEST");
    assert_true(r.files.items[0].size == (uint64_t)1 << 40 && r.files.items[0].sum[15] == 7);
    assert_true(gn_snapshot_manifest_bytes(&r) == ((uint64_t)1 << 40) + 100);
    gn_snapshot_manifest_close(&r);
    gn_snapshot_manifest_close(&m);
    gn_buf_close(&bytes);
}

static void no_damage_to_a_manifest_goes_unnoticed(void **state)
{
    (void)state;
    gn_snapshot_manifest m = {.group_id = 3, .index = 17, .id = 99, .maker = 5}, r;
    add_file(&m, "store/000012.sst", 12345);
    add_file(&m, "vector/12-0/0000000000000001.seg", 100);
    gn_buf bytes;
    write_ok(&m, &bytes);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(gn_snapshot_manifest_read(gn_bytes_of(bytes.data, len), &r, NULL), GN_CORRUPT);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(gn_snapshot_manifest_read(gn_buf_bytes(&bytes), &r, NULL), GN_CORRUPT);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    gn_buf_append_u8(&bytes, 0);
    assert_int_equal(gn_snapshot_manifest_read(gn_buf_bytes(&bytes), &r, NULL), GN_CORRUPT);
    gn_snapshot_manifest_close(&m);
    gn_buf_close(&bytes);
}

static void refuse_names(const char *const *names, size_t n)
{
    gn_snapshot_manifest m = {.group_id = 1, .index = 1, .id = 1, .maker = 1}, r;
    for (size_t i = 0; i < n; i++)
        add_file(&m, names[i], 1);
    gn_buf bytes;
    write_ok(&m, &bytes); /* with a checksum that fits */
    assert_int_equal(gn_snapshot_manifest_read(gn_buf_bytes(&bytes), &r, NULL), GN_CORRUPT);
    gn_snapshot_manifest_close(&m);
    gn_buf_close(&bytes);
}

static void names_lead_nowhere_else(void **state)
{
    (void)state;
    static const char *const bad[] = {"../x",
                                      "store/../x",
                                      "store/..",
                                      "store/.",
                                      "/etc/passwd",
                                      "store//etc",
                                      "store/",
                                      "store",
                                      "",
                                      "CURRENT",
                                      "manifest",
                                      "vector/1-1/../x",
                                      "vector/1-1",
                                      "vector/1-1/",
                                      "vector/1/x",
                                      "vector/../1-1/x",
                                      "vector/a-1/x",
                                      "vector/-1/x",
                                      "vector/1-/x",
                                      "store/a/b",
                                      "store/a b",
                                      "store/a\\b",
                                      "store/a\nb",
                                      "store/.x",
                                      "part-1",
                                      "vector/1-1/a/b",
                                      "store/\xc3\xa9",
                                      "Store/000001.sst"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(gn_snapshot_name_valid(bad[i]));
        refuse_names(&bad[i], 1);
    }
    static const char *const good[] = {"store/000012.sst", "store/MANIFEST-000005", "store/CURRENT",
                                       "vector/18446744073709551615-0/0000000000000001.seg"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(gn_snapshot_name_valid(good[i]));
    static const char *const twice[] = {"store/a", "store/a"};
    refuse_names(twice, 2);
}

static void huge_sizes_are_refused(void **state)
{
    (void)state;
    gn_snapshot_manifest m = {.group_id = 1, .index = 1, .id = 1, .maker = 1}, r;
    add_file(&m, "store/a", UINT64_MAX);
    gn_buf bytes;
    write_ok(&m, &bytes);
    assert_int_equal(gn_snapshot_manifest_read(gn_buf_bytes(&bytes), &r, NULL), GN_CORRUPT);
    gn_buf_close(&bytes);
    gn_snapshot_manifest_close(&m);
    /* an array that claims to be longer than the bytes */
    static const uint8_t claims[] = {0x99, 2, 1, 1, 1, 1, 1, 1, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x93};
    assert_int_equal(gn_snapshot_manifest_read(gn_bytes_of(claims, sizeof claims), &r, NULL), GN_CORRUPT);
    /* more files than there may be */
    gn_snapshot_manifest many = {.group_id = 1};
    for (unsigned i = 0; i <= GN_MAX_SNAPSHOT_FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "store/%08u", i);
        add_file(&many, name, 1);
    }
    gn_buf_init(&bytes, NULL, 64 << 20);
    assert_int_equal(gn_snapshot_manifest_write(&many, &bytes, NULL), GN_LIMIT);
    gn_buf_close(&bytes);
    gn_snapshot_manifest_close(&many);
}

static void chunks_come_back_and_damage_is_noticed(void **state)
{
    (void)state;
    enum { LEN = 3000 };
    static uint8_t raw[LEN], back[LEN];
    gn_chunk_request here = {.group_id = 1, .index = 5, .snapshot_id = 77, .file = 3, .offset = 1 << 20}, other = here;
    for (int kind = 0; kind < 2; kind++) { /* one that compresses, one that does not */
        uint64_t x = 1;
        for (int i = 0; i < LEN; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            raw[i] = kind ? (uint8_t)(x >> 56) : (uint8_t)(i / 100);
        }
        gn_buf chunk;
        gn_buf_init(&chunk, NULL, GN_CHUNK_ENCODED);
        gn_chunk_encode(&here, gn_bytes_of(raw, LEN), &chunk);
        assert_true(kind ? chunk.len > LEN : chunk.len < LEN / 4);
        assert_int_equal(gn_chunk_decode(&here, gn_buf_bytes(&chunk), back, LEN, NULL), GN_OK);
        assert_memory_equal(raw, back, LEN);
        for (size_t len = 0; len < chunk.len; len++)
            assert_int_equal(gn_chunk_decode(&here, gn_bytes_of(chunk.data, len), back, LEN, NULL), GN_CORRUPT);
        for (size_t bit = 0; bit < chunk.len * 8; bit += 3) {
            chunk.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            gn_code code = gn_chunk_decode(&here, gn_buf_bytes(&chunk), back, LEN, NULL);
            if (code == GN_OK) /* a bit that zstd takes no notice of */
                assert_memory_equal(raw, back, LEN);
            chunk.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        other.offset = 0; /* the right bytes at the wrong place */
        assert_int_equal(gn_chunk_decode(&other, gn_buf_bytes(&chunk), back, LEN, NULL), GN_CORRUPT);
        assert_int_equal(gn_chunk_decode(&here, gn_buf_bytes(&chunk), back, LEN - 1, NULL), GN_CORRUPT);
        gn_buf_close(&chunk);
    }
}

static void requests_come_back(void **state)
{
    (void)state;
    gn_chunk_request in = {1, 2, UINT64_MAX, 4, (uint64_t)5 << 20}, out;
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, 100);
    gn_chunk_request_write(&bytes, &in);
    assert_int_equal(gn_chunk_request_read(gn_buf_bytes(&bytes), &out, NULL), GN_OK);
    assert_true(out.group_id == 1 && out.index == 2 && out.snapshot_id == UINT64_MAX && out.file == 4 &&
                out.offset == (uint64_t)5 << 20);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(gn_chunk_request_read(gn_bytes_of(bytes.data, len), &out, NULL), GN_PROTOCOL);
    gn_buf_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_comes_back),
        cmocka_unit_test(no_damage_to_a_manifest_goes_unnoticed),
        cmocka_unit_test(names_lead_nowhere_else),
        cmocka_unit_test(huge_sizes_are_refused),
        cmocka_unit_test(chunks_come_back_and_damage_is_noticed),
        cmocka_unit_test(requests_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
