/* Fragments of queries as another node might send them: an error, or something that is sound and comes back the same
 * when it is packed again. */
#include "base/assert.h"
#include "query/fragment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const gn_fragment *f)
{
    gn_buf first, second;
    gn_fragment back;
    gn_error err = {0};
    gn_arena *arena = gn_arena_create(NULL);
    gn_buf_init(&first, NULL, 4 * (size_t)GN_FRAGMENT_BYTES);
    gn_buf_init(&second, NULL, 4 * (size_t)GN_FRAGMENT_BYTES);
    if (gn_fragment_pack(f, &first)) {
        gn_code code = gn_fragment_unpack(gn_buf_bytes(&first), f->types, f->n_types, arena, &back, &err);
        GN_ASSERT(code == GN_OK && gn_fragment_pack(&back, &second));
        GN_ASSERT(gn_bytes_eq(gn_buf_bytes(&first), gn_buf_bytes(&second)));
    }
    gn_buf_close(&first);
    gn_buf_close(&second);
    gn_arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const gn_type types[] = {
        {.id = GN_T_INT4, .typmod = -1},
        {.id = GN_T_TEXT, .typmod = -1},
        {.id = GN_T_NUMERIC, .typmod = -1},
        {.id = GN_T_FLOAT8, .typmod = -1},
        {.id = GN_T_INT4, .is_array = true, .typmod = -1},
        {.id = GN_T_TIMESTAMPTZ, .typmod = -1},
        {.id = GN_T_VECTOR, .typmod = 3},
    };
    gn_fragment f;
    gn_error err = {0};
    if (size > 20000)
        return 0;
    gn_arena *arena = gn_arena_create(NULL);
    if (gn_fragment_unpack(gn_bytes_of(data, size), types, sizeof types / sizeof *types, arena, &f, &err) == GN_OK)
        again(&f);
    gn_arena_destroy(arena);
    return 0;
}
