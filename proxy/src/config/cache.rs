//! `[cache]`: the store in memory and on disk, and its policies.

use std::{ops::Range, path::Path};

use toml::Spanned;

use super::{
    context::Context,
    diagnostic::{Complaint, shown},
    file::{self, File},
    model::{Cache, CachePolicy, Disk, SetCookie},
    read::{Field, List},
    scalar::{ClientControl, CookieName},
    units::{Shown, Size},
};

/// Objects that the disk must be able to hold at once: with fewer, one download would push out what
/// everybody else reads.
const DISK_OBJECTS_LEAST: u64 = 4;

/// Folders that are emptied at boot, and where every user of the machine may put files.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Fields, or cookies, of a key. Each multiplies the variants of a page.
const KEY_PARTS_MAX: usize = 16;

pub(super) fn cache(given: Option<&file::Cache>, cx: &mut Context<'_>) -> Cache {
    let empty = file::Cache::empty(cx);
    let cache = given.unwrap_or(&empty);
    let (memory, object) = (cache.memory.value, cache.max_object.value);
    if let (true, Some(span)) = (object > memory, &cache.max_object.span) {
        cx.error(
            span.clone(),
            format!("`max_object` is larger than `memory`, {}", memory.shown()),
        );
    }
    Cache {
        memory: memory.0,
        max_object: object.min(memory).0,
        lock_timeout: cache.lock_timeout.value,
        disk: cache.disk.given().and_then(|disk| self::disk(disk, cx)),
    }
}

fn disk(section: &Spanned<file::Disk>, cx: &mut Context<'_>) -> Option<Disk> {
    let disk = section.get_ref();
    let path = disk.path.require("path", section.span(), cx);
    let size = disk.size.require("size", section.span(), cx);
    let path = path.map(|written| {
        let path = cx.path(&written.get_ref().0);
        scratch(&path, written.span(), cx);
        path
    });
    let size = size?;
    let room = Size(size.get_ref().0 / DISK_OBJECTS_LEAST);
    let object = disk.max_object.value;
    if let (true, Some(span)) = (object > room, &disk.max_object.span) {
        cx.error(
            span.clone(),
            format!(
                "`max_object` is larger than a quarter of `size`, {}",
                room.shown()
            ),
        );
    }
    Some(Disk {
        path: path?,
        size: size.get_ref().0,
        max_object: object.min(room).0,
    })
}

fn scratch(path: &Path, span: Range<usize>, cx: &mut Context<'_>) {
    if let Some(folder) = SCRATCH.iter().find(|folder| path.starts_with(folder)) {
        cx.warning(
            span,
            Complaint::new(format!(
                "{folder} is emptied at boot, and every user of this machine may put files there"
            ))
            .help("use a folder of its own, such as \"/var/cache/dhal\""),
        );
    }
}

/// The name of the policy that every configuration has.
pub(super) const BUILT_IN_POLICY: &str = "default";

/// All policies, the built-in one first.
pub(super) fn policies(file: &File, cx: &mut Context<'_>) -> Vec<CachePolicy> {
    let built_in = file::Policy::empty(cx);
    let mut policies = vec![policy(BUILT_IN_POLICY, &built_in, cx)];
    for (name, policy) in file.policies().map_or(&[][..], Field::entries) {
        if name.get_ref() == BUILT_IN_POLICY {
            cx.error(
                name.span(),
                Complaint::new("the policy `default` is built in")
                    .help("choose another name, and name it in the routes"),
            );
        }
        let Some(policy) = policy.value() else {
            continue;
        };
        policies.push(self::policy(name.get_ref(), policy, cx));
    }
    policies
}

