#include "nn_top.h"

#include "nn_layers.h"

void nn_top(hls::stream<ap_uint<8> >& x, hls::stream<ap_uint<8> >& relu1) {
#pragma HLS INTERFACE mode=ap_fifo port=x
#pragma HLS INTERFACE mode=ap_fifo port=relu1
#pragma HLS DATAFLOW
#pragma HLS BIND_STORAGE variable=dense0_layer_weights type=rom_1p impl=lutram
#pragma HLS BIND_STORAGE variable=dense0_layer_bias type=rom_1p impl=lutram
#pragma HLS BIND_STORAGE variable=dense1_layer_weights type=rom_1p impl=lutram
#pragma HLS BIND_STORAGE variable=dense1_layer_bias type=rom_1p impl=lutram
    hls::stream<ap_uint<8> > relu0;
#pragma HLS STREAM variable=relu0 depth=2
#pragma HLS BIND_STORAGE variable=relu0 type=fifo impl=srl

    lutra::dense<dense0_layer_config>(x, relu0, dense0_layer_weights, dense0_layer_bias);
    lutra::dense<dense1_layer_config>(relu0, relu1, dense1_layer_weights, dense1_layer_bias);
}
