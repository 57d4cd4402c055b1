//! TLS towards visitors: certificates by name, client certificates, session tickets, and what is offered in a
//! handshake.
//!
//! `watched.rs` reads files when they change; `table.rs` puts what they hold in order; `terms.rs` makes the
//! settings of handshakes of it. All that serves is swapped as a whole ([`Certificates::refresh`]), by a reload
//! or by `watch.rs`, which looks at the files every two seconds.

mod client;
pub mod findings;
mod folder;
mod names;
mod pair;
pub mod status;
mod table;
mod terms;
pub mod watch;
mod watched;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::acme::Issued;

use self::{
    client::Trust,
    pair::Pair,
    terms::Settings,
    watched::{News, Watched},
};
pub(crate) use self::{client::refusal, pair::read_identity};
pub use self::{
    client::{ClientCertificate, Proof},
    table::{Entry, Table},
    terms::{Terms, Tickets},
};
use crate::{
    config::model::{
        self, CertificateFiles, CertificateSource, ClientAuth, ClientAuthMode, Config, Listener,
        TlsProfile,
    },
    edge::{Connection, Scheme},
    observe::metrics::Metrics,
};

/// A pair that is gone from its folder is served for so long: who replaces a folder's content may begin with
/// taking the old one away.
const GONE: Duration = Duration::from_secs(10);

/// Files of certificates, and what was last read of them; outlives configurations.
#[derive(Default)]
pub struct Files {
    pairs: Mutex<HashMap<model::Certificate, Watched<Pair>>>,
    trusts: Mutex<HashMap<ClientAuth, Watched<Trust>>>,
}

impl Files {
    fn pair(&self, paths: &model::Certificate) -> (Option<Arc<Pair>>, Option<Problem>, News) {
        let mut known = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = known
            .entry(paths.clone())
            .or_insert_with(|| Watched::new(vec![paths.cert.clone(), paths.key.clone()]));
        let news = watched.look(|contents| match contents {
            [cert, key] => Pair::parse(paths, cert, key),
            _ => Err("no pair".to_owned()),
        });
        let problem = watched.error().map(|why| Problem::of(&paths.cert, why));
        (watched.good().cloned(), problem, news)
    }

    fn trust(&self, auth: &ClientAuth) -> (Option<Arc<Trust>>, Option<Problem>, News) {
        let mut known = self.trusts.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = known.entry(auth.clone()).or_insert_with(|| {
            let files = [Some(&auth.ca), auth.crl.as_ref()];
            Watched::new(files.into_iter().flatten().cloned().collect())
        });
        let news = watched.look(|contents| Trust::parse(auth, contents));
        let problem = watched.error().map(|why| Problem::of(&auth.ca, why));
        (watched.good().cloned(), problem, news)
    }

    /// Forgets what nobody looks at any more.
    fn retain(&self, pairs: &HashSet<model::Certificate>) {
        let mut known = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|paths, _| pairs.contains(paths));
    }
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The certificate's file, or the folder.
    pub path: String,
    /// A sentence that names it.
    pub why: Arc<str>,
}

impl Problem {
    fn of(path: &Path, why: &Arc<str>) -> Self {
        Self {
            path: path.display().to_string(),
            why: Arc::clone(why),
        }
    }
}

/// The section that it is of, its files, and what they hold.
type Served = (usize, model::Certificate, Arc<Pair>);

/// All that handshakes go by; swapped as a whole.
struct State {
    table: Arc<Table>,
    settings: Settings,
    /// What was read, to tell whether anything has changed.
    pairs: Vec<Served>,
    trusts: Vec<(Arc<ClientAuth>, Arc<Trust>)>,
    problems: Vec<Problem>,
}

/// What was read of all files.
#[derive(Default)]
struct Read {
    pairs: Vec<Served>,
    trusts: Vec<(Arc<ClientAuth>, Arc<Trust>)>,
    /// What stands in the configuration by itself, so that a start without it makes no sense.
    errors: Vec<Problem>,
    /// Of folders.
    problems: Vec<Problem>,
    replaced: Vec<String>,
    failed: Vec<Problem>,
    /// All that was looked at, whether it can be used or not.
    looked_at: HashSet<model::Certificate>,
}

