/* The simulated world. */
#include "shard.h"
const struct backend backend_sim = {.name = "simulation"};
