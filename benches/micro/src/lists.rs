//! An address list as large as they come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dhal::admit::lists::AddressSet;

/// Of each kind.
const NETWORKS: u64 = 1_000_000;

/// A million addresses of IPv4 and as many networks of IPv6, strewn over all of the address space.
pub struct MillionNetworks(AddressSet);

impl Default for MillionNetworks {
    fn default() -> Self {
        let v4 = (0..NETWORKS).map(|n| address(n, false).into());
        let v6 = (0..NETWORKS).map(|n| address(n, true).into());
        Self(AddressSet::new(v4.chain(v6)))
    }
}

impl MillionNetworks {
    /// Looks an address up; every second one is on the list.
    pub fn look_up(&self, number: u64, is_v6: bool) -> bool {
        let on_list = number.wrapping_mul(0x9e37_79b9) % NETWORKS;
        let number = on_list + NETWORKS * (number % 2);
        self.0.contains(address(number, is_v6))
    }

    /// Ranges of both kinds, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.0.ranges(), self.0.bytes())
    }
}

/// A number's address: no two have the same one, and neighbours lie far apart.
fn address(number: u64, is_v6: bool) -> IpAddr {
    let spread = (number as u32).wrapping_mul(0x9e37_79b1);
    match is_v6 {
        false => Ipv4Addr::from_bits(spread).into(),
        true => Ipv6Addr::from_bits((0x2000 << 112) | (u128::from(spread) << 64)).into(),
    }
}