fn policy(name: &str, policy: &file::Policy, cx: &mut Context<'_>) -> CachePolicy {
    for name in policy.ignore_query.items() {
        if name.get_ref().0 == "*" {
            cx.warning(
                name.span(),
                "all of the query is ignored: `/search?q=a` and `/search?q=b` share one response",
            );
        }
    }
    key(policy, cx);
    sharing(policy, cx);
    let is_on = |field: &Field<bool>, default| field.value().copied().unwrap_or(default);
    CachePolicy {
        name: name.to_owned(),
        ttl: policy.ttl.value().copied(),
        stale_while_revalidate: policy.stale_while_revalidate.value,
        stale_if_error: policy.stale_if_error.value,
        ignore_query: each(&policy.ignore_query, |name| name.0.clone()),
        bypass_cookies: each(&policy.bypass_cookies, |name| name.0.clone()),
        key_headers: each(&policy.key_headers, |name| name.0.clone()),
        key_cookies: each(&policy.key_cookies, |name| name.0.clone()),
        sort_query: is_on(&policy.sort_query, false),
        set_cookie: policy.set_cookie.value().copied().unwrap_or_default(),
        honour_client: policy.client_cache_control.value() == Some(&ClientControl::Honour),
        x_accel_expires: is_on(&policy.accept_x_accel_expires, false),
        surrogate_control: is_on(&policy.accept_surrogate_control, false),
        compress: is_on(&policy.compress, true),
    }
}

fn each<T, U>(list: &Field<List<T>>, plain: impl Fn(&T) -> U) -> Vec<U> {
    list.items()
        .iter()
        .map(|item| plain(item.get_ref()))
        .collect()
}

/// What tells variants of a page apart.
fn key(policy: &file::Policy, cx: &mut Context<'_>) {
    distinct("key_headers", &policy.key_headers, cx);
    distinct("key_cookies", &policy.key_cookies, cx);
    for name in policy.key_headers.items() {
        if name.get_ref().differs_by_visitor() {
            cx.warning(
                name.span(),
                Complaint::new(format!(
                    "almost every visitor has their own {}, and so their own copy of every page",
                    shown(name.get_ref().0.as_str())
                ))
                .help("let the shop answer alike, or key on a field with few values"),
            );
        }
    }
    let bypassed = policy.bypass_cookies.items();
    for cookie in policy.key_cookies.items() {
        let CookieName(name) = cookie.get_ref();
        if let Some(other) = bypassed.iter().find(|other| other.get_ref().0 == *name) {
            cx.error(
                cookie.span(),
                Complaint::new(format!(
                    "{} keeps requests from the store, {}, so it cannot choose what is answered from it",
                    shown(name),
                    cx.line(&other.span())
                ))
                .help("remove it from `key_cookies` or from `bypass_cookies`"),
            );
        }
    }
}

/// Names are given once, and there are few of them.
fn distinct<T: PartialEq>(key: &str, list: &Field<List<T>>, cx: &mut Context<'_>) {
    let items = list.items();
    for (i, item) in items.iter().enumerate() {
        let before = items[..i].iter();
        if before.clone().any(|one| one.get_ref() == item.get_ref()) {
            cx.error(item.span(), format!("this is listed twice in `{key}`"));
        }
    }
    if let Some(beyond) = items.get(KEY_PARTS_MAX) {
        cx.error(
            beyond.span(),
            format!(
                "`{key}` has at most {KEY_PARTS_MAX} names: each multiplies the copies of a page"
            ),
        );
    }
}

/// Legal, but one visitor may get what is another's, or undo what the store is for.
fn sharing(policy: &file::Policy, cx: &mut Context<'_>) {
    if let Some(choice) = policy.set_cookie.given() {
        match choice.get_ref() {
            SetCookie::Refuse => {}
            SetCookie::Strip => cx.warning(
                choice.span(),
                "answers from the store set no cookie: `Set-Cookie` is taken off what is stored",
            ),
            SetCookie::Store => cx.warning(
                choice.span(),
                Complaint::new("cookies of one visitor are given to all")
                    .help("store only what sets the same cookie for everyone, and never a session"),
            ),
        }
    }
    if let Some(choice) = policy
        .client_cache_control
        .given()
        .filter(|choice| *choice.get_ref() == ClientControl::Honour)
    {
        cx.warning(
            choice.span(),
            Complaint::new("visitors can empty the cache: a reload in a browser goes to the shop")
                .help("honour it only where all visitors are your own"),
        );
    }
}
