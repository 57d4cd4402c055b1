//! Asks nginx and Dhal the same, and shows where their answers differ.

use std::{collections::BTreeSet, fmt::Write, fs::File, io::BufReader, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use clap::Args;
use hyper::Method;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    super::{WrongUsage, admin_client::wait_for, print, say},
    ask::{Answer, Origin},
    requests::{self, Asked, Requests},
};

/// Differences that are shown one by one.
const SHOWN_MAX: usize = 200;

/// Fields that say who answers, when, and over which connection, and not what.
pub(super) const IGNORED: [&str; 20] = [
    "accept-ranges",
    "age",
    "alt-svc",
    "cache-status",
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-status",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server",
    "server-timing",
    "transfer-encoding",
    "via",
    "x-cache",
    "x-cache-status",
    "x-proxy-cache",
    "x-request-id",
];

/// Whom to ask, and what.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Where nginx is asked, such as http://127.0.0.1:8080.
    #[arg(long, value_name = "URL", requires = "compare")]
    nginx: Option<String>,
    /// Where Dhal is asked.
    #[arg(long, value_name = "URL", requires = "compare")]
    dhal: Option<String>,
    /// File with `[METHOD] URL` lines; below each may stand fields, as `  Name: value`.
    #[arg(
        long,
        value_name = "FILE",
        requires = "compare",
        conflicts_with = "log"
    )]
    urls: Option<PathBuf>,
    /// Access log, nginx's `combined` or Dhal's JSON; its GET and HEAD requests are asked again.
    #[arg(long, value_name = "FILE", requires = "compare")]
    log: Option<PathBuf>,
    /// Host of what names none.
    #[arg(long, value_name = "NAME", requires = "compare", default_value = "")]
    host: String,
    /// Requests at most, each once.
    #[arg(long, value_name = "N", requires = "compare", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max: u32,
    /// Requests at once.
    #[arg(long, value_name = "N", requires = "compare", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// A field whose differences do not matter; may be repeated.
    #[arg(long = "ignore-header", value_name = "NAME", requires = "compare")]
    ignored: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Comparison {
    compared: usize,
    equal: usize,
    differ: usize,
    failed: usize,
    /// Lines of the log that were passed over.
    skipped: u64,
    /// Answers of which something was left out, because nginx itself says it in another way each time.
    unsteady: usize,
    differences: Vec<Difference>,
}

/// Two answers that are not alike, or none.
#[derive(Debug, Serialize)]
struct Difference {
    request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    what: Vec<Pair>,
}

/// One thing of two answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Pair {
    name: String,
    nginx: String,
    dhal: String,
}

pub(super) fn compare(options: &Options, json: bool) -> anyhow::Result<()> {
    let (Some(nginx), Some(dhal)) = (&options.nginx, &options.dhal) else {
        bail!(WrongUsage(
            "say where both are asked: --nginx URL --dhal URL"
        ));
    };
    let requests = read(options)?;
    let origins = Arc::new((Origin::of(nginx)?, Origin::of(dhal)?));
    let ignored: BTreeSet<String> = IGNORED
        .iter()
        .map(|name| (*name).to_owned())
        .chain(options.ignored.iter().map(|name| name.to_ascii_lowercase()))
        .collect();
    let skipped = requests.skipped;
    let at_once = usize::from(options.concurrency);
    let mut comparison = wait_for(run(origins, requests, Arc::new(ignored), at_once))?;
    comparison.skipped = skipped;
    match json {
        true => say!("{}", serde_json::to_string_pretty(&comparison)?)?,
        false => print(text(&comparison).as_bytes())?,
    }
    match comparison.differ + comparison.failed {
        0 => Ok(()),
        some => bail!("{some} of {} differ", comparison.compared),
    }
}

fn read(options: &Options) -> anyhow::Result<Requests> {
    let max = options.max as usize;
    let open = |path: &PathBuf| {
        let file =
            File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        anyhow::Ok(BufReader::new(file))
    };
    let requests = match (&options.urls, &options.log) {
        (Some(urls), _) => requests::of_list(&mut open(urls)?, &options.host, max)
            .with_context(|| urls.display().to_string())?,
        (None, Some(log)) => requests::of_log(&mut open(log)?, &options.host, max)?,
        (None, None) => bail!(WrongUsage("say what to ask: --urls FILE or --log FILE")),
    };
    if requests.list.is_empty() {
        bail!("there is nothing to ask");
    }
    Ok(requests)
}

