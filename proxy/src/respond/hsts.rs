//! `Strict-Transport-Security` (RFC 6797): what answers over TLS tell browsers about TLS.
//!
//! It is composed once for a configuration, and what the file says goes before what a shop says: a browser heeds
//! the first such field alone, and answers that come from the edge itself say the same.

use http::HeaderName;

use crate::{admit::rate::lasting, config::model};

/// `Strict-Transport-Security`
pub const STRICT_TRANSPORT_SECURITY: HeaderName = http::header::STRICT_TRANSPORT_SECURITY;

/// The line's beginning.
const NAME: &str = "strict-transport-security: ";

/// A field line that is ready to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// With its end. Only operators make such, so they stay few.
    line: &'static str,
}

impl Hsts {
    /// Composes it.
    pub fn new(config: &model::Hsts) -> Self {
        let mut line = format!("{NAME}max-age={}", config.max_age.as_secs());
        if config.include_subdomains {
            line.push_str("; includeSubDomains");
        }
        if config.preload {
            line.push_str("; preload");
        }
        line.push_str("\r\n");
        Self {
            line: lasting(&line),
        }
    }

    /// As a line of HTTP/1.1.
    pub fn line(self) -> &'static [u8] {
        self.line.as_bytes()
    }

    /// Its value.
    pub fn value(self) -> &'static str {
        self.line[NAME.len()..].trim_end()
    }
}

/// Whether a field is that of a shop, in any case.
pub fn is_hsts(name: &[u8]) -> bool {
    name.len() == STRICT_TRANSPORT_SECURITY.as_str().len()
        && name.eq_ignore_ascii_case(STRICT_TRANSPORT_SECURITY.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_line_of_each_policy() {
        for (days, include_subdomains, preload, value) in [
            (365, false, false, "max-age=31536000"),
            (365, true, false, "max-age=31536000; includeSubDomains"),
            (
                730,
                true,
                true,
                "max-age=63072000; includeSubDomains; preload",
            ),
            (0, false, false, "max-age=0"),
        ] {
            let hsts = Hsts::new(&model::Hsts {
                max_age: Duration::from_secs(days * 86_400),
                include_subdomains,
                preload,
            });
            assert_eq!(hsts.value(), value);
            let line = format!("strict-transport-security: {value}\r\n");
            assert_eq!(hsts.line(), line.as_bytes());
            assert_eq!(
                hsts,
                Hsts::new(&model::Hsts {
                    max_age: Duration::from_secs(days * 86_400),
                    include_subdomains,
                    preload,
                })
            );
        }
        assert!(is_hsts(b"Strict-Transport-Security"));
        assert!(!is_hsts(b"strict-transport-securitx"));
    }
}
