//! What handshakes go by: versions, certificate, whether the visitor is asked for one, and tickets.

use std::sync::{Arc, OnceLock};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    server::{
        ClientHello, NoClientAuth, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::{State, client::Trust, table::Table};
use crate::{
    acme::{Issued, challenge::ALPN},
    config::model::{ClientAuth, Listener, TlsProfile},
};

/// Keys of session tickets, the same for all threads and configurations, so that a session resumes wherever and
/// whenever its next connection comes. They rotate by themselves.
#[derive(Clone, Default)]
pub struct Tickets(Arc<OnceLock<Arc<dyn ProducesTickets>>>);

impl Tickets {
    fn ticketer(&self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        if let Some(known) = self.0.get() {
            return Ok(Arc::clone(known));
        }
        let new = aws_lc_rs::Ticketer::new()?;
        Ok(Arc::clone(self.0.get_or_init(|| new)))
    }
}

/// Answers handshakes from a table, and from what was issued for names that have nothing there.
struct Resolver {
    table: Arc<Table>,
    issued: Arc<Issued>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenge) = self.issued.challenge(&hello) {
            return challenge;
        }
        let name = hello.server_name();
        if let Some(entry) = name.and_then(|name| self.table.named(name)) {
            return Some(Arc::clone(&entry.pair.key));
        }
        if let Some(issued) = name.and_then(|name| self.issued.find(name)) {
            return Some(issued);
        }
        match self.table.fallback() {
            Some(entry) => Some(Arc::clone(&entry.pair.key)),
            None => self.issued.first().filter(|_| name.is_none()),
        }
    }
}

/// The settings for every pair of a profile and of what is asked of clients that the configuration has.
#[derive(Default)]
pub(super) struct Settings(Vec<(TlsProfile, Option<Arc<ClientAuth>>, Arc<ServerConfig>)>);

impl Settings {
    pub(super) fn new(
        profiles: &[TlsProfile],
        trusts: &[(Arc<ClientAuth>, Arc<Trust>)],
        table: &Arc<Table>,
        issued: &Arc<Issued>,
        tickets: &Tickets,
    ) -> Result<Self, rustls::Error> {
        let mut settings = Vec::with_capacity(profiles.len() * (trusts.len() + 1));
        for profile in profiles {
            let plain = server_config(*profile, None, table, issued, tickets)?;
            settings.push((*profile, None, plain));
            for (auth, trust) in trusts {
                let asking = server_config(*profile, Some(trust), table, issued, tickets)?;
                settings.push((*profile, Some(Arc::clone(auth)), asking));
            }
        }
        Ok(Self(settings))
    }

    fn get(
        &self,
        profile: TlsProfile,
        auth: Option<&Arc<ClientAuth>>,
    ) -> Option<&Arc<ServerConfig>> {
        let mut settings = self.0.iter();
        let found = settings.find(|(of, asks, _)| *of == profile && asks.as_ref() == auth);
        found.map(|(_, _, config)| config)
    }
}

/// Hybrid post-quantum key exchange, ALPN, and tickets; suites with forward secrecy and authenticated encryption
/// only, since this library knows no others.
fn server_config(
    profile: TlsProfile,
    trust: Option<&Arc<Trust>>,
    table: &Arc<Table>,
    issued: &Arc<Issued>,
    tickets: &Tickets,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match profile {
        TlsProfile::Intermediate => &[&TLS13, &TLS12],
        TlsProfile::Modern => &[&TLS13],
    };
    let verifier = match trust {
        Some(trust) => Arc::clone(&trust.verifier),
        None => Arc::new(NoClientAuth),
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Resolver {
            table: Arc::clone(table),
            issued: Arc::clone(issued),
        }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ALPN.to_vec()];
    // Tickets carry the session; nothing needs to be kept here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // One ticket is enough for a browser, and each costs bytes and a signature's worth of time. Where visitors
    // show certificates there is none: who comes back shows it again, so that a revoked one does not live on in
    // tickets.
    config.send_tls13_tickets = 0;
    if trust.is_none() {
        config.send_tls13_tickets = 1;
        config.ticketer = tickets.ticketer()?;
    }
    Ok(Arc::new(config))
}

/// What a handshake on a listener goes by.
pub struct Terms {
    state: Arc<State>,
    profile: TlsProfile,
    listener_auth: Option<Arc<ClientAuth>>,
}

impl Terms {
    pub(super) fn new(state: Arc<State>, listener: &Listener) -> Self {
        Self {
            state,
            profile: listener.tls_profile,
            listener_auth: listener.client_auth.clone(),
        }
    }

    /// Whether the settings depend on what the visitor says first: on its name, or, where visitors show certificates,
    /// on whether it is a visitor.
    pub fn is_by_hello(&self) -> bool {
        self.state.table.is_guarded() || self.listener_auth.is_some()
    }

    /// The settings for an authority that looks whether a name is ours (RFC 8737 §3): it has no certificate to show, and
    /// nothing is said on such a connection. Whoever offers that protocol with others is a visitor.
    pub fn choose_for(
        &self,
        hello: &ClientHello<'_>,
    ) -> Option<(&Arc<ServerConfig>, Option<&Arc<ClientAuth>>)> {
        let is_challenge = hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(ALPN) && offered.next().is_none());
        match is_challenge {
            true => Some((self.state.settings.get(self.profile, None)?, None)),
            false => self.choose(hello.server_name()),
        }
    }

    /// The settings for a name, and what is asked of its visitors.
    pub fn choose(
        &self,
        name: Option<&str>,
    ) -> Option<(&Arc<ServerConfig>, Option<&Arc<ClientAuth>>)> {
        let auth = self.state.table.guard(name).or(self.listener_auth.as_ref());
        Some((self.state.settings.get(self.profile, auth)?, auth))
    }

    /// What the listener asks of visitors whose name asks nothing of its own.
    pub fn listener_auth(&self) -> Option<&Arc<ClientAuth>> {
        self.listener_auth.as_ref()
    }
}
