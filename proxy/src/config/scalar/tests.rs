//! What is taken, and what is not.

use std::net::SocketAddr;

use super::*;
use crate::config::read::Scalar;

fn check<T: Scalar>(valid: &[&str], wrong: &[&str]) {
    for text in valid {
        assert!(T::parse(text).is_ok(), "{text}");
    }
    for text in wrong {
        assert!(T::parse(text).is_err(), "{text}");
    }
}

#[test]
fn addresses() {
    check::<SocketAddr>(
        &["127.0.0.1:0", "0.0.0.0:80", "[::]:443", "[::1]:8080"],
        &[
            "",
            "8080",
            ":8080",
            "localhost:8080",
            "::1:8080",
            "127.0.0.1",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
        ],
    );
    check::<ServerAddress>(
        &[
            "127.0.0.1:3000",
            "[::1]:3000",
            "shop:3000",
            "shop_1.internal.:3000",
        ],
        &[
            "",
            "shop",
            ":3000",
            "shop:",
            "shop:0",
            "shop:99999",
            "127.0.0.1:0",
            "0.0.0.0:3000",
            "127.1:3000",
            "http://shop:3000",
            "shop:3000/",
            "sh op:3000",
            "user@shop:3000",
            "unix:/run/shop.sock",
            "দোকান:3000",
        ],
    );
    check::<AdminEndpoint>(
        &[
            "127.0.0.1:9900",
            "unix:/run/dhal/admin.sock",
            "unix:../var/admin.sock",
        ],
        &[
            "",
            "unix:",
            "/run/dhal/admin.sock",
            "localhost:9900",
            "9900",
        ],
    );
    check::<Network>(
        &["10.0.0.0/8", "10.0.0.1", "fd00::/8", "::1"],
        &["", "10.0.0.0/33", "10.0.0", "any"],
    );
}

#[test]
fn paths_and_names() {
    check::<FilePath>(&["/a", "../a b", "দোকান.pem"], &["", "~/a", "a\0"]);
    check::<FolderPath>(&["/var/cache/dhal", "../store"], &["", "~/store", "a\0"]);
    check::<LogPath>(&["stdout", "/var/log/dhal.log"], &["", "stderr", "off"]);
    check::<RequestPath>(
        &["/", "/healthz?full=1"],
        &["", "healthz", "/a b", "/a#b", "/ঢ", "/a\r\nX: y"],
    );
    check::<QueryName>(
        &["a", "utm_*", "*", "a.b[]"],
        &["", "*a", "a*b", "a=b", "a b", "a&b", "**"],
    );
    check::<CookieName>(
        &["session", "__Host-id"],
        &["", "a b", "a=b", "a;b", "sess*"],
    );
}
