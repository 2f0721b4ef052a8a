// Sums of values times constants, as additions and subtractions of shifted values: what the
// generated structs of nn_layers.h are made of whose weights are wiring.
#ifndef LUTRA_CONSTANT_H
#define LUTRA_CONSTANT_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "multiply.h"
#include "trace.h"

// A network has thousands of these sums, and compilers for a CPU take minutes to inline them all.
#ifdef __SYNTHESIS__
#define LUTRA_APART
#else
#define LUTRA_APART __attribute__((noinline))
#endif

namespace lutra {

// The raw integer of a value.
template <typename T>
LUTRA_APART auto raw_bits(const T& value) -> decltype(integer_of(value)) {
#pragma HLS INLINE
    return integer_of(value);
}

// The value of type T whose raw integer is raw * 2^shift.
template <typename T, typename Raw>
LUTRA_APART T from_bits(const Raw& raw, int shift) {
#pragma HLS INLINE
    ap_uint<T::width> bits = raw;
    bits = bits << shift;
    T value;
    value.range(T::width - 1, 0) = bits;
    return value;
}

// a * 2^a_shift + b * 2^b_shift, which Out holds exactly; the shifts are constants where it is
// called.
template <typename Out, typename A, typename B>
LUTRA_APART Out plus(const A& a, int a_shift, const B& b, int b_shift) {
#pragma HLS INLINE
    Out left = a;
    Out right = b;
    left = left << a_shift;
    right = right << b_shift;
    Out result = left + right;
    return result;
}

// a * 2^a_shift - b * 2^b_shift, alike.
template <typename Out, typename A, typename B>
LUTRA_APART Out minus(const A& a, int a_shift, const B& b, int b_shift) {
#pragma HLS INLINE
    Out left = a;
    Out right = b;
    left = left << a_shift;
    right = right << b_shift;
    Out result = left - right;
    return result;
}

// For each of `positions` input vectors: out = post(weights * in + bias), a vector a cycle.
//   Config: id, positions, inputs, outputs, types in, acc, post, and sums, the generated struct
//           whose apply adds what the weights say.
template <typename Config>
void dense_constant(hls::stream<ap_uint<Config::inputs * Config::in::width> >& in,
                    hls::stream<ap_uint<Config::outputs * Config::post::out::width> >& out) {
    for (int i = 0; i < Config::positions; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        ap_uint<Config::inputs * Config::in::width> arrived = in.read();
        typename Config::in x[Config::inputs];
#pragma HLS ARRAY_PARTITION variable=x type=complete dim=1
        typename Config::acc sums[Config::outputs];
#pragma HLS ARRAY_PARTITION variable=sums type=complete dim=1
        for (int s = 0; s < Config::inputs; ++s) {
#pragma HLS UNROLL
            x[s] = lane<typename Config::in>(arrived, s);
        }
        Config::sums::apply(x, sums, 0);
        ap_uint<Config::outputs * Config::post::out::width> y;
        for (int p = 0; p < Config::outputs; ++p) {
#pragma HLS UNROLL
            trace<Config::id>(sums[p]);
            set_lane(y, p, Config::post::apply(sums[p]));
        }
        out.write(y);
    }
}

}  // namespace lutra

#endif
