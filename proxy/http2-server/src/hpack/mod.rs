//! HPACK (RFC 7541): how field lists go over a connection.
//!
//! Encoding is stateless: indexed fields of the static table, and literals that neither side keeps. A
//! block therefore depends on no connection, may be made once and sent on many, and nothing secret ends
//! up in a compression state. Decoding knows all of HPACK.

mod decoder;
mod encoder;
mod huffman;
mod table;

pub use encoder::{put_field, put_sensitive, put_status};

pub(crate) use decoder::{Decoder, Field, Sink};
pub(crate) use table::{OVERHEAD, STATIC};

/// A block that is none, which leaves the states of both sides apart: COMPRESSION_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Error(pub(crate) &'static str);

/// What a field name means to a request (RFC 9113 §8.2 and §8.3), found out once for an entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Plain,
    Method,
    Scheme,
    Authority,
    Path,
    /// A pseudo-header field that no request has.
    UnknownPseudo,
    Host,
    Cookie,
    ContentLength,
    Te,
    /// A field of the connection, as `connection` or `transfer-encoding`.
    ConnectionSpecific,
    /// Not a lower-case field name.
    BadName,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b"host" => Self::Host,
            b"cookie" => Self::Cookie,
            b"content-length" => Self::ContentLength,
            b"te" => Self::Te,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => Self::ConnectionSpecific,
            [b':', ..] => Self::UnknownPseudo,
            [] => Self::BadName,
            _ if name.iter().all(|octet| is_name_octet(*octet)) => Self::Plain,
            _ => Self::BadName,
        }
    }
}

/// `tchar` (RFC 9110 §5.6.2) without upper case (RFC 9113 §8.2.1).
const fn is_name_octet(octet: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut octet = 0;
        while octet < 256 {
            let known = octet as u8;
            table[octet] = known.is_ascii_lowercase() || known.is_ascii_digit();
            octet += 1;
        }
        let marks = b"!#$%&'*+-.^_`|~";
        let mut mark = 0;
        while mark < marks.len() {
            table[marks[mark] as usize] = true;
            mark += 1;
        }
        table
    };
    TABLE[octet as usize]
}

/// Whether octets are a field value (RFC 9110 §5.5, RFC 9113 §8.2.1): no control characters but HTAB,
/// and no whitespace around.
fn is_value(value: &[u8]) -> bool {
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    // Without a way out of the loop, which lets the compiler look at many octets at once.
    let bad = value
        .iter()
        .fold(false, |bad, &octet| bad | ((octet < 0x20) & (octet != b'\t') | (octet == 0x7f)));
    !bad && !blank(value.first()) && !blank(value.last())
}
