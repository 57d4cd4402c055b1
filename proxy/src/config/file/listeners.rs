//! Where visitors come in, and how they are spoken to: `[[listeners]]`, `[tls]`, `hsts`.

use std::{net::SocketAddr, time::Duration};

use toml::de::DeValue;

use super::YEAR;
use crate::config::{
    context::{Context, Value},
    describe::Shape,
    model::{ClientAuthMode, TlsProfile},
    read::{Read, section},
    scalar::FilePath,
    units::secs,
};

section! {
    /// `[[listeners]]`
    Listener is "[[listeners]]" {
        /// IP address and port; port 0 lets the system choose.
        address: SocketAddr, required;
        /// Terminate TLS, with ALPN `h2` and `http/1.1`.
        tls: bool, or(false);
        /// Answer everything with a redirect to `https`.
        redirect_to_https: bool, or(false);
        /// Port in that redirect; 443 is left out of the URL.
        https_port: u64 = 443, 1..=65_535;
        /// Connections begin with a PROXY header, v1 or v2, from `server.trusted_proxies`; others are closed.
        proxy_protocol: bool, or(false);
        /// What is spoken here, in the place of `profile` of `[tls]`.
        tls_profile: TlsProfile;
        /// Ask visitors for a certificate of their own. Absent: they are not asked.
        client_auth: ClientAuth;
    }
}

section! {
    /// `[tls]`
    Tls is "[tls]" {
        /// `"intermediate"`: TLS 1.2 and 1.3; or `"modern"`: TLS 1.3 alone. `docs/tls.md` tells more.
        profile: TlsProfile, or("intermediate");
    }
}

section! {
    /// `client_auth` of a listener or a certificate
    ClientAuth is "`client_auth`" {
        /// PEM file with the authorities whose certificates are believed. It is read anew when it changes.
        ca: FilePath, required;
        /// `"require"`: who shows none is refused; or `"optional"`: who shows a wrong one is.
        mode: ClientAuthMode, or("require");
        /// PEM file with the revocation lists of these authorities: one for each that signs
        /// certificates, none of them out of date. It is read anew when it changes. Absent: nothing is
        /// revoked.
        crl: FilePath;
    }
}

section! {
    /// `hsts`, written as a table.
    Hsts is "`hsts`" {
        /// How long browsers ask over TLS only. 365d: what lists of preloaded names ask for. `"0s"`
        /// makes them forget.
        max_age: Duration = YEAR, secs(0)..=secs(10 * 365 * 86_400);
        /// The same for all names below this one.
        include_subdomains: bool, or(false);
        /// Consent to the lists that browsers come with.
        preload: bool, or(false);
    }
}

/// `hsts`: for how long, a table, or none.
#[derive(Debug)]
pub(in crate::config) enum HstsEntry {
    No,
    Yes(Hsts),
}

impl Read for HstsEntry {
    fn wanted() -> String {
        "a duration such as \"365d\", `false`, or a table".to_owned()
    }

    fn shape() -> Shape {
        Shape::Either(vec![Duration::shape(), bool::shape(), Hsts::shape()])
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => Hsts::read(value, cx).map(Self::Yes),
            DeValue::Boolean(false) => Some(Self::No),
            DeValue::Boolean(true) => Some(Self::Yes(Hsts::empty(cx))),
            DeValue::String(_) => {
                let given = Duration::read(value, cx)?;
                let most = secs(10 * 365 * 86_400);
                if given > most {
                    cx.error(value.span(), "`hsts` may last ten years at most");
                    return None;
                }
                let mut hsts = Hsts::empty(cx);
                hsts.max_age.value = given;
                hsts.max_age.span = Some(value.span());
                Some(Self::Yes(hsts))
            }
            _ => {
                cx.wrong_type(value, &Self::wanted());
                None
            }
        }
    }
}
