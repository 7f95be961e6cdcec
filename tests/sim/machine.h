/* The state machine of fleet.h, one a group and incarnation. */
#ifndef GN_TESTS_SIM_MACHINE_H
#define GN_TESTS_SIM_MACHINE_H

#include "tests/sim/fleet.h"

typedef struct machine machine;

machine *machine_create(program *p, unsigned group);
/* From the program's strand; the group must be closed. */
void machine_destroy(machine *m);
gn_raft_fsm machine_fsm(machine *m);
uint64_t machine_applied(const machine *m);

#endif
