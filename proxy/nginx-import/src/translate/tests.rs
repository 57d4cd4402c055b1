mod gates;
mod limits;
mod locations;
mod not_wider;
mod order;
mod properties;
mod upstreams;
mod whole;

use crate::{Import, import, testing::Memory};

fn translated(text: &str) -> Import {
    import(&Memory::of(&[("nginx.conf", text)]), "nginx.conf").expect("right")
}

/// A server with these directives, in front of an upstream.
fn server(text: &str) -> Import {
    translated(&format!(
        "http {{ upstream shop {{ server 10.0.0.1:3000; }}\nserver {{ listen 8080; server_name shop.example;\n{text}\n}} }}"
    ))
}

/// Each text in a location brings these lines, of which one that begins with `!` must not be there.
fn check(rows: &[(&str, &[&str])]) {
    for (text, expected) in rows {
        let import = server(text);
        for line in *expected {
            match line.strip_prefix('!') {
                Some(absent) => assert!(
                    !import.toml.contains(absent),
                    "{text}: {absent} in\n{}",
                    import.toml
                ),
                None => assert!(
                    import.toml.contains(line),
                    "{text}: no {line} in\n{}",
                    import.toml
                ),
            }
        }
    }
}
