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

// The raw integer of W bits, sign included if there is one.
template <int W>
long long raw_bits(const ap_uint<W>& bits, bool is_signed) {
    ap_int<W> number = bits;
    return is_signed ? number.to_int64() : static_cast<long long>(bits.to_uint64());
}

inline bool leftover(bool any) {
    if (any) {
        std::cerr << "a stream is not empty at the end" << std::endl;
    }
    return any;
}

// Ports that are FIFOs of beats.
//   Bench: in_values, in_lanes, in_width; out_values, out_lanes, out_width, out_signed;
//          run(in stream, out stream).
template <typename Bench>
struct fifo_ports : Bench {
    // Run frames; false if one breaks the rules of the ports.
    static bool run_values(const integers& inputs, std::size_t frames, integers& outputs) {
        std::size_t next = 0;
        for (std::size_t frame = 0; frame < frames; ++frame) {
            hls::stream<ap_uint<Bench::in_lanes * Bench::in_width> > in("in");
            hls::stream<ap_uint<Bench::out_lanes * Bench::out_width> > out("out");
            for (int i = 0; i < Bench::in_values; i += Bench::in_lanes) {
                ap_uint<Bench::in_lanes * Bench::in_width> beat = 0;
                for (int p = 0; p < Bench::in_lanes; ++p) {
                    ap_uint<Bench::in_width> bits = inputs[next++];
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
                    outputs.push_back(raw_bits(bits, Bench::out_signed));
                }
            }
            if (leftover(!in.empty() || !out.empty())) {
                return false;
            }
        }
        return true;
    }

    static int run_files(const char*, const char*) {
        std::cerr << "FIFO ports carry no words" << std::endl;
        return 2;
    }
};

// Values as words of a bus, packed as a host does it: each in its container, the first in the lowest
// bits, a frame in whole words.
//   Ports: run_words(in words, frames, out words).
//   Bench: as for FIFO ports, and bus (bits of a word), in_container, in_words, out_container,
//          out_words (of a frame).
template <typename Bench, typename Ports>
struct bus_ports : Bench {
    typedef ap_uint<Bench::bus> word;
    typedef std::vector<word> words;

    static bool run_values(const integers& inputs, std::size_t frames, integers& outputs) {
        const int in_each = Bench::bus / Bench::in_container;
        const int out_each = Bench::bus / Bench::out_container;
        words in(frames * Bench::in_words, word(0));
        words out;
        for (std::size_t i = 0; i < frames * Bench::in_values; ++i) {
            const std::size_t frame = i / Bench::in_values;
            const int value = static_cast<int>(i % Bench::in_values);
            const int low = value % in_each * Bench::in_container;
            ap_uint<Bench::in_container> bits = inputs[i];
            in[frame * Bench::in_words + value / in_each].range(low + Bench::in_container - 1,
                                                                low) = bits;
        }
        if (!Ports::run_words(in, frames, out)) {
            return false;
        }
        for (std::size_t i = 0; i < frames * Bench::out_values; ++i) {
            const std::size_t frame = i / Bench::out_values;
            const int value = static_cast<int>(i % Bench::out_values);
            const int low = value % out_each * Bench::out_container;
            ap_uint<Bench::out_container> bits =
                out[frame * Bench::out_words + value / out_each].range(
                    low + Bench::out_container - 1, low);
            outputs.push_back(raw_bits(bits, Bench::out_signed));
        }
        return true;
    }

    // Words from file to file, the lowest byte first.
    static int run_files(const char* source, const char* target) {
        const int bytes = Bench::bus / 8;
        std::ifstream input(source, std::ios::binary);
        words in;
        words out;
        char buffer[bytes];
        while (input.read(buffer, bytes)) {
            word next = 0;
            for (int i = 0; i < bytes; ++i) {
                ap_uint<8> byte = static_cast<unsigned char>(buffer[i]);
                next.range(8 * i + 7, 8 * i) = byte;
            }
            in.push_back(next);
        }
        if (input.gcount() != 0 || in.empty() || in.size() % Bench::in_words != 0) {
            std::cerr << source << " does not hold whole frames" << std::endl;
            return 2;
        }
        if (!Ports::run_words(in, in.size() / Bench::in_words, out)) {
            return 1;
        }
        std::ofstream output(target, std::ios::binary);
        for (std::size_t w = 0; w < out.size(); ++w) {
            for (int i = 0; i < bytes; ++i) {
                ap_uint<8> byte = out[w].range(8 * i + 7, 8 * i);
                buffer[i] = static_cast<char>(byte.to_uint());
            }
            output.write(buffer, bytes);
        }
        output.flush();
        return output ? 0 : 2;
    }
};

