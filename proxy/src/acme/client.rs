//! How an authority is asked: HTTP/1.1 over TLS, a connection for each request, bounded in time and size.

use std::{
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{HOST, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::regular;

/// Authorities answer within seconds; one that is overloaded says so.
const PATIENCE: Duration = Duration::from_secs(30);

/// A chain for a hundred names has some ten KiB.
const CONTENT_MOST: usize = 1 << 20;

/// Seconds of a pause that an authority may ask for in an answer that is none of trouble: a day.
const PAUSE_MOST: u64 = 86_400;

/// Of what an authority says, as much goes into a log line.
const DETAIL_MOST: usize = 500;

/// Asks one authority.
#[derive(Clone)]
pub(super) struct Client {
    connector: TlsConnector,
}

/// An answer without a meaning in RFC 8555: the authority is overloaded or broken, or it is none.
#[derive(Debug, thiserror::Error)]
#[error("the authority answered {status}{detail}")]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    /// Empty, or with a colon before it.
    detail: String,
    /// When to come again.
    pub(super) retry_after: Option<Duration>,
}

impl Client {
    /// Believes the authorities of a file, or the system's. An error is a sentence.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|why| why.to_string())?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    async fn ask(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let asked = timeout(PATIENCE, self.exchange(request)).await;
        let (mut parts, content) = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => {
                let host = uri.host().unwrap_or_default();
                return Err(Error::Other(format!("{host}: {why}").into()));
            }
            Err(_) => {
                let host = uri.host().unwrap_or_default();
                let late = format!("{host} does not answer within {PATIENCE:?}");
                return Err(Error::Other(late.into()));
            }
        };
        match trouble(&method, parts.status, &parts.headers, &content) {
            Some(trouble) => Err(Error::Other(Box::new(trouble))),
            None => {
                bound_pause(&mut parts.headers);
                Ok(BytesResponse {
                    parts,
                    body: Box::new(content),
                })
            }
        }
    }

    async fn exchange(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<(http::response::Parts, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let (mut parts, body) = request.into_parts();
        if parts.uri.scheme_str() != Some("https") {
            // What a directory names is believed no more than the directory itself.
            return Err("the authority names a URL that is not https".into());
        }
        let authority = parts.uri.authority().ok_or("a URL without a host")?.clone();
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(443);
        let tcp = TcpStream::connect((host.as_str(), port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host)?;
        let tls = self.connector.connect(name, tcp).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        parts.uri = target.parse()?;
        parts
            .headers
            .insert(HOST, HeaderValue::from_str(authority.as_str())?);
        let agent = concat!("dhal/", env!("CARGO_PKG_VERSION"), " instant-acme");
        parts
            .headers
            .insert(USER_AGENT, HeaderValue::from_static(agent));
        let answered = async {
            let response = sender
                .send_request(Request::from_parts(parts, body))
                .await?;
            let (parts, body) = response.into_parts();
            let content = Limited::new(body, CONTENT_MOST).collect().await?.to_bytes();
            Ok((parts, content))
        };
        // The connection lives as long as this exchange.
        tokio::pin!(connection);
        tokio::pin!(answered);
        let mut over = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut answered => return answer,
                ended = &mut connection, if !over => {
                    ended?;
                    over = true;
                }
            }
        }
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move { client.ask(request).await })
    }
}

/// Bytes of a file of authorities: a bundle of all that browsers know has some 250 KiB.
const AUTHORITIES_MAX: u64 = 16 << 20;

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return match roots.is_empty() {
            true => Err("the system has no certificate authorities: install them, or name a file with `acme.ca_file`".to_owned()),
            false => Ok(roots),
        };
    };
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let content = regular::read(path, AUTHORITIES_MAX).map_err(|why| wrong(&why))?;
    for certificate in CertificateDer::pem_slice_iter(&content) {
        let certificate = certificate.map_err(|why| wrong(&why))?;
        roots.add(certificate).map_err(|why| wrong(&why))?;
    }
    match roots.is_empty() {
        true => Err(wrong(&"holds no certificate")),
        false => Ok(roots),
    }
}

/// What the protocol itself cannot tell: that the authority is not well, that it wants to be left in peace for a
/// while, and that something else answers in its place.
fn trouble(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    content: &[u8],
) -> Option<Trouble> {
    if status.is_success() {
        return None;
    }
    let problem = serde_json::from_slice::<Problem>(content).ok();
    let told = problem
        .as_ref()
        .and_then(|problem| problem.r#type.as_deref());
    let is_busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    // To what is posted, the answer is a problem that the caller understands.
    if method == Method::POST && told.is_some() && !is_busy {
        return None;
    }
    let detail = problem.and_then(|problem| problem.detail).map(|detail| {
        let detail: String = detail
            .chars()
            .filter(|c| !c.is_control())
            .take(DETAIL_MOST)
            .collect();
        format!(": {detail}")
    });
    Some(Trouble {
        status,
        detail: detail.unwrap_or_default(),
        retry_after: retry_after(headers, SystemTime::now()),
    })
}

/// What comes back is added to the clock by whoever asked, and a clock has an end.
fn bound_pause(headers: &mut HeaderMap) {
    let value = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    let seconds = value.and_then(|value| value.trim().parse::<u64>().ok());
    if seconds.is_some_and(|seconds| seconds > PAUSE_MOST) {
        headers.insert(RETRY_AFTER, HeaderValue::from(PAUSE_MOST));
    }
}

/// Seconds or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, wanted) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            let found = retry_after(&headers, now).map(|time| time.as_secs());
            assert_eq!(found, wanted, "{value}");
        }
    }

    #[test]
    fn pauses_that_no_clock_could_take() {
        for (value, wanted) in [
            ("120", "120"),
            ("18446744073709551615", "86400"),
            (
                "Sun, 06 Nov 1994 08:50:37 GMT",
                "Sun, 06 Nov 1994 08:50:37 GMT",
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            bound_pause(&mut headers);
            assert_eq!(headers[RETRY_AFTER], wanted);
        }
    }

    #[test]
    fn what_is_trouble_and_what_is_an_answer() {
        let problem = r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"no\nnonce"}"#;
        for (method, status, content, wanted) in [
            (Method::GET, 200, "{}", None),
            (Method::POST, 201, "", None),
            (Method::POST, 400, problem, None),
            (
                Method::POST,
                400,
                "<html>",
                Some("the authority answered 400 Bad Request"),
            ),
            (
                Method::GET,
                404,
                problem,
                Some("the authority answered 404 Not Found: nononce"),
            ),
            (
                Method::POST,
                429,
                problem,
                Some("the authority answered 429 Too Many Requests: nononce"),
            ),
            (
                Method::POST,
                503,
                "<html>",
                Some("the authority answered 503 Service Unavailable"),
            ),
            (
                Method::HEAD,
                302,
                "",
                Some("the authority answered 302 Found"),
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = trouble(&method, status, &HeaderMap::new(), content.as_bytes());
            let text = found.map(|trouble| trouble.to_string());
            assert_eq!(text.as_deref(), wanted, "{method} {status} {content}");
        }
    }
}
