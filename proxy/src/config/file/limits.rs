//! `[address_lists.NAME]`, `[bots]` and `[limits.NAME]`.

use std::time::Duration;

use crate::config::{
    model::{LimitCount, LimitKey},
    read::{List, OneOrMany, section},
    scalar::{ActionName, FilePath, Network},
    units::{Rate, millis, secs},
};

section! {
    /// `[address_lists.NAME]`
    AddressList is "[address_lists.NAME]" {
        /// Networks (`10.0.0.0/8`) or addresses. Entries, a file, or both.
        entries: List<Network>;
        /// File with an address or a network per line, up to 128 MiB; `#` begins a comment. It is
        /// read anew when it changes; one with a line that is wrong changes nothing.
        file: FilePath;
    }
}

section! {
    /// `[bots]`
    Bots is "[bots]" {
        /// Names of address lists: programs at these addresses, such as search engines, are not of
        /// class `"bot"` where an upstream's `concurrency` cannot take all. None where absent.
        known: List<String>;
    }
}

section! {
    /// `prefix` of a limit
    Prefix is "`prefix`" {
        /// Bits of an IPv4 address that are one client.
        ipv4: u64 = 32, 1..=32;
        /// Bits of an IPv6 address that are one client. 64: what a visitor's provider gives to each
        /// line, so that changing addresses within it is of no use.
        ipv6: u64 = 64, 1..=128;
    }
}

section! {
    /// `[limits.NAME]`
    Limit is "[limits.NAME]" {
        /// What is counted by, one or several together: `"client-ip"`, `"header:NAME"`,
        /// `"cookie:NAME"`, `"param:NAME"` (of the route's path) or `"host"`. The client's address
        /// counts in the place of a part that a request does not have.
        key: OneOrMany<LimitKey>, or(vec!["client-ip"]);
        /// How much of an address is one client.
        prefix: Prefix, empty;
        /// Requests per second, minute or hour: `"50/s"`, `"600/m"`, `"10/h"`.
        rate: Rate, required;
        /// Requests that may come at once. The rate's number where absent.
        burst: u64, within(1..=1_000_000), computed(1);
        /// `"all"` requests, or `"origin"`: those that the store does not answer.
        count: LimitCount, or("all");
        /// What becomes of requests beyond the rate: `"reject"`: they are refused, `"delay"`: they
        /// are held back until their turn comes, or `"log"`: they go on, and are noted.
        action: ActionName, or("reject");
        /// With `"delay"`: who would have to wait longer is refused. 1s: visitors hardly notice it,
        /// and a script that asks one by one is slowed down to the rate.
        max_delay: Duration, within(millis(1)..=secs(60)), or("1s");
        /// Status of a refusal: 429 tells a client that it asks too often, 503 that the shop has no
        /// room for it.
        status: u64 = 429, 400..=599, only([429, 503]);
        /// Names of address lists; whoever is on one of them is not counted.
        exempt: List<String>, empty;
        /// Clients tracked at once; further ones take the place of the least recent. 100,000: every
        /// visitor of a sale, in some 4 MB.
        max_keys: u64 = 100_000, 1..=10_000_000;
    }
}
