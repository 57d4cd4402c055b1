//! What a request sees of the configuration: immutable, valid by construction, swapped as a whole.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use adaptive_concurrency::Class;
use bytes::Bytes;
use http::Method;
use ipnet::IpNet;

use crate::{
    admit::{
        key::Params,
        lists::{AddressList, BadFile},
        rate::RateLimit,
        waiting_room::WaitingRoom,
    },
    config::model::{
        self, CachePolicy, Config, HostPattern, PathPattern, SetCookie, Timeouts, Visitors,
    },
    edge::{Connection, path::EncodedSlashes},
    files::{self, Fallback, Files},
    listen::tls::{Certificates, Proof},
    observe::metrics::RouteMetrics,
    regular,
    respond::{
        dress::{Change, Dress, Pages},
        hsts::{Hsts, STRICT_TRANSPORT_SECURITY},
    },
    route::{
        Router,
        action::{Action, Fixed, FixedBody, Rewrite},
        headers::RequestHeaders,
    },
    shared::Shared,
    upstream::Upstream,
};

/// One configuration in force. A request holds on to the one it began with.
pub struct Snapshot {
    /// Counts up with every reload.
    pub generation: u64,
    /// What it was built from.
    pub config: Config,
    /// Finds the route of a request.
    pub router: Router,
    /// All upstreams, for health checks and status.
    pub upstreams: Vec<Arc<Upstream>>,
    /// All limits, in the order of the configuration.
    pub limits: Vec<Arc<RateLimit>>,
    /// All address lists, in the order of the configuration.
    pub lists: Vec<Arc<AddressList>>,
    /// Whoever is on one of them gets `403`.
    pub deny: Vec<Arc<AddressList>>,
    /// All waiting rooms, in the order of the configuration.
    pub waiting_rooms: Vec<Arc<WaitingRoom>>,
    /// What changes of answers that belong to no route.
    pub dress: Dress,
    /// Certificates by name; `None` without TLS listeners.
    pub certificates: Option<Arc<Certificates>>,
    /// What answers that belong to no route tell browsers of TLS.
    pub hsts: Option<Hsts>,
    /// Time limits and bounds of the doors.
    pub bounds: Bounds,
}

/// Time limits and bounds of the doors.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// For a whole request head.
    pub header_timeout: Duration,
    /// For each pause within a request body.
    pub body_timeout: Duration,
    /// Between requests.
    pub keepalive_timeout: Duration,
    /// For a TLS handshake and an HTTP/2 preface.
    pub handshake_timeout: Duration,
    /// Bytes.
    pub max_target: usize,
    /// Bytes.
    pub max_header: usize,
    /// Peers whose forwarding fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is asked of visitors' connections.
    pub visitors: Visitors,
}

/// A route with everything it refers to.
pub struct Route {
    /// For logs and metrics.
    pub name: String,
    /// What becomes of its requests.
    pub action: Action,
    /// What an upstream is asked for in the place of the visitor's target.
    pub rewrite: Option<Rewrite>,
    /// `Host` towards the upstream, where it is not the visitor's.
    pub upstream_host: Option<String>,
    /// Changes of what an upstream gets.
    pub request_headers: RequestHeaders,
    /// Changes of what visitors get.
    pub dress: Dress,
    /// Whether and how responses are stored.
    pub policy: Option<Arc<Policy>>,
    /// The policy by which responses are stored for its paths: its own, or that of the route that takes GET there. A
    /// request that changes something makes them untrue (RFC 9111 §4.4).
    pub invalidates: Option<Arc<Policy>>,
    /// Every one of them must admit a request.
    pub limits: Vec<Arc<RateLimit>>,
    /// Where there are any, whoever is on none of them gets `403`.
    pub allow: Vec<Arc<AddressList>>,
    /// Whoever is on one of them gets `403`.
    pub deny: Vec<Arc<AddressList>>,
    /// Where its path has parameters.
    pub params: Params,
    /// How its paths are read.
    pub encoded_slashes: EncodedSlashes,
    /// What its requests matter where not all can be taken.
    pub class: Class,
    /// Programs that are no bots to be shed first.
    pub known_bots: Vec<Arc<AddressList>>,
    /// Where its visitors wait when there are too many.
    pub waiting_room: Option<Arc<WaitingRoom>>,
    /// Bytes of a request body.
    pub max_body: u64,
    /// Time limits towards the servers.
    pub timeouts: Timeouts,
    /// What browsers are told of TLS.
    pub hsts: Option<Hsts>,
    /// Counters of this route.
    pub metrics: Arc<RouteMetrics>,
    /// The same route with the upstream that answers where there is no file.
    pub otherwise: Option<Arc<Self>>,
}

