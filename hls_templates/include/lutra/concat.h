// Two streams joined along an axis.
#ifndef LUTRA_CONCAT_H
#define LUTRA_CONCAT_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "trace.h"

namespace lutra {

// `outer` times: a_beats beats of a, then b_beats beats of b, as out = post(value).
//   Config: id (negative: nobody asks for the value, as between joins in a row), outer, a_beats,
//           b_beats, lanes, types a, b, value (holds those of a and of b exactly), post.
template <typename Config>
void concat(hls::stream<ap_uint<Config::lanes * Config::a::width> >& a,
            hls::stream<ap_uint<Config::lanes * Config::b::width> >& b,
            hls::stream<ap_uint<Config::lanes * Config::post::out::width> >& out) {
    int step = 0;
    for (int i = 0; i < Config::outer * (Config::a_beats + Config::b_beats); ++i) {
#pragma HLS PIPELINE II=1 style=flp
        typename Config::value values[Config::lanes];
#pragma HLS ARRAY_PARTITION variable=values type=complete dim=1
        if (step < Config::a_beats) {
            ap_uint<Config::lanes * Config::a::width> x = a.read();
            for (int p = 0; p < Config::lanes; ++p) {
#pragma HLS UNROLL
                values[p] = lane<typename Config::a>(x, p);
            }
        } else {
            ap_uint<Config::lanes * Config::b::width> x = b.read();
            for (int p = 0; p < Config::lanes; ++p) {
#pragma HLS UNROLL
                values[p] = lane<typename Config::b>(x, p);
            }
        }
        ap_uint<Config::lanes * Config::post::out::width> y;
        for (int p = 0; p < Config::lanes; ++p) {
#pragma HLS UNROLL
            if (Config::id >= 0) {
                trace<Config::id>(values[p]);
            }
            set_lane(y, p, Config::post::apply(values[p]));
        }
        out.write(y);
        step = step == Config::a_beats + Config::b_beats - 1 ? 0 : step + 1;
    }
}

}  // namespace lutra

#endif
