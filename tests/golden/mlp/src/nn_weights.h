// Weights, biases and tables as raw integers.  Each row of an array is read as one word.
#ifndef NN_WEIGHTS_H
#define NN_WEIGHTS_H

#include "lutra/fixed.h"

static const lutra::word_t dense0_layer_weights[12][1] = {
    {0x8ULL},
    {0x7ULL},
    {0x53ULL},
    {0xafULL},
    {0xf8ULL},
    {0xdeULL},
    {0x3dULL},
    {0xd8ULL},
    {0x29ULL},
    {0x17ULL},
    {0xd3ULL},
    {0x3ULL},
};

static const lutra::word_t dense0_layer_bias[3][1] = {
    {0x0ULL},
    {0x0ULL},
    {0x0ULL},
};

static const lutra::word_t dense1_layer_weights[6][1] = {
    {0xb6ULL},
    {0xd8ULL},
    {0xefULL},
    {0xf9ULL},
    {0xe9ULL},
    {0xf6ULL},
};

static const lutra::word_t dense1_layer_bias[2][1] = {
    {0x0ULL},
    {0x0ULL},
};

#endif
