// Matrix-vector product with folding: the kernel of dense layers and, behind a sliding window, of
// convolutions.
#ifndef LUTRA_DENSE_H
#define LUTRA_DENSE_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "elementwise.h"
#include "fixed.h"
#include "multiply.h"
#include "trace.h"

namespace lutra {

// For each of `positions` input vectors: out = post(weights * in + bias).
//   Config: id, positions, inputs, outputs, simd (inputs a cycle), pe (outputs a cycle),
//           types in, weight, acc, multiply (see multiply.h), and post.
//   weights: a row for each pair of output group and input fold, pe * simd values packed, the simd
//            values of one output side by side; bias: a row for each output group.
// The accumulator holds every partial sum modulo 2^width and the final sum exactly.
// One pair of group and fold a cycle; an input vector is kept while later groups need it.
// Interval 1: what is kept does not depend on what is recalled; the sums are registers, and one
// addition an iteration comes back to them.
template <typename Config, int ROWS, int WORDS, int GROUPS, int BIAS_WORDS>
void dense(hls::stream<ap_uint<Config::simd * Config::in::width> >& in,
           hls::stream<ap_uint<Config::pe * Config::post::out::width> >& out,
           const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[GROUPS][BIAS_WORDS]) {
    typedef typename Config::acc acc_t;
    static const int FOLDS = Config::inputs / Config::simd;
    static_assert(FOLDS * Config::simd == Config::inputs, "simd divides the inputs");
    static_assert(GROUPS * Config::pe == Config::outputs, "pe divides the outputs");
    static_assert(ROWS == GROUPS * FOLDS, "a row of weights for each group and fold");
#pragma HLS ARRAY_RESHAPE variable=weights type=complete dim=2
#pragma HLS ARRAY_RESHAPE variable=bias type=complete dim=2

    ap_uint<Config::simd * Config::in::width> kept[FOLDS];
    acc_t acc[Config::pe];
#pragma HLS ARRAY_PARTITION variable=acc type=complete dim=1

    int fold = 0;
    int group = 0;
    int row = 0;
    for (int i = 0; i < Config::positions * ROWS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        ap_uint<Config::simd * Config::in::width> x;
        if (group == 0) {
            x = in.read();
            kept[fold] = x;
        } else {
            x = kept[fold];
        }
        ap_uint<Config::pe * Config::simd * Config::weight::width> w =
            unpack<Config::pe * Config::simd * Config::weight::width>(weights[row]);
        ap_uint<Config::pe * acc_t::width> b = unpack<Config::pe * acc_t::width>(bias[group]);
        acc_t sums[Config::pe];
#pragma HLS ARRAY_PARTITION variable=sums type=complete dim=1
        sums_of_products<typename Config::multiply, typename Config::in, typename Config::weight,
                         acc_t, Config::pe, Config::simd>::of(x, w, sums);
        for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
            acc_t start = acc[p];
            if (fold == 0) {
                start = lane<acc_t>(b, p);
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
}

}  // namespace lutra

#endif
