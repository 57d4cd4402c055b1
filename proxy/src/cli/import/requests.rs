//! Which requests are asked: a list of URLs, or what an access log says was asked.

use std::{
    collections::HashSet,
    io::{self, BufRead, Read},
};

use anyhow::{Context, bail, ensure};
use hyper::Method;
use serde::Deserialize;

/// Longest line; a target has up to 64 KiB.
const LINE_MAX: u64 = 256 * 1024;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// `Host`; empty: the address that is asked.
    pub(super) host: String,
    /// Path and query.
    pub(super) target: String,
    /// Fields besides.
    pub(super) fields: Vec<(String, String)>,
}

impl Asked {
    /// As people write it.
    pub(super) fn text(&self) -> String {
        let mut text = match self.host.is_empty() {
            true => format!("{} {}", self.method, self.target),
            false => format!("{} http://{}{}", self.method, self.host, self.target),
        };
        for (name, value) in &self.fields {
            text += &format!(", {name}: {value}");
        }
        text
    }
}

/// The requests, each once, and how many lines were passed over.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) list: Vec<Asked>,
    pub(super) skipped: u64,
}

/// Reads `[METHOD] URL` lines. A URL may be a path, which is asked of `host`. `#` begins a comment. Lines that begin with
/// a space are fields of the request above them.
pub(super) fn of_list(
    reader: &mut dyn BufRead,
    host: &str,
    max: usize,
) -> anyhow::Result<Requests> {
    let mut last: Option<Asked> = None;
    let mut requests = collect(reader, max, |number, line| {
        let is_field = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let place = || format!("line {number}: {line}");
        if let (true, Some(asked)) = (is_field, &mut last) {
            asked.fields.push(field_line(line).with_context(place)?);
            return Ok(None);
        }
        let next = url_line(line, host).with_context(place)?;
        // What is above it is complete.
        Ok(last.replace(next))
    })?;
    if let Some(last) = last
        && requests.list.len() < max
        && !requests.list.contains(&last)
    {
        requests.list.push(last);
    }
    Ok(requests)
}

