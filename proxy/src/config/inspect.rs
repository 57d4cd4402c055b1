//! The files that a configuration names: whether they can be used, and what will soon be wrong with them.
//!
//! What is found stands at the key that names the file. The files are read with the very functions that put a
//! configuration in force.

use std::{
    fs::{Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{AccessFlags, access},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use toml::Spanned;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    context::Context,
    diagnostic::Complaint,
    file::{self, File, TlsEntry},
    model::{Action, AddressList, Config},
    read::Field,
    scalar::{AdminEndpoint, FilePath, LogPath},
};
use crate::{
    admin, admit,
    files::{Below, beneath::Folder},
    listen::tls::{findings::findings, read_identity},
    observe::access_log::UNREAD,
    respond::room::Template,
    snapshot::{BODY_MAX, PAGE_MAX},
    upstream::connect::tls::Transport,
};

/// Who renews by hand needs days, and who has it done by a machine two weeks before the end knows that it does not
/// work.
const SOON: Duration = Duration::from_secs(14 * 86_400);
const DAY: u64 = 86_400;

/// What a certificate says of itself, in seconds since 1970.
struct Leaf {
    from: i64,
    until: i64,
}

/// Looks at every file; `config` is what the file came to, and may lack what was wrong.
pub(super) fn inspect(file: &File, config: Option<&Config>, now: SystemTime, cx: &mut Context<'_>) {
    // What follows from routes is told where all of them could be read.
    let is_right = |d: &super::Diagnostic| d.severity == super::Severity::Warning;
    let whole = config.filter(|_| cx.diagnostics.iter().all(is_right));
    for pattern in file.include.items() {
        if let Some(folder) = pattern.get_ref().folder()
            && !cx.outside.folder.join(folder).is_dir()
        {
            cx.warning(pattern.span(), format!("there is no folder {folder}"));
        }
    }
    if let Some(config) = config {
        let unreadable = match config.listeners.iter().any(|listener| listener.tls) {
            true => pairs(file, cx),
            false => Vec::new(),
        };
        let found = findings(config, whole.is_some(), now).into_iter();
        cx.diagnostics
            .extend(found.filter(|d| !unreadable.iter().any(|path| d.message.starts_with(path))));
    }
    for (name, upstream) in file.upstreams.entries() {
        if let Some(upstream) = upstream.value() {
            servers_tls(name.get_ref(), upstream, config, now, cx);
        }
    }
    for (name, list) in file.address_lists.entries() {
        if let Some(given) = list.value().and_then(|list| list.file.given()) {
            address_list(name.get_ref(), given, cx);
        }
    }
    for (_, room) in file.waiting_rooms.entries() {
        if let Some(room) = room.value() {
            waiting_room(room, cx);
        }
    }
    if let Some(acme) = file.acme.value() {
        ordered(acme, cx);
    }
    contents(file, cx);
    served(file, config, cx);
    admin_endpoint(file, cx);
    places(file, cx);
}

/// What is sent as it lies in a file.
fn contents(file: &File, cx: &mut Context<'_>) {
    let pages = file.server.value().and_then(|s| s.error_pages.given());
    if let Some(pages) = pages {
        for (_, page) in &pages.get_ref().0 {
            content(page.get_ref(), page.span(), PAGE_MAX, cx);
        }
    }
    let responses = file.routes.items().iter();
    let responses = responses.filter_map(|route| route.get_ref().respond.value());
    for body in responses.filter_map(|respond| respond.body_file.given()) {
        content(body.get_ref(), body.span(), BODY_MAX, cx);
    }
}

/// Folders that visitors read from.
fn served(file: &File, config: Option<&Config>, cx: &mut Context<'_>) {
    let routes = config.map_or(&[][..], |config| &config.routes);
    let complete = routes.len() == file.routes.items().len();
    let secrets = secrets(file, config, cx);
    for (section, route) in file.routes.items().iter().zip(routes).filter(|_| complete) {
        let files = section.get_ref().files.value();
        let (Some(files), Action::Files(rules)) = (files, &route.action) else {
            continue;
        };
        let place = files.root.given().or_else(|| files.alias.given());
        let Some(place) = place else { continue };
        let folder = Folder::new(&rules.folder, rules.symlinks);
        if let Err(why) = folder.look() {
            let complaint = format!("cannot open the folder {}: {why}", rules.folder.display());
            cx.error(place.span(), complaint);
            continue;
        }
        // A whole path names one file.
        let secret = secrets
            .iter()
            .find(|(_, path)| is_beneath(path, &rules.folder));
        if let (Some((what, path)), Below::Path | Below::Rest(_)) = (secret, &rules.below) {
            let complaint = format!("visitors could read {what}: {}", path.display());
            let help = "serve a folder that has nothing in it but what visitors may have";
            cx.warning(place.span(), Complaint::new(complaint).help(help));
        }
    }
}

/// What visitors must not read, and where it lies.
fn secrets(file: &File, config: Option<&Config>, cx: &Context<'_>) -> Vec<(&'static str, PathBuf)> {
    let mut all = vec![("the configuration", cx.outside.folder.to_owned())];
    for section in file.certificates.items() {
        if let Some(key) = section.get_ref().key.given() {
            all.push(("a private key", cx.path(key.get_ref())));
        }
    }
    if let Some(config) = config {
        let token = config
            .admin
            .as_ref()
            .and_then(|admin| admin.token_file.clone());
        all.extend(token.map(|path| ("the token of the admin endpoint", path)));
        let disk = config.cache.disk.as_ref().map(|disk| disk.path.clone());
        all.extend(disk.map(|path| ("what is stored", path)));
    }
    all
}

fn is_beneath(path: &Path, folder: &Path) -> bool {
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

fn content(path: &FilePath, span: std::ops::Range<usize>, most: u64, cx: &mut Context<'_>) {
    let path = cx.path(path);
    match opened(&path) {
        Ok(about) if about.len() > most => {
            let why = format!("{} is larger than {most} bytes", path.display());
            cx.error(span, why);
        }
        Ok(_) => {}
        Err(why) => cx.error(span, why),
    }
}

/// Tells of certificates and keys that cannot be opened, each at its own key; how what else is said of them begins.
fn pairs(file: &File, cx: &mut Context<'_>) -> Vec<String> {
    let mut unreadable = Vec::new();
    for section in file.certificates.items() {
        let section = section.get_ref();
        for given in [&section.cert, &section.key] {
            let Some(given) = given.given() else { continue };
            let path = cx.path(given.get_ref());
            if let Err(why) = opened(&path) {
                cx.error(given.span(), why);
                unreadable.push(wrong(&path, &""));
            }
        }
    }
    unreadable
}

/// A certificate and its key; what is wrong is reported at the one that it is wrong with.
fn identity(
    cert: &Spanned<FilePath>,
    key: &Spanned<FilePath>,
    cx: &mut Context<'_>,
) -> Option<Leaf> {
    let (cert_path, key_path) = (cx.path(cert.get_ref()), cx.path(key.get_ref()));
    let leaf = chain(&cert_path).and_then(|chain| leaf(&chain[0], &cert_path));
    let signer = opened(&key_path).and_then(|about| {
        PrivateKeyDer::from_pem_file(&key_path).map_err(|why| wrong(&key_path, &why))?;
        Ok(about)
    });
    if let Ok(about) = &signer {
        for_its_owner(about, "private key", key, cx);
    }
    match (leaf, signer) {
        (Ok(leaf), Ok(_)) => match read_identity(&cert_path, &key_path) {
            Ok(_) => Some(leaf),
            Err(why) => {
                cx.error(key.span(), why);
                None
            }
        },
        (leaf, signer) => {
            if let Err(why) = &leaf {
                cx.error(cert.span(), why.as_str());
            }
            if let Err(why) = &signer {
                cx.error(key.span(), why.as_str());
            }
            None
        }
    }
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

/// Whether a file can be read, and is none that never ends.
fn opened(path: &Path) -> Result<Metadata, String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let about = file.and_then(|file| file.metadata());
    match about {
        Ok(about) if about.is_file() => Ok(about),
        Ok(_) => Err(format!("{} is no regular file", path.display())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no file {}", path.display()))
        }
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            Err(format!("this user may not read {}", path.display()))
        }
        Err(why) => Err(format!("cannot read {}: {why}", path.display())),
    }
}

/// The certificates of a PEM file, one or more.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    opened(path)?;
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|why| wrong(path, &why))?;
    match chain.is_empty() {
        true => Err(wrong(path, &"holds no certificate")),
        false => Ok(chain),
    }
}

