//! What is wrong with certificates, with the place in the configuration where they are named: for `dhal check`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Files, Pair, Table, folder, table::Entry};
use crate::config::{
    Diagnostic, Severity,
    model::{self, Anchor, CertificateFiles, CertificateSource, ClientAuth, Config, HostPattern},
};

/// Who renews by themselves have done it by then: lasting 90 days they are renewed when 30 are left.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// Pairs of one folder that are complained about one by one.
const SHOWN_MAX: usize = 20;
/// Names of a certificate that a message repeats.
const NAMES_SHOWN: usize = 4;

/// Reads every file and finds all that is wrong. Only of a configuration that is `whole` it can be said what serves
/// nobody.
pub fn findings(config: &Config, whole: bool, now: SystemTime) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if !config.listeners.iter().any(|listener| listener.tls) {
        return found;
    }
    let files = Files::default();
    let mut entries = Vec::new();
    for (number, source) in config.certificates.iter().enumerate() {
        let mut add = |pair: &model::Certificate, found: &mut Vec<Diagnostic>| {
            let (read, problem, _) = files.pair(pair);
            if let Some(problem) = problem {
                if !problem.why.contains(&*pair.key.to_string_lossy())
                    && let Err(why) = std::fs::metadata(&pair.key)
                {
                    let message = format!("{}: {why}", pair.key.display());
                    found.push(complain(&source.place, Severity::Error, &message, ""));
                }
                let help = "the pair that is served goes on until this one can be used";
                found.push(complain(&source.place, Severity::Error, &problem.why, help));
            }
            if let Some(read) = read {
                found.extend(judge(source, pair, &read, now));
                entries.push(Entry {
                    path: pair.cert.display().to_string(),
                    pair: read,
                    source: number,
                    client_auth: source.client_auth.clone(),
                });
            }
        };
        match &source.files {
            CertificateFiles::Pair(pair) => add(pair, &mut found),
            CertificateFiles::Folder(path) => {
                let mut own = Vec::new();
                match folder::list(path) {
                    Ok(listing) => {
                        for pair in &listing.pairs {
                            add(pair, &mut own);
                        }
                        own.extend(odd(source, &listing));
                    }
                    Err(why) => own.push(complain(
                        &source.place,
                        Severity::Error,
                        &why,
                        "name a folder that can be read",
                    )),
                }
                found.extend(shortened(source, own));
            }
        }
        if let Some(auth) = &source.client_auth {
            trust(auth, &files, now, &mut found);
        }
    }
    for auth in config
        .listeners
        .iter()
        .filter_map(|l| l.client_auth.as_ref())
    {
        trust(auth, &files, now, &mut found);
    }
    let table = Table::new(entries, None);
    found.extend(uncovered(config, &table));
    if whole {
        found.extend(unused(config, &table));
    }
    found
}

fn complain(place: &Anchor, severity: Severity, message: &str, help: &str) -> Diagnostic {
    let help = (!help.is_empty()).then(|| help.to_owned());
    place.complain(severity, message, help)
}

/// A folder with thousands of bad ones is told of in a few lines.
fn shortened(source: &CertificateSource, mut own: Vec<Diagnostic>) -> Vec<Diagnostic> {
    own.sort_by_key(|finding| finding.severity != Severity::Error);
    if own.len() > SHOWN_MAX {
        let left = own.split_off(SHOWN_MAX);
        let errors = left.iter().filter(|f| f.severity == Severity::Error);
        let severity = match errors.count() {
            0 => Severity::Warning,
            _ => Severity::Error,
        };
        let message = format!("and {} more in this folder", left.len());
        own.push(complain(&source.place, severity, &message, ""));
    }
    own
}

/// What a folder has too little or too much of.
fn odd(source: &CertificateSource, listing: &folder::Listing) -> Vec<Diagnostic> {
    let warn =
        |message: &str, help: &str| complain(&source.place, Severity::Warning, message, help);
    let mut found: Vec<_> = listing
        .alone
        .iter()
        .map(|path| {
            let message = format!("{} has no key beside it, and is left out", path.display());
            let key = path.with_extension("key");
            warn(&message, &format!("its key belongs into {}", key.display()))
        })
        .collect();
    if listing.pairs.is_empty() {
        found.push(warn(
            "there is no pair in this folder",
            "put NAME.pem with NAME.key into it, or NAME/fullchain.pem with NAME/privkey.pem",
        ));
    }
    found
}

/// What is wrong with a pair that fits.
fn judge(
    source: &CertificateSource,
    paths: &model::Certificate,
    pair: &Arc<Pair>,
    now: SystemTime,
) -> Vec<Diagnostic> {
    let path = paths.cert.display();
    let facts = &pair.facts;
    let mut found = Vec::new();
    let mut say = |message: String, help: &str| {
        found.push(complain(&source.place, Severity::Warning, &message, help));
    };
    match facts.not_after.duration_since(now) {
        Err(since) => say(
            format!("{path} expired {} ago", days(since.duration())),
            "renew it: browsers turn away",
        ),
        Ok(left) if left < SOON => say(
            format!("{path} expires in {}", days(left)),
            "renew it: what is replaced on disk is picked up without a reload",
        ),
        Ok(_) => {}
    }
    if let Ok(until) = facts.not_before.duration_since(now)
        && !until.is_zero()
    {
        say(
            format!("{path} is not valid yet, but in {}", days(until)),
            "look at the clock of this host, or wait",
        );
    }
    if let Some(bits) = facts.weak_bits {
        say(
            format!("{path} has an RSA key of {bits} bits, which browsers do not believe"),
            "make a key of 2048 bits or more, or an ECDSA key",
        );
    }
    if facts.names.is_empty() {
        say(
            format!("{path} is for no DNS name"),
            "browsers want the name among the subject's alternative names",
        );
    }
    found
}

