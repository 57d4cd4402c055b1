//! `[acme]`: certificates that are ordered from an authority.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use toml::Spanned;

use super::{
    context::Context,
    diagnostic::{Complaint, shown},
    file::{self, File},
    model::{AccountBinding, Acme, ChallengeKind},
    read::{Field, List, Scalar, choice},
};

/// Who issues where the file names nobody.
pub(super) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names in one certificate: what public authorities allow.
const NAMES_MOST: usize = 100;

/// Certificates: they are ordered one by one, and a thousand take some hours.
const CERTIFICATES_MOST: usize = 1_000;

/// No certificate lives longer.
const RENEW_BEFORE_MOST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The address of an authority's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirectoryUrl(pub(super) String);

impl Scalar for DirectoryUrl {
    const WANTED: &'static str = "the https URL of an authority's directory";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let uri = text.parse::<http::Uri>().ok();
        let whole = uri.filter(|uri| {
            uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
        });
        match whole {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(
                Complaint::new(format!("{} is no https URL", shown(text))).help(format!(
                    "write \"{LETS_ENCRYPT}\", or what your authority calls its ACME directory"
                )),
            ),
        }
    }
}

/// Whom the authority writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contact(pub(super) String);

impl Scalar for Contact {
    const WANTED: &'static str = "a contact, such as \"mailto:ops@shop.example\"";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let address = text.strip_prefix("mailto:");
        let whole = address
            .is_some_and(|address| address.contains('@') && !address.contains(char::is_whitespace));
        match whole {
            true => Ok(Self(text.to_owned())),
            false => Err(
                Complaint::new(format!("{} is no mailto: address", shown(text)))
                    .help("write \"mailto:ops@shop.example\""),
            ),
        }
    }
}

/// A name for a certificate, as it stands in there: lower case, A-labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateName(pub(super) String);

impl Scalar for CertificateName {
    const WANTED: &'static str = "a host name, such as \"shop.example\"";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.starts_with("*.") {
            return Err(Complaint::new(
                "a wildcard needs the challenge dns-01, which Dhal does not speak",
            )
            .help("list the names one by one, or bring a wildcard along in `[[certificates]]`"));
        }
        if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Err(Complaint::new(format!(
                "{} is an address, and certificates are ordered for names",
                shown(text)
            )));
        }
        Uts46::new()
            .to_ascii(
                text.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map(|name| Self(name.into_owned()))
            .map_err(|_| {
                Complaint::new(format!("{} is no host name", shown(text)))
                    .help("write the name alone, without scheme, port and path: \"shop.example\"")
            })
    }
}

impl Scalar for ChallengeKind {
    const WANTED: &'static str = "a challenge, \"http-01\" or \"tls-alpn-01\"";

    const CHOICES: &'static [(&'static str, Self)] =
        &[("http-01", Self::Http01), ("tls-alpn-01", Self::TlsAlpn01)];

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text == "dns-01" {
            return Err(Complaint::new("dns-01 is not spoken here")
                .help("\"http-01\" needs port 80 of the host, \"tls-alpn-01\" port 443"));
        }
        choice(text, Self::CHOICES)
    }
}

pub(super) fn acme(file: &File, cx: &mut Context<'_>) -> Option<Acme> {
    let section = file.acme.given()?;
    let acme = section.get_ref();
    match &acme.agree_tos {
        Field::Given(agreed) if *agreed.get_ref() => {}
        Field::Wrong => {}
        Field::Absent => cx.error(section.span(), no_agreement()),
        Field::Given(refused) => cx.error(refused.span(), no_agreement()),
    }
    let storage = acme
        .storage
        .require("storage", section.span(), cx)
        .map(|folder| cx.path(&folder.get_ref().0));
    let certificates = certificates(section, cx);
    let challenge = acme
        .challenge
        .value()
        .copied()
        .unwrap_or(ChallengeKind::Http01);
    if let Some(given) = acme.renew_before.given()
        && (given.get_ref().is_zero() || *given.get_ref() > RENEW_BEFORE_MOST)
    {
        cx.error(
            given.span(),
            "`renew_before` must lie between 1ms and 3650d",
        );
    }
    reachable(file, section, challenge, cx);
    let directory = acme.directory.value();
    Some(Acme {
        directory: directory.map_or_else(|| LETS_ENCRYPT.to_owned(), |url| url.0.clone()),
        contact: acme.contact.value().map_or_else(Vec::new, |list| {
            let contacts = list.0.items.iter();
            contacts.map(|item| item.get_ref().0.clone()).collect()
        }),
        storage: storage?,
        certificates,
        challenge,
        ca_file: acme.ca_file.value().map(|path| cx.path(path)),
        profile: acme.profile.value().cloned(),
        binding: acme.eab.given().and_then(|eab| binding(eab, cx)),
        renew_before: acme.renew_before.value().copied(),
        retry: acme.retry.value,
    })
}

fn no_agreement() -> Complaint {
    Complaint::new("`agree_tos` is missing: an authority issues nothing to those who have not agreed to its terms")
        .help("read the terms that the authority's directory names, then write `agree_tos = true`")
}

