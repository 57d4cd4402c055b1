//! RFC 9111 as pure rules.
