// A stand-in for AMD's hls_stream.h, for C simulation only, where the real one is absent.
// As in C simulation with the real one, a stream never fills up.
#ifndef LUTRA_STANDIN_HLS_STREAM_H
#define LUTRA_STANDIN_HLS_STREAM_H

#include <cstdlib>
#include <deque>
#include <iostream>

namespace hls {

template <typename T>
class stream {
  public:
    stream() {}
    explicit stream(const char*) {}
    ~stream() {
        if (!values_.empty()) {
            std::cerr << "WARNING: a stream holds leftover data" << std::endl;
        }
    }

    T read() {
        if (values_.empty()) {
            std::cerr << "WARNING: a stream is read while empty" << std::endl;
            std::exit(1);
        }
        T value = values_.front();
        values_.pop_front();
        return value;
    }

    void write(const T& value) { values_.push_back(value); }

    bool empty() const { return values_.empty(); }

  private:
    stream(const stream&);
    stream& operator=(const stream&);
    std::deque<T> values_;
};

}  // namespace hls

#endif
