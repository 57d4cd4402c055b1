//! Directives that the translation does not look at by themselves: those that need no word in Dhal, and
//! a word of advice for those that have no counterpart.

use crate::tree::Directive;

/// What is known of a directive that nobody has looked at.
pub(super) enum Known {
    /// Dhal does it by itself, or has nothing for which it would be needed.
    Needless,
    /// Dhal does it in another way.
    Differs(&'static str),
    /// It would have been carried over, had it been in force anywhere.
    Handled,
    /// It is not carried over.
    Missing(&'static str),
}

/// Buffers, sockets, event loops, and what Dhal does anyway.
const NEEDLESS: &[&str] = &[
    "accept_mutex",
    "aio",
    "aio_write",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_body_in_file_only",
    "client_body_in_single_buffer",
    "client_body_temp_path",
    "client_header_buffer_size",
    "connection_pool_size",
    "daemon",
    "debug_connection",
    "directio",
    "directio_alignment",
    "etag",
    "events",
    "gzip_buffers",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_http_version",
    "gzip_min_length",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
    "http2",
    "http2_chunk_size",
    "http2_max_concurrent_streams",
    "http2_recv_buffer_size",
    "ignore_invalid_headers",
    "include",
    "keepalive_disable",
    "keepalive_requests",
    "lingering_close",
    "lingering_time",
    "lingering_timeout",
    "load_module",
    "lock_file",
    "log_not_found",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "max_ranges",
    "merge_slashes",
    "multi_accept",
    "open_file_cache",
    "open_file_cache_errors",
    "open_file_cache_min_uses",
    "open_file_cache_valid",
    "open_log_file_cache",
    "output_buffers",
    "pcre_jit",
    "port_in_redirect",
    "postpone_output",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_cache_convert_head",
    "proxy_cache_revalidate",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_http_version",
    "proxy_max_temp_file_size",
    "proxy_request_buffering",
    "proxy_socket_keepalive",
    "proxy_temp_file_write_size",
    "proxy_temp_path",
    "read_ahead",
    "request_pool_size",
    "reset_timedout_connection",
    "sendfile",
    "sendfile_max_chunk",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "ssl_buffer_size",
    "ssl_early_data",
    "ssl_prefer_server_ciphers",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "tcp_nodelay",
    "tcp_nopush",
    "thread_pool",
    "timer_resolution",
    "types_hash_bucket_size",
    "types_hash_max_size",
    "use",
    "variables_hash_bucket_size",
    "worker_cpu_affinity",
];

/// More of them.
const NEEDLESS_TOO: &[&str] = &[
    "variables_hash_max_size",
    "worker_connections",
    "worker_priority",
    "worker_rlimit_core",
    "worker_rlimit_nofile",
    "worker_shutdown_timeout",
    "working_directory",
    "recursive_error_pages",
    "proxy_cache_max_range_offset",
    "pid",
    "rewrite_log",
    "absolute_redirect",
];

/// What the rest of the translation reads where it is in force.
const HANDLED: &[&str] = &[
    "access_log",
    "add_header",
    "alias",
    "allow",
    "auth_basic_user_file",
    "break",
    "client_body_timeout",
    "client_header_timeout",
    "client_max_body_size",
    "default_type",
    "deny",
    "disable_symlinks",
    "expires",
    "fastcgi_param",
    "grpc_pass",
    "gzip",
    "gzip_static",
    "hash",
    "index",
    "internal",
    "ip_hash",
    "keepalive",
    "keepalive_timeout",
    "large_client_header_buffers",
    "least_conn",
    "limit_conn",
    "limit_conn_zone",
    "limit_req",
    "limit_req_dry_run",
    "limit_req_status",
    "limit_req_zone",
    "listen",
    "location",
    "log_format",
    "proxy_cache",
    "proxy_cache_background_update",
    "proxy_cache_bypass",
    "proxy_cache_key",
    "proxy_cache_lock",
    "proxy_cache_lock_timeout",
    "proxy_cache_methods",
    "proxy_cache_min_uses",
    "proxy_cache_path",
    "proxy_cache_use_stale",
    "proxy_cache_valid",
    "proxy_connect_timeout",
    "proxy_hide_header",
    "proxy_ignore_headers",
    "proxy_next_upstream",
    "proxy_next_upstream_timeout",
    "proxy_next_upstream_tries",
    "proxy_no_cache",
    "proxy_pass",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "proxy_set_header",
    "proxy_ssl_certificate",
    "proxy_ssl_certificate_key",
    "proxy_ssl_name",
    "proxy_ssl_server_name",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_verify",
    "random",
    "real_ip_header",
    "real_ip_recursive",
    "resolver",
    "resolver_timeout",
    "return",
    "root",
    "server",
    "server_name",
    "set_real_ip_from",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_crl",
    "ssl_protocols",
    "ssl_verify_client",
    "try_files",
    "types",
    "upstream",
    "worker_processes",
    "zone",
    "proxy_redirect",
    "send_timeout",
    "keepalive_time",
    "http",
    "charset",
];

/// What to do without it.
const ADVICE: &[(&str, &str)] = &[
    (
        "access_by_lua_block",
        "Dhal runs no scripts; what it decides belongs into the shop, or into `allow`, `deny` and limits",
    ),
    ("add_after_body", "Dhal does not change content"),
    ("add_before_body", "Dhal does not change content"),
    ("addition_types", "Dhal does not change content"),
    ("auth_jwt", "Dhal checks no tokens; let the shop do so"),
    ("auth_request_set", "Dhal asks nobody before it answers"),
    ("autoindex", "Dhal lists no folders"),
    ("autoindex_exact_size", "Dhal lists no folders"),
    ("autoindex_localtime", "Dhal lists no folders"),
    (
        "brotli",
        "Dhal compresses stored text with brotli by itself (`compress` of a cache policy)",
    ),
    (
        "content_by_lua_block",
        "Dhal runs no scripts; let the shop answer",
    ),
    ("dav_methods", "Dhal writes no files for visitors"),
    (
        "env",
        "Dhal's configuration reads the environment by `${NAME}`",
    ),
    (
        "error_page",
        "Dhal has its own pages for what it answers itself, and passes on those of the shop",
    ),
    ("flv", "Dhal serves files as they are"),
    (
        "geo",
        "Dhal has no variables; for addresses there are `[address_lists.NAME]`",
    ),
    ("geoip_city", "Dhal does not look up countries"),
    ("geoip_country", "Dhal does not look up countries"),
    ("gunzip", "Dhal decompresses nothing that it passes on"),
    (
        "header_filter_by_lua_block",
        "Dhal runs no scripts; for fields there are `request_headers` and `response_headers`",
    ),
    ("http2_push", "browsers no longer take pushes"),
    ("http2_push_preload", "browsers no longer take pushes"),
    ("image_filter", "Dhal does not change content"),
    ("init_by_lua_block", "Dhal runs no scripts"),
    ("js_import", "Dhal runs no scripts"),
    (
        "limit_rate",
        "Dhal does not slow down answers; for requests there are `[limits.NAME]`",
    ),
    ("limit_rate_after", "Dhal does not slow down answers"),
    ("log_subrequest", "Dhal has no subrequests"),
    ("mail", "Dhal speaks HTTP only; keep nginx for this"),
    ("map", "Dhal has no variables; write a route for each case"),
    ("master_process", "Dhal is one process"),
    ("mirror", "Dhal sends each request to one server"),
    (
        "more_clear_headers",
        "write `response_headers = { remove = […] }`",
    ),
    (
        "more_set_headers",
        "write `response_headers = { set = {…} }`",
    ),
    ("msie_padding", "Dhal does not change content"),
    ("mp4", "Dhal serves files as they are"),
    ("perl", "Dhal runs no scripts"),
    (
        "proxy_bind",
        "Dhal lets the system choose the address from which it connects",
    ),
    (
        "proxy_cookie_domain",
        "Dhal does not change cookies; let the shop name the right domain",
    ),
    (
        "proxy_cookie_flags",
        "Dhal does not change cookies; let the shop set the flags",
    ),
    (
        "proxy_cookie_path",
        "Dhal does not change cookies; let the shop name the right path",
    ),
    (
        "proxy_ignore_client_abort",
        "a visitor who leaves gives up the request",
    ),
    (
        "proxy_intercept_errors",
        "Dhal passes on the shop's own pages for failures",
    ),
    ("proxy_method", "Dhal passes on the visitor's method"),
    (
        "proxy_pass_request_body",
        "Dhal passes on the visitor's content",
    ),
    ("proxy_store", "for stored responses there is `cache`"),
    (
        "rewrite",
        "Dhal rewrites what an upstream is asked for; write a route with `path_regex`",
    ),
    ("satisfy", "a route's `allow` and `deny` both count"),
    (
        "set",
        "Dhal has no variables; write what it holds where it is used",
    ),
    (
        "slice",
        "Dhal stores and serves parts of large files by itself",
    ),
    (
        "split_clients",
        "Dhal has no variables; let the shop divide its visitors",
    ),
    ("ssi", "Dhal does not change content"),
    ("stream", "Dhal speaks HTTP only; keep nginx for this"),
    (
        "stub_status",
        "ask `dhal status`, or `/metrics` of the admin endpoint",
    ),
    ("sub_filter", "Dhal does not change content"),
    ("sub_filter_once", "Dhal does not change content"),
    ("sub_filter_types", "Dhal does not change content"),
    (
        "user",
        "start Dhal as that user, with CAP_NET_BIND_SERVICE for ports below 1024",
    ),
];

pub(super) fn of(directive: &Directive) -> Known {
    let name = directive.name.as_str();
    if NEEDLESS.contains(&name) || NEEDLESS_TOO.contains(&name) {
        return Known::Needless;
    }
    if name.ends_with("_temp_path") {
        return Known::Needless;
    }
    if name == "error_log" {
        return Known::Differs("Dhal writes its own log to stderr; DHAL_LOG sets what it says");
    }
    if HANDLED.contains(&name) {
        return Known::Handled;
    }
    let advice = ADVICE.iter().find(|(known, _)| *known == name);
    if let Some((_, why)) = advice {
        return Known::Missing(why);
    }
    let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    let is_lua = name.ends_with("_by_lua_block") || name.ends_with("_by_lua");
    Known::Missing(match name {
        _ if is_lua || begins(&["lua_"]) => "Dhal runs no scripts",
        _ if begins(&["fastcgi", "uwsgi", "scgi"]) => {
            "Dhal speaks HTTP to its upstreams; put a server that speaks HTTP in front of the application"
        }
        _ if begins(&["quic", "http3"]) => "Dhal speaks HTTP/1.1 and HTTP/2",
        _ if begins(&["ssl_"]) => {
            "Dhal chooses this itself; `tls_profile` of a listener says how strictly"
        }
        _ => "the importer knows no counterpart",
    })
}
