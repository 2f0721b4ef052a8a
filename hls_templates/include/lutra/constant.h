// Sums of values times constants, as additions and subtractions of shifted values: what the
// generated structs of nn_layers.h are made of whose weights are wiring.
#ifndef LUTRA_CONSTANT_H
#define LUTRA_CONSTANT_H

#include <ap_fixed.h>
#include <ap_int.h>

// A network has thousands of these sums, and compilers for a CPU take minutes to inline them all.
#ifdef __SYNTHESIS__
#define LUTRA_APART
#else
#define LUTRA_APART __attribute__((noinline))
#endif

namespace lutra {

// The raw integer of a value.
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
LUTRA_APART ap_int<W> raw_bits(const ap_fixed<W, I, Q, O, N>& value) {
#pragma HLS INLINE
    ap_uint<W> bits = value.range(W - 1, 0);
    ap_int<W> raw = bits;
    return raw;
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
LUTRA_APART ap_uint<W> raw_bits(const ap_ufixed<W, I, Q, O, N>& value) {
#pragma HLS INLINE
    ap_uint<W> bits = value.range(W - 1, 0);
    return bits;
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

}  // namespace lutra

#endif
