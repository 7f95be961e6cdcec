/* A cluster as people and programs read it. */
#ifndef GN_OPS_VIEW_H
#define GN_OPS_VIEW_H

#include "base/buf.h"
#include "ops/model.h"

void gn_view_status(gn_buf *out, const gn_model *model, const json_t *problems, bool healthy);
void gn_view_nodes(gn_buf *out, const gn_model *model);
void gn_view_shards(gn_buf *out, const gn_model *model);
/* before: an earlier look, seconds ago; NULL: none, so there are no rates. */
void gn_view_top(gn_buf *out, const gn_model *model, const gn_model *before, double seconds);

json_t *gn_view_nodes_json(const gn_model *model);
json_t *gn_view_shards_json(const gn_model *model);

#endif
