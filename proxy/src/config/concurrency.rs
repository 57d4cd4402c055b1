//! `concurrency` of an upstream, and the classes of routes.

use adaptive_concurrency::{Bounds, Class};

use super::{
    context::Context,
    diagnostic::Complaint,
    file::ConcurrencyEntry,
    read::{Field, Scalar, choice},
};

impl Scalar for Class {
    const WANTED: &'static str = "what a request matters, such as \"checkout\"";

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, &Self::ALL.map(|class| (class.as_str(), class)))
    }
}

/// The limit of an upstream, where it has one.
pub(super) fn concurrency(given: &Field<ConcurrencyEntry>, cx: &mut Context<'_>) -> Option<Bounds> {
    let Some(ConcurrencyEntry::Yes(concurrency)) = given.value() else {
        return None;
    };
    let (min, max) = (&concurrency.min, &concurrency.max);
    if min.value > max.value
        && let Some(span) = max.span.clone().or_else(|| min.span.clone())
    {
        cx.error(span, "`max` is less than `min`");
    }
    if let (0, Some(span)) = (concurrency.queue.value, &concurrency.queue_timeout.span) {
        cx.warning(
            span.clone(),
            Complaint::new("`queue_timeout` does nothing: no request waits")
                .help("say with `queue` how many requests may wait"),
        );
    }
    // Their bounds are far below what a usize holds.
    let whole = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Some(Bounds {
        min: whole(min.value),
        max: whole(max.value),
        queue: whole(concurrency.queue.value),
        patience: concurrency.queue_timeout.value,
    })
}
