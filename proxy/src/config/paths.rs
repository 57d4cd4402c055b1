//! Paths that no request has.

use super::{
    context::Context,
    diagnostic::Complaint,
    file::File,
    model::{PathPattern, Segment},
};
use crate::edge::path::EncodedSlashes;

/// Warns of routes whose `path` has an encoded slash, where those of requests are read as slashes or refused.
pub(super) fn never(file: &File, cx: &mut Context<'_>) {
    let slashes = file
        .server
        .value()
        .and_then(|server| server.encoded_slashes.value())
        .copied()
        .unwrap_or_default();
    if slashes == EncodedSlashes::Keep {
        return;
    }
    let has = |text: &str| text.contains("%2F") || text.contains("%5C");
    for route in file.routes.items() {
        let Some(path) = route.get_ref().path.given() else {
            continue;
        };
        let is_one = match path.get_ref() {
            PathPattern::Exact(text) | PathPattern::Prefix(text) => has(text),
            PathPattern::Segments(segments) => segments
                .iter()
                .any(|segment| matches!(segment, Segment::Literal(text) if has(text))),
            PathPattern::Regex(_) => false,
        };
        if is_one {
            cx.warning(
                path.span(),
                Complaint::new("no request has this path: its encoded slashes are no letters")
                    .help("write `/`, or `encoded_slashes = \"keep\"` in [server]"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config;

    #[test]
    fn paths_with_encoded_slashes_are_told() {
        let surroundings = config::Surroundings {
            folder: std::path::Path::new(""),
            env: &|_| None,
        };
        for (server, path, wanted) in [
            ("", "/a%2Fb", 1),
            ("", "/a%5Cb/*", 1),
            ("", "/:id/a%2Fb", 1),
            ("", "/a%252Fb", 0),
            ("encoded_slashes = 'refuse'", "/a%2Fb", 1),
            ("encoded_slashes = 'keep'", "/a%2Fb", 0),
        ] {
            let text = format!(
                "[server]\n{server}\n[[listeners]]\naddress = '127.0.0.1:0'\n\
                 [[routes]]\npath = '{path}'\nrespond = {{}}\n"
            );
            let loaded = config::parse("test", &text, &surroundings).expect("valid");
            assert_eq!(loaded.warnings.len(), wanted, "{server} {path}");
        }
    }
}
