/* What the tests of the vector index share: a world, a directory of their own, vectors from a seed, and a model that
 * answers exactly. */
#ifndef GN_TESTS_INDEX_VINDEX_FIXTURE_H
#define GN_TESTS_INDEX_VINDEX_FIXTURE_H

#include "index/vector_index.h"
#include "tests/base/cmocka_all.h"

#define OPEN_END UINT64_MAX

typedef struct fixture {
    gn_world *world;
    char dir[256];
    gn_vindex_options options;
    gn_vindex *index;
} fixture;

typedef struct model_row {
    uint32_t id; /* the key is its text */
    uint64_t branch, begin, end;
    const float *vector;
} model_row;

typedef struct model {
    gn_metric_kind metric;
    uint32_t dimensions;
    model_row *rows;
    size_t n, cap;
} model;

typedef struct result {
    uint32_t id;
    uint64_t branch, begin;
    float distance;
} result;

int fixture_setup(void **state);    /* a world and an empty directory; options zero */
int fixture_teardown(void **state); /* closes the index without saving and removes the directory */
void fixture_open(fixture *f);      /* asserts success */
void fixture_close(fixture *f, bool clean);
void fixture_reopen(fixture *f, bool clean);
void fixture_build(fixture *f);                /* asserts success */
gn_bytes key_of(uint32_t id, char buffer[16]); /* "k00000042" */

/* Normally distributed around some centers, as embeddings are. */
float *clustered_vectors(uint64_t seed, size_t n, uint32_t dimensions, uint32_t clusters);
float *uniform_vectors(uint64_t seed, size_t n, uint32_t dimensions);
/* Variance that falls with the coordinate, most of it in half of them, and a mean that is not zero. */
float *skewed_vectors(uint64_t seed, size_t n, uint32_t dimensions);
/* Bits, as words: some of one of a few centers' turned over, a few rows all ones. */
float *bit_vectors(uint64_t seed, size_t n, uint32_t bits);
void round_to_halves(float *v, size_t n);
size_t vector_words(gn_metric_kind metric, uint32_t dimensions); /* floats that one takes */

void insert_row(fixture *f, model *m, uint32_t id, uint64_t branch, uint64_t scn, const float *vector);
void end_row(fixture *f, model *m, uint32_t id, uint64_t branch, uint64_t scn);
void hide_row(fixture *f, model *m, uint32_t id, uint64_t branch, uint64_t scn);
void model_close(model *m);

/* Returns the number of results; fails the test on an error. filter_modulo 0: none; else only ids divisible by it. */
size_t search(fixture *f, const float *query, uint32_t k, uint32_t ef, bool exact, const gn_branch_at *chain,
              size_t n_chain, uint32_t filter_modulo, result *out);
size_t model_search(const model *m, const float *query, uint32_t k, const gn_branch_at *chain, size_t n_chain,
                    uint32_t filter_modulo, result *out);
/* Share of results as near as the model's k nearest, over n queries. Fails the test where fewer come than there are,
 * one is not to be seen by this reader, or has another distance than it should. */
double recall_in(fixture *f, const model *m, const float *queries, size_t n, uint32_t k, uint32_t ef,
                 const gn_branch_at *chain, size_t n_chain, uint32_t filter_modulo);
double recall(fixture *f, const model *m, const float *queries, size_t n, uint32_t k, uint32_t ef, uint64_t scn,
              uint32_t filter_modulo);
/* Results as the model has them, in order, with equal distances in any order. */
void assert_same_as_model(fixture *f, const model *m, const float *query, uint32_t k, const gn_branch_at *chain,
                          size_t n_chain);

#endif
