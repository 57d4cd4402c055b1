//! What visitors read when there is more to do than the shop can, and others go first.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, REFRESH, RETRY_AFTER};

use super::reply::{Asked, Reply};

/// 503 with the seconds until they may come again. A page that was only looked at comes back by itself (`is_safe`); a
/// form is left to whoever sent it.
pub(super) fn page(seconds: u64, is_safe: bool, asked: &Asked<'_>) -> Reply {
    let id = asked.request_id;
    let (content_type, body) = if asked.wants_json {
        let body = serde_json::json!({
            "error": {
                "status": 503, "title": "Service Unavailable", "retry_after": seconds, "request_id": id,
                "message": "Many people are shopping right now. Nothing was ordered or changed. Please try again."
            }
        });
        ("application/json", format!("{body}\n"))
    } else {
        ("text/html; charset=utf-8", PAGE.replace("{id}", id))
    };
    let mut reply = Reply {
        status: 503,
        fields: Vec::with_capacity(8),
        body: body.into(),
    };
    let seconds = seconds.to_string();
    reply.add(CONTENT_TYPE, content_type);
    reply.add(CACHE_CONTROL, "no-store");
    reply.add(RETRY_AFTER, &seconds);
    if is_safe && !asked.wants_json {
        reply.add(REFRESH, &seconds);
    }
    reply
}

const PAGE: &str = "\
<!doctype html>
<html lang=\"bn\"><head><meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">
<title>Many people are shopping right now</title><style>
body{font:1rem/1.6 system-ui,sans-serif;margin:12vh auto;max-width:34rem;padding:0 1.5rem;color:#1d2733}
h1{font-size:1.4rem;margin:0 0 .5rem}p{margin:.5rem 0}section+section{margin-top:2rem}small{color:#6b7785}
@media (prefers-color-scheme:dark){body{background:#12171d;color:#e4e9ee}small{color:#93a0ad}}
</style></head><body>
<section lang=\"bn\"><h1>এখন অনেকেই কেনাকাটা করছেন</h1>
<p>দোকানে এখন অনেক ভিড়। কোনো অর্ডার হয়নি, কিছু বদলায়নি।</p>
<p>একটু পরে আবার চেষ্টা করুন।</p></section>
<section lang=\"en\"><h1>Many people are shopping right now</h1>
<p>The shop is very busy. Nothing was ordered or changed.</p>
<p>Please try again in a moment.</p></section>
<p><small>503 &middot; {id}</small></p>
</body></html>
";
