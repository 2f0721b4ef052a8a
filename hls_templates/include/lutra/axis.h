// Words of AXI4-Stream ports.
#ifndef LUTRA_AXIS_H
#define LUTRA_AXIS_H

#include <ap_axi_sdata.h>
#include <ap_int.h>

namespace lutra {

// A word with the marks of AXI4-Stream.  Frames are counted in words: marks that come in mean
// nothing; those that go out say that every byte counts, and which word is its frame's last.
template <int BITS>
struct axis_word {
    typedef ap_axiu<BITS, 0, 0, 0> type;
    static ap_uint<BITS> bits(const type& word) {
#pragma HLS INLINE
        return word.data;
    }
    static type make(const ap_uint<BITS>& bits, bool last) {
#pragma HLS INLINE
        type word;
        word.data = bits;
        word.keep = -1;
        word.strb = -1;
        word.last = last;
        return word;
    }
};

}  // namespace lutra

#endif
