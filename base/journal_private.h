/* A write-ahead journal in preallocated files that are used again and again.
 *
 * Appending to a growing file makes every sync a commit of the file system's own journal too (the file's size, its
 * extents); overwriting blocks that are there costs the data alone: measured 76 us against 109 us on ext4. PostgreSQL
 * recycles its WAL segments for the same reason.
 *
 * A record is its header (magic, length, sequence number, checksum) and its payload, at a multiple of 8 bytes. Sequence
 * numbers ascend by one over all files, so that what an earlier use of a file left behind cannot be taken for a record
 * of the present one; the checksum is seeded with a random number of this journal (file JOURNAL), so that nobody can
 * write rows that look like records. Whole pages are written: overwriting part of a page that is not in memory would
 * read it first.
 *
 * Every append is synced before it returns, so a crash can tear the last record alone: it was not acknowledged and is
 * dropped. One that can be read although its sync failed or never ran is made durable before it is reported. A record
 * that is damaged although later ones are whole, or a number that is missing, is corruption and refused.
 *
 * Used by one thread at a time, except that a thread of its own makes new files. */
#ifndef GN_BASE_JOURNAL_PRIVATE_H
#define GN_BASE_JOURNAL_PRIVATE_H

#include "base/bytes.h"
#include "base/error.h"

typedef struct gn_journal gn_journal;

/* Opens the journal in this directory, which exists, and calls replay with each record above `after`, in order. The
 * next record has the number after the last one found, or after `after`. seed: for a new journal. GN_CORRUPT, GN_IO,
 * GN_DISK_FULL. */
typedef gn_code gn_journal_replay(void *ctx, gn_bytes payload, gn_error *err);
gn_code gn_journal_open(const char *dir, uint64_t seed, uint64_t after, gn_journal_replay *replay, void *ctx,
                        gn_journal **out, gn_error *err);
void gn_journal_close(gn_journal *journal);              /* NULL is fine */
uint64_t gn_journal_next_seq(const gn_journal *journal); /* of the record that is appended next */
/* Durable when it returns GN_OK. After an error the journal must not be written any more. GN_IO, GN_DISK_FULL. */
gn_code gn_journal_append(gn_journal *journal, gn_bytes payload, gn_error *err);
/* A file was filled since the last release: it may be worth asking what can be released. */
bool gn_journal_has_full_files(const gn_journal *journal);
/* The records up to this one are durable elsewhere: files that hold no other may be used again. */
void gn_journal_release(gn_journal *journal, uint64_t seq);

#endif
