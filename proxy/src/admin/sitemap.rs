//! Sitemaps (sitemaps.org, protocol 0.9): the pages of a shop, in one file or an index of files.

use std::{collections::HashSet, future::Future};

use axum::http::StatusCode;
use quick_xml::{Reader, escape::resolve_xml_entity, events::Event};

use super::{
    purge::{PurgeUrl, shown},
    routes::Refusal,
};

/// Pages over all files of one sitemap: as many as the protocol allows for one file.
const URLS_MAX: usize = 50_000;

/// Files of one sitemap.
const FILES_MAX: usize = 1_000;

/// An index, an index of indices, and what they name. The protocol knows two levels.
const DEPTH_MAX: usize = 3;

/// Elements within each other. A sitemap has three, its extensions a few more.
const NESTING_MAX: usize = 32;

/// What a file names.
#[derive(Debug, PartialEq, Eq)]
enum Sitemap {
    /// `urlset`: pages.
    Pages(Vec<String>),
    /// `sitemapindex`: further files.
    Files(Vec<String>),
}

/// Collects the pages of a sitemap, each once.
pub(super) async fn pages<F>(
    first: PurgeUrl,
    fetch: impl Fn(PurgeUrl) -> F,
) -> Result<Vec<String>, Refusal>
where
    F: Future<Output = Result<String, String>>,
{
    let mut files = HashSet::from([first.clone()]);
    let (mut pages, mut known) = (Vec::new(), HashSet::new());
    let mut level = vec![first];
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for file in level {
            let text = fetch(file.clone()).await.map_err(|why| Refusal {
                status: StatusCode::BAD_GATEWAY,
                why: format!("{file}: {why}"),
            })?;
            let wrong =
                |why: String| Refusal::unprocessable(format!("{file} is no usable sitemap: {why}"));
            match parse(&text).map_err(wrong)? {
                Sitemap::Pages(more) => {
                    let new = more.into_iter().filter(|page| known.insert(page.clone()));
                    pages.extend(new);
                }
                Sitemap::Files(more) => {
                    for name in more {
                        let file = PurgeUrl::parse(&name)
                            .map_err(|why| wrong(format!("{} {why}", shown(&name))))?;
                        if files.insert(file.clone()) {
                            next.push(file);
                        }
                    }
                }
            }
            if pages.len() > URLS_MAX || files.len() > FILES_MAX {
                return Err(wrong(format!(
                    "with it there are more than {URLS_MAX} pages or {FILES_MAX} files; warm its parts one by one"
                )));
            }
        }
        if next.is_empty() {
            return Ok(pages);
        }
        level = next;
    }
    Err(Refusal::unprocessable(format!(
        "the sitemap's indices lead more than {DEPTH_MAX} levels deep"
    )))
}

