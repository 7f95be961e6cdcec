/* Arrays: any number of items of one type in up to six dimensions, each with a lower bound, as PostgreSQL's. The type
 * of the elements stands in the array's gn_type; the bytes hold the rest:
 *
 *   head (1)   lengths (varint each)   [lower bounds (i32 each)]   [null bitmap]   items
 *
 * The head's low three bits are the number of dimensions (0: the empty array, which is the head alone), then one bit
 * each for a bitmap (some item is NULL; a set bit is NULL) and for lower bounds (some is not 1). Items follow in
 * row-major order: those of a fixed size as they lie in memory, the others behind their length as a varint; a NULL has
 * no bytes. So equal arrays of equal bytes of items have equal bytes. Items lie at any address. */
#ifndef GN_QUERY_ARRAY_H
#define GN_QUERY_ARRAY_H

#include "query/value.h"

enum { GN_ARRAY_DIMENSIONS = 6 };

/* Walks over the items. Opening a value that is not NULL and sound (gn_array_is_valid) cannot fail. */
typedef struct gn_array_iter {
    gn_type element;
    uint32_t n_dimensions; /* 0: empty */
    uint64_t n_items;      /* at most GN_MAX_ARRAY_ITEMS */
    int32_t lengths[GN_ARRAY_DIMENSIONS], lower_bounds[GN_ARRAY_DIMENSIONS];
    uint64_t at;          /* of the next item */
    const uint8_t *nulls; /* NULL: none is */
    const uint8_t *p, *end;
} gn_array_iter;

gn_array_iter gn_array_open(const gn_value *array);
/* Gives the next item; its bytes point into the array. False: there is none. */
bool gn_array_next(gn_array_iter *it, gn_value *item);
/* The item at these subscripts. False: outside the bounds, or not as many subscripts as dimensions. */
bool gn_array_at(const gn_value *array, const int32_t *subscripts, uint32_t n, gn_value *item);
/* Can bytes from storage be walked over safely? */
bool gn_array_is_valid(gn_bytes bytes, gn_type element);

/* Builds an array. The shape is the caller's to set before gn_array_end, and must have as many items as were added;
 * left alone, it is one dimension from 1 on. Memory is the arena's. */
typedef struct gn_array_builder {
    gn_type element;
    gn_arena *arena;
    uint32_t n_dimensions;
    int32_t lengths[GN_ARRAY_DIMENSIONS], lower_bounds[GN_ARRAY_DIMENSIONS];
    uint64_t n_items;
    bool has_nulls;
    uint8_t *nulls, *items;
    size_t nulls_room, len, room;
} gn_array_builder;

void gn_array_begin(gn_array_builder *b, gn_type element, gn_arena *arena);
/* Copies the item, which is NULL or of the element type. GN_LIMIT: too many, or too long in all. */
gn_code gn_array_add(gn_array_builder *b, const gn_value *item, gn_error *err);
gn_code gn_array_end(gn_array_builder *b, gn_value *out, gn_error *err);

/* The number of items of a shape; checks it against the limits before anything is built. */
gn_code gn_array_count(const int32_t *lengths, const int32_t *lower_bounds, uint32_t n_dimensions, uint64_t *n_items,
                       gn_error *err);

/* a[lower:upper] of the first n dimensions, whole in the others; out of the bounds is cut off, and what is left is
 * numbered from 1. */
gn_code gn_array_slice(const gn_value *array, const int32_t *lower, const int32_t *upper, uint32_t n, gn_arena *arena,
                       gn_value *out, gn_error *err);

#endif
