//! Dhal.
fn main() {}