fn leaf(certificate: &CertificateDer<'_>, path: &Path) -> Result<Leaf, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|why| wrong(path, &format!("not a certificate: {why}")))?;
    Ok(Leaf {
        from: parsed.validity().not_before.timestamp(),
        until: parsed.validity().not_after.timestamp(),
    })
}

/// What is wrong with the time in which a certificate counts, or soon will be.
fn validity(leaf: &Leaf, now: SystemTime) -> Option<(String, &'static str)> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let now = i64::try_from(now).ok()?;
    let days = |seconds: i64| match seconds.unsigned_abs() / DAY {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    if now < leaf.from {
        let until = days(leaf.from - now);
        return Some((
            format!("this certificate is not valid yet, for {until}"),
            "browsers refuse it until then: look at the clock of this host, too",
        ));
    }
    let left = leaf.until - now;
    if left <= 0 {
        return Some((
            format!("this certificate expired {} ago", days(left)),
            "browsers refuse it: renew it",
        ));
    }
    (left < SOON.as_secs() as i64).then(|| {
        (
            format!("this certificate expires in {}", days(left)),
            "renew it, and look at why nothing has renewed it yet",
        )
    })
}

/// `tls` of an upstream.
fn servers_tls(
    name: &str,
    upstream: &file::Upstream,
    config: Option<&Config>,
    now: SystemTime,
    cx: &mut Context<'_>,
) {
    let found = cx.diagnostics.len();
    let Some(TlsEntry::Yes(tls)) = upstream.tls.value() else {
        return;
    };
    if let Some(ca) = tls.ca.given()
        && let Err(why) = authorities(&cx.path(ca.get_ref()))
    {
        cx.error(ca.span(), why);
    }
    if let (Some(cert), Some(key)) = (tls.cert.given(), tls.key.given())
        && let Some(leaf) = identity(cert, key, cx)
        && let Some((what, _)) = validity(&leaf, now)
    {
        let complaint = Complaint::new(what).help("the servers will refuse it: renew it");
        cx.warning(cert.span(), complaint);
    }
    let is_sound = cx.diagnostics[found..]
        .iter()
        .all(|d| d.severity == super::Severity::Warning);
    let compiled = config.and_then(|config| config.upstreams.iter().find(|u| u.name == name));
    if let (true, Some(compiled), Some(given)) = (is_sound, compiled, upstream.tls.given())
        && let Err(why) = Transport::new(compiled)
    {
        cx.error(given.span(), why);
    }
}

fn authorities(path: &Path) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|why| wrong(path, &why))?;
    }
    Ok(())
}

