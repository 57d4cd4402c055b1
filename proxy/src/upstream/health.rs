//! Active checks: a GET to each server at an interval, and what its answers mean.

use std::{net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time};

use super::{Server, Upstream};
use crate::{config::model::HealthCheck, random};

/// Checks every server of these upstreams until the set is dropped.
pub fn watch(upstreams: &[Arc<Upstream>]) -> JoinSet<()> {
    let mut checks = JoinSet::new();
    for upstream in upstreams {
        let Some(check) = &upstream.config.health_check else {
            continue;
        };
        for server in upstream.servers().iter() {
            let (upstream, server) = (Arc::clone(upstream), Arc::clone(server));
            checks.spawn(watch_server(upstream, server, check.clone()));
        }
    }
    checks
}

async fn watch_server(upstream: Arc<Upstream>, server: Arc<Server>, check: HealthCheck) {
    let (mut well, mut ill) = (0u32, 0u32);
    loop {
        match probe(server.address, &check).await {
            Ok(()) => {
                (well, ill) = (well.saturating_add(1), 0);
                // A server that was down proves itself; one that starts out up need not.
                if well >= check.healthy && server.state.set_up(true) {
                    tracing::info!(
                        upstream = upstream.name(),
                        server = server.name,
                        "server is up"
                    );
                }
            }
            Err(why) => {
                (well, ill) = (0, ill.saturating_add(1));
                if ill >= check.unhealthy && server.state.set_up(false) {
                    tracing::warn!(upstream = upstream.name(), server = server.name, %why, "server is down");
                }
            }
        }
        // A tenth more or less, so that checks of many servers and edges do not march in step.
        let jitter = check
            .interval
            .mul_f64(0.9 + random::below(200) as f64 / 1000.0);
        time::sleep(jitter).await;
    }
}

/// One check: connect, ask, and read the answer to its end, all within the time limit.
async fn probe(address: SocketAddr, check: &HealthCheck) -> Result<(), String> {
    time::timeout(check.timeout, exchange(address, check))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {:?}", check.timeout)))
}

async fn exchange(address: SocketAddr, check: &HealthCheck) -> Result<(), String> {
    let words = |why: &dyn std::fmt::Display| why.to_string();
    let stream = TcpStream::connect(address)
        .await
        .map_err(|why| words(&why))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|why| words(&why))?;
    let driver = tokio::spawn(connection);
    let host = check.host.clone().unwrap_or_else(|| address.to_string());
    let request = Request::get(check.path.as_str())
        .header("host", host)
        .header("user-agent", "dhal-health-check")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|why| words(&why))?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|why| words(&why))?;
        let status = response.status();
        let mut body = response.into_body();
        let mut left = MAX_BODY;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|why| words(&why))?;
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(format!("status {status}"))
        }
    }
    .await;
    driver.abort();
    answer
}

/// A health page is short; more is not read.
const MAX_BODY: usize = 64 * 1024;
