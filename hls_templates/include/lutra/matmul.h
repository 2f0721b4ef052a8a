// Product of two streams of matrices, as in attention.
#ifndef LUTRA_MATMUL_H
#define LUTRA_MATMUL_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "multiply.h"
#include "trace.h"

namespace lutra {

// For each of `batches` pairs of matrices: out = post(a * b), a (n, k), b (k, m), out (n, m).
//   Config: id, batches, n, k, m, transposed (whether b arrives as (m, k)), simd (products of a sum
//           a cycle: lanes of a, and of b if transposed), pe (columns a cycle: lanes of out, and of
//           b if not transposed), types a, b, acc, multiply (see multiply.h), post.
// b is kept; a row of a is kept while the columns need it.
//
// Time: one loop.  First b of the first pair arrives; then, pair after pair, products are formed
// while the next b arrives at an even pace, so that a pair takes as long as the longer of both.
// Interval 1: what is kept comes from the streams and does not depend on what is recalled; the sums
// are registers.
template <typename Config>
void matmul(
    hls::stream<ap_uint<Config::simd * Config::a::width> >& a,
    hls::stream<ap_uint<(Config::transposed ? Config::simd : Config::pe) * Config::b::width> >& b,
    hls::stream<ap_uint<Config::pe * Config::post::out::width> >& out) {
    typedef typename Config::acc acc_t;
    static const int FOLDS = Config::k / Config::simd;
    static const int GROUPS = Config::m / Config::pe;
    static const int ROWS = GROUPS * FOLDS;
    static_assert(FOLDS * Config::simd == Config::k, "simd divides the inner size");
    static_assert(GROUPS * Config::pe == Config::m, "pe divides the columns");
    // A bank has, for each group of columns and each fold, all folds' values of one column
    // (transposed), or all columns' of one row.
    static const int BANKS = Config::transposed ? Config::pe : Config::simd;
    static const int LANES = Config::transposed ? Config::simd : Config::pe;
    typedef ap_uint<LANES * Config::b::width> b_beat;

    // Two operands at most: the one that is used, and the one that arrives.
    static const int HALVES = Config::batches > 1 ? 2 : 1;
    static const int LOAD = BANKS * ROWS;
    static const int MULTIPLY = Config::n * ROWS;
    static const int PHASE = LOAD > MULTIPLY ? LOAD : MULTIPLY;

    b_beat kept_b[BANKS][HALVES * ROWS];
#pragma HLS ARRAY_PARTITION variable=kept_b type=complete dim=1
    ap_uint<Config::simd * Config::a::width> kept_a[FOLDS];
    acc_t acc[Config::pe];
#pragma HLS ARRAY_PARTITION variable=acc type=complete dim=1

    // Where the next beat of b goes: group * FOLDS + fold in its half.
    int loaded = 0;
    int half_in = 0;
    int bank_in = 0;
    int fold_in = 0;
    int group_in = 0;
    int place_in = 0;
    int first_in = 0;  // of the group
    int pace = 0;
    // What is multiplied next.
    int step = 0;
    int half = 0;
    int fold = 0;
    int group = 0;
    int row = 0;
    for (int i = 0; i < LOAD + (Config::batches - 1) * PHASE + MULTIPLY; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        bool leading = i < LOAD;
        bool arrives = leading || LOAD == PHASE;
        if (!arrives) {
            pace += LOAD;
            if (pace >= PHASE) {
                pace -= PHASE;
                arrives = true;
            }
        }
        if (arrives && loaded < Config::batches) {
            b_beat arrived = b.read();
            kept_b[bank_in][half_in + place_in] = arrived;
            bool last_bank = bank_in == BANKS - 1;
            bool over = false;
            if (Config::transposed) {
                if (fold_in < FOLDS - 1) {
                    ++fold_in;
                    ++place_in;
                } else {
                    fold_in = 0;
                    bank_in = last_bank ? 0 : bank_in + 1;
                    if (last_bank) {
                        over = first_in == ROWS - FOLDS;
                        first_in = over ? 0 : first_in + FOLDS;
                    }
                    place_in = first_in;
                }
            } else {
                if (group_in < GROUPS - 1) {
                    ++group_in;
                    place_in += FOLDS;
                } else {
                    group_in = 0;
                    bank_in = last_bank ? 0 : bank_in + 1;
                    if (last_bank) {
                        over = fold_in == FOLDS - 1;
                        fold_in = over ? 0 : fold_in + 1;
                    }
                    place_in = fold_in;
                }
            }
            if (over) {
                ++loaded;
                half_in = half_in == 0 ? (HALVES - 1) * ROWS : 0;
            }
        }
        if (!leading && step < MULTIPLY) {
            ap_uint<Config::simd * Config::a::width> x;
            if (group == 0) {
                x = a.read();
                kept_a[fold] = x;
            } else {
                x = kept_a[fold];
            }
            ap_uint<Config::pe * Config::simd * Config::b::width> factors;
            for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
                b_beat y = kept_b[bank][half + row];
                for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
                    int place = Config::transposed ? bank * LANES + i : i * BANKS + bank;
                    set_lane(factors, place, lane<typename Config::b>(y, i));
                }
            }
            acc_t sums[Config::pe];
#pragma HLS ARRAY_PARTITION variable=sums type=complete dim=1
            sums_of_products<typename Config::multiply, typename Config::a, typename Config::b,
                             acc_t, Config::pe, Config::simd>::of(x, factors, sums);
            for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
                acc_t start = 0;
                if (fold != 0) {
                    start = acc[p];
                }
                acc[p] = start + sums[p];
            }
            if (fold == FOLDS - 1) {
                ap_uint<Config::pe * Config::post::out::width> y;
                for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
                    trace<Config::id>(acc[p]);
                    set_lane(y, p, Config::post::apply(acc[p]));
                }
                out.write(y);
                fold = 0;
                if (group == GROUPS - 1) {
                    group = 0;
                    row = 0;
                } else {
                    ++group;
                    ++row;
                }
            } else {
                ++fold;
                ++row;
            }
        }
        if (!leading) {
            if (step < PHASE - 1) {
                ++step;
            } else {
                step = 0;
                half = half == 0 ? (HALVES - 1) * ROWS : 0;
            }
        }
    }
}

}  // namespace lutra

#endif
