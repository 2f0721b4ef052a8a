// Functions of one value or of two: what the generated functions of nn_layers.h are made of.
//
// Each is a type with a static `apply`.  ID numbers the value that it defines, for tracing; Out is
// the type of that value and holds it exactly, but for `cast`.
#ifndef LUTRA_ELEMENTWISE_H
#define LUTRA_ELEMENTWISE_H

#include <ap_fixed.h>
#include <ap_int.h>

#include "fixed.h"
#include "trace.h"

namespace lutra {

// The value unchanged: the function of a kernel that nothing follows.
template <typename T>
struct pass {
    typedef T in;
    typedef T out;
    static T apply(const T& value) {
#pragma HLS INLINE
        return value;
    }
};

// Assignment to Out: rounds and overflows as Out's modes say.
template <int ID, typename In, typename Out>
struct cast {
    static Out apply(const In& value) {
#pragma HLS INLINE
        Out result = value;
        trace<ID>(result);
        return result;
    }
};

// max(value, 0): a look at the sign, no comparison.
template <int ID, typename In, typename Out>
struct relu {
    static Out apply(const In& value) {
#pragma HLS INLINE
        Out result = value;
        if (value < 0) {
            result = 0;
        }
        trace<ID>(result);
        return result;
    }
};

// The nearest value from low to high.
template <int ID, typename In, typename Low, typename High, typename Out>
struct clamp {
    static Out apply(const In& value, const Low& low, const High& high) {
#pragma HLS INLINE
        Out result = 0;
        if (value < low) {
            result = low;
        } else if (value > high) {
            result = high;
        } else {
            result = value;
        }
        trace<ID>(result);
        return result;
    }
};

// The value times itself.
template <int ID, typename In, typename Out>
struct square {
    static Out apply(const In& value) {
#pragma HLS INLINE
        Out result = value * value;
        trace<ID>(result);
        return result;
    }
};

// Table::at(bits of value) as the raw integer of Out.
template <int ID, typename In, typename Out, typename Table>
struct lut {
    static Out apply(const In& value) {
#pragma HLS INLINE
        ap_uint<In::width> index = value.range(In::width - 1, 0);
        Out result = from_raw<Out>(Table::at(index.to_uint()));
        trace<ID>(result);
        return result;
    }
};

// position * 2^BITS + behind, with `position` that of the leading one among the bits of the value,
// which is not negative, and `behind` the BITS bits that follow it; 0 is taken for 1.
template <int ID, typename In, typename Out, int BITS>
struct float_index {
    static Out apply(const In& value) {
#pragma HLS INLINE
        ap_uint<In::width + BITS> bits = 0;
        bits.range(In::width + BITS - 1, BITS) = value.range(In::width - 1, 0);
        int position = 0;
        for (int i = 1; i < In::width; ++i) {
#pragma HLS UNROLL
            if (bits[BITS + i]) {
                position = i;
            }
        }
        bits = bits >> position;
        ap_uint<Out::width> index = position;
        index = index << BITS;
        ap_uint<BITS + 1> behind = bits;
        behind[BITS] = 0;
        index = index + behind;
        Out result;
        result.range(Out::width - 1, 0) = index;
        trace<ID>(result);
        return result;
    }
};

// a + b.
template <int ID, typename A, typename B, typename Out>
struct add {
    static Out apply(const A& a, const B& b) {
#pragma HLS INLINE
        Out result = a + b;
        trace<ID>(result);
        return result;
    }
};

// a - b.
template <int ID, typename A, typename B, typename Out>
struct subtract {
    static Out apply(const A& a, const B& b) {
#pragma HLS INLINE
        Out result = a - b;
        trace<ID>(result);
        return result;
    }
};

// a * b.
template <int ID, typename A, typename B, typename Out>
struct multiply {
    static Out apply(const A& a, const B& b) {
#pragma HLS INLINE
        Out result = a * b;
        trace<ID>(result);
        return result;
    }
};

// value, or value * slope where it is negative.
template <int ID, typename In, typename Slope, typename Out>
struct leaky {
    static Out apply(const In& value, const Slope& slope) {
#pragma HLS INLINE
        Out result = value;
        if (value < 0) {
            result = value * slope;
        }
        trace<ID>(result);
        return result;
    }
};

}  // namespace lutra

#endif
