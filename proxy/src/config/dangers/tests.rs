use std::path::Path;

use super::super::{Severity, Surroundings, parse};

const BASE: &str = "\
[[listeners]]
address = '127.0.0.1:8080'
[upstreams.shop]
servers = ['127.0.0.1:3000']
";

/// What is warned of, each with its line.
fn warned(text: &str) -> Vec<(usize, String)> {
    let surroundings = Surroundings {
        folder: Path::new("/etc/dhal"),
        env: &|_| None,
    };
    let loaded = match parse("dhal.toml", text, &surroundings) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{errors}"),
    };
    let warnings = loaded.warnings.into_iter();
    warnings
        .inspect(|d| assert_eq!(d.severity, Severity::Warning))
        .map(|d| (d.line, d.message))
        .collect()
}

/// Each case is what follows the base, whose four lines come first, and the warnings by line and a part of them.
#[test]
fn dangers_are_told() {
    let rows: &[(&str, &[(usize, &str)])] = &[
        ("[[routes]]\nupstream = 'shop'\n", &[]),
        // Guarded paths without a limit.
        (
            "[[routes]]\npath = '/login'\nupstream = 'shop'\n",
            &[(6, "is for `/login` and has no limit")],
        ),
        (
            "[[routes]]\npath = '/Checkout/*'\nupstream = 'shop'\n",
            &[(6, "for `/Checkout`")],
        ),
        (
            "[[routes]]\npath = '/cart/:id'\nupstream = 'shop'\n",
            &[(6, "for `/cart`")],
        ),
        ("[[routes]]\npath = '/cartoons'\nupstream = 'shop'\n", &[]),
        ("[[routes]]\npath = '/:cart'\nupstream = 'shop'\n", &[]),
        (
            "[limits.few]\nrate = '5/s'\n[[routes]]\npath = '/login'\nupstream = 'shop'\nlimits = ['few']\n",
            &[],
        ),
        (
            "[address_lists.us]\nentries = ['10.0.0.0/8']\n[[routes]]\npath = '/admin/*'\nupstream = 'shop'\nallow = ['us']\n",
            &[],
        ),
        // What no path has.
        (
            "[[routes]]\npath_regex = '^/a%2fb'\nupstream = 'shop'\n[[routes]]\npath_regex = '^/a/b'\nupstream = 'shop'\n",
            &[(6, "no path that routes are chosen by fits `^/a%2fb`")],
        ),
        (
            "[server]\nencoded_slashes = 'keep'\n[[routes]]\npath_regex = '^/a%2Fb'\nupstream = 'shop'\n",
            &[],
        ),
        (
            "concurrency = true\n[[routes]]\npath = '/buy'\nupstream = 'shop'\nclass = 'checkout'\n",
            &[(7, "is of class `checkout` and has no limit")],
        ),
        // Pages of one visitor in the store.
        (
            "[cache.policies.pages]\nttl = '1m'\n[limits.few]\nrate = '5/s'\n[[routes]]\npath = '/account'\nupstream = 'shop'\nlimits = ['few']\ncache = 'pages'\n",
            &[(13, "pages of `/account` are one visitor's")],
        ),
        (
            "[cache.policies.pages]\nttl = '1m'\nbypass_cookies = ['s']\n[limits.few]\nrate = '5/s'\n[[routes]]\npath = '/account'\nupstream = 'shop'\nlimits = ['few']\ncache = 'pages'\n",
            &[],
        ),
        (
            "[limits.few]\nrate = '5/s'\n[[routes]]\npath = '/account'\nupstream = 'shop'\nlimits = ['few']\ncache = 'default'\n",
            &[],
        ),
        // Routes that are never chosen.
        (
            "[[routes]]\npath = '/a/*'\nupstream = 'shop'\n[[routes]]\npath = '/a/'\nupstream = 'shop'\n[[routes]]\npath = '/a/:x'\nupstream = 'shop'\n[[routes]]\npath = '/a/:y/*'\nupstream = 'shop'\n",
            &[(6, "never matches")],
        ),
        (
            "[[routes]]\npath = '/a/*'\nupstream = 'shop'\n[[routes]]\npath = '/a/:x'\nupstream = 'shop'\n[[routes]]\npath = '/a/:y/*'\nupstream = 'shop'\n",
            &[],
        ),
        (
            "[[routes]]\npath = '/a/*'\nupstream = 'shop'\n[[routes]]\nhost = 'b'\npath = '/a/'\nupstream = 'shop'\n[[routes]]\npath = '/a/:x'\nupstream = 'shop'\n[[routes]]\npath = '/a/:y/*'\nupstream = 'shop'\n",
            &[],
        ),
        (
            "[[routes]]\nupstream = 'shop'\npath = '/*'\n[[routes]]\npath = '/'\nupstream = 'shop'\n[[routes]]\npath = '/:x'\nupstream = 'shop'\n[[routes]]\npath = '/:y/*'\nupstream = 'shop'\n",
            &[(7, "never matches")],
        ),
        // Routes for nobody.
        (
            "[address_lists.none]\nentries = []\n[[routes]]\nupstream = 'shop'\nallow = ['none']\n",
            &[(9, "nobody is on the lists of `allow`")],
        ),
        (
            "[address_lists.us]\nentries = ['10.0.0.1']\n[[routes]]\nupstream = 'shop'\nallow = ['us']\ndeny = ['us']\n",
            &[(9, "is kept out by `deny`")],
        ),
        (
            "[address_lists.us]\nentries = ['10.0.0.1']\n[server]\ndeny = ['us']\n[[routes]]\nupstream = 'shop'\nallow = ['us']\n",
            &[(11, "is kept out by `deny`")],
        ),
        (
            "[address_lists.none]\nentries = []\n[address_lists.us]\nentries = ['10.0.0.1']\n[[routes]]\nupstream = 'shop'\nallow = ['none', 'us']\n",
            &[],
        ),
        (
            "[address_lists.later]\nfile = 'later.txt'\n[[routes]]\nupstream = 'shop'\nallow = ['later']\n",
            &[],
        ),
        // Lists with everybody.
        (
            "[address_lists.all]\nentries = ['0.0.0.0/0']\n[[routes]]\nupstream = 'shop'\nallow = ['all']\n",
            &[(
                9,
                "`all` has every IPv4 address on it (line 6): `allow` keeps nobody out",
            )],
        ),
        (
            "[address_lists.all]\nentries = ['0.0.0.0/1', '128.0.0.0/1', '::/0']\n[server]\ndeny = ['all']\n[[routes]]\nupstream = 'shop'\n",
            &[(8, "every address on it")],
        ),
        (
            "[address_lists.all]\nentries = ['::/0']\n[limits.few]\nrate = '5/s'\nexempt = ['all']\n[[routes]]\nupstream = 'shop'\nlimits = ['few']\ndeny = ['all']\n",
            &[
                (9, "this limit counts none of them"),
                (13, "this route refuses them all"),
            ],
        ),
        (
            "[address_lists.half]\nentries = ['0.0.0.0/1']\n[[routes]]\nupstream = 'shop'\nallow = ['half']\n",
            &[],
        ),
        // In the clear beside TLS.
        (
            "[[routes]]\nupstream = 'shop'\n[[listeners]]\naddress = '0.0.0.0:443'\ntls = true\n[[listeners]]\naddress = '0.0.0.0:80'\n[[certificates]]\ncert = 'a'\nkey = 'b'\n",
            &[(11, "serves in the clear")],
        ),
        (
            "[[routes]]\nupstream = 'shop'\n[[listeners]]\naddress = '0.0.0.0:443'\ntls = true\n[[listeners]]\naddress = '0.0.0.0:80'\nredirect_to_https = true\n[[certificates]]\ncert = 'a'\nkey = 'b'\n",
            &[],
        ),
        (
            "[[routes]]\nupstream = 'shop'\n[[listeners]]\naddress = '0.0.0.0:80'\n",
            &[],
        ),
    ];
    for (text, expected) in rows {
        let said = warned(&format!("{BASE}{text}"));
        assert_eq!(said.len(), expected.len(), "{text}\n{said:?}");
        for ((line, message), (wanted_line, part)) in said.iter().zip(*expected) {
            assert_eq!(line, wanted_line, "{text}\n{said:?}");
            assert!(message.contains(part), "{text}\n{said:?}");
        }
    }
}

#[test]
fn nothing_is_warned_of_beside_an_error() {
    let surroundings = Surroundings {
        folder: Path::new("/etc/dhal"),
        env: &|_| None,
    };
    let text = format!("{BASE}[[routes]]\npath = '/login'\nupstream = 'shpo'\n");
    let errors = parse("dhal.toml", &text, &surroundings).unwrap_err();
    assert!(!errors.to_string().contains("has no limit"), "{errors}");
}