/// The certificates of a configuration.
pub struct Certificates {
    sources: Vec<CertificateSource>,
    /// Those with TLS.
    listeners: Vec<Listener>,
    /// Something in the configuration asks visitors for certificates.
    asks_clients: bool,
    files: Arc<Files>,
    tickets: Tickets,
    issued: Arc<Issued>,
    /// What has been in folders, and when it was last seen there.
    listed: Mutex<HashMap<model::Certificate, (usize, Instant)>>,
    state: ArcSwap<State>,
}

impl Certificates {
    /// Reads and checks every file; an error is a sentence for each that cannot be used.
    pub fn build(
        config: &Config,
        files: &Arc<Files>,
        tickets: &Tickets,
        issued: &Arc<Issued>,
    ) -> Result<Self, String> {
        let listeners = config.listeners.iter().filter(|listener| listener.tls);
        let certificates = Self {
            sources: config.certificates.clone(),
            listeners: listeners.cloned().collect(),
            asks_clients: config.listeners.iter().any(|l| l.client_auth.is_some())
                || config.certificates.iter().any(|c| c.client_auth.is_some()),
            files: Arc::clone(files),
            tickets: tickets.clone(),
            issued: Arc::clone(issued),
            listed: Mutex::default(),
            state: ArcSwap::from_pointee(State::empty()),
        };
        let read = certificates.read();
        if !read.errors.is_empty() {
            let sentences: Vec<&str> = read.errors.iter().map(|error| &*error.why).collect();
            return Err(sentences.join("\n"));
        }
        if read.pairs.is_empty() && config.acme.is_none() {
            let why = "a TLS listener needs a certificate, and none was found";
            let why = read.problems.first().map_or(why, |problem| &problem.why);
            return Err(why.to_owned());
        }
        for problem in &read.problems {
            tracing::error!(path = problem.path, why = &*problem.why, "cannot be used");
        }
        let state = certificates.state_of(read, None)?;
        certificates.state.store(Arc::new(state));
        Ok(certificates)
    }

    /// Reads what has changed on disk, and puts it in force; says whether there was anything. What cannot be used
    /// changes nothing, and is told once.
    pub fn refresh(&self) -> bool {
        let read = self.read();
        for path in &read.replaced {
            tracing::info!(path, "replaced: new connections get it");
        }
        for problem in &read.failed {
            tracing::error!(
                path = problem.path,
                why = &*problem.why,
                "cannot be used, what was there before goes on"
            );
        }
        let now = self.state.load_full();
        for (_, paths, _) in &now.pairs {
            if !read.looked_at.contains(paths) {
                tracing::warn!(path = %paths.cert.display(), "gone: it is not served any more");
            }
        }
        let same = |(a, b): (&Served, &Served)| a.0 == b.0 && a.1 == b.1 && Arc::ptr_eq(&a.2, &b.2);
        let trusts = read.trusts.iter().zip(&now.trusts);
        let problems: Vec<_> = read.errors.iter().chain(&read.problems).collect();
        if read.pairs.len() == now.pairs.len()
            && read.pairs.iter().zip(&now.pairs).all(same)
            && read.trusts.len() == now.trusts.len()
            && trusts.into_iter().all(|(a, b)| Arc::ptr_eq(&a.1, &b.1))
            && problems.iter().copied().eq(&now.problems)
        {
            return false;
        }
        self.files.retain(&read.looked_at);
        match self.state_of(read, Some(&now)) {
            Ok(state) => self.state.store(Arc::new(state)),
            Err(why) => tracing::error!(why, "the certificates stay as they are"),
        }
        true
    }