/// Reads one file. Entities that it defines itself are not known, so none can grow.
fn parse(text: &str) -> Result<Sitemap, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    // The names of the elements around, the root first.
    let mut around: Vec<String> = Vec::new();
    let mut root = None;
    let mut found: Vec<String> = Vec::new();
    let mut address = String::new();
    loop {
        let event = reader.read_event().map_err(|why| {
            let at = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
            let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
            format!("line {line}: {why}")
        })?;
        match event {
            Event::Start(element) => {
                let name = element.local_name().into_inner().to_owned();
                if around.is_empty() {
                    if root.is_some() {
                        return Err("it has more than one root element".to_owned());
                    }
                    root = Some(Root::named(&name)?);
                }
                if around.len() == NESTING_MAX {
                    return Err(format!("its elements are nested over {NESTING_MAX} deep"));
                }
                around.push(name);
                address.clear();
            }
            Event::End(_) => {
                if is_address(root, &around) && !address.trim().is_empty() {
                    if found.len() == URLS_MAX {
                        return Err(format!("it has more than {URLS_MAX} entries"));
                    }
                    found.push(address.trim().to_owned());
                }
                around.pop();
            }
            Event::Text(more) => {
                if is_address(root, &around) {
                    address.push_str(&more);
                } else if around.is_empty() && !more.trim().is_empty() {
                    return Err("it has text outside of its elements".to_owned());
                }
            }
            Event::CData(more) if is_address(root, &around) => address.push_str(&more),
            Event::GeneralRef(reference) if is_address(root, &around) => {
                let character = reference
                    .resolve_char_ref()
                    .map_err(|why| why.to_string())?;
                match (character, resolve_xml_entity(&reference)) {
                    (Some(character), _) => address.push(character),
                    (None, Some(text)) => address.push_str(text),
                    (None, None) => {
                        return Err(format!("it uses the unknown entity {}", shown(&reference)));
                    }
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if let Some(open) = around.last() {
        return Err(format!("it ends within the element {}", shown(open)));
    }
    match root {
        Some(Root::Pages) => Ok(Sitemap::Pages(found)),
        Some(Root::Files) => Ok(Sitemap::Files(found)),
        None => Err("it has no element".to_owned()),
    }
}

/// The kind of a file, by its root element.
#[derive(Clone, Copy)]
enum Root {
    Pages,
    Files,
}

impl Root {
    fn named(name: &str) -> Result<Self, String> {
        match name {
            "urlset" => Ok(Self::Pages),
            "sitemapindex" => Ok(Self::Files),
            _ => Err(format!(
                "its root element is {}, not \"urlset\" or \"sitemapindex\"",
                shown(name)
            )),
        }
    }
}

/// Whether these are the elements around an entry's address; extensions have addresses of their own.
fn is_address(root: Option<Root>, around: &[String]) -> bool {
    let entry = match root {
        Some(Root::Pages) => "url",
        Some(Root::Files) => "sitemap",
        None => return false,
    };
    matches!(around, [_, parent, own] if parent == entry && own == "loc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <!-- made by the shop -->\n\
            <urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' xmlns:image='i'>\n\
            <url><loc> http://a.example/?b=1&amp;c=&#50; </loc><priority>0.5</priority>\n\
            <image:image><image:loc>http://a.example/image</image:loc></image:image></url>\n\
            <url><loc><![CDATA[http://a.example/d?e&f]]></loc></url><url><loc/></url>\n\
            </urlset>\n";
        let wanted = ["http://a.example/?b=1&c=2", "http://a.example/d?e&f"];
        assert_eq!(
            parse(text),
            Ok(Sitemap::Pages(wanted.map(str::to_owned).into()))
        );
        assert_eq!(
            parse(
                "<s:sitemapindex xmlns:s='x'><s:sitemap><s:loc>a</s:loc></s:sitemap></s:sitemapindex>"
            ),
            Ok(Sitemap::Files(vec!["a".to_owned()]))
        );
        assert_eq!(parse("<urlset/>"), Ok(Sitemap::Pages(Vec::new())));
    }

    #[test]
    fn what_is_no_sitemap_is_explained() {
        let deep = format!("<urlset>{}", "<a>".repeat(100_000));
        let many = format!(
            "<urlset>{}</urlset>",
            "<url><loc>a</loc></url>".repeat(URLS_MAX + 1)
        );
        for (text, part) in [
            ("", "no element"),
            ("not found", "text outside"),
            (
                "<!doctype html><html><body>no</body></html>",
                "root element is \"html\"",
            ),
            ("<urlset><url></urlset>", "line 1: "),
            ("<urlset>\n<url>\n<loc>a</lok>", "line 3: "),
            ("<urlset><url><loc>a", "ends within"),
            ("<urlset/><urlset/>", "more than one root"),
            ("<urlset/>more", "text outside"),
            (
                "<!DOCTYPE urlset [<!ENTITY a 'b'>]><urlset><url><loc>&a;</loc></url></urlset>",
                "unknown entity",
            ),
            ("<urlset><url><loc>a & b</loc></url></urlset>", "line 1: "),
            ("<urlset><url><loc>&#0;</loc></url></urlset>", ""),
            (&deep, "nested"),
            (&many, "more than 50000 entries"),
        ] {
            let why = parse(text).expect_err(part);
            assert!(why.contains(part) && why.len() < 300, "{part}: {why}");
        }
    }

    /// Collects from files given by path.
    async fn collect(files: &[(&str, String)]) -> Result<Vec<String>, Refusal> {
        let first = PurgeUrl::parse("http://a.example/0").expect("valid");
        pages(first, |url| {
            let found = files.iter().find(|(path, _)| *path == url.target);
            std::future::ready(match found {
                Some((_, text)) => Ok(text.clone()),
                None => Err("it is not there".to_owned()),
            })
        })
        .await
    }

    fn index(paths: &[&str]) -> String {
        let entry = |path: &&str| format!("<sitemap><loc>http://a.example{path}</loc></sitemap>");
        let entries: String = paths.iter().map(entry).collect();
        format!("<sitemapindex>{entries}</sitemapindex>")
    }

    fn set(pages: &[&str]) -> String {
        let entry = |page: &&str| format!("<url><loc>{page}</loc></url>");
        let entries: String = pages.iter().map(entry).collect();
        format!("<urlset>{entries}</urlset>")
    }

    #[tokio::test]
    async fn indices_are_followed_within_bounds() {
        let found = collect(&[
            ("/0", index(&["/1", "/2", "/0"])),
            ("/1", index(&["/2", "/3"])),
            ("/2", set(&["x", "y"])),
            ("/3", set(&["y", "z"])),
        ])
        .await;
        assert_eq!(found, Ok(["x", "y", "z"].map(str::to_owned).into()));

        let deep = collect(&[
            ("/0", index(&["/1"])),
            ("/1", index(&["/2"])),
            ("/2", index(&["/3"])),
            ("/3", set(&["x"])),
        ])
        .await;
        assert!(deep.is_err_and(|r| r.status == 422 && r.why.contains("3 levels")));

        let missing = collect(&[("/0", index(&["/1"]))]).await;
        let wanted = Refusal {
            status: StatusCode::BAD_GATEWAY,
            why: "http://a.example/1: it is not there".to_owned(),
        };
        assert_eq!(missing, Err(wanted));

        let entry = "<sitemap><loc>ftp://a.example/</loc></sitemap>";
        let odd = collect(&[("/0", format!("<sitemapindex>{entry}</sitemapindex>"))]).await;
        assert!(odd.is_err_and(|r| r.status == 422 && r.why.contains("ftp://")));

        let names: Vec<String> = (1..=FILES_MAX).map(|n| format!("/{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let wide = collect(&[("/0", index(&names))]).await;
        assert!(wide.is_err_and(|r| r.status == 422 && r.why.contains("1000 files")));
    }
}