async fn run(
    origins: Arc<(Origin, Origin)>,
    requests: Requests,
    ignored: Arc<BTreeSet<String>>,
    at_once: usize,
) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    let mut waiting = requests.list.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut differences = Vec::new();
    loop {
        while running.len() < at_once
            && let Some((number, asked)) = waiting.next()
        {
            let (origins, ignored) = (Arc::clone(&origins), Arc::clone(&ignored));
            running.spawn(async move {
                let both = tokio::join!(origins.0.ask(&asked), origins.1.ask(&asked));
                let found = difference(&asked, both, &origins, &ignored);
                (number, without_moods(found, &asked, &origins).await)
            });
        }
        let Some(done) = running.join_next().await else {
            break;
        };
        let (number, (difference, is_unsteady)) = done?;
        comparison.compared += 1;
        comparison.unsteady += usize::from(is_unsteady);
        match difference {
            None => comparison.equal += 1,
            Some(difference) => {
                match difference.failure {
                    Some(_) => comparison.failed += 1,
                    None => comparison.differ += 1,
                }
                differences.push((number, difference));
            }
        }
    }
    differences.sort_by_key(|(number, _)| *number);
    comparison.differences = differences.into_iter().map(|(_, d)| d).collect();
    Ok(comparison)
}

type Both = (anyhow::Result<Answer>, anyhow::Result<Answer>);

/// Leaves out of a difference what nginx itself says in another way when it is asked again, and tells whether there was
/// any. What Dhal does not say at all stays.
async fn without_moods(
    found: Option<Difference>,
    asked: &Asked,
    origins: &(Origin, Origin),
) -> (Option<Difference>, bool) {
    let Some(found) = found else {
        return (None, false);
    };
    if found.failure.is_some() || !asked.method.is_safe() {
        return (Some(found), false);
    }
    let Ok(again) = origins.0.ask(asked).await else {
        return (Some(found), false);
    };
    let host = own_host(asked, &origins.0);
    let place = Place::new(&host, &origins.0.authority, origins.0.scheme());
    let before = found.what.len();
    let what: Vec<_> = found
        .what
        .into_iter()
        .filter(|pair| pair.dhal.is_empty() || pair.nginx == said(&pair.name, &again, place))
        .collect();
    let is_unsteady = what.len() < before;
    let rest = (!what.is_empty()).then_some(Difference { what, ..found });
    (rest, is_unsteady)
}

fn difference(
    asked: &Asked,
    both: Both,
    origins: &(Origin, Origin),
    ignored: &BTreeSet<String>,
) -> Option<Difference> {
    let request = asked.text();
    let (nginx, dhal) = match both {
        (Ok(nginx), Ok(dhal)) => (nginx, dhal),
        (nginx, dhal) => {
            let failures: Vec<_> = [nginx.err(), dhal.err()]
                .into_iter()
                .flatten()
                .map(|why| format!("{why:#}"))
                .collect();
            return Some(Difference {
                request,
                failure: Some(failures.join("; ")),
                what: Vec::new(),
            });
        }
    };
    let hosts = (own_host(asked, &origins.0), own_host(asked, &origins.1));
    let hosts = (
        Place::new(&hosts.0, &origins.0.authority, origins.0.scheme()),
        Place::new(&hosts.1, &origins.1.authority, origins.1.scheme()),
    );
    let what = pairs(&asked.method, &nginx, &dhal, hosts, ignored);
    (!what.is_empty()).then_some(Difference {
        request,
        failure: None,
        what,
    })
}

/// The host that one of the two is asked for.
fn own_host(asked: &Asked, at: &Origin) -> String {
    match asked.host.is_empty() {
        true => at.authority.clone(),
        false => asked.host.clone(),
    }
}

/// As what one of the two was asked, and where: by these it may name itself.
#[derive(Clone, Copy)]
struct Place<'a> {
    host: &'a str,
    authority: &'a str,
    /// `http` or `https`. Who is led to the other one is led elsewhere, or a redirect to itself would look like one to TLS.
    scheme: &'a str,
}

impl<'a> Place<'a> {
    fn new(host: &'a str, authority: &'a str, scheme: &'a str) -> Self {
        Self {
            host,
            authority,
            scheme,
        }
    }
}

