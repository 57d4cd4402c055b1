//! Encoding of field blocks without a state (RFC 7541 §6).

use bytes::{BufMut, BytesMut};

/// Appends `:status` (RFC 9113 §8.3.2), the first field of a response.
pub fn put_status(out: &mut BytesMut, status: u16) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            let digit = |power| b'0' + (status / power % 10) as u8;
            return out.put_slice(&[0x08, 3, digit(100), digit(10), digit(1)]);
        }
    };
    out.put_u8(0x80 | index);
}

/// Appends a field that neither side keeps (RFC 7541 §6.2.2). `name` is in lower case.
pub fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    put_literal(out, 0x00, name, value);
}

/// Appends a field that no intermediary may keep either (RFC 7541 §6.2.3), such as `set-cookie`.
/// `name` is in lower case.
pub fn put_sensitive(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    put_literal(out, 0x10, name, value);
}

fn put_literal(out: &mut BytesMut, pattern: u8, name: &[u8], value: &[u8]) {
    match name_index(name) {
        0 => {
            out.put_u8(pattern);
            put_string(out, name);
        }
        index => put_integer(out, pattern, 4, index),
    }
    put_string(out, value);
}

/// Not Huffman-coded: the few octets saved cost more than they bring on a fast link.
fn put_string(out: &mut BytesMut, text: &[u8]) {
    put_integer(out, 0, 7, text.len());
    out.put_slice(text);
}

fn put_integer(out: &mut BytesMut, pattern: u8, prefix: u32, value: usize) {
    let mask = (1 << prefix) - 1;
    if value < mask {
        return out.put_u8(pattern | value as u8);
    }
    out.put_u8(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// The index in the static table of a name that responses have; 0 where there is none.
fn name_index(name: &[u8]) -> usize {
    match name {
        b"accept-ranges" => 18,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-length" => 28,
        b"content-location" => 29,
        b"content-range" => 30,
        b"content-type" => 31,
        b"date" => 33,
        b"etag" => 34,
        b"expires" => 36,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"proxy-authenticate" => 48,
        b"refresh" => 52,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::STATIC;

    #[test]
    fn indices_are_those_of_the_static_table() {
        for (place, (name, ..)) in STATIC.iter().enumerate() {
            let index = name_index(name.as_bytes());
            assert!(index == 0 || index == place + 1, "{name}");
        }
        let known = STATIC.iter().filter(|(name, ..)| name_index(name.as_bytes()) > 0);
        assert_eq!(known.count(), 27);
    }

    #[test]
    fn octets() {
        let mut out = BytesMut::new();
        put_status(&mut out, 200);
        put_status(&mut out, 503);
        put_field(&mut out, b"age", b"7");
        put_field(&mut out, b"etag", b"");
        put_field(&mut out, b"x-a", b"b");
        put_sensitive(&mut out, b"set-cookie", b"a=b");
        assert_eq!(
            &out[..],
            b"\x88\x08\x03503\x0f\x06\x017\x0f\x13\x00\x00\x03x-a\x01b\x1f\x28\x03a=b"
        );
        out.clear();
        put_field(&mut out, b"x", &[b'y'; 300]);
        assert_eq!(out[..5], [0, 1, b'x', 0x7f, 173]);
        assert_eq!(out[5], 1);
    }
}
