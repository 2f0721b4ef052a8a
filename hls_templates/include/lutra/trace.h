// Records every value that a network computes, for comparison with the simulator.
// Only the C simulation defines LUTRA_TRACE; in synthesis trace() is empty and vanishes.
#ifndef LUTRA_TRACE_H
#define LUTRA_TRACE_H

#include <ap_fixed.h>

#ifdef LUTRA_TRACE
#include <map>
#include <vector>
#endif

namespace lutra {

#ifdef LUTRA_TRACE

// Raw integer of a value, sign included.
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
long long raw_of(const ap_fixed<W, I, Q, O, N>& value) {
    ap_uint<W> bits = value.range(W - 1, 0);
    ap_int<W> raw = bits;
    return raw.to_int64();
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
long long raw_of(const ap_ufixed<W, I, Q, O, N>& value) {
    ap_uint<W> bits = value.range(W - 1, 0);
    return static_cast<long long>(bits.to_uint64());
}

inline std::map<int, std::vector<long long> >& trace_log() {
    static std::map<int, std::vector<long long> > log;
    return log;
}

template <int ID, typename T>
void trace(const T& value) {
    trace_log()[ID].push_back(raw_of(value));
}

#else

template <int ID, typename T>
void trace(const T&) {
#pragma HLS INLINE
}

#endif

}  // namespace lutra

#endif