fn binding(
    section: &Spanned<file::ExternalAccount>,
    cx: &mut Context<'_>,
) -> Option<AccountBinding> {
    let eab = section.get_ref();
    let key_id = eab.key_id.require("key_id", section.span(), cx).cloned();
    let hmac_file = eab.hmac_file.require("hmac_file", section.span(), cx);
    Some(AccountBinding {
        hmac_file: cx.path(hmac_file?.get_ref()),
        key_id: key_id?.into_inner(),
    })
}

/// The names of each certificate; every name stands in one of them only.
fn certificates(section: &Spanned<file::Acme>, cx: &mut Context<'_>) -> Vec<Vec<String>> {
    let given = section.get_ref().names.require("names", section.span(), cx);
    let Some(given) = given else {
        return Vec::new();
    };
    let lists: &List<List<CertificateName>> = given.get_ref();
    if lists.written == 0 {
        cx.error(given.span(), "there is no name to order a certificate for");
    }
    if lists.written > CERTIFICATES_MOST {
        cx.error(
            given.span(),
            format!("at most {CERTIFICATES_MOST} certificates are ordered"),
        );
    }
    let mut seen = HashMap::new();
    let mut certificates = Vec::new();
    for list in &lists.items {
        if list.get_ref().written == 0 {
            cx.error(list.span(), "a certificate needs a name");
        }
        if list.get_ref().written > NAMES_MOST {
            cx.error(
                list.span(),
                format!("a certificate has at most {NAMES_MOST} names"),
            );
        }
        let mut names = Vec::new();
        for name in &list.get_ref().items {
            let text = name.get_ref().0.clone();
            if let Some(first) = seen.get(&text) {
                cx.error(
                    name.span(),
                    format!("{} is listed already, {}", shown(&text), cx.line(first)),
                );
                continue;
            }
            seen.insert(text.clone(), name.span());
            names.push(text);
        }
        if !names.is_empty() {
            certificates.push(names);
        }
    }
    certificates
}

