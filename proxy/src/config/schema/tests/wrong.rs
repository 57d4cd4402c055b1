//! Texts that are wrong, for the schema and for the code alike.

use super::{read, refused};
use crate::config::Errors;

#[test]
fn wrong_files_are_refused() {
    for (wrong, why) in [
        ("[sever]", "an unknown table"),
        ("[server]\nthread = 1", "an unknown key"),
        ("[server]\nthreads = \"1\"", "a quoted number"),
        ("[server]\nthreads = 1.5", "a fraction"),
        ("[server]\nthreads = 1025", "beyond its bound"),
        ("[server]\nthreads = -1", "below its bound"),
        ("[server]\nshutdown_grace = 10", "a bare number"),
        ("[server]\nshutdown_grace = \"10\"", "no unit"),
        ("[server]\nshutdown_grace = \"10 s\"", "a space"),
        ("[server]\nmax_header_bytes = \"32K\"", "no such unit"),
        ("[server]\nmin_send_rate = \"240B\"", "no rate"),
        ("[server]\nforwarded_field = \"x-real-ip\"", "no choice"),
        ("[server]\ntrusted_proxies = \"10.0.0.0/8\"", "no list"),
        ("[server]\ntrusted_proxies = [\"ten\"]", "no network"),
        ("[server]\npid_file = \"\"", "an empty path"),
        (
            "[server]\npid_file = \"~/pid\"",
            "a path that is not expanded",
        ),
        ("[server]\nclient_network = 24", "no table"),
        ("[[server]]\nthreads = 1", "a list of tables"),
        ("[admin]", "no address"),
        ("[admin]\naddress = \"/run/dhal.sock\"", "a bare path"),
        ("[admin]\naddress = 9900", "a port alone"),
        (
            "[listeners]\naddress = \"0.0.0.0:80\"",
            "a table for a list",
        ),
        ("[[listeners]]\ntls = true", "no address"),
        ("[[listeners]]\naddress = \":80\"", "no IP address"),
        ("[[listeners]]\naddress = \"localhost:80\"", "a name"),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\ntls = \"yes\"",
            "no boolean",
        ),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\nhttps_port = 65536",
            "no port",
        ),
        ("[[certificates]]\ncert = 1", "no path"),
        ("include = \"conf.d/*.toml\"", "no list"),
        ("include = [\"conf.d/*.conf\"]", "no such name"),
        ("[tls]\nprofile = \"old\"", "no choice"),
        ("[reload]\nmax_5xx_percent = 101", "beyond its bound"),
        ("[server]\nhsts = 365", "a bare number"),
        ("[server]\nwatch_config = 1", "no boolean"),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\nclient_auth = {}",
            "no authorities",
        ),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\nclient_auth = { ca = \"a\", mode = \"ask\" }",
            "no choice",
        ),
        ("[upstreams]\nservers = [\"127.0.0.1:3000\"]", "no name"),
        (
            "[upstreams.\"a b\"]\nservers = [\"127.0.0.1:3000\"]",
            "a name with a space",
        ),
        ("[upstreams.a]", "no servers"),
        ("[upstreams.a]\nservers = \"127.0.0.1:3000\"", "no list"),
        (
            "[upstreams.a]\nservers = [\"http://127.0.0.1:3000\"]",
            "a scheme",
        ),
        ("[upstreams.a]\nservers = [\"127.0.0.1\"]", "no port"),
        ("[upstreams.a]\nservers = [{ weight = 2 }]", "no address"),
        (
            "[upstreams.a]\nservers = [{ address = \"a:1\", wieght = 2 }]",
            "an unknown key",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nbalance = \"random\"",
            "no choice",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nhash_key = \"cookie:\"",
            "no cookie",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\ntls = \"true\"",
            "a quoted boolean",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\ntls = { certs = \"a\" }",
            "an unknown key",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nconcurrency = 5",
            "neither boolean nor table",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nhealth_check = { path = \"healthz\" }",
            "a relative path",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nhealth_check = { path = \"/\", status = [\"2xx\"] }",
            "no status",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nretry = { attempts = 11 }",
            "beyond its bound",
        ),
        ("[cache]\ndisk = { path = \"/var/cache\" }", "no size"),
        ("[cache.policies.a]\nttl = 60", "a bare number"),
        ("[cache.policies.a]\nignore_query = [\"a*b\"]", "`*` within"),
        (
            "[cache.policies.a]\nbypass_cookies = [\"session*\"]",
            "a pattern of cookies",
        ),
        ("[cache.policies.a]\nkey_headers = [\"a b\"]", "no field"),
        (
            "[cache.policies.a]\nset_cookie = true",
            "a boolean for a choice",
        ),
        ("[limits.a]", "no rate"),
        ("[limits.a]\nrate = \"0/s\"", "nobody"),
        ("[limits.a]\nrate = \"50/d\"", "no such period"),
        ("[limits.a]\nrate = \"5/s\"\nkey = \"ip\"", "no such key"),
        (
            "[limits.a]\nrate = \"5/s\"\nkey = [\"ip\"]",
            "no such key in a list",
        ),
        (
            "[limits.a]\nrate = \"5/s\"\nstatus = 404",
            "not one of the two",
        ),
        ("[limits.a]\nrate = \"5/s\"\nburst = 0", "below its bound"),
        ("[[routes]]\npath = \"cart\"\nupstream = \"a\"", "no `/`"),
        ("[[routes]]\npath = \"/a?b\"\nupstream = \"a\"", "a query"),
        (
            "[[routes]]\npath = \"/a*\"\nupstream = \"a\"",
            "`*` within a segment",
        ),
        (
            "[[routes]]\nhost = \"Shop.example\"\nupstream = \"a\"",
            "upper case",
        ),
        (
            "[[routes]]\nhost = \"shop.example:80\"\nupstream = \"a\"",
            "a port",
        ),
        ("[[routes]]\nupstream = \"a\"\nlimits = \"b\"", "no list"),
        (
            "[[routes]]\nupstream = \"a\"\nmethods = [\"get\"]",
            "lower case",
        ),
        ("[[routes]]\nredirect = {}", "no destination"),
        (
            "[[routes]]\nfiles = { root = \"a\", precompressed = [\"lzma\"] }",
            "no coding",
        ),
        (
            "[[routes]]\nfiles = { root = \"a\", fallback = \"403\" }",
            "no fallback",
        ),
        ("[[routes]]\nrespond = { status = 100 }", "below its bound"),
        (
            "[[routes]]\nupstream = \"a\"\nrewrite = { pattern = \"^/a\" }",
            "no target",
        ),
        (
            "[[routes]]\nupstream = \"a\"\nrequest_headers = { set = { a = 1 } }",
            "a number",
        ),
        (
            "[[routes]]\nupstream = \"a\"\nrequest_headers = { remove = [\"a b\"] }",
            "no field",
        ),
        (
            "[[routes]]\nupstream = \"a\"\nresponse_headers = { on = \"failure\" }",
            "no choice",
        ),
        ("[[routes]]\nupstream = \"a\"\nclass = \"buy\"", "no choice"),
        ("[waiting_rooms.a]\ncapacity = 0", "nobody"),
        (
            "[waiting_rooms.a]\ncapacity = 1\nopens = 2026-11-27T12:00:00",
            "no offset",
        ),
        (
            "[waiting_rooms.a]\ncapacity = 1\nopens = 2026-11-27",
            "no time",
        ),
        (
            "[waiting_rooms.a]\ncapacity = 1\nkeys = [{ id = \"a\" }]",
            "no file",
        ),
        ("[access_log]\nformat = \"xml\"", "no choice"),
    ] {
        assert!(refused(wrong).is_some(), "{why}:\n{wrong}");
        assert!(
            matches!(read(wrong), Err(Errors::Invalid(_))),
            "the code takes it: {wrong}"
        );
    }
}

/// The file that gets texts of all kinds at its end, or before a table.
const BARE: &str = r#"[[listeners]]
address = "127.0.0.1:80"
[upstreams.a]
servers = ["a:1"]
[cache.policies.p]
[limits.l]
rate = "1/s"
[[routes]]
upstream = "a"
"#;

/// The schema refuses no text that the code takes.
#[test]
fn no_pattern_is_stricter_than_the_code() {
    let before = |table: &str, line: String| BARE.replace(table, &format!("{line}\n{table}"));
    let mut taken = 0;
    for c in (' '..='\u{7f}').chain(['ঢ', '\u{a0}']) {
        let c = match c {
            '"' | '\\' => format!("\\{c}"),
            '\u{7f}' => "\\u007f".to_owned(),
            _ => c.to_string(),
        };
        for text in [
            BARE.replace("a:1", &format!("a{c}b:1")),
            BARE.replace("1/s", &format!("{c}1/s")),
            before("[cache", format!("hash_key = \"header:{c}\"")),
            before("[cache", format!("hash_key = \"cookie:{c}\"")),
            before("[cache", format!("health_check = {{ path = \"/{c}\" }}")),
            before(
                "[cache",
                format!("health_check = {{ path = \"/\", host = \"a{c}b\" }}"),
            ),
            before("[limits", format!("ignore_query = [\"{c}\"]")),
            before("[limits", format!("ignore_query = [\"a{c}b*\"]")),
            before("[limits", format!("key_cookies = [\"{c}\"]")),
            before("[limits", format!("key_headers = [\"a{c}\"]")),
            before("[[routes", format!("key = \"param:{c}\"")),
            format!("{BARE}path = \"/{c}\""),
            format!("{BARE}path = \"/a{c}\""),
            format!("{BARE}path = \"/a/{c}b/*\""),
            format!("{BARE}host = \"a{c}b\""),
            format!("{BARE}host = \"{c}.a\""),
            format!("{BARE}[access_log]\npath = \"{c}\""),
            format!("{BARE}[access_log]\npath = \"~{c}\""),
        ] {
            if read(&text).is_ok() {
                taken += 1;
                assert_eq!(refused(&text), None, "{text}");
            }
        }
    }
    assert!(taken > 500, "only {taken} texts were taken");
    for text in [
        BARE.replace("a:1", "[::1]:3000"),
        BARE.replace("a:1", "shop_1.internal.:3000"),
        BARE.replace("1/s", "007/h"),
        before("[cache", "shop_window = \"005d\"".to_owned()),
        format!("{BARE}host = \"[::1]\""),
        format!("{BARE}host = \"*.shop.example\""),
        format!("{BARE}path = \"/*\""),
        format!("{BARE}path = \"/:id/a:b/*\""),
        format!("{BARE}[server]\ntrusted_proxies = [\"::ffff:10.0.0.1\", \"fd00::/8\"]"),
        format!("{BARE}[server]\nresolvers = [\"[2001:db8::1]:53\", \"[fe80::1%2]:53\"]"),
        format!("{BARE}[admin]\naddress = [\"unix:admin.sock\", \"[::1]:9900\"]"),
    ] {
        read(&text).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(refused(&text), None, "{text}");
    }
}