fn field_line(line: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = line.split_once(':').context("a field is `Name: value`")?;
    let (name, value) = (name.trim(), value.trim());
    http::HeaderName::from_bytes(name.as_bytes())?;
    http::HeaderValue::from_str(value)?;
    ensure!(
        !name.eq_ignore_ascii_case("host"),
        "the host stands in the URL"
    );
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads an access log, in nginx's `combined` format or in ours. What is neither GET nor HEAD is passed over.
pub(super) fn of_log(reader: &mut dyn BufRead, host: &str, max: usize) -> anyhow::Result<Requests> {
    let mut skipped = 0;
    let mut requests = collect(reader, max, |_, line| {
        let asked = match line.trim_start().starts_with('{') {
            true => json_line(line),
            false => combined_line(line, host),
        };
        let asked = asked.filter(|asked| matches!(asked.method, Method::GET | Method::HEAD));
        skipped += u64::from(asked.is_none() && !line.trim().is_empty());
        Ok(asked)
    })?;
    requests.skipped += skipped;
    Ok(requests)
}

fn collect(
    reader: &mut dyn BufRead,
    max: usize,
    mut parse: impl FnMut(u64, &str) -> anyhow::Result<Option<Asked>>,
) -> anyhow::Result<Requests> {
    let mut requests = Requests::default();
    let mut known = HashSet::new();
    let mut line = Vec::new();
    let mut number = 0;
    while requests.list.len() < max {
        line.clear();
        number += 1;
        let read = reader.take(LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_MAX && line.last() != Some(&b'\n') {
            return Err(
                io::Error::other(format!("line {number} is longer than {LINE_MAX} bytes")).into(),
            );
        }
        let Ok(text) = std::str::from_utf8(&line) else {
            requests.skipped += 1;
            continue;
        };
        if let Some(asked) = parse(number, text)?
            && known.insert(asked.clone())
        {
            requests.list.push(asked);
        }
    }
    Ok(requests)
}

fn url_line(line: &str, host: &str) -> anyhow::Result<Asked> {
    let (method, url) = match line.split_once(char::is_whitespace) {
        Some((method, url)) => (method.parse()?, url.trim()),
        None => (Method::GET, line),
    };
    let (host, target) = match url.split_once("://") {
        Some((scheme, rest)) => {
            ensure!(
                matches!(scheme, "http" | "https"),
                "a URL begins with http:// or https://"
            );
            match rest.find(['/', '?']) {
                Some(at) => (&rest[..at], rest[at..].to_owned()),
                None => (rest, "/".to_owned()),
            }
        }
        None => (host, url.to_owned()),
    };
    let target = match target.strip_prefix('?') {
        Some(query) => format!("/?{query}"),
        None => target,
    };
    let target = target.split('#').next().unwrap_or_default().to_owned();
    ensure!(target.starts_with('/'), "a path begins with `/`");
    ensure!(
        target.bytes().all(|b| b.is_ascii_graphic())
            && !host.bytes().any(|b| b <= b' ' || b == b'@'),
        "write what is no visible ASCII percent-encoded"
    );
    Ok(Asked {
        method,
        host: host.to_owned(),
        target,
        fields: Vec::new(),
    })
}

/// `1.2.3.4 - - [22/Nov/2026:18:30:00 +0000] "GET /x HTTP/1.1" 200 …`, which knows no host.
fn combined_line(line: &str, host: &str) -> Option<Asked> {
    let request = line.split('"').nth(1)?;
    let mut words = request.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    version.starts_with("HTTP/").then_some(())?;
    url_line(&format!("{method} {target}"), host).ok()
}

#[derive(Deserialize)]
struct Entry {
    method: String,
    host: String,
    #[serde(alias = "target", alias = "uri")]
    path: String,
}

fn json_line(line: &str) -> Option<Asked> {
    let entry: Entry = serde_json::from_str(line).ok()?;
    url_line(&format!("{} {}", entry.method, entry.path), &entry.host).ok()
}

/// Reads `http://127.0.0.1:8080`: where one of the two is asked.
pub(super) fn origin(text: &str) -> anyhow::Result<(bool, String)> {
    let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => bail!("{text} is no URL: it begins with http:// or https://"),
    };
    let authority = rest.trim_end_matches('/');
    ensure!(
        !authority.contains('/') && !authority.is_empty(),
        "{text}: a host and a port, without a path"
    );
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok((
        tls,
        match (has_port, tls) {
            (true, _) => authority.to_owned(),
            (false, false) => format!("{authority}:80"),
            (false, true) => format!("{authority}:443"),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        let read = of_list(&mut text.as_bytes(), "shop.example", 100).expect("right");
        read.list.iter().map(Asked::text).collect()
    }

    #[test]
    fn lists() {
        assert_eq!(
            list(
                "# a\n/x?a=b\nHEAD http://b.example/y\n\nGET https://c.example:8443\n/x?a=b\n/z#f\n"
            ),
            [
                "GET http://shop.example/x?a=b",
                "HEAD http://b.example/y",
                "GET http://c.example:8443/",
                "GET http://shop.example/z",
            ]
        );
        assert_eq!(
            list("/a\n  Range: bytes=0-1\n\tIf-Range: \"x\"\n/a\n/a\n"),
            [
                "GET http://shop.example/a, Range: bytes=0-1, If-Range: \"x\"",
                "GET http://shop.example/a",
            ]
        );
        for (text, expected) in [
            ("/a\n Range", "line 2"),
            ("/a\n Host: b", "line 2"),
            (" Range: bytes=0-1", "line 1"),
            ("/a\nftp://x/", "line 2"),
            ("x", "line 1"),
            ("/a b c", "line 1"),
            ("/\u{e9}", "line 1"),
        ] {
            let why = of_list(&mut text.as_bytes(), "h", 100).expect_err(text);
            assert!(why.to_string().contains(expected), "{why:#}");
        }
        let three = of_list(&mut &b"/1\n/2\n/3\n"[..], "h", 2).expect("right");
        assert_eq!(three.list.len(), 2);
    }

    #[test]
    fn logs() {
        let log = concat!(
            "1.2.3.4 - - [22/Nov/2026:18:30:00 +0000] \"GET /a?b HTTP/1.1\" 200 12 \"-\" \"x\"\n",
            "1.2.3.4 - - [22/Nov/2026:18:30:00 +0000] \"POST /c HTTP/1.1\" 200 12 \"-\" \"x\"\n",
            "1.2.3.4 - - [22/Nov/2026:18:30:00 +0000] \"\\x16\\x03\" 400 0 \"-\" \"-\"\n",
            "{\"time\":\"x\",\"method\":\"HEAD\",\"host\":\"b.example\",\"path\":\"/d\",\"status\":200}\n",
        );
        let read = of_log(&mut log.as_bytes(), "shop.example", 100).expect("read");
        let texts: Vec<_> = read.list.iter().map(Asked::text).collect();
        assert_eq!(
            texts,
            ["GET http://shop.example/a?b", "HEAD http://b.example/d"]
        );
        assert_eq!(read.skipped, 2);
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", Some((false, "127.0.0.1:8080"))),
            ("http://shop.example/", Some((false, "shop.example:80"))),
            ("https://[::1]:8443", Some((true, "[::1]:8443"))),
            ("127.0.0.1:80", None),
            ("http://a/b", None),
            ("http://", None),
        ] {
            let read = origin(text).ok();
            let read = read.as_ref().map(|(tls, at)| (*tls, at.as_str()));
            assert_eq!(read, expected, "{text}");
        }
    }
}
