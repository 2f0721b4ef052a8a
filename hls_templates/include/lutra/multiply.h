// Products, and sums of products: what multiplies, and how many at a time.
//
// A way to multiply is a type with WIDE, the number of products that share one operand, and
//     template <typename A, typename B, typename Product>
//     static void of(const A& shared, const B (&others)[WIDE], Product (&products)[WIDE]);
// Each product is exact if Product holds it, and modulo 2^width else.
#ifndef LUTRA_MULTIPLY_H
#define LUTRA_MULTIPLY_H

#include <ap_fixed.h>
#include <ap_int.h>

#include "fixed.h"

namespace lutra {

// The raw integer of a value.
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
ap_int<W> integer_of(const ap_fixed<W, I, Q, O, N>& value) {
#pragma HLS INLINE
    ap_uint<W> bits = value.range(W - 1, 0);
    ap_int<W> raw = bits;
    return raw;
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
ap_uint<W> integer_of(const ap_ufixed<W, I, Q, O, N>& value) {
#pragma HLS INLINE
    ap_uint<W> bits = value.range(W - 1, 0);
    return bits;
}

template <typename T>
struct has_sign;

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
struct has_sign<ap_fixed<W, I, Q, O, N> > {
    static const bool value = true;
};

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
struct has_sign<ap_ufixed<W, I, Q, O, N> > {
    static const bool value = false;
};

// Each product in DSP slices.
struct multiply_dsp {
    static const int WIDE = 1;
    template <typename A, typename B, typename Product>
    static void of(const A& shared, const B (&others)[1], Product (&products)[1]) {
#pragma HLS INLINE
        decltype(shared * others[0]) product = shared * others[0];
#pragma HLS BIND_OP variable=product op=mul impl=dsp
        products[0] = product;
    }
};

// Each product in LUTs.
struct multiply_lut {
    static const int WIDE = 1;
    template <typename A, typename B, typename Product>
    static void of(const A& shared, const B (&others)[1], Product (&products)[1]) {
#pragma HLS INLINE
        decltype(shared * others[0]) product = shared * others[0];
#pragma HLS BIND_OP variable=product op=mul impl=fabric
        products[0] = product;
    }
};

// Two products in one DSP slice, for operands of up to 8 bits, signed or not.
//
//     (others[1] * 2^BITS + others[0]) * shared
//
// has others[0] * shared in its low BITS bits, as many as both operands have, which hold every such
// product, with its sign if it has one.  Where that is negative it has borrowed 1 from what stands
// above, which is given back.  The operands have up to 25 and 9 bits: one slice of any kind.
struct multiply_packed {
    static const int WIDE = 2;
    template <typename A, typename B, typename Product>
    static void of(const A& shared, const B (&others)[2], Product (&products)[2]) {
#pragma HLS INLINE
        typedef decltype(shared * others[0]) product_t;
        static_assert(A::width <= 8 && B::width <= 8, "operands have up to 8 bits");
        static const int BITS = A::width + B::width;
        ap_int<BITS + B::width + 1> low = integer_of(others[0]);
        ap_int<BITS + B::width + 1> pair = integer_of(others[1]);
        pair = (pair << BITS) + low;
        ap_int<A::width + 1> factor = integer_of(shared);
        ap_int<BITS + B::width + A::width + 2> both = pair * factor;
#pragma HLS BIND_OP variable=both op=mul impl=dsp
        ap_uint<BITS> first = both.range(BITS - 1, 0);
        ap_uint<BITS> second = both.range(2 * BITS - 1, BITS);
        if (has_sign<product_t>::value && first[BITS - 1]) {
            second = second + 1;
        }
        product_t value;
        value.range(BITS - 1, 0) = first;
        products[0] = value;
        value.range(BITS - 1, 0) = second;
        products[1] = value;
    }
};

// For each of PE outputs the sum of SIMD products of inputs x with its weights; those of one output
// lie side by side in w.
template <typename Multiply, typename In, typename Weight, typename Acc, int PE, int SIMD>
struct sums_of_products {
    static_assert(PE % Multiply::WIDE == 0, "products that are computed together exist");
    static void of(const ap_uint<SIMD * In::width>& x, const ap_uint<PE * SIMD * Weight::width>& w,
                   Acc (&sums)[PE]) {
#pragma HLS INLINE
        for (int p = 0; p < PE; p += Multiply::WIDE) {
#pragma HLS UNROLL
            Acc products[Multiply::WIDE][SIMD];
#pragma HLS ARRAY_PARTITION variable=products type=complete dim=0
            for (int s = 0; s < SIMD; ++s) {
#pragma HLS UNROLL
                Weight weights[Multiply::WIDE];
#pragma HLS ARRAY_PARTITION variable=weights type=complete dim=1
                Acc computed[Multiply::WIDE];
#pragma HLS ARRAY_PARTITION variable=computed type=complete dim=1
                for (int k = 0; k < Multiply::WIDE; ++k) {
#pragma HLS UNROLL
                    weights[k] = lane<Weight>(w, (p + k) * SIMD + s);
                }
                Multiply::of(lane<In>(x, s), weights, computed);
                for (int k = 0; k < Multiply::WIDE; ++k) {
#pragma HLS UNROLL
                    products[k][s] = computed[k];
                }
            }
            for (int k = 0; k < Multiply::WIDE; ++k) {
#pragma HLS UNROLL
                sums[p + k] = sum_tree<Acc, SIMD>::of(products[k], 0);
            }
        }
    }
};

}  // namespace lutra

#endif
