//! What the parser says of messages, for a comparison with another one: see `fuzz/haproxy.py`.
//!
//! Reads messages from standard input, each behind its length (four bytes, most significant first), and
//! writes a line of JSON for each, in which a character stands for the byte of its number:
//!
//! - `{"status": 400, "reason": "…"}` of one that is refused, in its head or in its body;
//! - `{"status": 0}` of one that is incomplete;
//! - else method, target, host, field lines, framing, and how long head and message are in bytes.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use http1_wire::{Body, HeadScanner, Refusal, chunked::ChunkScanner, request::Head};

fn main() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    let mut message = Vec::new();
    while !input.fill_buf()?.is_empty() {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        message.clear();
        (&mut input)
            .take(u64::from(u32::from_be_bytes(length)))
            .read_to_end(&mut message)?;
        match verdict(&message) {
            Ok(Some(text)) => writeln!(output, "{text}")?,
            Ok(None) => writeln!(output, r#"{{"status":0}}"#)?,
            Err(refusal) => writeln!(
                output,
                r#"{{"status":{},"reason":{}}}"#,
                refusal.status,
                json(refusal.reason.as_bytes())
            )?,
        }
    }
    output.flush()
}

fn verdict(message: &[u8]) -> Result<Option<String>, Refusal> {
    let Some(head_len) = HeadScanner::default().scan(message)? else {
        return Ok(None);
    };
    let (bytes, rest) = message.split_at(head_len);
    let mut head = Head::default();
    head.parse(bytes, message.len())?;
    let (framing, body_len) = match head.body {
        Body::None => ("none", Some(0)),
        Body::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            ("length", (length <= rest.len()).then_some(length))
        }
        Body::Unknown => {
            let mut scanner = ChunkScanner::default();
            let own = scanner.scan(rest).map_err(|why| Refusal {
                status: 400,
                reason: why.0,
            })?;
            ("chunked", scanner.is_done().then_some(own))
        }
    };
    let Some(body_len) = body_len else {
        return Ok(None);
    };
    let fields: Vec<String> = head
        .fields(bytes)
        .lines()
        .map(|(name, value)| format!("[{},{}]", json(name), json(value)))
        .collect();
    Ok(Some(format!(
        r#"{{"status":200,"method":{},"target":{},"host":{},"http10":{},"close":{},"upgrade":{},"fields":[{}],"framing":"{framing}","head":{head_len},"end":{}}}"#,
        json(head.method.as_str().as_bytes()),
        json(head.target(bytes).as_bytes()),
        json(head.host(bytes).as_bytes()),
        head.is_http10,
        head.close,
        head.upgrade,
        fields.join(","),
        head_len + body_len,
    )))
}

/// A JSON string of bytes.
fn json(bytes: &[u8]) -> String {
    let mut out = String::from('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\u{byte:04x}")),
        }
    }
    out.push('"');
    out
}
