/* The segment file, little-endian:
 *
 *   header     one page: gn_segment_header with the table of sections, its own checksum last
 *   sections   each begins on a page boundary, in any order; unknown kinds are ignored
 *
 * Rows 0 .. n_nodes-1 have a vector and, where graph is GN_GRAPH_HNSW, are the nodes of the graph, ordered by level,
 * highest first, and within a level so that neighbours lie near each other. Hence the nodes that have links in layer l
 * are exactly 0 .. level_count[l]-1, and no table is needed to find them. Rows n_nodes .. n_rows-1 have no vector: they
 * only hide their key from ancestor branches.
 *
 * The nodes whose level is l are ordered by cells: each belongs to a node of layer l + 1 that is near it, and those of
 * one lie one after the other. For each node of layer l + 1 CELLS says where its cell begins, and where the last one
 * ends. So what belongs to a node by cells of cells is a few ranges of rows.
 *
 * Links are fixed blocks of row numbers, m0 in layer 0 and m in the others, filled up with GN_NO_LINK.
 *
 * The full vectors come last: a search reads them only to rerank what the walk over the codes has found, so they may
 * stay on disk. Where codes are GN_CODES_FLOAT32 the vectors are the codes, and there are no sections CODES and
 * QUANTIZER. The vectors are rows as measure_private.h has them, of floats or of halves.
 *
 * Version 1 knew no codes but float vectors, and is read as such. Version 3 has vectors of halves; where they are
 * floats the file is one of version 2. Other graphs (header.graph) need no new version: a reader refuses codes and
 * graphs that it does not know. */
#ifndef GN_INDEX_SEGMENT_FORMAT_PRIVATE_H
#define GN_INDEX_SEGMENT_FORMAT_PRIVATE_H

#include "base/versions.h"
#include "index/codes.h"

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "segment files are little-endian and mapped as they are"
#endif

#define GN_SEGMENT_MAGIC 0x31474553564e4721ull /* "!GNVSEG1" */

enum {
    GN_SEGMENT_FIRST_VERSION = 1,
    GN_SEGMENT_FLOATS_VERSION = 2,
    GN_SEGMENT_VERSION = GN_FORMAT_SEGMENT,
    GN_SEGMENT_PAGE = 4096,
    GN_SEGMENT_MAX_SECTIONS = 64,
    GN_SEGMENT_MAX_LEVELS = 32,
};

#define GN_NO_LINK UINT32_MAX
#define GN_SEGMENT_MAX_ROWS 0x7fffffffu /* the top bit of a row number is the walk's */

typedef enum gn_segment_graph {
    GN_GRAPH_NONE = 0, /* scanned exactly */
    GN_GRAPH_HNSW = 1,
} gn_segment_graph;

typedef enum gn_segment_vectors {
    GN_VECTORS_FLOAT32 = 0,
    GN_VECTORS_FLOAT16 = 1,
} gn_segment_vectors;

typedef enum gn_section_kind {
    GN_SECTION_VECTORS = 1,      /* rows, n_nodes of them */
    GN_SECTION_LINKS0 = 2,       /* uint32[n_nodes][m0] */
    GN_SECTION_LINKS_UPPER = 3,  /* layer 1 for its nodes, then layer 2, ...: uint32[][m] */
    GN_SECTION_BEGIN = 4,        /* uint64[n_rows] */
    GN_SECTION_END = 5,          /* uint64[n_rows]; UINT64_MAX = current when written */
    GN_SECTION_BRANCH = 6,       /* uint64[n_rows]; absent when all are of header.branch */
    GN_SECTION_KEY_OFFSETS = 7,  /* uint64[n_rows + 1] into KEYS */
    GN_SECTION_KEYS = 8,         /* bytes */
    GN_SECTION_KEY_SLOTS = 9,    /* uint64[power of two]; see keymap_private.h */
    GN_SECTION_KEY_OLDER = 10,   /* uint32[n_rows]; row + 1 of an older version of the key, 0 = none */
    GN_SECTION_CODES = 11,       /* [n_nodes][code_stride] bytes */
    GN_SECTION_QUANTIZER = 12,   /* the params of a codec; codes.h */
    GN_SECTION_CALIBRATION = 13, /* gn_calibration; zeros where nothing was measured */
    GN_SECTION_CELLS = 14,       /* layer 1: uint32[level_count[1] + 1], then layer 2, ...; may be absent */
    GN_SECTION_KNOWN = 15,
} gn_section_kind;

/* Where the cells of a layer begin in CELLS; of GN_SEGMENT_MAX_LEVELS: how many numbers there are in all. */
static inline size_t gn_segment_cells_at(const uint32_t level_count[GN_SEGMENT_MAX_LEVELS], uint32_t level)
{
    size_t at = 0;
    for (uint32_t l = 1; l < level && level_count[l]; l++)
        at += (size_t)level_count[l] + 1;
    return at;
}

/* See calibrate.c. */
enum { GN_CALIBRATION_POINTS = 12, GN_CALIBRATION_K = 10 };

typedef struct gn_calibration {
    uint32_t n_queries, k, n_points, reserved;
    struct {
        uint32_t ef;
        float loss; /* share of the k nearest that was missed, in the mean */
    } point[GN_CALIBRATION_POINTS];
} gn_calibration;

typedef struct gn_section {
    uint32_t kind;
    uint32_t reserved;
    uint64_t offset; /* in the file; a multiple of GN_SEGMENT_PAGE */
    uint64_t bytes;
    uint64_t checksum; /* XXH3-64 of the bytes */
} gn_section;

typedef struct gn_segment_header {
    uint64_t magic;
    uint32_t version;
    uint32_t metric; /* gn_metric_kind */
    uint32_t codes;  /* gn_code_kind */
    uint32_t graph;  /* gn_segment_graph */
    uint32_t dimensions;
    uint32_t stride; /* numbers a vector, with padding */
    uint32_t m, m0;
    uint32_t ef_construction;
    uint32_t levels; /* layers in use: the highest node's level + 1; 0 without a graph */
    uint32_t n_nodes, n_rows;
    uint32_t n_ended;       /* rows with a vector and an end when written */
    uint32_t many_branches; /* rows of more than one branch, or without a vector */
    uint64_t branch;        /* of all rows, unless many_branches */
    uint64_t min_begin, max_begin;
    uint64_t max_end; /* of those that ended */
    uint64_t file_bytes;
    uint32_t n_sections;
    uint32_t code_stride; /* bytes a code; 0 in version 1 */
    uint32_t vectors;     /* gn_segment_vectors; 0 before version 3 */
    uint32_t reserved[3];
    uint32_t level_count[GN_SEGMENT_MAX_LEVELS]; /* nodes with a level of at least the index */
    gn_section section[GN_SEGMENT_MAX_SECTIONS];
    uint8_t padding[GN_SEGMENT_PAGE - 2312];
    uint64_t checksum; /* XXH3-64 of everything before it */
} gn_segment_header;

_Static_assert(sizeof(gn_segment_header) == GN_SEGMENT_PAGE, "the header is one page");

#endif