/// What differs of two answers.
fn pairs(
    method: &Method,
    nginx: &Answer,
    dhal: &Answer,
    hosts: (Place<'_>, Place<'_>),
    ignored: &BTreeSet<String>,
) -> Vec<Pair> {
    let mut out = Vec::new();
    let mut pair = |name: &str, nginx: String, dhal: String| {
        if nginx != dhal {
            out.push(Pair {
                name: name.to_owned(),
                nginx,
                dhal,
            });
        }
    };
    let names: BTreeSet<_> = nginx.fields.keys().chain(dhal.fields.keys()).collect();
    let own_page = is_own_page(method, nginx);
    let names = names.into_iter().map(String::as_str).filter(|name| {
        // Of pages that nginx has made itself all that it says besides counts, as what `add_header` adds.
        let is_of_page = || {
            let is_said =
                nginx.fields.contains_key(*name) || matches!(*name, "location" | "set-cookie");
            !is_said || *name == "content-type"
        };
        !(ignored.contains(*name) || own_page && is_of_page())
    });
    let content = (!own_page).then_some("content");
    for name in ["status"].into_iter().chain(names).chain(content) {
        pair(name, said(name, nginx, hosts.0), said(name, dhal, hosts.1));
    }
    out
}

/// What an answer says of one thing, as far as it matters.
fn said(name: &str, answer: &Answer, place: Place<'_>) -> String {
    match name {
        "status" => answer.status.to_string(),
        "content" => format!("{} bytes, {}", answer.bytes, answer.hash),
        name => field(name, answer, place),
    }
}

/// Whether nginx has made the page itself. The answer to HEAD shows only what it could be.
fn is_own_page(method: &Method, answer: &Answer) -> bool {
    let text = String::from_utf8_lossy(&answer.head);
    let is_html = || {
        let kinds = answer.fields.get("content-type");
        kinds.is_some_and(|kinds| *kinds == ["text/html"])
    };
    answer.status >= 300
        && (text.contains("<hr><center>nginx") || (*method == Method::HEAD && is_html()))
}

/// The values of a field, as far as their differences matter.
fn field(name: &str, answer: &Answer, place: Place<'_>) -> String {
    let Some(values) = answer.fields.get(name) else {
        return String::new();
    };
    let mut values: Vec<String> = values.clone();
    match name {
        // Compression makes a strong tag weak.
        "etag" => {
            for value in &mut values {
                *value = value.trim_start_matches("W/").to_owned();
            }
        }
        // Lists, whose lines may be joined and whose order means nothing.
        "vary" | "allow" | "cache-control" => {
            let joined = values.join(",").to_ascii_lowercase();
            values = joined
                .split(',')
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
                .collect();
            // Who compresses what is each one's own.
            values.retain(|value| name != "vary" || value != "accept-encoding");
            values.sort();
            values.dedup();
        }
        "location" => {
            let Place {
                host,
                authority,
                scheme,
            } = place;
            let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
            for value in &mut values {
                for own in [host.to_owned(), format!("{host}:{port}")] {
                    if let Some(path) = value.strip_prefix(&format!("{scheme}://{own}/")) {
                        *value = format!("/{path}");
                    }
                }
            }
        }
        "content-type" => {
            for value in &mut values {
                *value = value.to_ascii_lowercase().replace("; ", ";");
            }
        }
        _ => {}
    }
    // Each line is a cookie, in which a comma is nothing else.
    values.join(if name == "set-cookie" { " + " } else { ", " })
}

fn text(comparison: &Comparison) -> String {
    let mut out = String::new();
    for difference in comparison.differences.iter().take(SHOWN_MAX) {
        let _ = writeln!(out, "{}", difference.request);
        if let Some(failure) = &difference.failure {
            let _ = writeln!(out, "    {failure}");
        }
        for Pair { name, nginx, dhal } in &difference.what {
            let said = |text: &str| match text.is_empty() {
                true => "(none)".to_owned(),
                false => text.to_owned(),
            };
            let _ = writeln!(out, "    {name:<20} nginx: {}", said(nginx));
            let _ = writeln!(out, "    {:<20} dhal:  {}", "", said(dhal));
        }
    }
    if let Some(more @ 1..) = comparison.differences.len().checked_sub(SHOWN_MAX) {
        let _ = writeln!(out, "and {more} more");
    }
    let _ = write!(
        out,
        "{} compared: {} equal, {} differ, {} failed",
        comparison.compared, comparison.equal, comparison.differ, comparison.failed
    );
    if comparison.unsteady > 0 {
        let _ = write!(
            out,
            "; in {} nginx differs from itself, which was left out",
            comparison.unsteady
        );
    }
    if comparison.skipped > 0 {
        let _ = write!(out, "; {} lines passed over", comparison.skipped);
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