fn address_list(name: &str, given: &Spanned<FilePath>, cx: &mut Context<'_>) {
    let list = AddressList {
        name: name.to_owned(),
        entries: Vec::new(),
        file: Some(cx.path(given.get_ref())),
    };
    if let Err(why) = admit::lists::AddressList::new(&list) {
        cx.error(given.span(), why.to_string());
    }
}

fn waiting_room(room: &file::WaitingRoom, cx: &mut Context<'_>) {
    for key in room.keys.items() {
        let Some(given) = key.get_ref().file.given() else {
            continue;
        };
        let path = cx.path(given.get_ref());
        match opened(&path).and_then(|about| {
            admit::waiting_room::keys::secret(&path)?;
            Ok(about)
        }) {
            Ok(about) => for_its_owner(&about, "key", given, cx),
            Err(why) => cx.error(given.span(), why),
        }
    }
    if let Some(given) = room.template.given() {
        let path = cx.path(given.get_ref());
        if let Err(why) = opened(&path).and_then(|_| Template::load(Some(&path))) {
            cx.error(given.span(), why);
        }
    }
}

fn admin_endpoint(file: &File, cx: &mut Context<'_>) {
    let Some(given) = file
        .admin
        .value()
        .and_then(|admin| admin.token_file.given())
    else {
        return;
    };
    let path = cx.path(given.get_ref());
    match opened(&path).and_then(|about| {
        admin::read_token(&path).map_err(|why| format!("{why:#}"))?;
        Ok(about)
    }) {
        Ok(about) => for_its_owner(&about, "token", given, cx),
        Err(why) => cx.error(given.span(), why),
    }
}

