//! Questions for the addresses of a name: to `/etc/hosts` and to DNS servers.

use std::{future::Future, net::IpAddr, net::SocketAddr, pin::pin, time::Duration};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::read_system_conf,
};
use tokio::time::timeout;

/// The longest that a question may take, whatever `/etc/resolv.conf` says.
const LONGEST: Duration = Duration::from_secs(10);
/// What one kind of address waits for the other.
const TOGETHER: Duration = Duration::from_secs(1);
/// For each question to a DNS server of ours; there is one repetition.
const PATIENCE: Duration = Duration::from_secs(1);
/// When `/etc/hosts` is read again.
const HOSTS: Duration = Duration::from_secs(10);

/// What is said of a name's addresses of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These, for so long.
    Addresses(Vec<IpAddr>, Duration),
    /// There are none.
    None,
    /// Nothing, and why.
    Nothing(String),
}

/// What is said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// IPv4.
    pub v4: Said,
    /// IPv6.
    pub v6: Said,
}

impl Answer {
    fn nothing(why: &str) -> Self {
        Self {
            v4: Said::Nothing(why.to_owned()),
            v6: Said::Nothing(why.to_owned()),
        }
    }

    fn has_addresses(&self) -> bool {
        [&self.v4, &self.v6]
            .iter()
            .any(|said| matches!(said, Said::Addresses(..)))
    }

    fn has_none(&self) -> bool {
        (&self.v4, &self.v6) == (&Said::None, &Said::None)
    }
}

/// Whoever knows addresses.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a name at the moment.
    fn ask(&self, host: &str) -> impl Future<Output = Answer> + Send;
}

/// DNS servers. What `/etc` says is read for each question, so that a change there needs no reload; a question
/// is asked once in a TTL, and never on the way of a request.
pub struct Dns {
    /// Those of the configuration; none means the system's.
    servers: Vec<SocketAddr>,
}

impl Dns {
    /// These servers, or the system's where there are none.
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self {
            servers: servers.to_vec(),
        }
    }

    fn config(&self) -> Result<(ResolverConfig, ResolverOpts), NetError> {
        let (config, mut options) = if self.servers.is_empty() {
            read_system_conf()?
        } else {
            let servers = self.servers.iter().map(|address| {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                server
            });
            let mut options = ResolverOpts::default();
            options.timeout = PATIENCE;
            options.attempts = 1;
            let config = ResolverConfig::from_name_servers(servers.collect());
            (config, options)
        };
        // What a server said a moment ago is what we would ask anew, "no such name" above all.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        Ok((config, options))
    }

    async fn ask_dns(&self, name: Name) -> Answer {
        let made = self.config().and_then(|(config, options)| {
            let names = spellings(&name, config.search(), options.ndots);
            let builder =
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            Ok((names, builder.with_options(options).build()?))
        });
        let (names, resolver) = match made {
            Ok(made) => made,
            Err(why) => return Answer::nothing(&why.to_string()),
        };
        let mut answer = Answer::nothing("no name");
        for name in names {
            answer = both(&resolver, name).await;
            // Where nobody answers the next spelling may be another host's.
            if !answer.has_none() {
                break;
            }
        }
        answer
    }
}

impl Lookup for Dns {
    async fn ask(&self, host: &str) -> Answer {
        let name = match Name::from_utf8(host) {
            Ok(name) => name,
            Err(why) => return Answer::nothing(&why.to_string()),
        };
        if self.servers.is_empty() || name.is_localhost() {
            let hosts = Hosts::from_system().unwrap_or_default();
            let listed = |kind| said_by_file(&hosts, &name, kind);
            let answer = Answer {
                v4: listed(RecordType::A),
                v6: listed(RecordType::AAAA),
            };
            if answer.has_addresses() {
                return answer;
            }
        }
        timeout(LONGEST, self.ask_dns(name))
            .await
            .unwrap_or_else(|_| Answer::nothing("no answer in time"))
    }
}

/// The names that one may stand for, in the order in which the system's own resolver tries them.
fn spellings(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut whole = name.clone();
    whole.set_fqdn(true);
    let mut names: Vec<Name> = search
        .iter()
        .filter_map(|domain| name.clone().append_domain(domain).ok())
        .collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let at = if dots >= ndots { 0 } else { names.len() };
    names.insert(at, whole);
    names
}

fn said_by_file(hosts: &Hosts, name: &Name, kind: RecordType) -> Said {
    let found = hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let records = found.iter().flat_map(|found| found.answers());
    let addresses: Vec<_> = records.filter_map(|r| r.data.ip_addr()).collect();
    if addresses.is_empty() {
        Said::None
    } else {
        Said::Addresses(addresses, HOSTS)
    }
}

/// Both kinds at once. What one server answers for one kind need not wait long for the other.
async fn both(resolver: &TokioResolver, name: Name) -> Answer {
    const LATE: &str = "no answer in time";
    let mut v4 = pin!(said_by_dns(resolver, name.clone(), RecordType::A));
    let mut v6 = pin!(said_by_dns(resolver, name, RecordType::AAAA));
    let late = |_| Said::Nothing(LATE.to_owned());
    tokio::select! {
        first = &mut v4 => Answer {
            v4: first,
            v6: timeout(TOGETHER, v6).await.unwrap_or_else(late),
        },
        first = &mut v6 => Answer {
            v4: timeout(TOGETHER, v4).await.unwrap_or_else(late),
            v6: first,
        },
    }
}

async fn said_by_dns(resolver: &TokioResolver, name: Name, kind: RecordType) -> Said {
    let found = match resolver.lookup(name, kind).await {
        Ok(found) => found,
        Err(why) if why.is_no_records_found() => return Said::None,
        Err(why) => return Said::Nothing(why.to_string()),
    };
    let records = found.answers();
    // A server behind an alias moves when either of them does.
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let addresses: Vec<_> = records
        .iter()
        .filter(|record| record.record_type() == kind)
        .filter_map(|record| record.data.ip_addr())
        .collect();
    if addresses.is_empty() {
        return Said::None;
    }
    Said::Addresses(addresses, Duration::from_secs(u64::from(ttl)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_searched_for() {
        let name = |text: &str| Name::from_utf8(text).expect("a name");
        let search = [name("one.example."), name("two.example.")];
        let names = |text: &str, ndots| -> Vec<String> {
            let names = spellings(&name(text), &search, ndots);
            names.iter().map(Name::to_string).collect()
        };
        let searched = ["shop.one.example.", "shop.two.example.", "shop."];
        assert_eq!(names("shop", 1), searched);
        let whole_first = ["a.shop.", "a.shop.one.example.", "a.shop.two.example."];
        assert_eq!(names("a.shop", 1), whole_first);
        assert_eq!(
            names("a.shop", 5).last().map(String::as_str),
            Some("a.shop.")
        );
        assert_eq!(spellings(&name("shop"), &[], 1), [name("shop.")]);
    }

    #[test]
    fn a_file_may_list_several() {
        let mut hosts = Hosts::default();
        let text: &[u8] = b"127.0.0.1 Shop a\n::1 shop # 127.0.0.9 shop\n127.0.0.2 shop\n";
        hosts.read_hosts_conf(text).expect("a file");
        let said = |kind| said_by_file(&hosts, &Name::from_utf8("shop").expect("a name"), kind);
        let v4 = ["127.0.0.1", "127.0.0.2"].map(|a| a.parse().expect("an address"));
        assert_eq!(said(RecordType::A), Said::Addresses(v4.to_vec(), HOSTS));
        assert!(matches!(said(RecordType::AAAA), Said::Addresses(one, _) if one.len() == 1));
    }
}
