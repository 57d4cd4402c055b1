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
