// See ap_int.h.
#ifndef LUTRA_LIGHT_AP_FIXED_H
#define LUTRA_LIGHT_AP_FIXED_H

#include "ap_int.h"

enum ap_q_mode { AP_RND, AP_RND_ZERO, AP_RND_MIN_INF, AP_RND_INF, AP_RND_CONV, AP_TRN, AP_TRN_ZERO };
enum ap_o_mode { AP_SAT, AP_SAT_ZERO, AP_SAT_SYM, AP_WRAP, AP_WRAP_SM };

template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP, int N = 0>
struct ap_fixed : light_bits<W> {
    ap_fixed() {}
    ap_fixed(long long value) : light_bits<W>(value) {}
    ap_fixed(const light_number& other) : light_bits<W>(other.raw) {}
};

template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP, int N = 0>
struct ap_ufixed : light_bits<W> {
    ap_ufixed() {}
    ap_ufixed(long long value) : light_bits<W>(value) {}
    ap_ufixed(const light_number& other) : light_bits<W>(other.raw) {}
};

// The type of a product tells whether it has a sign.
template <int W, int I, ap_q_mode Q, ap_o_mode O, int V, int J, ap_q_mode R, ap_o_mode P>
ap_fixed<W + V, I + J> operator*(const ap_fixed<W, I, Q, O>& a, const ap_fixed<V, J, R, P>& b) {
    return a.raw * b.raw;
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int V, int J, ap_q_mode R, ap_o_mode P>
ap_fixed<W + V, I + J> operator*(const ap_fixed<W, I, Q, O>& a, const ap_ufixed<V, J, R, P>& b) {
    return a.raw * b.raw;
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int V, int J, ap_q_mode R, ap_o_mode P>
ap_fixed<W + V, I + J> operator*(const ap_ufixed<W, I, Q, O>& a, const ap_fixed<V, J, R, P>& b) {
    return a.raw * b.raw;
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int V, int J, ap_q_mode R, ap_o_mode P>
ap_ufixed<W + V, I + J> operator*(const ap_ufixed<W, I, Q, O>& a, const ap_ufixed<V, J, R, P>& b) {
    return a.raw * b.raw;
}

#endif
