//! TLS and its certificates.

use std::path::PathBuf;

use super::{reported, valid};
use crate::config::{
    model::{CertificateFiles, ClientAuthMode, TlsProfile},
    units::secs,
};

#[test]
fn tls_and_its_certificates() {
    let config = valid(
        r#"
        [server]
        hsts = "1y"
        [tls]
        profile = "modern"
        [[listeners]]
        address = "0.0.0.0:443"
        tls = true
        [[listeners]]
        address = "0.0.0.0:8443"
        tls = true
        tls_profile = "intermediate"
        client_auth = { ca = "partners.pem", crl = "partners.crl", mode = "optional" }
        [[certificates]]
        folder = "live"
        client_auth = { ca = "staff.pem" }
        [upstreams.shop]
        servers = ["127.0.0.1:3000"]
        [[routes]]
        host = "a.example"
        upstream = "shop"
        [[routes]]
        host = "b.example"
        upstream = "shop"
        hsts = { max_age = "730d", include_subdomains = true, preload = true }
        [[routes]]
        host = "c.example"
        upstream = "shop"
        hsts = false
        "#,
    );
    let profiles = config.listeners.iter().map(|l| l.tls_profile);
    assert!(profiles.eq([TlsProfile::Modern, TlsProfile::Intermediate]));
    let auth = config.listeners[1].client_auth.as_ref().unwrap();
    assert_eq!(auth.mode, ClientAuthMode::Optional);
    assert_eq!(auth.crl, Some(PathBuf::from("/etc/dhal/partners.crl")));
    assert_eq!(config.listeners[0].client_auth, None);
    let folder = &config.certificates[0];
    assert_eq!(
        folder.files,
        CertificateFiles::Folder("/etc/dhal/live".into())
    );
    let auth = folder.client_auth.as_ref().unwrap();
    assert_eq!((auth.mode, &auth.crl), (ClientAuthMode::Require, &None));
    let ages = config
        .routes
        .iter()
        .map(|route| route.hsts.map(|h| h.max_age));
    let days = |days: u64| Some(secs(days * 86_400));
    assert!(ages.eq([days(365), days(730), None]));
    assert_eq!(config.server.hsts.map(|h| h.preload), Some(false));
    assert_eq!(config.routes[1].hsts.map(|h| h.preload), Some(true));
}

#[test]
fn tls_that_makes_no_sense() {
    const TLS: &str = "[[listeners]]\naddress = \"127.0.0.1:443\"\ntls = true\n";
    const PAIR: &str = "[[certificates]]\ncert = \"a.pem\"\nkey = \"a.key\"\n";
    for (text, wanted) in [
        (
            format!("{TLS}[[certificates]]\ncert = \"a\"\nkey = \"b\"\nfolder = \"c\"\n"),
            "5:8: error: `folder` stands in the place of `cert` and `key`",
        ),
        (
            format!("{TLS}[[certificates]]\ncert = \"a\"\n"),
            "4:1: error: `key` is missing",
        ),
        (
            format!("{TLS}client_auth = {{ mode = \"require\" }}\n{PAIR}"),
            "4:15: error: `ca` is missing",
        ),
        (
            format!("{TLS}client_auth = {{ ca = \"a\", mode = \"requir\" }}\n{PAIR}"),
            "help: did you mean `require`?",
        ),
        (
            format!("{TLS}tls_profile = \"old\"\n{PAIR}"),
            "4:15: error: `old` is no choice here",
        ),
        (
            "[[listeners]]\naddress = \"127.0.0.1:80\"\ntls_profile = \"modern\"\n".to_owned(),
            "3:15: error: `tls_profile` does nothing without `tls`",
        ),
        (
            "[[listeners]]\naddress = \"127.0.0.1:80\"\nclient_auth = { ca = \"a\" }\n".to_owned(),
            "3:15: error: `client_auth` does nothing without `tls`",
        ),
        (
            format!("[server]\nhsts = \"11y\"\n{TLS}{PAIR}"),
            "2:8: error: `hsts` may last ten years at most",
        ),
        (
            format!("[server]\nhsts = 10\n{TLS}{PAIR}"),
            "2:8: error: expected a duration such as \"365d\", `false`, or a table",
        ),
        (
            format!("[server]\nhsts = {{ max_age = \"1d\", preload = true }}\n{TLS}{PAIR}"),
            "2:8: warning: no list of preloaded names takes this",
        ),
        (
            format!(
                "[server]\nhsts = \"1y\"\nresponse_headers = {{ remove = [\"Strict-Transport-Security\"] }}\n{TLS}{PAIR}"
            ),
            "3:32: warning: this does nothing: `hsts` says what browsers get here",
        ),
        (
            "[server]\nhsts = \"1y\"\n[[listeners]]\naddress = \"127.0.0.1:80\"\n".to_owned(),
            "2:8: warning: `hsts` does nothing: no listener has `tls`",
        ),
        (
            format!(
                "[upstreams.s]\nservers = [\"127.0.0.1:1\"]\n[[routes]]\nupstream = \"s\"\nhost = \"a\"\n\
                 [[routes]]\nupstream = \"s\"\nhost = \"a\"\npath = \"/x\"\nhsts = \"1d\"\n{TLS}{PAIR}"
            ),
            "10:8: warning: another route of this host says something else of `hsts`",
        ),
    ] {
        let said = reported(&text);
        assert!(said.contains(wanted), "{text}\n{said}");
    }
}
