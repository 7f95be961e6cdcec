/* Regular expressions in kernels: compiled once as long as the pattern of the rows stays the same. */
#ifndef GN_QUERY_PATTERN_PRIVATE_H
#define GN_QUERY_PATTERN_PRIVATE_H

#include "query/regex.h"
#include "query/text_private.h"

/* Zero-initialise; lives as long as one call of a kernel. */
typedef struct gn_pattern {
    gn_bytes text;
    unsigned flags;
    const gn_regex *regex;
    gn_regex_matcher *matcher;
} gn_pattern;

/* max_spans: how many spans a search shall tell at most; there are no more than the pattern's groups and one. */
gn_code gn_pattern_compile(const gn_call *call, gn_pattern *p, gn_bytes pattern, unsigned flags, uint32_t max_spans);
gn_code gn_pattern_search(const gn_call *call, const gn_pattern *p, gn_bytes text, size_t from, gn_regex_span *spans,
                          bool *found);
/* The option letters of regexp_replace and its kin; *global: 'g' was among them. */
gn_code gn_pattern_flags(const gn_call *call, gn_bytes letters, unsigned *flags, bool *global);
/* As above, for the functions that refuse 'g'. Letters are argument number `at`, if the call has so many. */
gn_code gn_pattern_flags_of_row(const gn_call *call, uint32_t at, uint32_t row, unsigned *flags);

/* Where to go on after a match: behind it, and by one character if it was empty. */
static inline size_t gn_pattern_next(gn_bytes text, const gn_regex_span *match)
{
    if (match->from != match->to)
        return match->to;
    return match->to + (match->to < text.len ? gn_utf8_len(text.data[match->to]) : 1);
}

#endif
