/* Which characters a set of a regular expression has. */
#include "query/regex_private.h"
#include "query/text_private.h"

#include <utf8proc.h>

enum { ALNUM, ALPHA, BLANK, CNTRL, DIGIT, GRAPH, LOWER, PRINT, PUNCT, SPACE, UPPER, XDIGIT, WORD };

static const char *const class_names[] = {"alnum", "alpha", "blank", "cntrl", "digit",  "graph", "lower",
                                          "print", "punct", "space", "upper", "xdigit", "word"};

int gn_regex_class_named(gn_bytes name)
{
    for (size_t i = 0; i < sizeof class_names / sizeof *class_names; i++)
        if (gn_bytes_eq(gn_bytes_str(class_names[i]), name))
            return (int)i;
    return -1;
}

static bool is_letter(utf8proc_category_t k)
{
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_punctuation(utf8proc_category_t k)
{
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_SO;
}

static bool is_digit(uint32_t c)
{
    return c < 0x80 ? c - '0' < 10u : utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static bool is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == 0x85 || k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

bool gn_regex_word_character(uint32_t c)
{
    if (c < 0x80)
        return (c | 32) - 'a' < 26u || c - '0' < 10u || c == '_';
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return is_letter(k) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL;
}

static bool in_class(int class, uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    switch (class) {
    case ALNUM:
        return is_letter(k) || is_digit(c);
    case ALPHA:
        return is_letter(k);
    case BLANK:
        return c == ' ' || c == '\t';
    case CNTRL:
        return k == UTF8PROC_CATEGORY_CC;
    case DIGIT:
        return is_digit(c);
    case GRAPH:
        return k != UTF8PROC_CATEGORY_CC && k != UTF8PROC_CATEGORY_CN && !is_space(c);
    case LOWER:
        return k == UTF8PROC_CATEGORY_LL;
    case PRINT:
        return k != UTF8PROC_CATEGORY_CC && k != UTF8PROC_CATEGORY_CN;
    case PUNCT:
        return is_punctuation(k);
    case SPACE:
        return is_space(c);
    case UPPER:
        return k == UTF8PROC_CATEGORY_LU;
    case XDIGIT:
        return c < 0x80 && (c - '0' < 10u || (c | 32) - 'a' < 6u);
    default:
        return gn_regex_word_character(c);
    }
}

static bool has_plainly(const gn_regex_set *set, uint32_t c)
{
    for (uint32_t i = 0; i < set->n_ranges; i++)
        if (c >= set->ranges[i].low && c <= set->ranges[i].high)
            return true;
    if (!set->classes)
        return false;
    if ((set->classes & GN_R_DIGIT && is_digit(c)) || (set->classes & GN_R_NOT_DIGIT && !is_digit(c)) ||
        (set->classes & GN_R_WORD && gn_regex_word_character(c)) ||
        (set->classes & GN_R_NOT_WORD && !gn_regex_word_character(c)) || (set->classes & GN_R_SPACE && is_space(c)) ||
        (set->classes & GN_R_NOT_SPACE && !is_space(c)))
        return true;
    for (int class = ALNUM; class <= WORD; class ++)
        if (set->classes >> (GN_R_CLASS_SHIFT + class) & 1 && in_class(class, c))
            return true;
    return false;
}

bool gn_regex_set_compute(const gn_regex_set *set, uint32_t c, bool icase)
{
    if (set->no_newline && set->negated && c == '\n')
        return false;
    bool has = has_plainly(set, c);
    if (!has && icase)
        has = has_plainly(set, gn_lower_character(c)) || has_plainly(set, gn_upper_character(c));
    return has != set->negated;
}

bool gn_regex_set_has(const gn_regex_set *set, uint32_t c, bool icase)
{
    return c < 128 ? set->ascii[c >> 6] >> (c & 63) & 1 : gn_regex_set_compute(set, c, icase);
}
