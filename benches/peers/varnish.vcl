vcl 4.1;

# Varnish in front of one origin: the built-in rules, which follow the origin's Cache-Control, and nothing else.

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN@";
}

sub vcl_recv {
    if (req.url ~ "^/pass/") {
        return (pass);
    }
}
