// The stage of a softmax that is not elementwise: distance below the row's maximum.  The exponential
// and the reciprocal are tables (elementwise.h), the sum is a pool (pool.h), and the product of a
// row with one value is a map (map.h).
#ifndef LUTRA_SOFTMAX_H
#define LUTRA_SOFTMAX_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "elementwise.h"
#include "fixed.h"
#include "trace.h"

namespace lutra {

// For each row: out = post(max(row) - value), value by value.
//   Config: id, rows, length, types in, acc, post.
// A row is read in full before its results leave.
// Interval 1: what is kept comes from the stream; a comparison an iteration comes back to `best`.
template <typename Config>
void below_max(hls::stream<ap_uint<Config::in::width> >& in,
               hls::stream<ap_uint<Config::post::out::width> >& out) {
    typedef typename Config::in in_t;
    in_t row[Config::length];
    in_t best = 0;
    int step = 0;
    for (int i = 0; i < Config::rows * 2 * Config::length; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (step < Config::length) {
            ap_uint<in_t::width> x = in.read();
            in_t value = lane<in_t>(x, 0);
            row[step] = value;
            if (step == 0 || value > best) {
                best = value;
            }
        } else {
            typename Config::acc below = best - row[step - Config::length];
            trace<Config::id>(below);
            ap_uint<Config::post::out::width> y;
            set_lane(y, 0, Config::post::apply(below));
            out.write(y);
        }
        step = step == 2 * Config::length - 1 ? 0 : step + 1;
    }
}

}  // namespace lutra

#endif