/// `3 days`, or `5 hours`.
fn days(time: Duration) -> String {
    let (count, unit) = match time.as_secs() {
        seconds @ 86_400.. => (seconds / 86_400, "day"),
        seconds => (seconds / 3_600, "hour"),
    };
    match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

/// What is wrong with the authorities of clients.
fn trust(auth: &Arc<ClientAuth>, files: &Files, now: SystemTime, found: &mut Vec<Diagnostic>) {
    let (read, problem, _) = files.trust(auth);
    if let Some(problem) = problem {
        found.push(complain(&auth.place, Severity::Error, &problem.why, ""));
    }
    let Some(end) = read.and_then(|trust| trust.not_after) else {
        return;
    };
    let what = match &auth.crl {
        Some(crl) => format!("an authority, or a list of {}", crl.display()),
        None => "an authority".to_owned(),
    };
    let message = match end.duration_since(now) {
        Err(since) => format!("{what}, is out of date since {}", days(since.duration())),
        Ok(left) if left < Duration::from_secs(86_400) => {
            format!("{what}, goes out of date in {}", days(left))
        }
        Ok(_) => return,
    };
    let help = "clients are refused then: fetch new ones in time";
    found.push(complain(&auth.place, Severity::Warning, &message, help));
}

/// Hosts for which browsers would be shown another's certificate.
fn uncovered(config: &Config, table: &Table) -> Vec<Diagnostic> {
    let warn = |place: &Anchor, name: &str| {
        place.complain(
            Severity::Warning,
            format!("no certificate is for {name}"),
            Some("browsers that come over TLS are shown the first one, and turn away".to_owned()),
        )
    };
    let ordered = config.acme.iter().flat_map(|acme| &acme.certificates);
    let ordered: Vec<&String> = ordered.flatten().collect();
    let is_ordered = |host: &HostPattern| ordered.iter().any(|name| covers(name, host));
    let hosts = config.hosts.iter().filter(|(host, _)| !is_ordered(host));
    let missing = hosts.filter_map(|(host, place)| match host {
        HostPattern::Exact(name) => {
            let is_address = name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok();
            (!is_address && table.named(name).is_none()).then(|| warn(place, name))
        }
        HostPattern::Wildcard(parent) => {
            let any = table.named(&format!("any.{parent}")).is_some() || {
                let below = format!(".{parent}");
                let mut names = table.entries().iter().flat_map(|e| &e.pair.facts.names);
                names.any(|name| name.ends_with(&below))
            };
            (!any).then(|| warn(place, &format!("*.{parent}")))
        }
        HostPattern::Any => None,
    });
    missing.collect()
}

/// Whether a certificate's name is good for a host, or for one that a pattern stands for.
fn covers(name: &str, host: &HostPattern) -> bool {
    let below = |host: &str, parent: &str| {
        let front = host.strip_suffix(parent);
        front.is_some_and(|front| front.len() > 1 && front.ends_with('.'))
    };
    match (host, name.strip_prefix("*.")) {
        (HostPattern::Any, _) => true,
        (HostPattern::Exact(host), None) => host == name,
        // A wildcard stands for one label (RFC 9525, section 6.3).
        (HostPattern::Exact(host), Some(parent)) => {
            host.split_once('.').is_some_and(|(_, rest)| rest == parent)
        }
        (HostPattern::Wildcard(parent), None) => below(name, parent),
        (HostPattern::Wildcard(parent), Some(of)) => of == parent || below(of, parent),
    }
}

/// Certificates that are good for no host that is served.
fn unused(config: &Config, table: &Table) -> Vec<Diagnostic> {
    let is_used = |name: &String| config.hosts.iter().any(|(host, _)| covers(name, host));
    let unused = table.entries().iter().filter(|entry| {
        let names = &entry.pair.facts.names;
        // That one has no name is told of elsewhere.
        !config.hosts.is_empty() && !names.is_empty() && !names.iter().any(is_used)
    });
    let found = unused.filter_map(|entry| {
        let names = few(&entry.pair.facts.names);
        let message = format!("no route is for a name of {}: {names}", entry.path);
        let help = "look at `host` of the routes, and at whether this is the right file";
        let source = config.certificates.get(entry.source)?;
        Some(complain(&source.place, Severity::Warning, &message, help))
    });
    found.collect()
}

fn few(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hosts() {
        let exact = |host: &str| HostPattern::Exact(host.to_owned());
        let below = |host: &str| HostPattern::Wildcard(host.to_owned());
        for (name, host, expected) in [
            ("shop.example", HostPattern::Any, true),
            ("shop.example", exact("shop.example"), true),
            ("shop.example", exact("www.shop.example"), false),
            ("*.shop.example", exact("www.shop.example"), true),
            ("*.shop.example", exact("a.www.shop.example"), false),
            ("*.shop.example", exact("shop.example"), false),
            ("www.shop.example", below("shop.example"), true),
            ("shop.example", below("shop.example"), false),
            ("badshop.example", below("shop.example"), false),
            ("*.shop.example", below("shop.example"), true),
            ("*.www.shop.example", below("shop.example"), true),
            ("*.example", below("shop.example"), false),
        ] {
            assert_eq!(covers(name, &host), expected, "{name} {host:?}");
        }
    }

    #[test]
    fn few_names_are_repeated() {
        let names: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        assert_eq!(few(&names), "a, b, c, d and 2 more");
        assert_eq!(few(&names[..2]), "a, b");
    }
}