// AXI4-Stream ports.
//   Bench: as for bus_ports, and word (the type of a transfer); run(in stream, out stream).
template <typename Bench>
struct axis_ports : bus_ports<Bench, axis_ports<Bench> > {
    typedef std::vector<ap_uint<Bench::bus> > words;

    static bool run_words(const words& in_words, std::size_t frames, words& out_words) {
        for (std::size_t frame = 0; frame < frames; ++frame) {
            hls::stream<typename Bench::word> in("in");
            hls::stream<typename Bench::word> out("out");
            for (int i = 0; i < Bench::in_words; ++i) {
                typename Bench::word next;
                next.data = in_words[frame * Bench::in_words + i];
                next.keep = -1;
                next.strb = -1;
                next.last = i == Bench::in_words - 1;
                in.write(next);
            }
            Bench::run(in, out);
            for (int i = 0; i < Bench::out_words; ++i) {
                typename Bench::word next = out.read();
                const ap_uint<Bench::bus / 8> every = -1;
                const bool whole = next.keep == every && next.strb == every;
                if (!whole || (next.last != 0) != (i == Bench::out_words - 1)) {
                    std::cerr << "frame " << frame << ", word " << i << " of " << Bench::out_words
                              << ": wrong TKEEP, TSTRB or TLAST" << std::endl;
                    return false;
                }
                out_words.push_back(next.data);
            }
            if (leftover(!in.empty() || !out.empty())) {
                return false;
            }
        }
        return true;
    }
};

// A kernel that reads and writes memory.
//   Bench: as for bus_ports; run(in memory, out memory, frames).
template <typename Bench>
struct memory_ports : bus_ports<Bench, memory_ports<Bench> > {
    typedef std::vector<ap_uint<Bench::bus> > words;

    // All frames by one call; before that, if there are several, the first one alone, so that each
    // call is seen to write what is its own and nothing else.
    static bool run_words(const words& in, std::size_t frames, words& out) {
        const std::size_t each = Bench::out_words;
        const ap_uint<Bench::bus> untouched = -1;
        words first(frames * each, untouched);
        out.assign(frames * each, untouched);
        if (frames > 1) {
            Bench::run(in.data(), first.data(), 1);
        }
        Bench::run(in.data(), out.data(), static_cast<int>(frames));
        for (std::size_t i = 0; frames > 1 && i < first.size(); ++i) {
            if (first[i] != (i < each ? out[i] : untouched)) {
                std::cerr << "word " << i << ": one frame is not the first of several"
                          << std::endl;
                return false;
            }
        }
        return true;
    }
};

// Run every frame of the input file through Ports.
//   Arguments: none: in.dat is compared with golden.dat.
//              INPUT OUTPUT [TRACE]: results are written to OUTPUT, traced values to TRACE.
//              --words INPUT OUTPUT: words of the bus, as a host sends and receives them.
// Returns 0 if all frames are right.
template <typename Ports>
int testbench(int argc, char** argv) {
    if (argc == 4 && std::strcmp(argv[1], "--words") == 0) {
        return Ports::run_files(argv[2], argv[3]);
    }
    const bool compare = argc < 3;
    integers inputs;
    integers golden;
    if (!read_integers(compare ? "in.dat" : argv[1], inputs) ||
        (compare && !read_integers("golden.dat", golden))) {
        return 2;
    }
    const std::size_t frames = inputs.size() / Ports::in_values;
    if (compare && golden.size() != frames * Ports::out_values) {
        std::cerr << "golden.dat does not fit in.dat" << std::endl;
        return 2;
    }
    integers outputs;
    if (compare) {
        if (!Ports::run_values(inputs, frames, outputs)) {
            return 1;
        }
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < golden.size(); ++i) {
            if (outputs[i] != golden[i] && wrong++ < 10) {
                std::cerr << "frame " << i / Ports::out_values << ", value "
                          << i % Ports::out_values << ": got " << outputs[i] << ", expected "
                          << golden[i] << std::endl;
            }
        }
        std::cout << frames << " frames, " << wrong << " wrong values" << std::endl;
        return wrong == 0 ? 0 : 1;
    }
    std::ofstream output(argv[2]);
#ifdef LUTRA_TRACE
    std::ofstream traced;
    if (argc > 3) {
        traced.open(argv[3], std::ios::binary);
    }
#endif
    for (std::size_t frame = 0; frame < frames; ++frame) {
        const integers part(inputs.begin() + static_cast<long>(frame * Ports::in_values),
                            inputs.begin() + static_cast<long>((frame + 1) * Ports::in_values));
        outputs.clear();
        if (!Ports::run_values(part, 1, outputs)) {
            return 1;
        }
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            output << outputs[i] << '\n';
        }
#ifdef LUTRA_TRACE
        write_trace(traced);
#endif
    }
    output.flush();
    return output ? 0 : 2;
}

}  // namespace lutra

#endif
