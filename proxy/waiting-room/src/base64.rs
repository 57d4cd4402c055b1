//! base64url without padding (RFC 4648 §5), for lengths that are multiples of three octets: each value has one
//! text only.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The text of octets, whose number is a multiple of three.
pub(crate) fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() / 3 * 4);
    let (triples, rest) = octets.as_chunks::<3>();
    debug_assert!(rest.is_empty());
    for [a, b, c] in triples {
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        for shift in [18, 12, 6, 0] {
            text.push(char::from(ALPHABET[(bits >> shift) as usize & 63]));
        }
    }
    text
}

/// The octets of a text of `4 * N / 3` characters; `None` where it is anything else.
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    let (places, _) = octets.as_chunks_mut::<3>();
    let (quads, rest) = text.as_chunks::<4>();
    if !rest.is_empty() || quads.len() != places.len() {
        return None;
    }
    for (quad, place) in quads.iter().zip(places) {
        let mut bits = 0;
        for character in quad {
            bits = bits << 6 | value(*character)?;
        }
        let [_, a, b, c] = bits.to_be_bytes();
        *place = [a, b, c];
    }
    Some(octets)
}

fn value(character: u8) -> Option<u32> {
    Some(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (octets, text) in [(b"foobar", "Zm9vYmFy"), (&[0xff, 0xef, 0xbe, 0, 0, 1], "_---AAAB")]
        {
            assert_eq!(encode(octets), text);
            assert_eq!(decode::<6>(text.as_bytes()).as_ref(), Some(octets));
        }
        for wrong in ["", "Zm9vYmF", "Zm9vYmFyA", "Zm9vYmF+", "Zm9vYmF=", "Zm9vYm\0y"] {
            assert_eq!(decode::<6>(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
