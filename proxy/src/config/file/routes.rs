//! `[[routes]]`: which requests go where, and what is done to them.

use std::time::Duration;

use adaptive_concurrency::Class;

use super::{DAY, HOUR, HstsEntry};
use crate::{
    config::{
        actions::{MethodName, RewriteEntry, UpstreamHost},
        files::{
            CharsetName, CodingName, FallbackName, FileName, SymlinksName, TypeName, TypeTable,
        },
        headers::{FieldName, FieldTable, On},
        model::{HostPattern, PathPattern},
        read::{List, OneOrMany, section},
        scalar::{FilePath, FolderPath, RequestPath},
        units::{Size, mib, millis, secs},
    },
    route::path_regex::PathRegex,
};

section! {
    /// `timeouts` of a route: what it says counts in the place of the upstream's.
    RouteTimeouts is "`timeouts` of a route" {
        /// TCP connect and TLS handshake.
        connect: Duration, within(millis(1)..=HOUR);
        /// From the request until the response head.
        response: Duration, within(millis(1)..=HOUR);
        /// Longest pause within the response body. Follows `response` where neither the route nor
        /// the upstream gives one.
        read: Duration, within(millis(1)..=HOUR);
        /// The whole exchange.
        total: Duration, within(millis(1)..=DAY);
        /// How long a WebSocket may be silent.
        tunnel: Duration, within(millis(1)..=DAY);
    }
}

section! {
    /// `[[routes]]`
    Route is "[[routes]]" {
        /// For metrics and logs. `host` and `path` joined where absent.
        name: String;
        /// `shop.example`, or `*.shop.example` for any name below it; lower case, without port. One,
        /// or a list. Any host where absent.
        host: OneOrMany<HostPattern>;
        /// `/cart` is this path only. `/products/*` is every path that starts with `/products/`,
        /// so `/products/` too, but not `/products`. `/products/:id/reviews` takes any one
        /// non-empty segment for `:id`.
        path: PathPattern, or("/*");
        /// In the place of `path`: a regular expression that matches the path, somewhere in it unless
        /// `^` and `$` say otherwise. The path is normalised: what is percent-encoded in it stays so.
        /// Tried in the order of the file, after patterns of whole paths and before those that end in
        /// `*`.
        path_regex: PathRegex;
        /// With a `path` that ends in `*`: it goes before every `path_regex`.
        before_regex: bool, or(false);
        /// Methods that it takes, GET with HEAD; others get `405`, unless another route has the same
        /// host and path for them. Any where absent.
        methods: List<MethodName>;
        /// Name of an upstream. One is needed unless there is `files`, `redirect` or `respond`.
        upstream: String;
        /// Answer with the files of a folder. `docs/files.md` tells more.
        files: Files;
        /// Send visitors elsewhere.
        redirect: Redirect;
        /// Answer everybody alike.
        respond: Respond;
        /// The target that the upstream is asked for in the place of the visitor's, such as
        /// `"/internal{path}"`, or a table with `pattern` and `to`. The query goes along unless one is
        /// written. What is stored is found, and purged, by what visitors ask for.
        rewrite: RewriteEntry;
        /// Leave this out at the beginning of the path that the upstream is asked for: `"/api"`.
        strip_prefix: RequestPath;
        /// `Host` that the upstream gets: `"visitor"`: what the visitor asked for, `"upstream"`: what its
        /// servers are called, or a name.
        upstream_host: UpstreamHost, or("visitor");
        /// Changes of the fields that the upstream gets.
        request_headers: RequestHeaders;
        /// Changes of the fields that visitors get, after those of `[server]`. One table, or a list.
        response_headers: OneOrMany<ResponseHeaders>;
        /// Name of a cache policy. Absent: nothing is stored or served from the store.
        cache: String;
        /// Names of limits; a request must pass all of them.
        limits: List<String>, empty;
        /// Names of address lists; whoever is on none of them gets `403`. Everyone may come where
        /// absent.
        allow: List<String>;
        /// Names of address lists; whoever is on one of them gets `403`, also if `allow` names it.
        deny: List<String>, empty;
        /// What its requests matter where an upstream's `concurrency` cannot take all: `"checkout"`,
        /// `"cart"`, `"browse"` or `"bot"`, the last of which is shed first. Programs are `"bot"` on
        /// routes that are `"browse"`.
        class: Class, or("browse");
        /// Largest request body; `413` beyond it. 1 MiB: a form, not an upload.
        max_body: Size = mib(1), Size(0)..=Size(1 << 40);
        /// Time limits that differ from the upstream's.
        timeouts: RouteTimeouts;
        /// Name of a waiting room. Absent: nobody waits.
        waiting_room: String;
        /// `Strict-Transport-Security` of its answers over TLS, in the place of the server's.
        hsts: HstsEntry;
    }
}

