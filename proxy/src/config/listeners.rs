//! `[[listeners]]` and `[[certificates]]`.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    ops::Range,
    sync::Arc,
};

use toml::Spanned;

use super::{
    context::Context,
    diagnostic::Complaint,
    file::{self, File},
    model::{
        Anchor, Certificate, CertificateFiles, CertificateSource, ClientAuth, HostPattern,
        Listener, TlsProfile,
    },
    read::Field,
    visitors,
};

/// Folders and pairs that may be named.
const CERTIFICATES_MAX: usize = 10_000;

pub(super) fn certificates(file: &File, cx: &mut Context<'_>) -> Vec<CertificateSource> {
    let mut certificates = Vec::new();
    for section in file.certificates.items() {
        let certificate = section.get_ref();
        let client_auth = client_auth(&certificate.client_auth, cx);
        let pair = [&certificate.cert, &certificate.key];
        let files = match certificate.folder.given() {
            Some(folder) => {
                for given in pair.iter().filter_map(|field| field.given()) {
                    cx.error(
                        given.span(),
                        Complaint::new("`folder` stands in the place of `cert` and `key`")
                            .help("write another `[[certificates]]` for this pair"),
                    );
                }
                CertificateFiles::Folder(cx.path(&folder.get_ref().0))
            }
            None if matches!(certificate.folder, Field::Wrong) => continue,
            None => {
                let cert = certificate.cert.require("cert", section.span(), cx);
                let key = certificate.key.require("key", section.span(), cx);
                let (Some(cert), Some(key)) = (cert, key) else {
                    continue;
                };
                CertificateFiles::Pair(Certificate {
                    cert: cx.path(cert.get_ref()),
                    key: cx.path(key.get_ref()),
                })
            }
        };
        let place = match (certificate.folder.given(), certificate.cert.given()) {
            (Some(folder), _) => folder.span(),
            (None, Some(cert)) => cert.span(),
            (None, None) => section.span(),
        };
        certificates.push(CertificateSource {
            files,
            client_auth,
            place: cx.anchor(place),
        });
    }
    if let (true, Some(last)) = (
        certificates.len() > CERTIFICATES_MAX,
        file.certificates.items().last(),
    ) {
        cx.error(
            last.span(),
            Complaint::new(format!("there are more than {CERTIFICATES_MAX} of them"))
                .help("put the pairs into a folder, and name it with `folder`"),
        );
    }
    certificates
}

/// Hosts that routes name.
pub(super) fn hosts(file: &File, cx: &Context<'_>) -> Vec<(HostPattern, Anchor)> {
    let named = file.routes.items().iter().flat_map(|route| {
        let hosts = route.get_ref().host.value();
        hosts.map_or(&[][..], |hosts| &hosts.0.items)
    });
    let named = named.map(|host| (host.get_ref().clone(), cx.anchor(host.span())));
    let mut seen = HashSet::new();
    named
        .filter(|(host, _)| seen.insert(host.clone()))
        .collect()
}

fn client_auth(given: &Field<file::ClientAuth>, cx: &mut Context<'_>) -> Option<Arc<ClientAuth>> {
    let section = given.given()?;
    let auth = section.get_ref();
    let ca = auth.ca.require("ca", section.span(), cx)?;
    Some(Arc::new(ClientAuth {
        ca: cx.path(ca.get_ref()),
        mode: auth.mode.value().copied().unwrap_or_default(),
        crl: auth.crl.value().map(|path| cx.path(path)),
        place: cx.anchor(section.span()),
    }))
}

pub(super) fn listeners(file: &File, cx: &mut Context<'_>) -> Vec<Listener> {
    match &file.listeners {
        Field::Absent => {
            cx.error(
                0..0,
                Complaint::new("there is no listener")
                    .help("add `[[listeners]]` with `address = \"127.0.0.1:8080\"`"),
            );
        }
        Field::Given(list) if list.get_ref().written == 0 => {
            cx.error(list.span(), "there is no listener");
        }
        Field::Wrong | Field::Given(_) => {}
    }
    let sections = file.listeners.items();
    let mut seen = HashMap::new();
    let profile = file.tls.value().and_then(|tls| tls.profile.value());
    let profile = profile.copied().unwrap_or_default();
    let listeners = sections
        .iter()
        .filter_map(|section| listener(section, profile, &mut seen, cx))
        .collect();
    tls(file, sections, cx);
    redirects(sections, cx);
    visitors::proxy_protocol(file, cx);
    listeners
}

