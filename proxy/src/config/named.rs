//! The files that a configuration names, in one place: what may be read is known by it, and what is watched.

use std::path::{Path, PathBuf};

use super::model::{
    Action, Certificate, CertificateFiles, ClientAuth, Config, Respond, UpstreamTls,
};
use crate::route::action::FixedBody;

/// How a change of a file's content takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// When a configuration comes into force: by a start or a reload.
    ByReload,
    /// Without one: it is looked at while the edge runs, or read whenever it is used.
    ByItself,
}

/// A file that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// How it is kept up with.
    pub taken: Taken,
}

impl Config {
    /// All files that are read, but for what lies in folders that are named as a whole.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut named = Named::default();
        let pages = self.server.error_pages.iter();
        named.by_reload(pages.map(|(_, file)| file));
        named.by_reload(self.admin.iter().flat_map(|admin| &admin.token_file));
        for source in &self.certificates {
            if let CertificateFiles::Pair(pair) = &source.files {
                named.by_itself(both(pair));
            }
        }
        let of_listeners = self.listeners.iter().map(|listener| &listener.client_auth);
        let of_names = self.certificates.iter().map(|source| &source.client_auth);
        for auth in of_listeners.chain(of_names).flatten() {
            let ClientAuth { ca, crl, .. } = &**auth;
            named.by_itself([ca].into_iter().chain(crl));
        }
        if let Some(acme) = &self.acme {
            // Each order reads them.
            named.by_itself(&acme.ca_file);
            named.by_itself(acme.binding.iter().map(|binding| &binding.hmac_file));
        }
        for upstream in &self.upstreams {
            if let Some(UpstreamTls { ca, identity, .. }) = &upstream.tls {
                named.by_reload(ca);
                named.by_reload(identity.iter().flat_map(both));
            }
        }
        named.by_itself(self.address_lists.iter().flat_map(|list| &list.file));
        for room in &self.waiting_rooms {
            named.by_reload(room.keys.iter().map(|(_, file)| file));
            named.by_reload(&room.template);
        }
        for route in &self.routes {
            if let Action::Respond(Respond {
                body: FixedBody::File(file),
                ..
            }) = &route.action
            {
                named.by_reload([file]);
            }
        }
        named.0
    }
}

#[derive(Default)]
struct Named<'a>(Vec<NamedFile<'a>>);

impl<'a> Named<'a> {
    fn by_reload(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        self.add(paths, Taken::ByReload);
    }

    fn by_itself(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        self.add(paths, Taken::ByItself);
    }

    fn add(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>, taken: Taken) {
        let paths = paths.into_iter();
        self.0.extend(paths.map(|path| NamedFile { path, taken }));
    }
}

fn both(pair: &Certificate) -> [&PathBuf; 2] {
    [&pair.cert, &pair.key]
}

#[cfg(test)]
mod tests {
    use super::{
        Taken::{self, ByItself, ByReload},
        *,
    };
    use crate::config::{self, Surroundings};

    const TEXT: &str = r#"
        [server]
        error_pages = { 404 = "404.html", 503 = "503.html" }
        [admin]
        address = "unix:admin.sock"
        token_file = "token"
        [[listeners]]
        address = "127.0.0.1:80"
        [[listeners]]
        address = "127.0.0.1:8443"
        tls = true
        client_auth = { ca = "clients.pem", crl = "clients.crl" }
        [[certificates]]
        cert = "shop.pem"
        key = "shop.key"
        client_auth = { ca = "staff.pem" }
        [[certificates]]
        folder = "more"
        [acme]
        agree_tos = true
        storage = "acme"
        directory = "https://ca.example/directory"
        ca_file = "acme-ca.pem"
        names = [["shop.example"]]
        eab = { key_id = "a", hmac_file = "acme.hmac" }
        [upstreams.shop]
        servers = ["127.0.0.1:8080"]
        tls = { ca = "ca.pem", cert = "own.pem", key = "own.key" }
        [address_lists.bad]
        file = "bad.txt"
        [waiting_rooms.sale]
        capacity = 1
        keys = [{ id = "a", file = "a.key" }, { id = "b", file = "b.key" }]
        template = "room.html"
        [[routes]]
        path = "/notice"
        respond = { status = 200, body_file = "notice.txt" }
        [[routes]]
        path = "/files/*"
        files = { root = "files" }
        [[routes]]
        upstream = "shop"
        deny = ["bad"]
        waiting_room = "sale"
    "#;

    #[test]
    fn all_files_and_how_they_are_taken() {
        let outside = Surroundings {
            folder: Path::new("/etc/dhal"),
            env: &|_| None,
        };
        let loaded = config::parse("dhal.toml", TEXT, &outside);
        let config = loaded.unwrap_or_else(|why| panic!("{why}")).config;
        let mut named: Vec<(&str, Taken)> = config
            .named_files()
            .iter()
            .map(|file| {
                let name = file.path.strip_prefix("/etc/dhal").unwrap();
                (name.to_str().unwrap(), file.taken)
            })
            .collect();
        named.sort_by_key(|(name, _)| *name);
        let wanted = [
            ("404.html", ByReload),
            ("503.html", ByReload),
            ("a.key", ByReload),
            ("acme-ca.pem", ByItself),
            ("acme.hmac", ByItself),
            ("b.key", ByReload),
            ("bad.txt", ByItself),
            ("ca.pem", ByReload),
            ("clients.crl", ByItself),
            ("clients.pem", ByItself),
            ("notice.txt", ByReload),
            ("own.key", ByReload),
            ("own.pem", ByReload),
            ("room.html", ByReload),
            ("shop.key", ByItself),
            ("shop.pem", ByItself),
            ("staff.pem", ByItself),
            ("token", ByReload),
        ];
        assert_eq!(named, wanted);
    }
}
