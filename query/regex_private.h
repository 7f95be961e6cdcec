/* The program of a regular expression, between its compiler and its machine. */
#ifndef GN_QUERY_REGEX_PRIVATE_H
#define GN_QUERY_REGEX_PRIVATE_H

#include "query/regex.h"

typedef enum gn_regex_op {
    GN_R_CHAR,  /* value: code point, folded if the program ignores case */
    GN_R_ANY,   /* value 1: but a newline */
    GN_R_SET,   /* set */
    GN_R_SPLIT, /* to `next` first, then to `other` */
    GN_R_JUMP,
    GN_R_SAVE, /* value: slot */
    GN_R_LINE_BEGIN,
    GN_R_LINE_END,
    GN_R_TEXT_BEGIN,
    GN_R_TEXT_END,
    GN_R_WORD_EDGE,
    GN_R_NOT_WORD_EDGE,
    GN_R_WORD_BEGIN,
    GN_R_WORD_END,
    GN_R_MATCH,
} gn_regex_op;

typedef struct gn_regex_set gn_regex_set;
enum {
    GN_R_DIGIT = 1,
    GN_R_NOT_DIGIT = 2,
    GN_R_WORD = 4,
    GN_R_NOT_WORD = 8,
    GN_R_SPACE = 16,
    GN_R_NOT_SPACE = 32,
    GN_R_CLASS_SHIFT = 6 /* bits from here: (1 << index of a [:class:]) */
};
struct gn_regex_set {
    bool negated;
    bool no_newline;
    uint32_t classes;
    uint32_t n_ranges;
    struct {
        uint32_t low, high;
    } * ranges;
    uint64_t ascii[2]; /* the answer for code points below 128 */
};

typedef struct gn_regex_inst {
    gn_regex_op op;
    uint32_t next; /* of all but MATCH */
    uint32_t other;
    uint32_t value;
    const gn_regex_set *set;
} gn_regex_inst;

struct gn_regex {
    gn_regex_inst *program;
    uint32_t n;
    uint32_t n_groups;
    bool icase;
    bool newline_anchor;
    bool shortest;
    bool anchored;  /* begins with TEXT_BEGIN: only the start can match */
    int first_byte; /* every match begins with it; -1: not known */
};

bool gn_regex_word_character(uint32_t c);
bool gn_regex_set_has(const gn_regex_set *set, uint32_t c, bool icase);
/* Without the table for ASCII: used to fill it. */
bool gn_regex_set_compute(const gn_regex_set *set, uint32_t c, bool icase);
int gn_regex_class_named(gn_bytes name); /* index, -1 */

#endif