impl Route {
    /// The upstream that may be out, where there is one: that behind the files, which never are.
    pub fn shop<'a>(&'a self, upstream: &'a Arc<Upstream>) -> &'a Arc<Upstream> {
        match self.otherwise.as_ref().map(|route| &route.action) {
            Some(Action::Upstream(behind)) => behind,
            _ => upstream,
        }
    }
}

/// A caching policy in the form the decision uses.
pub struct Policy {
    /// For logs.
    pub name: String,
    /// What RFC 9111 leaves to the operator.
    pub rules: http_caching::Policy,
    /// What the key is made of besides the URI.
    pub key: http_caching::KeyPolicy,
    /// Names of cookies that keep the store out.
    pub bypass_cookies: Vec<String>,
    /// A request's `Cache-Control` counts.
    pub honours_client: bool,
    /// Stored text is compressed.
    pub compress: bool,
}

impl From<&CachePolicy> for Policy {
    fn from(policy: &CachePolicy) -> Self {
        Self {
            name: policy.name.clone(),
            rules: http_caching::Policy {
                ttl: policy.ttl,
                stale_while_revalidate: policy.stale_while_revalidate,
                stale_if_error: policy.stale_if_error,
                set_cookie: match policy.set_cookie {
                    SetCookie::Refuse => http_caching::SetCookie::Refuse,
                    SetCookie::Strip => http_caching::SetCookie::Strip,
                    SetCookie::Store => http_caching::SetCookie::Store,
                },
                legacy: http_caching::Legacy {
                    x_accel_expires: policy.x_accel_expires,
                    surrogate_control: policy.surrogate_control,
                },
            },
            key: http_caching::KeyPolicy {
                ignore_query: policy.ignore_query.clone(),
                sort_query: policy.sort_query,
                fields: policy.key_headers.clone(),
                cookies: policy.key_cookies.clone(),
            },
            bypass_cookies: policy.bypass_cookies.clone(),
            honours_client: policy.honour_client,
            compress: policy.compress,
        }
    }
}

/// Why a configuration that is right in itself cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A certificate or key cannot be used.
    #[error("{0}")]
    Certificate(String),
    /// The file of an address list cannot be used.
    #[error(transparent)]
    AddressList(#[from] BadFile),
    /// A file of a waiting room cannot be used.
    #[error("{0}")]
    WaitingRoom(String),
    /// A file cannot be opened.
    #[error("cannot open {}: {why}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
}

