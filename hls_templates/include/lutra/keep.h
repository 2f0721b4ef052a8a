// Values that a loop keeps and comes back to after a fixed number of iterations.
//
// What is written in an iteration and read in a later one has to be there in time.  Where the value
// that is written does not depend on what is read, that only orders the two.  Where it does, as in
// a sum that grows, the distance in iterations bounds the interval: through a memory it has to be
// more than the few cycles from a read to the write and the next read.  So what comes back after
// NEAREST iterations at most is kept in registers, and what comes back later in a memory; a pragma
// at the loop states that distance, which holds for every configuration.
//
// A kernel declares both, one of them with a single element that is never used:
//     T registers[near ? N : 1];    partitioned
//     T memory[near ? 1 : N];       DEPENDENCE ... distance=16 dependent=true
#ifndef LUTRA_KEEP_H
#define LUTRA_KEEP_H

#include <ap_int.h>

namespace lutra {

static const int NEAREST = 16;

// Element i of the one that is used.
template <bool NEAR, typename T, int N, int M>
T recall(const T (&registers)[N], const T (&memory)[M], int i) {
#pragma HLS INLINE
    T value;
    if (NEAR) {
        value = registers[NEAR ? i : 0];
    } else {
        value = memory[NEAR ? 0 : i];
    }
    return value;
}

template <bool NEAR, typename T, int N, int M>
void keep(T (&registers)[N], T (&memory)[M], int i, const T& value) {
#pragma HLS INLINE
    if (NEAR) {
        registers[NEAR ? i : 0] = value;
    } else {
        memory[NEAR ? 0 : i] = value;
    }
}

}  // namespace lutra

#endif
