//! `redirect`: where visitors are sent.

use toml::Spanned;

use super::template;
use crate::{
    config::{
        context::Context,
        diagnostic::{Complaint, shown},
        file,
        model::PathPattern,
    },
    edge::{Scheme, authority},
    route::{action::Redirect, template::Known},
};

pub(super) fn redirect(
    given: &Spanned<file::Redirect>,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> Option<Redirect> {
    let redirect = given.get_ref();
    let status = redirect.status.value;
    if let (false, Some(place)) = (
        matches!(status, 301 | 302 | 303 | 307 | 308),
        &redirect.status.span,
    ) {
        cx.error(
            place.clone(),
            Complaint::new(format!("{status} is no status of a redirect")).help(
                "write 301 or 302; 303 to ask with GET from there on; 307 or 308 to keep the method",
            ),
        );
    }
    let to = redirect.to.require("to", given.span(), cx)?;
    if let Err(complaint) = destination(to.get_ref()) {
        cx.error(to.span(), complaint);
        return None;
    }
    let known = Known {
        path,
        regex: None,
        visitor: false,
    };
    Some(Redirect {
        status: u16::try_from(status).ok()?,
        to: template(to, &known, cx)?,
    })
}

/// Where a redirect leads must be clear from the configuration, but for the host that was asked.
fn destination(to: &str) -> Result<(), Complaint> {
    let wrong = |why: &str| Complaint::new(format!("{} is no destination: {why}", shown(to)));
    if to.starts_with("//") {
        return Err(wrong("`//` would lead to another host")
            .help("write the scheme as well, as in \"https://www.shop.example/\""));
    }
    if to.starts_with('/') || to.starts_with("{path}") || to.starts_with("{rest}") {
        return Ok(());
    }
    let schemes = ["https://", "http://", "{scheme}://"];
    let Some(rest) = schemes.iter().find_map(|scheme| to.strip_prefix(scheme)) else {
        return Err(
            wrong("it begins neither with `/` nor with a scheme").help(
                "write a path such as \"/new{rest}\", or a URL such as \"https://www.shop.example{path}{?query}\"",
            ),
        );
    };
    let ends = ["/", "?", "#", "{path}", "{rest}", "{?query}"];
    let end = ends.iter().filter_map(|end| rest.find(end)).min();
    let host = rest[..end.unwrap_or(rest.len())].replace("{host}", "host.example");
    if host.contains('{') {
        return Err(wrong("a visitor could choose the host")
            .help("of a host only `{host}` may be a placeholder; a path begins with `/`, `{path}` or `{rest}`"));
    }
    match authority::normalise(&host, Scheme::Https) {
        Some(_) => Ok(()),
        None => Err(wrong("the host is malformed")),
    }
}
