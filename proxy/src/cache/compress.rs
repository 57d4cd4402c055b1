//! Compressed forms of stored content, made once in the background and never per answer.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, header};
use http_caching::{Coding, Fields};

use super::{
    head::{HeadFields, put_field, put_status_line},
    stored::Stored,
};

/// Less is one packet anyway.
const MIN: u64 = 860;
/// More would keep a core busy for longer than a visitor waits; such things come compressed already.
const MAX: u64 = 4 * 1024 * 1024;
/// A form that saves less than a tenth is not worth its memory.
const PAYS: (usize, usize) = (9, 10);

/// In the order of liking: by what they save on text for the work of the visitor's machine.
pub const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// The forms of one response: head and content of each.
#[derive(Clone)]
pub struct Encoded {
    forms: [Option<(Bytes, Bytes)>; CODINGS.len()],
}

impl Encoded {
    /// No form.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self {
            forms: [None, None, None],
        }
    }

    /// The form in this coding.
    pub fn form(&self, coding: Coding) -> Option<&(Bytes, Bytes)> {
        let at = CODINGS.iter().position(|known| *known == coding)?;
        self.forms[at].as_ref()
    }

    /// The form that suits a request best; `None` where the plain one does.
    pub fn choose(&self, request: &dyn Fields) -> Option<Coding> {
        let mut available = [Coding::Gzip; CODINGS.len()];
        let mut count = 0;
        for (coding, form) in CODINGS.iter().zip(&self.forms) {
            if form.is_some() {
                available[count] = *coding;
                count += 1;
            }
        }
        http_caching::choose(request, &available[..count])
    }

    /// Bytes it takes in memory.
    pub fn weight(&self) -> usize {
        let forms = self.forms.iter().flatten();
        128 + forms.map(|(h, c)| 64 + h.len() + c.len()).sum::<usize>()
    }

    /// Contents by coding, for the disk.
    pub fn contents(&self) -> [Option<&Bytes>; CODINGS.len()] {
        [0, 1, 2].map(|at| self.forms[at].as_ref().map(|(_, content)| content))
    }

    /// The forms of a response whose compressed contents are known, as when it comes from disk.
    pub fn of(stored: &Stored, contents: [Option<Bytes>; CODINGS.len()]) -> Option<Self> {
        let mut forms = [None, None, None];
        for ((form, content), coding) in forms.iter_mut().zip(contents).zip(CODINGS) {
            *form = content.map(|content| (head(stored, coding, content.len()), content));
        }
        forms.iter().any(Option::is_some).then_some(Self { forms })
    }
}

/// Whether a response is to be compressed: text of some size that is not compressed yet and whose
/// origin does not object (`no-transform`, RFC 9110 §7.7).
pub fn is_worthwhile(status: u16, fields: &dyn Fields, length: u64) -> bool {
    if status != 200 || !(MIN..=MAX).contains(&length) || fields.contains(&header::CONTENT_ENCODING)
    {
        return false;
    }
    if http_caching::CacheControl::parse(fields).no_transform {
        return false;
    }
    let mut text = false;
    fields.for_each(&header::CONTENT_TYPE, &mut |value| text = is_text(value));
    text
}

/// Media types that shrink.
fn is_text(media_type: &[u8]) -> bool {
    let essence = media_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    let known: [&[u8]; 9] = [
        b"application/javascript",
        b"application/json",
        b"application/xml",
        b"application/wasm",
        b"application/manifest+json",
        b"application/vnd.ms-fontobject",
        b"font/ttf",
        b"font/otf",
        b"image/x-icon",
    ];
    essence.starts_with(b"text/") && essence != b"text/event-stream"
        || essence.ends_with(b"+json")
        || essence.ends_with(b"+xml")
        || known.contains(&&*essence)
}

/// Compresses the content of a response; `None` where no form pays.
pub fn compress(stored: &Stored) -> Option<Encoded> {
    let content = stored.content();
    let most = content.len() * PAYS.0 / PAYS.1;
    let contents = CODINGS.map(|coding| {
        let compressed = encode(coding, &content).ok()?;
        (compressed.len() <= most).then(|| Bytes::from(compressed.into_boxed_slice()))
    });
    Encoded::of(stored, contents)
}

fn encode(coding: Coding, content: &[u8]) -> std::io::Result<Vec<u8>> {
    match coding {
        Coding::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            out.write_all(content)?;
            out.finish()
        }
        Coding::Brotli => {
            let mut out = Vec::new();
            let params = brotli::enc::BrotliEncoderParams {
                quality: 5,
                lgwin: 20,
                ..Default::default()
            };
            brotli::BrotliCompress(&mut &content[..], &mut out, &params)?;
            Ok(out)
        }
        Coding::Zstd => zstd::bulk::compress(content, 6),
    }
}

/// The head of a compressed form. Its entity tag becomes weak: the same page, but other bytes
/// (RFC 9110 §8.8.1).
fn head(stored: &Stored, coding: Coding, length: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    let status = http::StatusCode::from_u16(stored.status()).unwrap_or_default();
    put_status_line(&mut out, status);
    for (name, value) in HeadFields(&stored.head()).lines() {
        let name_is = |known: &HeaderName| name == known.as_str().as_bytes();
        if name_is(&header::CONTENT_LENGTH) || name_is(&header::ACCEPT_RANGES) {
            continue;
        }
        let text = std::str::from_utf8(name).unwrap_or_default();
        if name_is(&header::ETAG) && !value.starts_with(b"W/") {
            put_field(&mut out, text, &[b"W/", value].concat());
        } else {
            put_field(&mut out, text, value);
        }
    }
    put_field(&mut out, "content-encoding", coding.token().as_bytes());
    let mut digits = itoa::Buffer::new();
    put_field(&mut out, "content-length", digits.format(length).as_bytes());
    out.freeze()
}

/// `Vary` of a response that is served in several forms.
pub fn vary_on_encoding(header: &mut pingora_http::ResponseHeader) {
    let mut named = false;
    for line in header.headers.get_all(header::VARY) {
        let mut members = line.as_bytes().split(|byte| *byte == b',');
        named |= members.any(|m| m.trim_ascii().eq_ignore_ascii_case(b"accept-encoding"));
    }
    if !named {
        let value = HeaderValue::from_static("accept-encoding");
        let _ = header.append_header(header::VARY, value);
    }
}