fn listener(
    section: &Spanned<file::Listener>,
    profile: TlsProfile,
    seen: &mut HashMap<SocketAddr, Range<usize>>,
    cx: &mut Context<'_>,
) -> Option<Listener> {
    let listener = section.get_ref();
    if let (Some(true), Some(redirect)) = (listener.tls.value(), on(&listener.redirect_to_https)) {
        cx.error(
            redirect,
            Complaint::new("`tls` and `redirect_to_https` contradict each other: what arrives here is https already")
                .help("redirect from another listener, without `tls`"),
        );
    }
    if let (None, false, Some(port)) = (
        on(&listener.redirect_to_https),
        matches!(listener.redirect_to_https, Field::Wrong),
        &listener.https_port.span,
    ) {
        cx.error(
            port.clone(),
            Complaint::new("`https_port` does nothing without `redirect_to_https`")
                .help("remove it, or add `redirect_to_https = true`"),
        );
    }
    let client_auth = client_auth(&listener.client_auth, cx);
    if on(&listener.tls).is_none() && !matches!(listener.tls, Field::Wrong) {
        let profile = listener.tls_profile.given().map(Spanned::span);
        let auth = listener.client_auth.given().map(Spanned::span);
        for (key, place) in [("tls_profile", profile), ("client_auth", auth)] {
            if let Some(place) = place {
                cx.error(
                    place,
                    Complaint::new(format!("`{key}` does nothing without `tls`"))
                        .help("remove it, or add `tls = true`"),
                );
            }
        }
    }
    let address = listener.address.require("address", section.span(), cx)?;
    let (span, address) = (address.span(), *address.get_ref());
    let place = cx.anchor(span.clone());
    // With port 0 the system gives each its own.
    if address.port() != 0 {
        if let Some(first) = seen.get(&address) {
            cx.error(
                span,
                format!("{address} is listened on already, {}", cx.line(first)),
            );
        } else {
            seen.insert(address, span);
        }
    }
    Some(Listener {
        address,
        tls: listener.tls.value().copied().unwrap_or(false),
        redirect_to_https: listener.redirect_to_https.value().copied().unwrap_or(false),
        // The bounds of the key are those of a port.
        https_port: u16::try_from(listener.https_port.value).unwrap_or(443),
        proxy_protocol: listener.proxy_protocol.value().copied().unwrap_or(false),
        tls_profile: listener.tls_profile.value().copied().unwrap_or(profile),
        client_auth,
        place,
    })
}

/// The place of a `true`.
fn on(field: &Field<bool>) -> Option<Range<usize>> {
    field
        .given()
        .filter(|value| *value.get_ref())
        .map(Spanned::span)
}

/// TLS needs a certificate, and a certificate TLS.
fn tls(file: &File, sections: &[Spanned<file::Listener>], cx: &mut Context<'_>) {
    let wanting: Vec<_> = sections
        .iter()
        .filter_map(|section| on(&section.get_ref().tls))
        .collect();
    let none = match &file.certificates {
        Field::Absent => true,
        Field::Wrong => false,
        Field::Given(list) => list.get_ref().written == 0,
    };
    let ordered = !matches!(file.acme, Field::Absent);
    if let (true, false, Some(first)) = (none, ordered, wanting.first()) {
        cx.error(
            first.clone(),
            Complaint::new("a listener with `tls` needs a certificate").help(
                "add `[[certificates]]` with `cert` and `key`, or with `folder`, or `[acme]` to have one ordered",
            ),
        );
    }
    if let (true, Some(first)) = (wanting.is_empty(), file.certificates.items().first()) {
        cx.warning(
            first.span(),
            "certificates do nothing: no listener has `tls`",
        );
    }
    if let (true, Some(tls)) = (wanting.is_empty(), file.tls.given()) {
        cx.warning(tls.span(), "[tls] does nothing: no listener has `tls`");
    }
}

/// A redirect must lead somewhere else, and should lead to something served here.
fn redirects(sections: &[Spanned<file::Listener>], cx: &mut Context<'_>) {
    let ports: Vec<_> = sections
        .iter()
        .filter(|section| on(&section.get_ref().tls).is_some())
        .filter_map(|section| section.get_ref().address.value())
        .map(SocketAddr::port)
        .collect();
    for section in sections {
        let listener = section.get_ref();
        let (Some(redirect), None) = (on(&listener.redirect_to_https), on(&listener.tls)) else {
            continue;
        };
        let port = listener.https_port.value;
        let place = listener.https_port.span.clone().unwrap_or(redirect);
        if listener
            .address
            .value()
            .is_some_and(|address| u64::from(address.port()) == port)
        {
            cx.error(
                place,
                format!("this listener would redirect to its own port {port}"),
            );
        } else if listener.https_port.span.is_none()
            && !ports.iter().any(|served| u64::from(*served) == port)
        {
            cx.warning(
                place,
                Complaint::new(format!(
                    "the redirect leads to port {port}, and no listener has `tls` there"
                ))
                .help("set `https_port`, unless something in front leads that port here"),
            );
        }
    }
}
