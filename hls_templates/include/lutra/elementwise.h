// Functions of one value, chains of them, and a kernel that applies a chain to a stream.
//
// Each function is a type with `in`, `out` and `static out apply(in)`.  ID numbers the value that
// it defines, for tracing.
#ifndef LUTRA_ELEMENTWISE_H
#define LUTRA_ELEMENTWISE_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "trace.h"

namespace lutra {

// The value unchanged.
template <typename T>
struct pass {
    typedef T in;
    typedef T out;
    static T apply(const T& value) {
#pragma HLS INLINE
        return value;
    }
};

// First F, then G.
template <typename F, typename G>
struct chain {
    typedef typename F::in in;
    typedef typename G::out out;
    static out apply(const in& value) {
#pragma HLS INLINE
        return G::apply(F::apply(value));
    }
};

// Assignment to Out: rounds and overflows as Out's modes say.
template <int ID, typename In, typename Out>
struct cast {
    typedef In in;
    typedef Out out;
    static Out apply(const In& value) {
#pragma HLS INLINE
        Out result = value;
        trace<ID>(result);
        return result;
    }
};

// The same value in a wider type.
template <typename In, typename Out>
struct extend {
    typedef In in;
    typedef Out out;
    static Out apply(const In& value) {
#pragma HLS INLINE
        Out result = value;
        return result;
    }
};

// max(value, 0); Out holds the result exactly.
template <int ID, typename In, typename Out>
struct relu {
    typedef In in;
    typedef Out out;
    static Out apply(const In& value) {
#pragma HLS INLINE
        Out result = 0;
        if (value > 0) {
            result = value;
        }
        trace<ID>(result);
        return result;
    }
};

// value times the constant of type Factor whose raw integer is RAW; Out holds the product exactly.
template <int ID, typename In, typename Out, typename Factor, long long RAW>
struct scale {
    typedef In in;
    typedef Out out;
    static Out apply(const In& value) {
#pragma HLS INLINE
        Factor factor = from_raw<Factor>(RAW);
        Out result = value * factor;
        trace<ID>(result);
        return result;
    }
};

// Table::at(bits of value) as the raw integer of Out.
template <int ID, typename In, typename Out, typename Table>
struct lut {
    typedef In in;
    typedef Out out;
    static Out apply(const In& value) {
#pragma HLS INLINE
        ap_uint<In::width> index = value.range(In::width - 1, 0);
        Out result = from_raw<Out>(Table::at(index.to_uint()));
        trace<ID>(result);
        return result;
    }
};

// Apply Config::post to every value of a stream.
//   Config: pe (lanes), beats, post.
template <typename Config>
void map(hls::stream<ap_uint<Config::pe * Config::post::in::width> >& in,
         hls::stream<ap_uint<Config::pe * Config::post::out::width> >& out) {
    for (int i = 0; i < Config::beats; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        ap_uint<Config::pe * Config::post::in::width> x = in.read();
        ap_uint<Config::pe * Config::post::out::width> y;
        for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
            typename Config::post::in value = lane<typename Config::post::in>(x, p);
            set_lane(y, p, Config::post::apply(value));
        }
        out.write(y);
    }
}

}  // namespace lutra

#endif