section! {
    /// `files` of a route
    Files is "`files`" {
        /// Folder to which the whole path is added, as with nginx's `root`: `/static/a.css` is
        /// `root` + `/static/a.css`. It, or `alias`.
        root: FolderPath;
        /// Folder in the place of the route's `path`, as with nginx's `alias`: below `path = "/static/*"`,
        /// `/static/a.css` is `alias` + `/a.css`. Where the path is a whole one, the file.
        alias: FolderPath;
        /// Files that answer for their folder, the first that is there. `[]`: folders are nothing.
        index: OneOrMany<FileName>, or(vec!["index.html"]);
        /// What answers where there is no file: `"404"`, `"upstream"`: the `upstream` of this route, or a file
        /// such as `"/index.html"`, with 200.
        fallback: FallbackName, or("404");
        /// How long browsers keep files: `Cache-Control`. With 0s they ask each time. Absent: it is left to them.
        expires: Duration, within(secs(0)..=secs(10 * 365 * 86_400));
        /// How long the store, where there is a `cache`, takes a file for unchanged.
        recheck: Duration = secs(1), secs(1)..=HOUR;
        /// Forms that may lie beside the files: `"br"` for `a.css.br`, `"zstd"` for `.zst`, `"gzip"` for
        /// `.gz`. Of those that a visitor likes equally the first is sent.
        precompressed: List<CodingName>, empty;
        /// Names that begin with a dot are served as well. `/.well-known/` always is.
        hidden: bool, or(false);
        /// Links that are followed: `"none"`, `"within"`: relative ones that stay in the folder, or `"all"`.
        symlinks: SymlinksName, or("within");
        /// What texts are written in; `"none"`: nothing is said.
        charset: CharsetName, or("utf-8");
        /// Types by the ends of names, over those that are known: `{ foo = "text/x-foo" }`.
        types: TypeTable, empty;
        /// Of files whose names say nothing.
        default_type: TypeName, or("application/octet-stream");
    }
}

section! {
    /// `redirect` of a route
    Redirect is "`redirect`" {
        /// A path such as `"/new{rest}"`, or a URL such as `"https://www.shop.example{path}{?query}"`.
        to: String, required;
        /// 302: browsers keep a 301 for good, also a wrong one. 303 makes them ask with GET; 307 and
        /// 308 keep the method.
        status: u64 = 302, 300..=399, only([301, 302, 303, 307, 308]);
    }
}

section! {
    /// `respond` of a route
    Respond is "`respond`" {
        /// Status of the answer.
        status: u64 = 200, 200..=599;
        /// Content, up to 64 KiB. Absent: none, or the page of a status from 400 on.
        body: String;
        /// File with the content, up to 1 MiB; read at start and with every reload.
        body_file: FilePath;
        /// Type of the content. Absent: what the name of the file says, or plain text.
        content_type: String;
    }
}

section! {
    /// `rewrite` of a route, written as a table
    Rewrite is "`rewrite`" {
        /// Regular expression; a path that it does not match stays as it is.
        pattern: PathRegex, required;
        /// The target, which may name the groups of `pattern`: `{1}`, or `{name}` for `(?<name>…)`.
        to: String, required;
    }
}

section! {
    /// `request_headers` of a route
    RequestHeaders is "`request_headers`" {
        /// Fields and their values, in the place of what a visitor sends. A value may have
        /// placeholders, such as `{client_ip}`.
        set: FieldTable;
        /// The same, beside what a visitor sends.
        add: FieldTable;
        /// Fields of visitors that do not go along.
        remove: List<FieldName>;
    }
}

section! {
    /// `response_headers` of a route or of `[server]`
    ResponseHeaders is "`response_headers`" {
        /// Fields and their values, in the place of what the shop says.
        set: FieldTable;
        /// The same, beside what the shop says.
        add: FieldTable;
        /// Fields that do not go along.
        remove: List<FieldName>;
        /// `"always"`, or `"success"`: answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307
        /// or 308.
        on: On, or("always");
    }
}
