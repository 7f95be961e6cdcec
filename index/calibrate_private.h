/* What recall a segment's walks have at which ef, measured; a section of its file. */
#ifndef GN_INDEX_CALIBRATE_PRIVATE_H
#define GN_INDEX_CALIBRATE_PRIVATE_H

#include "index/segment_private.h"

/* queries: n vectors of the segment's dimensions (normalised for cosine), or NULL: its own. */
gn_code gn_segment_calibrate(gn_segment *segment, const float *queries, uint32_t n, const _Atomic bool *cancel,
                             gn_calibration *out, gn_error *err);
bool gn_calibration_is_sound(const gn_calibration *calibration);
/* The smallest ef known to give the target recall in expectation, for k results; 0: none is. */
uint32_t gn_calibration_ef(const gn_calibration *calibration, double target, uint32_t k);
/* The recall of 10 that ef gives in expectation, at least. */
double gn_calibration_recall(const gn_calibration *calibration, uint32_t ef);

#endif