impl Snapshot {
    /// Builds all that the configuration names; whatever state survives comes from `shared`.
    pub fn build(config: Config, generation: u64, shared: &Shared) -> Result<Self, BuildError> {
        let certificates = if config.listeners.iter().any(|l| l.tls) {
            Some(Arc::new(
                Certificates::build(
                    &config,
                    &shared.certificate_files,
                    &shared.tickets,
                    &shared.acme,
                )
                .map_err(BuildError::Certificate)?,
            ))
        } else {
            None
        };
        let upstreams: Vec<Arc<Upstream>> = config
            .upstreams
            .iter()
            .map(|u| Ok(Arc::new(Upstream::new(u, shared)?)))
            .collect::<Result<_, String>>()
            .map_err(BuildError::Certificate)?;
        let policies: Vec<Arc<Policy>> = config
            .policies
            .iter()
            .map(|p| Arc::new(Policy::from(p)))
            .collect();
        let lists = config
            .address_lists
            .iter()
            .map(|list| shared.address_list(list))
            .collect::<Result<Vec<_>, _>>()?;
        let of = |named: &[usize]| -> Vec<Arc<AddressList>> {
            named.iter().map(|i| Arc::clone(&lists[*i])).collect()
        };
        let limits = config.limits.iter();
        let limits: Vec<_> = limits
            .map(|limit| shared.limiter(limit, of(&limit.exempt)))
            .collect();
        let rooms = config.waiting_rooms.iter();
        let waiting_rooms: Vec<Arc<WaitingRoom>> = rooms
            .map(|room| shared.waiting_room(room).map(Arc::new))
            .collect::<Result<_, String>>()
            .map_err(BuildError::WaitingRoom)?;
        let pages = Arc::new(error_pages(&config.server)?);
        let actions = config.routes.iter();
        let actions: Vec<Action> = actions
            .map(|route| action(&route.action, &upstreams, shared))
            .collect::<Result<_, _>>()?;
        let every = &config.server.response_headers;
        let stored = stored(&config.routes);
        let routes = config.routes.iter().zip(actions).zip(stored);
        let routes = routes.map(|((route, action), stored)| {
            let build = |action: Action, timeouts, otherwise: Option<Arc<Route>>| Route {
                name: route.name.clone(),
                // With an upstream it says what that is asked for, and files are found by what visitors ask for.
                rewrite: match &action {
                    Action::Upstream(upstream) if upstream.files.is_some() => {
                        let own = route.rewrite.clone().filter(|_| otherwise.is_none());
                        Some(own.unwrap_or(Rewrite::Matched))
                    }
                    _ => route.rewrite.clone(),
                },
                action,
                encoded_slashes: config.server.encoded_slashes,
                upstream_host: route.upstream_host.clone(),
                request_headers: route.request_headers.clone(),
                dress: dress(
                    every.iter().chain(&route.response_headers),
                    route.hsts.is_some(),
                    &pages,
                ),
                policy: route.cache.map(|i| Arc::clone(&policies[i])),
                invalidates: route.cache.or(stored).map(|i| Arc::clone(&policies[i])),
                limits: route
                    .limits
                    .iter()
                    .map(|i| Arc::clone(&limits[*i]))
                    .collect(),
                allow: of(&route.allow),
                deny: of(&route.deny),
                params: Params::of(&route.path),
                class: route.class,
                known_bots: of(&config.known_bots),
                waiting_room: route.waiting_room.map(|i| Arc::clone(&waiting_rooms[i])),
                max_body: route.max_body,
                timeouts,
                hsts: route.hsts.as_ref().map(Hsts::new),
                metrics: shared.metrics.route(&route.name),
                otherwise,
            };
            let timeouts = || route.timeouts.clone();
            let built = match &route.action {
                model::Action::Files(rules) => {
                    let otherwise = match rules.fallback {
                        Fallback::Upstream(index) => {
                            let upstream = Action::Upstream(Arc::clone(&upstreams[index]));
                            Some(Arc::new(build(upstream, timeouts(), None)))
                        }
                        Fallback::NotFound | Fallback::File(_) => None,
                    };
                    build(action, files::timeouts(), otherwise)
                }
                _ => build(action, timeouts(), None),
            };
            (route, Arc::new(built))
        });
        let router = Router::build(routes);
        let server = &config.server;
        let dress = dress(every.iter(), server.hsts.is_some(), &pages);
        let bounds = Bounds {
            header_timeout: server.header_timeout,
            body_timeout: server.body_timeout,
            keepalive_timeout: server.keepalive_timeout,
            handshake_timeout: server.handshake_timeout,
            max_target: server.max_target_bytes,
            max_header: server.max_header_bytes,
            trusted_proxies: server.trusted_proxies.clone(),
            visitors: server.visitors,
        };
        let deny = of(&config.server.deny);
        let hsts = config.server.hsts.as_ref().map(Hsts::new);
        Ok(Self {
            generation,
            router,
            upstreams,
            limits,
            lists,
            deny,
            waiting_rooms,
            dress,
            certificates,
            hsts,
            bounds,
            config,
        })
    }

    /// Names of servers, those that are no addresses.
    pub fn hosts(&self) -> Vec<&str> {
        self.upstreams.iter().flat_map(|u| u.hosts()).collect()
    }

    /// What changes of an answer.
    pub fn dress<'a>(&'a self, route: Option<&'a Route>) -> &'a Dress {
        route.map_or(&self.dress, |route| &route.dress)
    }

