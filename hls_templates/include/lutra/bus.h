// Between the words of a bus and the beats of a network, and between memory and words.
//
// A word carries containers of 8, 16, 32 or 64 bits, the first value in the lowest bits; each value
// is extended to its container by its sign or by zeros.  A frame begins with a new word.
//
// enter and leave have interval 1 whatever the values of a word and the lanes of a beat: `unit`
// values, which divide both, move together.  What a step adds goes behind what is held, at one of
// few places; what a step takes is always the first.  Where a frame is a word and a beat, enter_frame
// and leave_frame pass one each cycle.
#ifndef LUTRA_BUS_H
#define LUTRA_BUS_H

#include <ap_int.h>
#include <hls_stream.h>

namespace lutra {

// A word that travels alone, without the marks of AXI4-Stream.
template <int BITS>
struct plain_word {
    typedef ap_uint<BITS> type;
    static ap_uint<BITS> bits(const type& word) {
#pragma HLS INLINE
        return word;
    }
    static type make(const ap_uint<BITS>& bits, bool) {
#pragma HLS INLINE
        return bits;
    }
};

// Value i of a word.
template <typename Config>
ap_uint<Config::width> get_value(const ap_uint<Config::bits>& word, int i) {
#pragma HLS INLINE
    ap_uint<Config::width> value =
        word.range(i * Config::container + Config::width - 1, i * Config::container);
    return value;
}

// Put a value into place i of a word, extended to its container.
template <typename Config>
void set_value(ap_uint<Config::bits>& word, int i, const ap_uint<Config::width>& value) {
#pragma HLS INLINE
    ap_int<Config::width> number = value;
    ap_uint<Config::container> wide;
    if (Config::is_signed) {
        wide = number;
    } else {
        wide = value;
    }
    word.range((i + 1) * Config::container - 1, i * Config::container) = wide;
}

// Words of the bus become beats; what is left of a frame's last word is dropped.
//   Config: word (its type, with bits and make), bits (of a word), values (a word), container and
//           width (bits of each), lanes (values a beat), unit (values that move together), steps.
template <typename Config>
void enter(hls::stream<typename Config::word::type>& in,
           hls::stream<ap_uint<Config::width * Config::lanes> >& out) {
    static const int piece = Config::unit * Config::width;
    static const int add = Config::values / Config::unit;
    static const int take = Config::lanes / Config::unit;
    static const int places = add + take - 1;
    ap_uint<piece> kept[places];
#pragma HLS ARRAY_PARTITION variable=kept type=complete dim=1
    for (int p = 0; p < places; ++p) {
#pragma HLS UNROLL
        kept[p] = 0;
    }
    int held = 0;
    for (int i = 0; i < Config::steps; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (held < take) {
            typename Config::word::type word = in.read();
            ap_uint<Config::bits> bits = Config::word::bits(word);
            ap_uint<piece> pieces[add];
#pragma HLS ARRAY_PARTITION variable=pieces type=complete dim=1
            for (int v = 0; v < Config::values; ++v) {
#pragma HLS UNROLL
                ap_uint<Config::width> value = get_value<Config>(bits, v);
                int low = v % Config::unit * Config::width;
                pieces[v / Config::unit].range(low + Config::width - 1, low) = value;
            }
            for (int h = 0; h < take; ++h) {
#pragma HLS UNROLL
                if (h == held) {
                    for (int p = 0; p < add; ++p) {
#pragma HLS UNROLL
                        kept[h + p] = pieces[p];
                    }
                }
            }
            held += add;
        }
        if (held >= take) {
            ap_uint<Config::width * Config::lanes> beat;
            for (int p = 0; p < take; ++p) {
#pragma HLS UNROLL
                ap_uint<piece> first = kept[p];
                beat.range((p + 1) * piece - 1, p * piece) = first;
            }
            out.write(beat);
            for (int p = 0; p < places; ++p) {
#pragma HLS UNROLL
                kept[p] = p + take < places ? kept[(p + take) % places] : ap_uint<piece>(0);
            }
            held -= take;
        }
    }
}

// Beats become words of the bus, the last one of a frame filled up with zeros and marked.
//   Config: as for enter, and is_signed, beats (a frame).
template <typename Config>
void leave(hls::stream<ap_uint<Config::width * Config::lanes> >& in,
           hls::stream<typename Config::word::type>& out) {
    static const int piece = Config::unit * Config::width;
    static const int add = Config::lanes / Config::unit;
    static const int take = Config::values / Config::unit;
    static const int places = add + take - 1;
    ap_uint<piece> kept[places];
#pragma HLS ARRAY_PARTITION variable=kept type=complete dim=1
    for (int p = 0; p < places; ++p) {
#pragma HLS UNROLL
        kept[p] = 0;
    }
    int held = 0;
    int left = Config::beats;
    for (int i = 0; i < Config::steps; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (held < take && left > 0) {
            ap_uint<Config::width * Config::lanes> beat = in.read();
            for (int h = 0; h < take; ++h) {
#pragma HLS UNROLL
                if (h == held) {
                    for (int p = 0; p < add; ++p) {
#pragma HLS UNROLL
                        ap_uint<piece> next = beat.range((p + 1) * piece - 1, p * piece);
                        kept[h + p] = next;
                    }
                }
            }
            held += add;
            --left;
        }
        if (held >= take || left == 0) {
            ap_uint<Config::bits> bits = 0;
            for (int v = 0; v < Config::values; ++v) {
#pragma HLS UNROLL
                ap_uint<piece> first = kept[v / Config::unit];
                int low = v % Config::unit * Config::width;
                ap_uint<Config::width> value = first.range(low + Config::width - 1, low);
                set_value<Config>(bits, v, value);
            }
            typename Config::word::type word = Config::word::make(bits, i == Config::steps - 1);
            out.write(word);
            for (int p = 0; p < places; ++p) {
#pragma HLS UNROLL
                kept[p] = p + take < places ? kept[(p + take) % places] : ap_uint<piece>(0);
            }
            held = held > take ? held - take : 0;
        }
    }
}

// A word that is a frame becomes a beat, one each cycle.
//   Config: as for enter.
template <typename Config>
void enter_frame(hls::stream<typename Config::word::type>& in,
                 hls::stream<ap_uint<Config::width * Config::lanes> >& out) {
#pragma HLS PIPELINE II=1 style=flp
    typename Config::word::type word = in.read();
    ap_uint<Config::bits> bits = Config::word::bits(word);
    ap_uint<Config::width * Config::lanes> beat;
    for (int v = 0; v < Config::lanes; ++v) {
#pragma HLS UNROLL
        ap_uint<Config::width> value = get_value<Config>(bits, v);
        beat.range((v + 1) * Config::width - 1, v * Config::width) = value;
    }
    out.write(beat);
}

// A beat that is a frame becomes a word, one each cycle.
//   Config: as for leave.
template <typename Config>
void leave_frame(hls::stream<ap_uint<Config::width * Config::lanes> >& in,
                 hls::stream<typename Config::word::type>& out) {
#pragma HLS PIPELINE II=1 style=flp
    ap_uint<Config::width * Config::lanes> beat = in.read();
    ap_uint<Config::bits> bits = 0;
    for (int v = 0; v < Config::lanes; ++v) {
#pragma HLS UNROLL
        ap_uint<Config::width> value = beat.range((v + 1) * Config::width - 1, v * Config::width);
        set_value<Config>(bits, v, value);
    }
    typename Config::word::type word = Config::word::make(bits, true);
    out.write(word);
}

// The words of all frames from memory, as one burst.
//   Config: bits (of a word), words (a frame).
template <typename Config>
void load(hls::stream<ap_uint<Config::bits> >& out, const ap_uint<Config::bits>* memory,
          int frames) {
    const int count = frames * Config::words;
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II=1 style=stp
        ap_uint<Config::bits> word = memory[i];
        out.write(word);
    }
}

// The words of all frames to memory, as one burst.
//   Config: bits (of a word), words (a frame).
template <typename Config>
void store(hls::stream<ap_uint<Config::bits> >& in, ap_uint<Config::bits>* memory, int frames) {
    const int count = frames * Config::words;
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II=1 style=stp
        ap_uint<Config::bits> word = in.read();
        memory[i] = word;
    }
}

}  // namespace lutra

#endif
