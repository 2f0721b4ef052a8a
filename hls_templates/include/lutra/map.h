// Kernels that apply a function value by value: to one stream, or to a stream and a second operand.
#ifndef LUTRA_MAP_H
#define LUTRA_MAP_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"

namespace lutra {

// out = post(value).
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
            set_lane(y, p, Config::post::apply(lane<typename Config::post::in>(x, p)));
        }
        out.write(y);
    }
}

// out = post(value, other), of two streams side by side.
//   Config: pe (lanes of both), beats, post.
template <typename Config>
void map2(hls::stream<ap_uint<Config::pe * Config::post::in::width> >& in,
          hls::stream<ap_uint<Config::pe * Config::post::in1::width> >& other,
          hls::stream<ap_uint<Config::pe * Config::post::out::width> >& out) {
    for (int i = 0; i < Config::beats; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        ap_uint<Config::pe * Config::post::in::width> a = in.read();
        ap_uint<Config::pe * Config::post::in1::width> b = other.read();
        ap_uint<Config::pe * Config::post::out::width> y;
        for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
            set_lane(y, p,
                     Config::post::apply(lane<typename Config::post::in>(a, p),
                                         lane<typename Config::post::in1>(b, p)));
        }
        out.write(y);
    }
}

// out = post(value, factor), with one factor for each row of values.
//   Config: pe (lanes of in and out; the factors have one), rows, beats_a_row, post.
template <typename Config>
void map_row(hls::stream<ap_uint<Config::pe * Config::post::in::width> >& in,
             hls::stream<ap_uint<Config::post::in1::width> >& factors,
             hls::stream<ap_uint<Config::pe * Config::post::out::width> >& out) {
    typename Config::post::in1 factor = 0;
    int beat = 0;
    for (int i = 0; i < Config::rows * Config::beats_a_row; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (beat == 0) {
            ap_uint<Config::post::in1::width> f = factors.read();
            factor = lane<typename Config::post::in1>(f, 0);
        }
        ap_uint<Config::pe * Config::post::in::width> x = in.read();
        ap_uint<Config::pe * Config::post::out::width> y;
        for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
            set_lane(y, p, Config::post::apply(lane<typename Config::post::in>(x, p), factor));
        }
        out.write(y);
        beat = beat == Config::beats_a_row - 1 ? 0 : beat + 1;
    }
}

// out = post(value, constant), with constants that start again when all are used.
//   Config: pe (lanes), beats, post.
//   constants: a row for each beat until they start again, pe values packed.
template <typename Config, int PERIOD, int WORDS>
void map_array(hls::stream<ap_uint<Config::pe * Config::post::in::width> >& in,
               hls::stream<ap_uint<Config::pe * Config::post::out::width> >& out,
               const word_t (&constants)[PERIOD][WORDS]) {
    static_assert(Config::beats % PERIOD == 0, "the constants are used as often as they fit");
#pragma HLS ARRAY_RESHAPE variable=constants type=complete dim=2
    int row = 0;
    for (int i = 0; i < Config::beats; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        ap_uint<Config::pe * Config::post::in::width> x = in.read();
        ap_uint<Config::pe * Config::post::in1::width> c =
            unpack<Config::pe * Config::post::in1::width>(constants[row]);
        ap_uint<Config::pe * Config::post::out::width> y;
        for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
            set_lane(y, p,
                     Config::post::apply(lane<typename Config::post::in>(x, p),
                                         lane<typename Config::post::in1>(c, p)));
        }
        out.write(y);
        row = row == PERIOD - 1 ? 0 : row + 1;
    }
}

}  // namespace lutra

#endif