    /// Whether a connection that was opened for `sni` may carry requests for `host` (RFC 9110
    /// §7.4, RFC 9113 §9.1.2): both names must lead to the same certificate.
    pub fn authority_fits_certificate(&self, sni: Option<&str>, host: &str) -> bool {
        match (&self.certificates, sni) {
            (Some(known), Some(sni)) => sni.eq_ignore_ascii_case(host) || known.same(sni, host),
            _ => true,
        }
    }

    /// What a connection has shown, as far as that still counts.
    pub fn proof<'c>(&self, connection: &'c Connection) -> Option<&'c Proof> {
        match &self.certificates {
            Some(certificates) => certificates.proof(connection),
            None => connection.proof.as_deref(),
        }
    }

    /// Whether a connection has been asked for the certificate that visitors of `host` are asked for.
    pub fn is_proven(&self, connection: &Connection, host: &str) -> bool {
        let certificates = self.certificates.as_ref();
        certificates.is_none_or(|certificates| certificates.is_proven(connection, host))
    }
}

/// Changes of answers; of what browsers are told of TLS nothing changes where `hsts` says it.
fn dress<'a>(
    changes: impl Iterator<Item = &'a Change>,
    has_hsts: bool,
    pages: &Arc<Pages>,
) -> Dress {
    let stays = |change: &&Change| !(has_hsts && change.name == STRICT_TRANSPORT_SECURITY);
    Dress::new(changes.filter(stays), pages)
}

/// For each route the policy by which the answers to GET are stored on its host and path.
#[allow(
    clippy::mutable_key_type,
    reason = "an expression is compared and hashed by its text, which does not change"
)]
fn stored(routes: &[model::Route]) -> Vec<Option<usize>> {
    let mut stored: HashMap<(&HostPattern, &PathPattern), usize> = HashMap::new();
    for route in routes {
        let takes_get = route.methods.is_any() || route.methods.names(&Method::GET);
        let policy = route.cache.filter(|_| takes_get);
        for host in &route.hosts {
            if let Some(policy) = policy {
                stored.insert((host, &route.path), policy);
            }
        }
    }
    let of = |route: &model::Route| {
        let mut hosts = route.hosts.iter();
        hosts.find_map(|host| stored.get(&(host, &route.path)).copied())
    };
    routes.iter().map(of).collect()
}

/// Largest file of a fixed answer.
pub(crate) const BODY_MAX: u64 = 1024 * 1024;
/// Largest page of a failure: each may be sent to many at once.
pub(crate) const PAGE_MAX: u64 = 256 * 1024;

fn action(
    config: &model::Action,
    upstreams: &[Arc<Upstream>],
    shared: &Shared,
) -> Result<Action, BuildError> {
    Ok(match config {
        model::Action::Upstream(index) => Action::Upstream(Arc::clone(&upstreams[*index])),
        model::Action::Files(rules) => {
            let files = Files::new(rules).map_err(|why| BuildError::File {
                path: rules.folder.clone(),
                why,
            })?;
            let upstream = Upstream::of_files(files, shared).map_err(BuildError::Certificate)?;
            Action::Upstream(Arc::new(upstream))
        }
        model::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
        model::Action::Respond(respond) => Action::Respond(Fixed {
            status: respond.status,
            body: match &respond.body {
                FixedBody::Absent => None,
                FixedBody::Inline(text) => Some(text.clone().into()),
                FixedBody::File(path) => Some(content(path, BODY_MAX)?),
            },
            content_type: respond.content_type.clone(),
        }),
    })
}

fn error_pages(server: &model::Server) -> Result<Pages, BuildError> {
    let pages = server.error_pages.iter();
    let read = pages.map(|(status, path)| Ok((*status, content(path, PAGE_MAX)?)));
    Ok(Pages(read.collect::<Result<_, BuildError>>()?))
}

/// What stands in a file, up to a size.
fn content(path: &Path, most: u64) -> Result<Bytes, BuildError> {
    let read = regular::read(path, most);
    read.map(Bytes::from).map_err(|why| BuildError::File {
        path: path.to_owned(),
        why,
    })
}
