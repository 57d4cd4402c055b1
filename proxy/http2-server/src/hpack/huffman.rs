//! Huffman-coded strings (RFC 7541 §5.2 and appendix B), decoded by tables made at compile time.
//!
//! The code of appendix B is canonical: ordered by length, and within a length by symbol, each code is
//! the one before plus one. So the lengths alone say everything, and a symbol of any length is found by
//! comparing the next bits with the first code of the next longer length.

use super::Error;

/// Bits of each symbol's code; the last is EOS.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30,
    28, //
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5,
    5, //
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6,
    6, //
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
    22, //
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, //
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23,
    20, //
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, //
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23,
    22, //
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const EOS: u16 = 256;
const LONGEST: usize = 30;
/// Codes of up to so many bits, which are those of nearly all text, are found by one look.
const FAST_BITS: usize = 8;

struct Tables {
    /// For the next eight bits: symbol and length of the code they begin with; length 0: a longer code.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// Left-justified in 32 bits: the first value beyond the codes of a length and all shorter ones.
    limit: [u64; LONGEST + 1],
    /// What to subtract from a code of a length to get the place of its symbol.
    offset: [u32; LONGEST + 1],
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
}

static TABLES: Tables = tables();

#[cfg(test)]
pub(crate) const CODES: [(u32, u8); 257] = codes();

/// The code of every symbol, right-justified, and its length.
const fn codes() -> [(u32, u8); 257] {
    let mut codes = [(0, 0); 257];
    let (mut code, mut length) = (0_u32, 1);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                codes[symbol] = (code, LENGTHS[symbol]);
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
}

const fn tables() -> Tables {
    let codes = codes();
    let mut tables = Tables {
        fast: [(0, 0); 1 << FAST_BITS],
        limit: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        symbols: [0; 257],
    };
    let (mut place, mut length, mut next) = (0, 1, 0_u32);
    while length <= LONGEST {
        tables.offset[length] = next.wrapping_sub(place as u32);
        let mut symbol = 0;
        while symbol < 257 {
            if codes[symbol].1 as usize == length {
                tables.symbols[place] = symbol as u16;
                place += 1;
                next += 1;
                if length <= FAST_BITS {
                    let first = (codes[symbol].0 as usize) << (FAST_BITS - length);
                    let mut low = 0;
                    while low < 1 << (FAST_BITS - length) {
                        tables.fast[first + low] = (symbol as u8, length as u8);
                        low += 1;
                    }
                }
            }
            symbol += 1;
        }
        tables.limit[length] = (next as u64) << (32 - length);
        next <<= 1;
        length += 1;
    }
    tables
}

/// Decodes `coded` and appends the octets to `out`, at most `coded.len() * 8 / 5` of them.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    // The shortest code has five bits.
    out.reserve(coded.len() * 8 / 5 + 1);
    let mut coded = coded.iter();
    // The lowest `bits` bits of `window` are still to be decoded.
    let (mut window, mut bits) = (0_u64, 0_usize);
    loop {
        while bits <= 56 {
            let Some(octet) = coded.next() else { break };
            window = window << 8 | u64::from(*octet);
            bits += 8;
        }
        if bits < FAST_BITS {
            return finish(window, bits, out);
        }
        let mut rounds = 0;
        while bits >= FAST_BITS {
            let (symbol, length) = TABLES.fast[(window >> (bits - FAST_BITS)) as usize & 0xff];
            if length == 0 {
                break;
            }
            out.push(symbol);
            bits -= usize::from(length);
            rounds += 1;
        }
        if rounds == 0 {
            bits -= long(window, bits, out)?;
        }
    }
}

/// A code of more than eight bits; returns its length.
#[cold]
fn long(window: u64, bits: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let left = window << (64 - bits) >> 32;
    let longest = LONGEST.min(bits);
    let Some(length) = (FAST_BITS + 1..=longest).find(|length| left < TABLES.limit[*length]) else {
        return Err(Error("Huffman code cut short"));
    };
    let code = (left >> (32 - length)) as u32;
    let place = code.wrapping_sub(TABLES.offset[length]) as usize;
    match TABLES.symbols.get(place) {
        // RFC 7541 §5.2: EOS within a string is an error.
        None | Some(&EOS) => Err(Error("Huffman EOS in a string")),
        Some(symbol) => {
            out.push(*symbol as u8);
            Ok(length)
        }
    }
}

/// The last bits, fewer than eight: perhaps a short code, then padding of ones, shorter than an octet.
fn finish(window: u64, mut bits: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    loop {
        let rest = window & ((1 << bits) - 1);
        let padded = (rest << (FAST_BITS - bits) | ((1 << (FAST_BITS - bits)) - 1)) as usize;
        let (symbol, length) = TABLES.fast[padded & 0xff];
        if length == 0 || usize::from(length) > bits {
            return if rest + 1 == 1 << bits {
                Ok(())
            } else {
                Err(Error("Huffman padding is not of ones"))
            };
        }
        out.push(symbol);
        bits -= usize::from(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes as appendix B says, padded with ones.
    pub(crate) fn encode(plain: &[u8]) -> Vec<u8> {
        let (mut out, mut window, mut bits) = (Vec::new(), 0_u64, 0);
        for octet in plain {
            let (code, length) = CODES[usize::from(*octet)];
            window = window << length | u64::from(code);
            bits += length;
            while bits >= 8 {
                bits -= 8;
                out.push((window >> bits) as u8);
            }
        }
        if bits > 0 {
            out.push((window << (8 - bits)) as u8 | (0xff >> bits));
        }
        out
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn appendix_b() {
        let rows: [(usize, u32, u8); 8] = [
            (0, 0x1ff8, 13),
            (b'0'.into(), 0x0, 5),
            (b'a'.into(), 0x3, 5),
            (b'Z'.into(), 0xfd, 8),
            (b'\\'.into(), 0x7fff0, 19),
            (127, 0xffffffc, 28),
            (255, 0x3ffffee, 26),
            (256, 0x3fffffff, 30),
        ];
        for (symbol, code, length) in rows {
            assert_eq!(CODES[symbol], (code, length), "{symbol}");
        }
    }

    #[test]
    fn examples_of_appendix_c() {
        let rows: [(&[u8], &str); 4] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x64\x02", "302"),
        ];
        for (coded, plain) in rows {
            assert_eq!(decoded(coded).unwrap(), plain.as_bytes());
            assert_eq!(encode(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn every_pair_of_octets() {
        for first in 0..=255 {
            for second in 0..=255 {
                let plain = [first, second, b'a', second];
                assert_eq!(decoded(&encode(&plain)).unwrap(), plain);
            }
        }
    }

    #[test]
    fn refused() {
        let rows: [(&[u8], &str); 7] = [
            (b"\xff", "an octet of padding"),
            (b"\x07\xff\xff", "`0`, then padding of more than an octet"),
            (b"\x00", "padding of zeros"),
            (b"\x06", "padding of ones and a zero"),
            (b"\xff\xff\xff\xff", "EOS"),
            (b"\xff\xff\xff\xfc", "EOS at the end"),
            (b"\xff\xc0", "a long code cut short"),
        ];
        for (coded, what) in rows {
            assert!(decoded(coded).is_err(), "{what}");
        }
        assert_eq!(decoded(b"").unwrap(), b"");
        assert_eq!(decoded(b"\x07").unwrap(), b"0");
    }
}
