// Raw bits of fixed-point values, and words that pack several of them.
#ifndef LUTRA_FIXED_H
#define LUTRA_FIXED_H

#include <ap_fixed.h>
#include <ap_int.h>

namespace lutra {

// One machine word of a constant array; weights are packed into rows of these.
typedef unsigned long long word_t;

// Lane `i` of a packed word, as a value of type T.
template <typename T, int N>
T lane(const ap_uint<N>& word, int i) {
#pragma HLS INLINE
    ap_uint<T::width> bits = word.range((i + 1) * T::width - 1, i * T::width);
    T value;
    value.range(T::width - 1, 0) = bits;
    return value;
}

// Put `value` into lane `i` of a packed word.
template <typename T, int N>
void set_lane(ap_uint<N>& word, int i, const T& value) {
#pragma HLS INLINE
    ap_uint<T::width> bits = value.range(T::width - 1, 0);
    word.range((i + 1) * T::width - 1, i * T::width) = bits;
}

// N bits from a row of machine words, the lowest bits first.
template <int N, int WORDS>
ap_uint<N> unpack(const word_t (&row)[WORDS]) {
#pragma HLS INLINE
    static_assert(WORDS == (N + 63) / 64, "a packed row has as many words as its bits need");
    ap_uint<WORDS * 64> bits;
    for (int i = 0; i < WORDS; ++i) {
#pragma HLS UNROLL
        ap_uint<64> word = row[i];
        bits.range(64 * i + 63, 64 * i) = word;
    }
    ap_uint<N> result = bits.range(N - 1, 0);
    return result;
}

// The value of type T whose raw integer is `raw`.
template <typename T>
T from_raw(long long raw) {
#pragma HLS INLINE
    ap_int<64> wide = raw;
    ap_uint<T::width> bits = wide.range(T::width - 1, 0);
    T value;
    value.range(T::width - 1, 0) = bits;
    return value;
}

// Sum of N values, pairwise, so that the adders form a tree.
template <typename T, int N>
struct sum_tree {
    template <int M>
    static T of(const T (&values)[M], int first) {
#pragma HLS INLINE
        T left = sum_tree<T, N / 2>::of(values, first);
        T right = sum_tree<T, N - N / 2>::of(values, first + N / 2);
        T sum = left + right;
        return sum;
    }
};

template <typename T>
struct sum_tree<T, 1> {
    template <int M>
    static T of(const T (&values)[M], int first) {
#pragma HLS INLINE
        return values[first];
    }
};

}  // namespace lutra

#endif