/// The authority comes to a port that it chooses itself (RFC 8555 §8.3, RFC 8737 §3).
fn reachable(
    file: &File,
    section: &Spanned<file::Acme>,
    challenge: ChallengeKind,
    cx: &mut Context<'_>,
) {
    let listeners = file.listeners.items().iter();
    let known: Vec<(bool, u16)> = listeners
        .filter_map(|section| {
            let listener = section.get_ref();
            let tls = listener.tls.value().copied().unwrap_or(false);
            Some((tls, listener.address.value()?.port()))
        })
        .collect();
    let place = section.get_ref().challenge.given();
    let place = place.map_or_else(|| section.span(), Spanned::span);
    if !known.iter().any(|(tls, _)| *tls) {
        cx.warning(
            section.span(),
            "certificates are ordered and shown to nobody: no listener has `tls`",
        );
    }
    let (word, tls, port) = match challenge {
        ChallengeKind::Http01 => ("http-01", false, 80),
        ChallengeKind::TlsAlpn01 => ("tls-alpn-01", true, 443),
    };
    if !known.contains(&(tls, port)) {
        let with = if tls { "with" } else { "without" };
        cx.warning(
            place,
            Complaint::new(format!(
                "{word} is asked for at port {port}, and no listener {with} `tls` is there"
            ))
            .help("add one, unless something in front leads that port here"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Surroundings, render};

    fn parse(acme: &str) -> Result<Loaded, String> {
        let rest = "[[listeners]]\naddress = \"0.0.0.0:80\"\nredirect_to_https = true\n\
                    [[listeners]]\naddress = \"0.0.0.0:443\"\ntls = true\n\
                    [upstreams.shop]\nservers = [\"127.0.0.1:3000\"]\n[[routes]]\nupstream = \"shop\"\n";
        let text = format!("{acme}\n{rest}");
        let surroundings = Surroundings {
            folder: std::path::Path::new("/etc/dhal"),
            env: &|_| None,
        };
        let parsed = crate::config::parse("dhal.toml", &text, &surroundings);
        parsed.map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_section_with_its_defaults() {
        let loaded = parse(
            "[acme]\nagree_tos = true\nstorage = \"acme\"\nnames = [[\"Shop.Example\", \"b.example\"]]",
        )
        .unwrap();
        assert_eq!(render(&loaded.warnings), "");
        let wanted = Acme {
            directory: LETS_ENCRYPT.to_owned(),
            contact: Vec::new(),
            storage: "/etc/dhal/acme".into(),
            certificates: vec![vec!["shop.example".to_owned(), "b.example".to_owned()]],
            challenge: ChallengeKind::Http01,
            ca_file: None,
            profile: None,
            binding: None,
            renew_before: None,
            retry: Duration::from_secs(60),
        };
        assert_eq!(loaded.config.acme, Some(wanted));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let whole = |more: &str| {
            format!(
                "[acme]\nagree_tos = true\nstorage = \"acme\"\n{more}\nnames = [[\"a.example\"]]"
            )
        };
        for (acme, wanted) in [
            (
                "[acme]".to_owned(),
                &[
                    "`agree_tos` is missing",
                    "`storage` is missing",
                    "`names` is missing",
                ][..],
            ),
            (
                whole("").replace("true", "false"),
                &["2:13: error: `agree_tos` is missing"],
            ),
            (
                whole("").replace("[[\"a.example\"]]", "[]"),
                &["there is no name to order"],
            ),
            (
                whole("").replace("\"a.example\"", ""),
                &["a certificate needs a name"],
            ),
            (
                whole("").replace("[[\"a.example\"]]", "[\"a.example\"]"),
                &["a list, each item a host name"],
            ),
            (
                whole("").replace("\"a.example\"", "\"*.a.example\""),
                &["dns-01", "[[certificates]]"],
            ),
            (
                whole("").replace("\"a.example\"", "\"a.example\"], [\"A.example\""),
                &["`a.example` is listed already, line 5"],
            ),
            (
                whole("challenge = \"dns-01\""),
                &["dns-01 is not spoken here", "port 80"],
            ),
            (
                whole("challenge = \"http01\""),
                &["did you mean `http-01`?"],
            ),
            (
                whole("directory = \"http://ca.example\""),
                &["is no https URL"],
            ),
            (
                whole("contact = \"ops@a.example\""),
                &["is no mailto: address"],
            ),
            (
                whole("eab = { key_id = \"x\" }"),
                &["`hmac_file` is missing"],
            ),
            (
                whole("renew_before = \"0s\""),
                &["`renew_before` must lie between"],
            ),
            (whole("retry = \"10ms\""), &["`retry` must lie between"]),
            (whole("renew = true"), &["unknown key `renew` in [acme]"]),
        ] {
            let Err(said) = parse(&acme) else {
                panic!("{acme} is taken")
            };
            for wanted in wanted {
                assert!(said.contains(wanted), "{wanted} in\n{said}");
            }
        }
    }

    #[test]
    fn where_the_authority_would_come_to() {
        let text = "[acme]\nagree_tos = true\nstorage = \"acme\"\nnames = [[\"a.example\"]]\n";
        let surroundings = Surroundings {
            folder: std::path::Path::new("/etc/dhal"),
            env: &|_| None,
        };
        for (more, wanted) in [
            (
                "[[listeners]]\naddress = \"0.0.0.0:443\"\ntls = true\n",
                "http-01 is asked for at port 80, and no listener without `tls` is there",
            ),
            (
                "challenge = \"tls-alpn-01\"\n[[listeners]]\naddress = \"0.0.0.0:8443\"\ntls = true\n",
                "tls-alpn-01 is asked for at port 443, and no listener with `tls` is there",
            ),
            (
                "[[listeners]]\naddress = \"0.0.0.0:80\"\nredirect_to_https = true\n",
                "no listener has `tls`",
            ),
        ] {
            let rest = "[upstreams.shop]\nservers = [\"127.0.0.1:3000\"]\n[[routes]]\nupstream = \"shop\"\n";
            let text = format!("{text}{more}{rest}");
            let loaded = crate::config::parse("dhal.toml", &text, &surroundings).unwrap();
            let said = render(&loaded.warnings);
            assert!(said.contains(wanted), "{wanted} in\n{said}");
        }
    }

    #[test]
    fn names_as_certificates_have_them() {
        for (written, wanted) in [
            ("shop.example", Some("shop.example")),
            ("WWW.Shop.Example", Some("www.shop.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("দোকান.example", Some("xn--p5b7ah1gxc.example")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("*.shop.example", None),
            ("127.0.0.1", None),
            ("::1", None),
            ("[::1]", None),
            ("shop.example.", None),
            ("shop..example", None),
            ("-shop.example", None),
            ("shop_1.example", None),
            ("https://shop.example", None),
            ("shop.example:443", None),
            ("", None),
            ("a b.example", None),
            ("xn--\u{1}.example", None),
        ] {
            let parsed = CertificateName::parse(written).ok();
            let ascii = parsed.as_ref().map(|name| name.0.as_str());
            assert_eq!(ascii, wanted, "{written}");
        }
        let long = format!("{}.example", "a".repeat(64));
        assert!(CertificateName::parse(&long).is_err());
    }

    #[test]
    fn directories_and_contacts() {
        for (url, right) in [
            (LETS_ENCRYPT, true),
            ("https://[::1]:14000/dir", true),
            ("http://ca.internal/dir", false),
            ("ca.internal/dir", false),
            ("https:///dir", false),
        ] {
            assert_eq!(DirectoryUrl::parse(url).is_ok(), right, "{url}");
        }
        for (contact, right) in [
            ("mailto:ops@shop.example", true),
            ("ops@shop.example", false),
            ("mailto:ops", false),
            ("mailto:a b@shop.example", false),
        ] {
            assert_eq!(Contact::parse(contact).is_ok(), right, "{contact}");
        }
    }
}