    fn read(&self) -> Read {
        let now = self.state.load();
        let mut read = Read::default();
        let mut wanted = Vec::new();
        for (source, given) in self.sources.iter().enumerate() {
            match &given.files {
                CertificateFiles::Pair(pair) => wanted.push((source, pair.clone(), true)),
                CertificateFiles::Folder(folder) => {
                    for pair in self.listed(source, folder, &mut read) {
                        wanted.push((source, pair, false));
                    }
                }
            }
        }
        for (source, paths, is_named) in wanted {
            let (pair, problem, news) = self.files.pair(&paths);
            match (news, &problem) {
                (News::Failed, Some(problem)) => read.failed.push(problem.clone()),
                (News::Replaced, _) => read.replaced.push(paths.cert.display().to_string()),
                _ => {}
            }
            match is_named {
                true => read.errors.extend(problem),
                false => read.problems.extend(problem),
            }
            read.looked_at.insert(paths.clone());
            // What is served stays, even if another configuration has let its files be forgotten.
            let known = || {
                let mut served = now.pairs.iter();
                let found = served.find(|(of, at, _)| (*of, at) == (source, &paths));
                found.map(|(_, _, pair)| Arc::clone(pair))
            };
            if let Some(pair) = pair.or_else(known) {
                read.pairs.push((source, paths, pair));
            }
        }
        for auth in self.auths() {
            let (trust, problem, news) = self.files.trust(&auth);
            match (news, &problem) {
                (News::Failed, Some(problem)) => read.failed.push(problem.clone()),
                (News::Replaced, _) => read.replaced.push(auth.ca.display().to_string()),
                _ => {}
            }
            read.errors.extend(problem);
            let known = || {
                let mut served = now.trusts.iter();
                let found = served.find(|(of, _)| *of == auth);
                found.map(|(_, trust)| Arc::clone(trust))
            };
            if let Some(trust) = trust.or_else(known) {
                read.trusts.push((auth, trust));
            }
        }
        read
    }

