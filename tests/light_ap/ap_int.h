// In the place of AMD's headers, where only times matter: types with the same names and operations
// that compile in a moment and whose values mean nothing, but stay within their bits.
#ifndef LUTRA_LIGHT_AP_INT_H
#define LUTRA_LIGHT_AP_INT_H

struct light_number {
    long long raw;
    light_number() : raw(0) {}
    light_number(long long value) : raw(value) {}
    operator long long() const { return raw; }
    unsigned to_uint() const { return static_cast<unsigned>(raw); }
    unsigned long long to_uint64() const { return static_cast<unsigned long long>(raw); }
    long long to_int64() const { return raw; }
    light_number range(int, int) const { return *this; }
    light_number operator[](int) const { return *this; }
};

template <int W>
struct light_bits : light_number {
    static const int width = W;
    static const int bits = W < 63 ? W : 62;
    light_bits() {}
    light_bits(long long value) : light_number(value & ((1LL << bits) - 1)) {}
    light_bits(const light_number& other) : light_number(other.raw & ((1LL << bits) - 1)) {}
};

template <int W>
struct ap_uint : light_bits<W> {
    ap_uint() {}
    ap_uint(long long value) : light_bits<W>(value) {}
    ap_uint(const light_number& other) : light_bits<W>(other.raw) {}
};

template <int W>
struct ap_int : light_bits<W> {
    ap_int() {}
    ap_int(long long value) : light_bits<W>(value) {}
    ap_int(const light_number& other) : light_bits<W>(other.raw) {}
};

#endif
