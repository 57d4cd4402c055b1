//! Which content coding a client wants (RFC 9110 §12.5.3).

use http::header::ACCEPT_ENCODING;

use crate::fields::{Fields, members, trim};

/// A content coding that a response can be put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 9110 §8.4.1.3
    Gzip,
    /// RFC 7932
    Brotli,
    /// RFC 9659
    Zstd,
}

impl Coding {
    /// The name that fields have for it.
    pub fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Chooses the coding for a response that could have any of those `available`; `None` is the
/// response as it is.
///
/// The client's weights decide, and among equals the order of `available`. A coding that the client
/// names goes before none at all unless `identity` weighs more. A client that says nothing accepts
/// everything (§12.5.3), yet few that are silent can decode, so they get none. Where nothing that the
/// client accepts can be had, not even `identity`, the answer is `None` too: better than no answer.
pub fn choose(request: &dyn Fields, available: &[Coding]) -> Option<Coding> {
    let mut best: Option<(Coding, u16)> = None;
    for coding in available {
        let weight = Wanted::read(request, coding.token().as_bytes()).weight().unwrap_or(0);
        if weight > best.map_or(0, |(_, known)| known) {
            best = Some((*coding, weight));
        }
    }
    let (coding, weight) = best?;
    let identity = Wanted::read(request, IDENTITY).named.unwrap_or(0);
    (weight >= identity).then_some(coding)
}

/// Whether the client accepts a response with this `Content-Encoding` (§12.5.3): every coding of the
/// list, or `identity` where it is empty.
pub fn is_acceptable(request: &dyn Fields, coding: &[u8]) -> bool {
    if members(coding).next().is_none() {
        return accepts(request, IDENTITY);
    }
    members(coding).all(|coding| accepts(request, coding))
}

const IDENTITY: &[u8] = b"identity";

fn accepts(request: &dyn Fields, coding: &[u8]) -> bool {
    let wanted = Wanted::read(request, coding);
    // Rule 1: no field, no objection. Rule 2: identity is fine unless excluded.
    let unspoken = !wanted.any_line || coding.eq_ignore_ascii_case(IDENTITY);
    wanted.weight().map_or(unspoken, |weight| weight > 0)
}

/// What `Accept-Encoding` says of one coding, in thousandths.
#[derive(Default)]
struct Wanted {
    any_line: bool,
    named: Option<u16>,
    star: Option<u16>,
}

impl Wanted {
    fn read(request: &dyn Fields, coding: &[u8]) -> Self {
        let mut wanted = Self::default();
        request.for_each(&ACCEPT_ENCODING, &mut |value| {
            wanted.any_line = true;
            for member in members(value) {
                let (name, weight) = weighted(member);
                let slot = if same(name, coding) {
                    &mut wanted.named
                } else if name == b"*" {
                    &mut wanted.star
                } else {
                    continue;
                };
                // Named twice, the lower weight is the safer reading.
                *slot = Some(slot.map_or(weight, |known| known.min(weight)));
            }
        });
        wanted
    }

    /// Rule 3: `*` speaks for those that are not named.
    fn weight(&self) -> Option<u16> {
        self.named.or(self.star)
    }
}

/// Names are case-insensitive, and `x-gzip` is `gzip` (§8.4.1.3).
fn same(a: &[u8], b: &[u8]) -> bool {
    let [a, b] =
        [a, b].map(|name| if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name });
    a.eq_ignore_ascii_case(b)
}

/// A coding and its weight (§12.4.2) in thousandths. A weight that cannot be read is nought: we do
/// not know that the client wants it.
fn weighted(member: &[u8]) -> (&[u8], u16) {
    let Some(at) = member.iter().position(|byte| *byte == b';') else {
        return (member, 1000);
    };
    let parameter = trim(&member[at + 1..]);
    let weight = match parameter.split_at_checked(2) {
        Some((b"q=" | b"Q=", value)) => thousandths(value),
        _ => None,
    };
    (trim(&member[..at]), weight.unwrap_or(0))
}

/// `0`, `1`, and up to three digits behind the point, none of them beyond one.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return None,
    };
    let mut sum = u16::from(whole - b'0');
    for at in 0..3 {
        let digit = *fraction.get(at).unwrap_or(&b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        sum = sum * 10 + u16::from(digit - b'0');
    }
    (sum <= 1000).then_some(sum)
}

#[cfg(test)]
mod tests;
