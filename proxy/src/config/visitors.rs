//! What `[server]` asks of visitors and their connections, and whom a listener believes.

use super::{
    context::Context,
    diagnostic::Complaint,
    file::{self, File},
    model::{ClientNetwork, ForwardedField, Visitors},
    read::Field,
};

pub(super) fn visitors(server: &file::Server, cx: &mut Context<'_>) -> Visitors {
    let empty = file::ClientNetwork::empty(cx);
    let network = server.client_network.value().unwrap_or(&empty);
    if let (Some(span), true) = (
        &server.max_connections_per_client.span,
        server.max_connections_per_client.value > server.max_connections.value,
    ) {
        cx.warning(
            span.clone(),
            "`max_connections_per_client` does nothing: it is more than `max_connections`",
        );
    }
    let bits = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
    Visitors {
        max_per_client: server.max_connections_per_client.value as usize,
        network: ClientNetwork {
            ipv4: bits(network.ipv4.value),
            ipv6: bits(network.ipv6.value),
        },
        min_receive_rate: server.min_receive_rate.value.0,
        min_send_rate: server.min_send_rate.value.0,
        rate_grace: server.rate_grace.value,
        forwarded_field: server
            .forwarded_field
            .value()
            .copied()
            .unwrap_or(ForwardedField::XForwardedFor),
    }
}

/// A PROXY header is believed from somebody, or from nobody.
pub(super) fn proxy_protocol(file: &File, cx: &mut Context<'_>) {
    let none = match &file.server {
        Field::Absent => true,
        Field::Wrong => false,
        Field::Given(server) => match &server.get_ref().trusted_proxies {
            Field::Absent => true,
            Field::Wrong => false,
            Field::Given(list) => list.get_ref().written == 0,
        },
    };
    if !none {
        return;
    }
    for section in file.listeners.items() {
        let listener = section.get_ref();
        let given = listener.proxy_protocol.given();
        if let Some(given) = given.filter(|given| *given.get_ref()) {
            cx.error(
                given.span(),
                Complaint::new("`proxy_protocol` needs `server.trusted_proxies`: nobody's PROXY header would be believed, and every connection closed")
                    .help("name the addresses of the balancers in `server.trusted_proxies`"),
            );
        }
    }
}
