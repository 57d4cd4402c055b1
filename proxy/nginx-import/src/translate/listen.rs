//! `listen`, and certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Scope, Translator};
use crate::{
    toml::{self, Section},
    tree::Directive,
};

/// One `listen`, or the one that is meant where a server has none.
#[derive(Debug, Clone)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    pub(super) is_default: bool,
    pub(super) tls: bool,
    pub(super) proxy_protocol: bool,
}

/// The address of a `listen`; `None` for sockets of other kinds.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(SocketAddr::from((ip, 80)));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "80"));
    let port = port.parse().ok()?;
    match host {
        "*" => Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        "localhost" => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => None,
    }
}

impl<'a> Translator<'a> {
    /// Where a server listens.
    pub(super) fn listens(&mut self, server: &'a Directive, scope: &Scope<'a>) -> Vec<Listen> {
        let all_tls = scope.is_on("ssl");
        if let Some(ssl) = scope.one("ssl") {
            self.full(ssl);
        }
        let mut out = Vec::new();
        let mut any = false;
        for directive in server.children().iter().filter(|d| d.name == "listen") {
            any = true;
            let has = |word: &str| directive.words().any(|w| w == word);
            if has("quic") || has("http3") {
                self.missing(directive, "Dhal speaks HTTP/1.1 and HTTP/2");
                continue;
            }
            let Some(address) = address(directive.arg(0)).filter(|a| a.port() != 0) else {
                self.missing(directive, "a listener of Dhal has an IP address and a port");
                continue;
            };
            self.full(directive);
            let listen = |address| Listen {
                address,
                is_default: has("default_server") || has("default"),
                tls: all_tls || has("ssl"),
                proxy_protocol: has("proxy_protocol"),
            };
            out.push(listen(address));
            // Without `ipv6only`, which is rare since nginx 1.3.4, `[::]` is IPv6 alone, as with Dhal.
            if has("ipv6only=off") && address.ip() == IpAddr::from([0u16; 8]) {
                let both = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                out.push(listen(both));
            }
        }
        if !any {
            out.push(Listen {
                address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)),
                is_default: false,
                tls: all_tls,
                proxy_protocol: false,
            });
        }
        out
    }

    /// The sections of all listeners; `redirect`: the port of those that only redirect.
    pub(super) fn listener(&mut self, listens: &[&Listen], redirect: Option<u16>) {
        let Some(first) = listens.first() else {
            return;
        };
        let mut section = Section::new("[[listeners]]");
        section.set("address", toml::string(&first.address.to_string()));
        if listens.iter().any(|l| l.tls) {
            section.set("tls", "true");
        }
        if let Some(port) = redirect {
            section.set("redirect_to_https", "true");
            if port != 443 {
                section.set("https_port", port.to_string());
            }
        }
        if listens.iter().any(|l| l.proxy_protocol) {
            section.set("proxy_protocol", "true");
            if !self.server.has("trusted_proxies") {
                let private = [
                    "127.0.0.0/8",
                    "10.0.0.0/8",
                    "172.16.0.0/12",
                    "192.168.0.0/16",
                ];
                self.server.remarked(
                    "trusted_proxies",
                    toml::strings(&private),
                    "whose PROXY headers count: name your balancers",
                );
            }
        }
        self.listeners.push(section);
    }

    /// The certificates of a server that speaks TLS.
    pub(super) fn certificates(&mut self, scope: &Scope<'a>) {
        let certs = scope.all("ssl_certificate");
        let keys = scope.all("ssl_certificate_key");
        let client_auth = self.client_auth(scope);
        self.protocols(scope);
        for (cert, key) in certs.iter().zip(&keys) {
            let variable = [cert, key]
                .into_iter()
                .find(|d| d.arg(0).contains(['$', ':']));
            if let Some(variable) = variable {
                self.missing(
                    variable,
                    "a certificate is a file; a folder of them is `folder` of `[[certificates]]`",
                );
                continue;
            }
            self.full_all(&[cert, key]);
            let mut section = Section::new("[[certificates]]");
            section.set("cert", toml::string(&self.path(cert.arg(0))));
            section.set("key", toml::string(&self.path(key.arg(0))));
            if let Some(auth) = &client_auth {
                section.set("client_auth", auth.clone());
            }
            if !self
                .certificates
                .iter()
                .any(|known| known.keys == section.keys)
            {
                section.notes = self.notes();
                self.certificates.push(section);
            }
        }
    }

    /// A path as nginx sees it: relative ones start at the folder of the configuration.
    pub(super) fn path(&self, text: &str) -> String {
        if text.starts_with('/') {
            return text.to_owned();
        }
        let main = self.tree.files.first().map_or("", String::as_str);
        let folder = main.rfind('/').map_or("", |slash| &main[..=slash]);
        format!("{folder}{text}")
    }

    fn client_auth(&mut self, scope: &Scope<'a>) -> Option<String> {
        let verify = scope.one("ssl_verify_client")?;
        let mode = match verify.arg(0) {
            "off" => {
                self.full(verify);
                return None;
            }
            "on" => "require",
            "optional" => "optional",
            _ => {
                self.missing(
                    verify,
                    "Dhal asks for a certificate and verifies it, or does not ask",
                );
                return None;
            }
        };
        let Some(ca) = scope.one("ssl_client_certificate") else {
            self.missing(verify, "there is no `ssl_client_certificate`");
            return None;
        };
        self.full_all(&[verify, ca]);
        let mut keys = vec![
            ("ca", toml::string(&self.path(ca.arg(0)))),
            ("mode", toml::string(mode)),
        ];
        if let Some(crl) = scope.one("ssl_crl") {
            keys.push(("crl", toml::string(&self.path(crl.arg(0)))));
            self.full(crl);
        }
        Some(toml::table(&keys))
    }

    fn protocols(&mut self, scope: &Scope<'a>) {
        let Some(protocols) = scope.one("ssl_protocols") else {
            return;
        };
        let has = |name: &str| protocols.words().any(|w| w == name);
        let old: Vec<_> = protocols
            .words()
            .filter(|w| !matches!(*w, "TLSv1.2" | "TLSv1.3"))
            .collect();
        if has("TLSv1.3") && !has("TLSv1.2") && old.is_empty() {
            self.tls.set("profile", toml::string("modern"));
        }
        match old.is_empty() {
            true => self.full(protocols),
            false => self.differs(
                protocols,
                format!("without {}: Dhal speaks TLS 1.2 and 1.3", old.join(" ")),
            ),
        }
    }
}