    /// The pairs of a folder; those that have just gone are still among them.
    fn listed(&self, source: usize, folder: &Path, read: &mut Read) -> Vec<model::Certificate> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match folder::list(folder) {
            Ok(listing) => {
                for pair in listing.pairs {
                    listed.insert(pair, (source, now));
                }
                listed.retain(|_, (of, seen)| *of != source || now - *seen < GONE);
            }
            // A folder that cannot be read says nothing of what is in it.
            Err(why) => read.problems.push(Problem::of(folder, &why.into())),
        }
        let own = listed.iter().filter(|(_, (of, _))| *of == source);
        let mut own: Vec<_> = own.map(|(pair, _)| pair.clone()).collect();
        own.sort_by(|a, b| a.cert.cmp(&b.cert));
        own
    }

    /// All that is asked of clients anywhere, each once.
    fn auths(&self) -> Vec<Arc<ClientAuth>> {
        let of_listeners = self.listeners.iter().map(|l| &l.client_auth);
        let of_names = self.sources.iter().map(|s| &s.client_auth);
        let mut auths: Vec<Arc<ClientAuth>> = Vec::new();
        for auth in of_listeners.chain(of_names).flatten() {
            if !auths.contains(auth) {
                auths.push(Arc::clone(auth));
            }
        }
        auths
    }

    /// Whether it is asked of anybody.
    fn asks_for(&self, auth: &Arc<ClientAuth>) -> bool {
        let of_listeners = self.listeners.iter().map(|l| &l.client_auth);
        let of_names = self.sources.iter().map(|s| &s.client_auth);
        let mut all = of_listeners.chain(of_names).flatten();
        all.any(|asked| asked == auth)
    }

    /// What a connection has shown, as far as that counts: where this configuration asks nobody for it any more, it is
    /// as if nothing had been asked. On a listener that is gone what was asked there goes on to count.
    pub fn proof<'c>(&self, connection: &'c Connection) -> Option<&'c Proof> {
        let proof = connection.proof.as_deref()?;
        let is_gone = self.listener(connection.listener).is_none();
        (is_gone || self.asks_for(&proof.asked)).then_some(proof)
    }

    fn state_of(&self, read: Read, before: Option<&State>) -> Result<State, String> {
        let entries = read.pairs.iter().map(|(source, paths, pair)| Entry {
            path: paths.cert.display().to_string(),
            pair: Arc::clone(pair),
            source: *source,
            client_auth: self.sources[*source].client_auth.clone(),
        });
        let table = Arc::new(Table::new(
            entries.collect(),
            before.map(|state| &*state.table),
        ));
        // Also those of no listener: who was accepted a moment before a reload comes in under the settings of then.
        let profiles = [TlsProfile::Intermediate, TlsProfile::Modern];
        let settings = Settings::new(&profiles, &read.trusts, &table, &self.issued, &self.tickets)
            .map_err(|why| why.to_string())?;
        Ok(State {
            table,
            settings,
            pairs: read.pairs,
            trusts: read.trusts,
            problems: read.errors.into_iter().chain(read.problems).collect(),
        })
    }

    /// What a handshake on this listener goes by. Who was accepted a moment before a reload comes in under the listener
    /// of then: where that asked for certificates, and this configuration knows nothing of those, it is asked for what
    /// its address asks for now. Of an address that is not listened on any more nobody is let in without.
    pub fn terms(&self, listener: &Listener) -> Terms {
        let auth = listener.client_auth.as_ref();
        let is_unknown = auth.is_some_and(|auth| !self.auths().iter().any(|known| known == auth));
        let now = self.listener(listener.address).filter(|_| is_unknown);
        Terms::new(self.state.load_full(), now.unwrap_or(listener))
    }

    /// What is served now.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.state.load().table)
    }

    /// What cannot be used now.
    pub fn problems(&self) -> Vec<Problem> {
        self.state.load().problems.clone()
    }

    /// Whether two names lead to the same certificate.
    pub fn same(&self, one: &str, other: &str) -> bool {
        self.state.load().table.same(one, other, &self.issued)
    }

    /// What a visitor of `host` is asked for at a listener, where it is asked and shows nothing; and whether it has to
    /// show something.
    pub(crate) fn unproven(&self, address: SocketAddr, host: &str) -> Option<(Proof, bool)> {
        let state = self.state.load();
        let listener = self.listener(address).and_then(|l| l.client_auth.clone());
        let asked = state.table.guard(Some(host)).cloned();
        let asked = asked.or_else(|| listener.clone())?;
        let is_required = asked.mode != ClientAuthMode::Optional;
        let proof = Proof {
            asked,
            listener,
            certificate: None,
        };
        Some((proof, is_required))
    }

    /// Whether a connection has been asked for what the visitors of `host` are asked for: a certificate that was
    /// shown for one name says nothing about another that believes others (RFC 9110 §7.4).
    pub fn is_proven(&self, connection: &Connection, host: &str) -> bool {
        let proof = self.proof(connection);
        if !self.asks_clients && proof.is_none() {
            return true;
        }
        let state = self.state.load();
        let own = state.table.guard(Some(host));
        if connection.scheme == Scheme::Http {
            return own.is_none_or(|auth| auth.mode == ClientAuthMode::Optional);
        }
        let of_listener = match self.listener(connection.listener) {
            Some(listener) => listener.client_auth.as_ref(),
            // It is not listened on any more, or one of several whose ports the system has chosen.
            None => proof.and_then(|proof| proof.listener.as_ref()),
        };
        own.or(of_listener) == proof.map(|proof| &proof.asked)
    }

    fn listener(&self, address: SocketAddr) -> Option<&Listener> {
        let mut listeners = self.listeners.iter();
        listeners.find(|listener| address.port() != 0 && listener.address == address)
    }

    /// Tells the counters how things stand.
    pub fn note(&self, metrics: &Metrics) {
        let state = self.state.load();
        let ends = state.table.entries().iter();
        let ends = ends.map(|entry| (entry.path.as_str(), entry.pair.facts.not_after));
        let trusts = state.trusts.iter().filter_map(|(auth, trust)| {
            let path = auth.crl.as_ref().unwrap_or(&auth.ca);
            Some((path.to_str()?, trust.not_after?))
        });
        let problems = state.problems.iter().map(|problem| problem.path.as_str());
        let served = state.table.entries().len();
        metrics
            .certificates
            .set(served, ends.chain(trusts), problems);
    }
}

impl State {
    fn empty() -> Self {
        Self {
            table: Arc::default(),
            settings: Settings::default(),
            pairs: Vec::new(),
            trusts: Vec::new(),
            problems: Vec::new(),
        }
    }
}
