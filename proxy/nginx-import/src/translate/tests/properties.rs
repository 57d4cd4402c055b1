//! What holds for every text.

use proptest::prelude::*;

use super::server;

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/a/".to_owned()),
        Just("$1".to_owned()),
        Just("http://shop/x".to_owned()),
        Just("301".to_owned()),
        Just("zone=a".to_owned()),
        Just("all".to_owned()),
        Just("~".to_owned()),
        "[a-z$:/.=0-9^(*é]{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Whatever stands behind the directives that are known, nothing panics, and all is accounted for.
    #[test]
    fn nothing_panics(
        rows in prop::collection::vec(
            (
                prop::sample::select(&[
                    "listen", "server_name", "return", "rewrite", "proxy_pass", "proxy_cache",
                    "proxy_cache_valid", "limit_req", "allow", "deny", "add_header", "expires",
                    "root", "alias", "try_files", "if", "location", "proxy_set_header", "set",
                    "client_max_body_size", "auth_basic", "ssl_certificate", "limit_conn",
                    "proxy_read_timeout", "resolver", "limit_except", "grpc_pass", "internal",
                ][..]),
                prop::collection::vec(word(), 0..4),
            ),
            0..8,
        ),
        nested in any::<bool>(),
    ) {
        let mut text = String::new();
        for (name, words) in &rows {
            let words: Vec<_> = words.iter().map(|w| format!("\"{w}\"")).collect();
            let end = match *name {
                "location" | "if" | "limit_except" => "{ return 404; }",
                _ => ";",
            };
            text += &format!("{name} {} {end}\n", words.join(" "));
        }
        if nested {
            text = format!("location /n/ {{ {text} }}");
        }
        let import = server(&text);
        let report = &import.report;
        prop_assert_eq!(report.translated + report.idle + report.differs + report.missing, report.directives);
    }
}
