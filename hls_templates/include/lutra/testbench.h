// The test bench's main: feeds raw integers to the top function and checks what comes out.
// Never synthesised.
#ifndef LUTRA_TESTBENCH_H
#define LUTRA_TESTBENCH_H

#include <ap_int.h>
#include <hls_stream.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "trace.h"

namespace lutra {

typedef std::vector<long long> integers;

inline bool read_integers(const char* file, integers& values) {
    std::ifstream stream(file);
    if (!stream) {
        std::cerr << "cannot read " << file << std::endl;
        return false;
    }
    long long value;
    while (stream >> value) {
        values.push_back(value);
    }
    return true;
}

#ifdef LUTRA_TRACE
// Append the frame's traced values, in the order of their numbers, and forget them.
inline void write_trace(std::ofstream& file) {
    std::map<int, integers>& log = trace_log();
    for (std::map<int, integers>::iterator it = log.begin(); it != log.end(); ++it) {
        file.write(reinterpret_cast<const char*>(it->second.data()),
                   static_cast<std::streamsize>(it->second.size() * sizeof(long long)));
        it->second.clear();
    }
}
#endif

// Run every frame of the input file through Bench::run.
//   Bench: in_values, in_lanes, in_width; out_values, out_lanes, out_width, out_signed;
//          run(in stream, out stream).
//   Arguments: none: in.dat is compared with golden.dat.
//              INPUT OUTPUT [TRACE]: results are written to OUTPUT, traced values to TRACE.
// Returns 0 if all frames are right.
template <typename Bench>
int testbench(int argc, char** argv) {
    const bool compare = argc < 3;
    integers inputs;
    integers golden;
    if (!read_integers(compare ? "in.dat" : argv[1], inputs) ||
        (compare && !read_integers("golden.dat", golden))) {
        return 2;
    }
    const std::size_t frames = inputs.size() / Bench::in_values;
    if (compare && golden.size() != frames * Bench::out_values) {
        std::cerr << "golden.dat does not fit in.dat" << std::endl;
        return 2;
    }
    std::ofstream output;
    if (!compare) {
        output.open(argv[2]);
    }
#ifdef LUTRA_TRACE
    std::ofstream traced;
    if (argc > 3) {
        traced.open(argv[3], std::ios::binary);
    }
#endif
    std::size_t wrong = 0;
    for (std::size_t frame = 0; frame < frames; ++frame) {
        hls::stream<ap_uint<Bench::in_lanes * Bench::in_width> > in("in");
        hls::stream<ap_uint<Bench::out_lanes * Bench::out_width> > out("out");
        for (int i = 0; i < Bench::in_values; i += Bench::in_lanes) {
            ap_uint<Bench::in_lanes * Bench::in_width> beat = 0;
            for (int p = 0; p < Bench::in_lanes; ++p) {
                ap_uint<Bench::in_width> bits = inputs[frame * Bench::in_values + i + p];
                beat.range((p + 1) * Bench::in_width - 1, p * Bench::in_width) = bits;
            }
            in.write(beat);
        }
        Bench::run(in, out);
        for (int i = 0; i < Bench::out_values; i += Bench::out_lanes) {
            ap_uint<Bench::out_lanes * Bench::out_width> beat = out.read();
            for (int p = 0; p < Bench::out_lanes; ++p) {
                ap_uint<Bench::out_width> bits =
                    beat.range((p + 1) * Bench::out_width - 1, p * Bench::out_width);
                ap_int<Bench::out_width> as_signed = bits;
                long long value = Bench::out_signed ? as_signed.to_int64()
                                                    : static_cast<long long>(bits.to_uint64());
                if (!compare) {
                    output << value << '\n';
                } else if (value != golden[frame * Bench::out_values + i + p]) {
                    if (wrong < 10) {
                        std::cerr << "frame " << frame << ", value " << i + p << ": got " << value
                                  << ", expected " << golden[frame * Bench::out_values + i + p]
                                  << std::endl;
                    }
                    ++wrong;
                }
            }
        }
        if (!in.empty() || !out.empty()) {
            std::cerr << "frame " << frame << ": a stream is not empty at the end" << std::endl;
            return 1;
        }
#ifdef LUTRA_TRACE
        write_trace(traced);
#endif
    }
    if (!compare) {
        output.flush();
        return output ? 0 : 2;
    }
    std::cout << frames << " frames, " << wrong << " wrong values" << std::endl;
    return wrong == 0 ? 0 : 1;
}

}  // namespace lutra

#endif
