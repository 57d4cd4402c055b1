"""The configurations of the run of changes for Dhal and nginx: a hundred that differ, and twenty mistakes."""

from __future__ import annotations

from dataclasses import dataclass

# Of each a number of its own is asked for, so that an answer tells which configuration is in force.
GENERATION = "/generation/{number}"

DHAL = """\
[server]
threads = 1
max_connections = {connections}
keepalive_timeout = "{keepalive}s"
header_timeout = "{header}s"
upgrade_grace = "1h"
[admin]
address = "unix:{{dir}}/admin.sock"
[tls]
profile = "{profile}"
[[listeners]]
address = "127.0.0.1:{{http}}"
[[listeners]]
address = "127.0.0.1:{{https}}"
tls = true
tls_profile = "{listener_profile}"
{listeners}[[certificates]]
cert = "{{dir}}/main.pem"
key = "{{dir}}/main.key"
[[certificates]]
folder = "{{dir}}/more"
[upstreams.shop]
servers = [{servers}]
balance = "{balance}"
health_check = {{{{ path = "/healthz", interval = "{interval}ms", timeout = "2s", healthy = 1, unhealthy = 3 }}}}
retry = {{{{ attempts = {attempts}, budget_percent = 20 }}}}
timeouts = {{{{ response = "{response}s", idle = "{idle}s" }}}}
connections = {{{{ max = {most} }}}}
[upstreams.echo]
servers = ["127.0.0.1:{{echo}}"]
timeouts = {{{{ tunnel = "{tunnel}s", response = "{response}s" }}}}
[cache]
memory = "{memory}MiB"
[cache.policies.pages]
stale_while_revalidate = "{stale}s"
[address_lists.everybody]
entries = ["0.0.0.0/0"]
[limits.many]
rate = "{rate}/s"
burst = {rate}
[limits.more]
key = "client-ip"
rate = "1000000/s"
burst = 1000000
[[routes]]
path = "/generation/{number}"
upstream = "echo"
[[routes]]
path = "/generation/*"
upstream = "echo"
deny = ["everybody"]
[[routes]]
path = "/ws"
upstream = "echo"
[[routes]]
path = "/take"
upstream = "echo"
limits = [{limits}]
[[routes]]
path = "/api/*"
upstream = "shop"
limits = [{limits}]
{routes}[[routes]]
upstream = "shop"
cache = "{cache}"
"""


