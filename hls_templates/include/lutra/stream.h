// Adaptors between processes: more lanes, fewer lanes, and copies of a stream.
#ifndef LUTRA_STREAM_H
#define LUTRA_STREAM_H

#include <ap_int.h>
#include <hls_stream.h>

namespace lutra {

// FACTOR narrow beats become one wide beat, the first in the lowest lanes.
//   Config: bits (of a narrow beat), factor, beats (wide ones).
template <typename Config>
void widen(hls::stream<ap_uint<Config::bits> >& in,
           hls::stream<ap_uint<Config::bits * Config::factor> >& out) {
    ap_uint<Config::bits * Config::factor> wide = 0;
    int part = 0;
    for (int i = 0; i < Config::beats * Config::factor; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        ap_uint<Config::bits> narrow = in.read();
        wide.range((part + 1) * Config::bits - 1, part * Config::bits) = narrow;
        if (part == Config::factor - 1) {
            out.write(wide);
            part = 0;
        } else {
            ++part;
        }
    }
}

// One wide beat becomes FACTOR narrow beats, the lowest lanes first.
//   Config: bits (of a narrow beat), factor, beats (wide ones).
template <typename Config>
void narrow(hls::stream<ap_uint<Config::bits * Config::factor> >& in,
            hls::stream<ap_uint<Config::bits> >& out) {
    ap_uint<Config::bits * Config::factor> wide = 0;
    int part = 0;
    for (int i = 0; i < Config::beats * Config::factor; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (part == 0) {
            wide = in.read();
        }
        ap_uint<Config::bits> narrow_beat =
            wide.range((part + 1) * Config::bits - 1, part * Config::bits);
        out.write(narrow_beat);
        part = part == Config::factor - 1 ? 0 : part + 1;
    }
}

// Every beat to both outputs.
//   Config: bits, beats.
template <typename Config>
void duplicate(hls::stream<ap_uint<Config::bits> >& in, hls::stream<ap_uint<Config::bits> >& first,
               hls::stream<ap_uint<Config::bits> >& second) {
    for (int i = 0; i < Config::beats; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        ap_uint<Config::bits> beat = in.read();
        first.write(beat);
        second.write(beat);
    }
}

}  // namespace lutra

#endif
