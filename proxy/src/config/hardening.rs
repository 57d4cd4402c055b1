//! Who the process becomes, what it takes from itself, and who may open its admin sockets.

use std::path::PathBuf;

use super::{
    context::Context,
    diagnostic::Complaint,
    file::{self, SandboxEntry},
    model::Hardening,
    read::{Field, List},
    scalar::{AdminEndpoint, FolderPath},
};

/// What everyone on the machine may do with a socket of this mode.
const OTHERS_OPEN: u32 = 0o002;

pub(super) fn hardening(server: &file::Server, cx: &mut Context<'_>) -> Hardening {
    if let Some(given) = server.user.given()
        && ["root", "0"].contains(&given.get_ref().as_str())
    {
        let complaint = Complaint::new("root is nobody to become");
        cx.error(
            given.span(),
            complaint.help("name a user of its own, or remove `user`"),
        );
    }
    if let (Some(group), Field::Absent) = (server.group.given(), &server.user) {
        cx.error(group.span(), "`group` is given without `user`");
    }
    let folders = |list: &Field<List<FolderPath>>, cx: &Context<'_>| -> Vec<PathBuf> {
        let items = list.items().iter();
        items.map(|path| cx.path(&path.get_ref().0)).collect()
    };
    let is_on = |field: &Field<bool>| field.value().copied().unwrap_or(true);
    let (user, group) = (server.user.value().cloned(), server.group.value().cloned());
    match &server.sandbox {
        Field::Given(given) => match given.get_ref() {
            SandboxEntry::No => Hardening {
                user,
                group,
                ..Hardening::default()
            },
            SandboxEntry::Yes(sandbox) => {
                let lists = [&sandbox.read, &sandbox.write, &sandbox.execute];
                if let (false, Some(list)) = (
                    is_on(&sandbox.landlock),
                    lists.iter().find_map(|list| list.given()),
                ) {
                    cx.warning(list.span(), "this does nothing without `landlock`");
                }
                Hardening {
                    user,
                    group,
                    landlock: is_on(&sandbox.landlock),
                    seccomp: is_on(&sandbox.seccomp),
                    read: folders(&sandbox.read, cx),
                    write: folders(&sandbox.write, cx),
                    execute: folders(&sandbox.execute, cx),
                }
            }
        },
        _ => Hardening {
            // Who asks for little privilege gets as little as there is; others find everything as it was.
            landlock: user.is_some(),
            seccomp: user.is_some(),
            user,
            group,
            ..Hardening::default()
        },
    }
}

/// The permissions of the admin endpoint's sockets.
pub(super) fn socket_mode(admin: &file::Admin, cx: &mut Context<'_>) -> u32 {
    let sockets = admin.address.value().map_or(&[][..], |list| &list.0.items);
    let mut sockets = sockets.iter();
    let has_socket = sockets.any(|item| matches!(item.get_ref(), AdminEndpoint::Unix(_)));
    for (key, span) in [
        ("mode", admin.mode.given().map(toml::Spanned::span)),
        ("group", admin.group.given().map(toml::Spanned::span)),
    ] {
        if let (false, Some(span)) = (has_socket, span) {
            cx.warning(
                span,
                format!("`{key}` does nothing: no address is a Unix socket"),
            );
        }
    }
    let Some(given) = admin.mode.given() else {
        return default_mode(admin.group.value().is_some());
    };
    let mode = given.get_ref().0;
    if mode & OTHERS_OPEN != 0 {
        cx.warning(
            given.span(),
            Complaint::new("every user of this machine may change the edge")
                .help("write \"0660\", and a `group` for those who may"),
        );
    }
    mode
}

fn default_mode(has_group: bool) -> u32 {
    match has_group {
        true => 0o660,
        false => 0o600,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Surroundings, parse, render};

    /// What is said of a `[server]` and an `[admin]`, and what they come to.
    fn said(server: &str, admin: &str) -> (String, Option<crate::config::model::Config>) {
        let text = format!(
            "[server]\n{server}\n[admin]\naddress = \"unix:/run/dhal/admin.sock\"\n{admin}\n\
             [[listeners]]\naddress = \"127.0.0.1:8080\"\n[upstreams.shop]\nservers = [\"127.0.0.1:3000\"]\n\
             [[routes]]\nupstream = \"shop\"\n"
        );
        let outside = Surroundings {
            folder: Path::new("/etc/dhal"),
            env: &|name| (name == "WORD").then(|| "off".to_owned()),
        };
        match parse("dhal.toml", &text, &outside) {
            Ok(loaded) => (render(&loaded.warnings), Some(loaded.config)),
            Err(why) => (why.to_string(), None),
        }
    }

    #[test]
    fn who_asks_for_a_user_gets_all_of_it() {
        for (server, landlock, seccomp) in [
            ("", false, false),
            ("user = \"dhal\"", true, true),
            ("user = \"dhal\"\nsandbox = false", false, false),
            ("user = \"dhal\"\nsandbox = \"off\"", false, false),
            ("user = \"dhal\"\nsandbox = \"${WORD}\"", false, false),
            ("sandbox = true", true, true),
            ("sandbox = \"on\"", true, true),
            ("sandbox = {}", true, true),
            ("sandbox = { landlock = false }", false, true),
            (
                "user = \"dhal\"\nsandbox = { seccomp = false }",
                true,
                false,
            ),
        ] {
            let (text, config) = said(server, "");
            let hardening = config.expect(&text).server.hardening;
            assert_eq!(
                (hardening.landlock, hardening.seccomp),
                (landlock, seccomp),
                "{server}"
            );
        }
    }

    #[test]
    fn sockets_are_for_their_owner_and_a_group() {
        for (admin, mode) in [
            ("", 0o600),
            ("group = \"ops\"", 0o660),
            ("mode = \"0640\"", 0o640),
            ("group = \"ops\"\nmode = \"600\"", 0o600),
        ] {
            let (text, config) = said("", admin);
            let admin_section = config.expect(&text).admin.expect("a section");
            assert_eq!(admin_section.mode, mode, "{admin}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        for (server, admin, why) in [
            ("user = \"root\"", "", "root is nobody to become"),
            ("user = \"0\"", "", "root is nobody to become"),
            ("group = \"dhal\"", "", "`group` is given without `user`"),
            ("sandbox = \"maybe\"", "", "no choice"),
            ("sandbox = 1", "", "`true`, `false`, or a table"),
            (
                "sandbox = { landlok = true }",
                "",
                "did you mean `landlock`",
            ),
            (
                "sandbox = { landlock = false, read = [\"/srv\"] }",
                "",
                "does nothing without `landlock`",
            ),
            ("", "mode = \"0060\"", "its owner could not open"),
            ("", "mode = \"rw\"", "no permissions"),
            ("", "mode = \"1777\"", "no permissions"),
            (
                "",
                "mode = \"0666\"",
                "every user of this machine may change",
            ),
        ] {
            let (text, _) = said(server, admin);
            assert!(text.contains(why), "{server} {admin}: {text}");
        }
    }
}
