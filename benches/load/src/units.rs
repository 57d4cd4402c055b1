//! Values of a scenario that carry a unit or a form of their own.

use std::{net::Ipv4Addr, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

use crate::random::Dice;

/// A duration with its unit: `250ms`, `2s`, `5m`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => {
                return Err(format!(
                    "`{text}` is no duration such as `250ms`, `2s` or `5m`"
                ));
            }
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` does not begin with a number"))?;
        Duration::try_from_secs_f64(number * unit)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A part of 127.0.0.0/8, all of which is this machine: visitors differ by the address they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    base: Ipv4Addr,
    bits: u8,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            base: Ipv4Addr::new(127, 1, 0, 0),
            bits: 16,
        }
    }
}

impl Network {
    /// Where attackers come from, unless the scenario says otherwise.
    pub(crate) const HOSTILE: Self = Self {
        base: Ipv4Addr::new(127, 66, 0, 0),
        bits: 24,
    };

    /// An address of it, for one visitor.
    pub(crate) fn draw(self, dice: &mut Dice) -> Ipv4Addr {
        let hosts = 1_usize << (32 - self.bits);
        Ipv4Addr::from_bits(self.base.to_bits() + dice.below(hosts) as u32)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let base: Ipv4Addr = address
            .parse()
            .map_err(|_| format!("`{text}` is no IPv4 address or network"))?;
        let bits: u8 = bits
            .parse()
            .ok()
            .filter(|bits| (8..=32).contains(bits))
            .ok_or_else(|| format!("`{text}` has a length that is not from 8 to 32"))?;
        if !base.is_loopback() {
            return Err(format!("`{text}` is not in 127.0.0.0/8"));
        }
        if bits < 32 && base.to_bits() << bits != 0 {
            return Err(format!("`{text}` has bits beyond its length"));
        }
        Ok(Self { base, bits })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_their_network() {
        let mut dice = Dice::new(1);
        let network: Network = "127.66.0.0/24".parse().expect("a network");
        for _ in 0..100 {
            assert_eq!(network.draw(&mut dice).octets()[..3], [127, 66, 0]);
        }
        let one: Network = "127.9.9.9".parse().expect("an address");
        assert_eq!(one.draw(&mut dice), Ipv4Addr::new(127, 9, 9, 9));
    }

    #[test]
    fn durations_are_read() {
        for (text, millis) in [
            ("250ms", 250),
            ("2s", 2000),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            let read: Span = text.parse().expect(text);
            assert_eq!(read.0, Duration::from_millis(millis), "{text}");
        }
        for text in ["", "5", "s", "1d", "-1s", "1e999s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
