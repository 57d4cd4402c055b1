//! How much the shop does at once, for trials of what stands in front of it: a bottleneck that is the same on every
//! machine.
//!
//! Real shops run on a number of processes. Each has one request at work, and the others wait in the order in which
//! they came; what is asked for by somebody who has left meanwhile is worked at all the same. With `--workers N` and
//! `--delay D` this shop makes N / D dynamic answers a second and no more, however fast the machine is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::error::Error;

/// Requests that wait for a worker at most: the backlog that PHP-FPM has by default. Those beyond it are refused.
const QUEUE_MAX: usize = 511;

/// Who works, and how long one answer takes.
#[derive(Debug)]
pub struct Workers {
    delay: Duration,
    places: Option<Places>,
}

#[derive(Debug)]
struct Places {
    /// At work.
    work: Arc<Semaphore>,
    /// At work or waiting for it.
    taken_in: Arc<Semaphore>,
}

impl Workers {
    /// So many workers, or as many as there are requests; each takes so long for an answer, besides the work itself.
    pub fn new(count: Option<usize>, delay: Duration) -> Self {
        let places = count.map(|count| Places {
            work: Arc::new(Semaphore::new(count)),
            taken_in: Arc::new(Semaphore::new(count + QUEUE_MAX)),
        });
        Self { delay, places }
    }

    /// Answers a request when its turn comes. `content_max` bounds what is read of it before, in bytes.
    pub async fn answer(&self, request: Request, next: Next, content_max: usize) -> Response {
        let delay = self.delay;
        if !is_dynamic(request.uri().path()) {
            return next.run(request).await;
        }
        let Some(places) = &self.places else {
            tokio::time::sleep(delay).await;
            return next.run(request).await;
        };
        // Web servers hand a form over when they have the whole of it, so that a slow sender keeps no worker.
        let (head, content) = request.into_parts();
        let Ok(content) = axum::body::to_bytes(content, content_max).await else {
            return Error::TooLarge.into_response();
        };
        let Ok(seat) = Arc::clone(&places.taken_in).try_acquire_owned() else {
            return Error::Busy("all workers are at work and their queue is full".to_owned())
                .into_response();
        };
        let work = Arc::clone(&places.work);
        // A task of its own: it goes on when whoever asked has left.
        let answer = tokio::spawn(async move {
            let _seat = seat;
            let _place = work.acquire_owned().await;
            tokio::time::sleep(delay).await;
            next.run(Request::from_parts(head, Body::from(content)))
                .await
        });
        answer.await.unwrap_or_else(|error| {
            Error::Internal(format!("a worker ended: {error}")).into_response()
        })
    }
}

/// Whether a real shop would run a program for it. Files and health checks are answered beside.
fn is_dynamic(path: &str) -> bool {
    let is_file = path.starts_with("/static/")
        || path.starts_with("/images/")
        || matches!(path, "/favicon.svg" | "/robots.txt");
    !is_file && !matches!(path, "/healthz" | "/api/health")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_health_checks_take_no_worker() {
        for path in [
            "/static/shop.1234.css",
            "/images/phone.png",
            "/favicon.svg",
            "/robots.txt",
            "/healthz",
            "/api/health",
        ] {
            assert!(!is_dynamic(path), "{path}");
        }
        for path in ["/", "/products", "/cart/add", "/api/orders", "/nowhere"] {
            assert!(is_dynamic(path), "{path}");
        }
    }
}
