//! Who a cart belongs to: a random identifier in a signed cookie, made when the first product goes into the cart.

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum_extra::extract::SignedCookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};

use crate::app::Shop;
use crate::error::Error;
use crate::secret::random_hex;

/// Name of the cookie; caches in front pass by requests that carry it where they must.
const COOKIE: &str = "session";

/// How long a cart waits for its owner.
pub const LIFETIME_SECONDS: i64 = 30 * 24 * 3600;

/// A random name for one visitor's cart and orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl SessionId {
    /// A new one, beyond guessing.
    pub fn generate() -> Result<Self, getrandom::Error> {
        random_hex::<16>().map(Self)
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The visitor of a private page. Public pages must not ask: their answers are shared.
pub struct Visitor {
    session: Option<SessionId>,
    jar: SignedCookieJar,
    secure: bool,
}

impl Visitor {
    /// The session, for those who have one.
    pub fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    /// The session, made now if need be, and the cookies that go with the answer. The cookie is sent anew each time,
    /// so that it outlives its cart.
    pub fn begin(self) -> Result<(SessionId, SignedCookieJar), Error> {
        let session = match self.session {
            Some(session) => session,
            None => SessionId::generate()?,
        };
        let cookie = Cookie::build((COOKIE, session.0.clone()))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .max_age(time::Duration::seconds(LIFETIME_SECONDS));
        Ok((session, self.jar.add(cookie)))
    }
}

impl FromRequestParts<Shop> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shop: &Shop) -> Result<Self, Infallible> {
        let jar = SignedCookieJar::from_headers(&parts.headers, FromRef::from_ref(shop));
        let session = jar
            .get(COOKIE)
            .map(|cookie| SessionId(cookie.value().to_owned()));
        let secure = parts
            .headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes() == b"https");
        Ok(Self {
            session,
            jar,
            secure,
        })
    }
}
