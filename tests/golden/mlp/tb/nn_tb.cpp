// Runs the frames of in.dat through nn_top and compares with golden.dat; see lutra/testbench.h.
#include "nn_top.h"

#include "lutra/testbench.h"

struct bench {
    static const int in_values = 4;
    static const int in_lanes = 1;
    static const int in_width = 8;
    static const int out_values = 2;
    static const int out_lanes = 1;
    static const int out_width = 8;
    static const bool out_signed = false;
    static void run(hls::stream<ap_uint<in_lanes * in_width> >& in,
                    hls::stream<ap_uint<out_lanes * out_width> >& out) {
        nn_top(in, out);
    }
};

int main(int argc, char** argv) { return lutra::testbench<lutra::fifo_ports<bench> >(argc, argv); }