/// A secret that every user of the machine may read is none.
fn for_its_owner(about: &Metadata, what: &str, given: &Spanned<FilePath>, cx: &mut Context<'_>) {
    const OTHERS_READ: u32 = 0o004;
    if about.mode() & OTHERS_READ != 0 {
        cx.warning(
            given.span(),
            Complaint::new(format!("every user of this machine may read this {what}"))
                .help("take that away: `chmod o-rwx`"),
        );
    }
}

/// Where files and sockets are to be made. Whoever checks is not always who runs it: what this user may not do is no
/// Files and the folder of certificates that are ordered.
fn ordered(acme: &file::Acme, cx: &mut Context<'_>) {
    if let Some(given) = acme.ca_file.given()
        && let Err(why) = authorities(&cx.path(given.get_ref()))
    {
        cx.error(given.span(), why);
    }
    if let Some(given) = acme.eab.value().and_then(|eab| eab.hmac_file.given()) {
        match opened(&cx.path(given.get_ref())) {
            Ok(about) => for_its_owner(&about, "key", given, cx),
            Err(why) => cx.error(given.span(), why),
        }
    }
    if let Some(given) = acme.storage.given() {
        let path = cx.path(&given.get_ref().0);
        if let Err(why) = writable(&path) {
            let path = path.display();
            let why = why.desc();
            cx.warning(
                given.span(),
                format!("the folder {path} cannot be written by this user: {why}"),
            );
        }
    }
}

/// error.
fn places(file: &File, cx: &mut Context<'_>) {
    if let Some(server) = file.server.value()
        && let Some(given) = server.pid_file.given()
    {
        made_at(given.get_ref(), given.span(), cx);
    }
    if let Some(log) = file.access_log.value()
        && let Some(given) = log.path.given()
        && let LogPath::File(path) = given.get_ref()
    {
        made_at(path, given.span(), cx);
        let path = cx.path(path);
        if is_unread(&path) {
            cx.error(given.span(), format!("{}: {UNREAD}", path.display()));
        }
    }
    if let Some(Field::Given(list)) = file.admin.value().map(|admin| &admin.address) {
        for endpoint in &list.get_ref().0.items {
            if let AdminEndpoint::Unix(path) = endpoint.get_ref() {
                made_at(path, endpoint.span(), cx);
            }
        }
    }
    let disk = file.cache.value().and_then(|cache| cache.disk.value());
    if let Some(given) = disk.and_then(|disk| disk.path.given()) {
        let path = cx.path(&given.get_ref().0);
        if let Err(why) = writable(&path) {
            cx.warning(
                given.span(),
                format!(
                    "the disk store's folder {} cannot be written by this user: {}",
                    path.display(),
                    why.desc()
                ),
            );
        }
    }
}

/// Whether it is a pipe or the like that nobody reads now.
fn is_unread(path: &Path) -> bool {
    let is_special = |about: Metadata| about.file_type().is_fifo() || about.file_type().is_socket();
    let opened = || {
        OpenOptions::new()
            .append(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
    };
    let unread = |why: io::Error| why.raw_os_error() == Some(Errno::ENXIO as i32);
    path.metadata().is_ok_and(is_special) && opened().is_err_and(unread)
}

/// The folder in which a file is to be made.
fn made_at(path: &FilePath, span: std::ops::Range<usize>, cx: &mut Context<'_>) {
    let path = cx.path(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        cx.error(span, format!("{} is a folder", path.display()));
    } else if let Err(why) = access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        let what = match why {
            Errno::ENOENT => format!("there is no folder {}", folder.display()),
            why => format!(
                "the folder {} cannot be written by this user: {}",
                folder.display(),
                why.desc()
            ),
        };
        cx.warning(span, what);
    }
}

/// Whether the folder can be written, or made where it is not there yet.
fn writable(folder: &Path) -> Result<(), Errno> {
    for folder in folder.ancestors() {
        // A relative path ends with an empty one, which stands for the present folder.
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
            Err(Errno::ENOENT) => {}
            Ok(()) if !folder.is_dir() => return Err(Errno::ENOTDIR),
            outcome => return outcome,
        }
    }
    Err(Errno::ENOENT)
}

#[cfg(test)]
mod tests;
