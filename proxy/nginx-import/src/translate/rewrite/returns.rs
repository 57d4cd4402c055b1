//! `return`.

use crate::{
    toml::{self, Section},
    translate::{Scope, Translator, server::Site},
    tree::Directive,
    variables,
};

/// Longest text of a `return` that is carried over.
const BODY_MAX: usize = 64 << 10;

impl<'a> Translator<'a> {
    /// `return`, as an action.
    pub(in crate::translate) fn returns(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        directive: &Directive,
        out: &mut Section,
    ) {
        let first = directive.arg(0);
        let (status, rest) = match first.parse::<u16>() {
            Ok(status) => (status, directive.args.get(1).map(|a| a.text.as_str())),
            Err(_) => (302, Some(first)),
        };
        match (status, rest) {
            (301 | 302 | 303 | 307 | 308, Some(to)) => {
                match self.redirect(to, status, &site.server_name) {
                    Ok(value) => {
                        out.set("redirect", value);
                        self.full(directive);
                    }
                    Err(why) => self.unanswerable(
                        directive,
                        &format!("Dhal has no placeholder for {why}"),
                        out,
                    ),
                }
            }
            (444, _) => {
                out.set("respond", toml::table(&[("status", "403".to_owned())]));
                self.differs(
                    directive,
                    "Dhal does not close the connection without a word; 403",
                );
            }
            (300..=399 | 206 | 416, _) => {
                self.unanswerable(directive, "this status needs more than a text", out)
            }
            (200..=599, body) => {
                let mut keys = vec![("status", status.to_string())];
                let body = body.filter(|body| !body.is_empty() && !matches!(status, 204 | 205));
                if let Some(body) = body {
                    if variables::has_any(body) || body.len() > BODY_MAX {
                        self.unanswerable(directive, "the text of `respond` has no variables", out);
                        return;
                    }
                    let kind = scope.one("default_type");
                    if let Some(kind) = kind {
                        self.full(kind);
                    }
                    let kind = kind.map_or("text/plain", |d| d.arg(0));
                    keys.push(("body", toml::string(body)));
                    keys.push(("content_type", toml::string(kind)));
                    self.full(directive);
                } else if status >= 400 {
                    self.differs(directive, "with Dhal's page in the place of nginx's");
                } else {
                    self.full(directive);
                }
                out.set("respond", toml::table(&keys));
            }
            _ => self.unanswerable(directive, "Dhal answers with a status from 200 to 599", out),
        }
    }

    /// A route whose answer cannot be carried over must not fall to another route.
    pub(in crate::translate) fn unanswerable(
        &mut self,
        directive: &Directive,
        why: &str,
        out: &mut Section,
    ) {
        self.missing(
            directive,
            format!("{why}; until it is mended this route answers 502"),
        );
        out.set("respond", toml::table(&[("status", "502".to_owned())]));
    }
}
