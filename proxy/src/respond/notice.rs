//! What visitors read while the shop cannot answer them for a moment: 503, in Bengali and English, that comes back by
//! itself.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, REFRESH, RETRY_AFTER};

use super::reply::{Asked, Reply};

/// Why, in the words of a visitor. Text of a page, so without markup.
pub(super) struct Notice {
    bengali: Words,
    english: Words,
}

struct Words {
    title: &'static str,
    /// What became of what was asked for.
    lines: [&'static str; 2],
}

/// No server can answer and the shop window is open.
pub(super) const CLOSED: Notice = Notice {
    bengali: Words {
        title: "একটু পরেই ফিরছি",
        lines: [
            "দোকানটি অল্প সময়ের বিরতিতে আছে। কোনো অর্ডার হয়নি, কিছু বদলায়নি। পণ্যের পাতাগুলো এখনো দেখা যাবে।",
            "একটু পরে আবার চেষ্টা করুন।",
        ],
    },
    english: Words {
        title: "We are back in a moment",
        lines: [
            "The shop is taking a short break. Nothing was ordered or changed. You can go on browsing.",
            "Please try again in a moment.",
        ],
    },
};

/// There is more to do than the shop can, and others go first.
pub(super) const BUSY: Notice = Notice {
    bengali: Words {
        title: "এখন অনেকেই কেনাকাটা করছেন",
        lines: [
            "দোকানে এখন অনেক ভিড়। কোনো অর্ডার হয়নি, কিছু বদলায়নি।",
            "একটু পরে আবার চেষ্টা করুন।",
        ],
    },
    english: Words {
        title: "Many people are shopping right now",
        lines: [
            "The shop is very busy. Nothing was ordered or changed.",
            "Please try again in a moment.",
        ],
    },
};

impl Notice {
    /// 503 with the seconds until they may come again. A page that was only looked at comes back by itself (`is_safe`);
    /// a form is left to whoever sent it.
    pub(super) fn reply(&self, seconds: u64, is_safe: bool, asked: &Asked<'_>) -> Reply {
        let (content_type, body) = match asked.wants_json {
            true => ("application/json", self.json(seconds, asked.request_id)),
            false => ("text/html; charset=utf-8", self.page(asked.request_id)),
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

    fn json(&self, seconds: u64, request_id: &str) -> String {
        let body = serde_json::json!({
            "error": {
                "status": 503, "title": "Service Unavailable", "retry_after": seconds, "request_id": request_id,
                "message": format!("{}. {}", self.english.title, self.english.lines.join(" ")),
            }
        });
        format!("{body}\n")
    }

    fn page(&self, request_id: &str) -> String {
        let section = |language: &str, words: &Words| {
            let [what, then] = words.lines;
            let title = words.title;
            format!(
                "<section lang=\"{language}\"><h1>{title}</h1>\n<p>{what}</p>\n<p>{then}</p></section>\n"
            )
        };
        [
            HEAD,
            "<title>",
            self.english.title,
            "</title>",
            STYLE,
            &section("bn", &self.bengali),
            &section("en", &self.english),
            "<p><small>503 &middot; ",
            request_id,
            "</small></p>\n</body></html>\n",
        ]
        .concat()
    }
}

const HEAD: &str = "\
<!doctype html>
<html lang=\"bn\"><head><meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">
";

const STYLE: &str = "\
<style>
body{font:1rem/1.6 system-ui,sans-serif;margin:12vh auto;max-width:34rem;padding:0 1.5rem;color:#1d2733}
h1{font-size:1.4rem;margin:0 0 .5rem}p{margin:.5rem 0}section+section{margin-top:2rem}small{color:#6b7785}
@media (prefers-color-scheme:dark){body{background:#12171d;color:#e4e9ee}small{color:#93a0ad}}
</style></head><body>
";
