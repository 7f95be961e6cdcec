/* Regular expressions with the syntax of PostgreSQL's advanced regular expressions, matched in time linear in the text.
 *
 * A program for a Pike machine: all states of the automaton advance together over the text, so that no pattern and no
 * text makes it run away. (R. Pike, "The text editor sam", 1987; R. Cox, "Regular Expression Matching: the Virtual
 * Machine Approach", 2009.) As POSIX and PostgreSQL: the match that begins first, and of those the longest, or the
 * shortest when the first quantifier is a non-greedy one. Back references and look-ahead have no such automaton and
 * are refused. */
#ifndef GN_QUERY_REGEX_H
#define GN_QUERY_REGEX_H

#include "base/bytes.h"
#include "base/memory.h"

typedef struct gn_regex gn_regex;

enum {
    GN_REGEX_ICASE = 1,
    GN_REGEX_NEWLINE_CLASS = 2,  /* . and [^...] do not match a newline */
    GN_REGEX_NEWLINE_ANCHOR = 4, /* ^ and $ match at newlines */
    GN_REGEX_LITERAL = 8,        /* the pattern is plain text */
    GN_REGEX_EXPANDED = 16,      /* white space and # comments in the pattern do not count */
};

enum { GN_REGEX_GROUPS = 32 }; /* that a match reports; further ones group only */

typedef struct gn_regex_span {
    size_t from, to; /* bytes; from == SIZE_MAX: the group took no part */
} gn_regex_span;

/* In the arena. GN_INVALID_REGEX with PostgreSQL's message, GN_OUT_OF_MEMORY. */
gn_code gn_regex_compile(gn_bytes pattern, unsigned flags, gn_arena *arena, const gn_regex **out, gn_error *err);
uint32_t gn_regex_groups(const gn_regex *regex); /* parentheses that capture, at most GN_REGEX_GROUPS - 1 */

/* What a search needs besides the program; serves any number of searches, one at a time. n_spans: how many spans a
 * search tells, 0 .. GN_REGEX_GROUPS; none is fastest. In the arena. */
typedef struct gn_regex_matcher gn_regex_matcher;
gn_code gn_regex_matcher_create(const gn_regex *regex, uint32_t n_spans, gn_arena *arena, gn_regex_matcher **out,
                                gn_error *err);

/* Searches text from byte `from` on (which must begin a character; what lies before still counts for anchors).
 * spans[0] is the match, spans[i] group i. GN_CANCELED when *cancel turns true (it may be NULL). */
gn_code gn_regex_search(gn_regex_matcher *matcher, gn_bytes text, size_t from, gn_regex_span *spans,
                        const _Atomic bool *cancel, bool *found, gn_error *err);

#endif