def dhal(number: int) -> str:
    """The configuration of that number; `{dir}` and the ports' names are yet to be filled in."""
    n = number
    extra = ("", "", "tls = true\n", "tls = true\ntls_profile = \"modern\"\n")[n % 4]
    listeners = f'[[listeners]]\naddress = "127.0.0.1:{{extra}}"\n{extra}' if n % 4 else ""
    if n % 5 == 3:
        listeners += '[[listeners]]\naddress = "127.0.0.1:{other}"\nredirect_to_https = true\n'
    servers = ['"127.0.0.1:{shop1}"', '"127.0.0.1:{shop2}"']
    if n % 3 == 1:
        servers[1] = f'{{{{ address = "127.0.0.1:{{shop2}}", weight = {1 + n % 7} }}}}'
    if n % 2:
        servers.reverse()
    routes = "".join(
        f'[[routes]]\npath = "/offers-{n}-{place}/*"\nupstream = "shop"\ncache = "pages"\n' for place in range(n % 6)
    )
    return DHAL.format(
        number=n, connections=5000 + 10 * (n % 9), keepalive=60 + n % 20, header=10 + n % 5,
        profile=("intermediate", "modern")[n // 2 % 2], listener_profile=("modern", "intermediate")[n // 3 % 2],
        listeners=listeners, servers=", ".join(servers), balance=("least-requests", "round-robin")[n // 2 % 2],
        interval=500 + 100 * (n % 5), attempts=1 + n % 3, response=15 + n % 4, idle=30 + n % 30,
        most=(0, 64, 48)[n % 3], tunnel=600 + n, memory=64 + 8 * (n % 4), stale=1 + n % 9, rate=900_000 + n,
        limits=('"many"', '"more"', '"many", "more"', "")[n % 4], routes=routes,
        cache=("default", "pages")[n % 2],
    )


@dataclass(frozen=True)
class Mistake:
    """A text that takes the place of another one in a configuration; at its end where there is none."""

    name: str
    replaced: str
    by: str

    def made_in(self, config: str) -> str:
        """The configuration with the mistake."""
        if not self.replaced:
            return config + self.by
        if self.replaced not in config:
            raise ValueError(f"{self.name}: there is no {self.replaced!r}")
        return config.replace(self.replaced, self.by, 1)


DHAL_MISTAKES = [
    Mistake("no TOML: a quotation mark is missing", 'cache = "', "cache = "),
    Mistake("an unknown key", "keepalive_timeout", "keep_alive_timeout"),
    Mistake("an unknown section", "", "[limit.many]\n"),
    Mistake("a key twice", "[server]\n", "[server]\nthreads = 1\n"),
    Mistake("an upstream that does not exist", 'path = "/api/*"\nupstream = "shop"',
            'path = "/api/*"\nupstream = "shpo"'),
    Mistake("a limit that does not exist", "", '[[routes]]\npath = "/x"\nupstream = "shop"\nlimits = ["mny"]\n'),
    Mistake("a policy that does not exist", "", '[[routes]]\npath = "/x"\nupstream = "shop"\ncache = "pagse"\n'),
    Mistake("a number where a string is wanted", 'upstream = "shop"', "upstream = 7"),
    Mistake("a string where a number is wanted", "budget_percent = 20", 'budget_percent = "a fifth"'),
    Mistake("no duration", 'timeout = "2s"', 'timeout = "2 seconds or so"'),
    Mistake("a duration that is too long", "upgrade_grace = \"1h\"", 'upgrade_grace = "1000h"'),
    Mistake("no size", 'MiB"', 'megs"'),
    Mistake("a percentage beyond a hundred", "budget_percent = 20", "budget_percent = 120"),
    Mistake("no address of a listener", 'address = "127.0.0.1:{http}"', 'address = "localhost"'),
    Mistake("a listener twice", "", '[[listeners]]\naddress = "127.0.0.1:{http}"\n'),
    Mistake("an upstream without servers", 'servers = ["127.0.0.1:{echo}"]', "servers = []"),
    Mistake("no network", 'entries = ["0.0.0.0/0"]', 'entries = ["0.0.0.0/99"]'),
    Mistake("a certificate that is not there", "main.pem", "absent.pem"),
    Mistake("a key of another certificate", "main.key", "foreign.key"),
    Mistake("an address that is taken", "", '[[listeners]]\naddress = "127.0.0.1:{shop2}"\n'),
]

NGINX = """\
worker_processes 1;
worker_rlimit_nofile 20000;
pid {{dir}}/nginx.pid;
error_log {{dir}}/edge.log warn;
{user}events {{{{
    worker_connections {connections};
}}}}
http {{{{
    server_tokens off;
    access_log off;
    tcp_nodelay on;
    keepalive_timeout {keepalive}s;
    keepalive_requests 1000000000;
    client_header_timeout {header}s;
    client_body_temp_path {{dir}}/body;
    proxy_temp_path {{dir}}/proxy;
    fastcgi_temp_path {{dir}}/fastcgi;
    uwsgi_temp_path {{dir}}/uwsgi;
    scgi_temp_path {{dir}}/scgi;
    proxy_cache_path {{dir}}/cache levels=1:2 keys_zone=pages:16m max_size=512m inactive={inactive}m use_temp_path=off;
    limit_req_zone $binary_remote_addr zone=many:1m rate={rate}r/s;
    map $http_upgrade $kind {{{{
        default upgrade;
        '' '';
    }}}}
    upstream shop {{{{
        {servers}
        keepalive {idle};
    }}}}
    upstream echo {{{{
        server 127.0.0.1:{{echo}};
        keepalive 64;
    }}}}
    proxy_http_version 1.1;
    proxy_set_header Connection $kind;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Host $host;
    proxy_read_timeout {tunnel}s;
    server {{{{
        listen 127.0.0.1:{{http}} backlog=4096;
        listen 127.0.0.1:{{https}} ssl http2 backlog=4096 default_server;
        {listeners}
        ssl_certificate {{dir}}/main.pem;
        ssl_certificate_key {{dir}}/main.key;
        ssl_protocols {protocols};
        location = /generation/{number} {{{{ proxy_pass http://echo; }}}}
        location /generation/ {{{{ deny all; }}}}
        location = /ws {{{{ proxy_pass http://echo; }}}}
        location = /take {{{{ limit_req zone=many burst={burst} nodelay; proxy_pass http://echo; }}}}
        location /api/ {{{{ limit_req zone=many burst={burst} nodelay; proxy_pass http://shop; }}}}
        {routes}
        location / {{{{
            proxy_pass http://shop;
            proxy_cache pages;
            proxy_cache_lock on;
            proxy_cache_use_stale error timeout updating;
        }}}}
    }}}}
    server {{{{
        listen 127.0.0.1:{{https}} ssl http2;
        server_name more.localhost;
        ssl_certificate {{dir}}/more/more.pem;
        ssl_certificate_key {{dir}}/more/more.key;
        ssl_protocols {protocols};
    }}}}
}}}}
"""


def nginx(number: int, is_root: bool) -> str:
    """The same for nginx, as near as it comes."""
    n = number
    listeners = ("", "listen 127.0.0.1:{extra};", *2 * ("listen 127.0.0.1:{extra} ssl;",))[n % 4]
    servers = ["server 127.0.0.1:{shop1};", f"server 127.0.0.1:{{shop2}} weight={1 + n % 7};"]
    if n % 2:
        servers.reverse()
    routes = "".join(f"location /offers-{n}-{place}/ {{{{ proxy_pass http://shop; }}}}\n" for place in range(n % 6))
    return NGINX.format(
        number=n, user="user root;\n" if is_root else "", connections=5000 + 10 * (n % 9), keepalive=60 + n % 20,
        header=10 + n % 5, inactive=10 + n % 4, rate=1_000_000 + n % 5, servers=" ".join(servers), idle=32 + n % 30,
        tunnel=600 + n, listeners=listeners, protocols=("TLSv1.2 TLSv1.3", "TLSv1.3")[n // 2 % 2],
        burst=1000 + n, routes=routes,
    )


NGINX_MISTAKES = [
    Mistake("a semicolon is missing", "server_tokens off;", "server_tokens off"),
    Mistake("an unknown directive", "keepalive_timeout", "keep_alive_timeout"),
    Mistake("an unknown block", "", "limits {{}}\n"),
    Mistake("a directive twice", "access_log off;", "access_log off; server_tokens off;"),
    Mistake("an upstream that does not exist", "proxy_pass http://shop;", "proxy_pass http://shpo.invalid;"),
    Mistake("a limit that does not exist", "zone=many burst", "zone=mny burst"),
    Mistake("a zone of the cache that does not exist", "proxy_cache pages;", "proxy_cache pagse;"),
    Mistake("a word where a number is wanted", "worker_connections ", "worker_connections x"),
    Mistake("a bracket is missing", "events {{", "events"),
    Mistake("no duration", "keepalive_timeout ", "keepalive_timeout x"),
    Mistake("no switch", "tcp_nodelay on", "tcp_nodelay perhaps"),
    Mistake("no size", "keys_zone=pages:16m", "keys_zone=pages:16megs"),
    Mistake("no rate", "r/s;", "r/fortnight;"),
    Mistake("no port of a listener", "listen 127.0.0.1:{http}", "listen 127.0.0.1:http-port"),
    Mistake("a listener twice", "listen 127.0.0.1:{http} ", "listen 127.0.0.1:{http}; listen 127.0.0.1:{http} "),
    Mistake("an upstream without servers", "server 127.0.0.1:{echo};", ""),
    Mistake("no network", "deny all;", "deny 0.0.0.0/99;"),
    Mistake("a certificate that is not there", "main.pem", "absent.pem"),
    Mistake("a key of another certificate", "main.key", "foreign.key"),
    Mistake("an address that is taken", "listen 127.0.0.1:{http} ",
            "listen 127.0.0.1:{shop2}; listen 127.0.0.1:{http} "),
]
