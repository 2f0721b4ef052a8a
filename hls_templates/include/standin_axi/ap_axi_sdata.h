// A stand-in for AMD's ap_axi_sdata.h, for C simulation only, where the real one is absent.
#ifndef LUTRA_STANDIN_AP_AXI_SDATA_H
#define LUTRA_STANDIN_AP_AXI_SDATA_H

#include <ap_int.h>

// One transfer of AXI4-Stream, without the signals that have no bits.
template <int DATA, int USER, int ID, int DEST>
struct ap_axiu {
    static_assert(USER == 0 && ID == 0 && DEST == 0, "these signals are left out");
    ap_uint<DATA> data;
    ap_uint<DATA / 8> keep;
    ap_uint<DATA / 8> strb;
    ap_uint<1> last;
};

#endif
