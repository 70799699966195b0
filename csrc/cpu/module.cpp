#include "../module.h"

DETASSIGN_EMPTY_MODULE(_C)
