//! What a `304` does to what is stored (RFC 9111 §4.3).

use std::time::SystemTime;

use http::header::VIA;
use http_caching::Fields;
use pingora_http::ResponseHeader;

use super::{ask::Answer, fetch::Task, flight::Stage, request};
use crate::cache::{
    Stored, compress,
    head::{field_map, stored_header},
};

impl Task {
    /// A `304` to our own conditions (RFC 9111 §4.3.3).
    pub(super) async fn confirmed(&self, answer: Answer, stored: &Stored, now: SystemTime) {
        let fresh = answer.header.headers.clone();
        let sent_at = answer.sent_at;
        answer.release(&self.filler);
        if !http_caching::confirms(&stored.fields(), &fresh) {
            // It speaks of something else: once more, without conditions (§4.3.4).
            return self.start_over().await;
        }
        let head = stored.head();
        let mut fields = field_map(&head);
        // The last one is ours, and is added anew.
        let via: Vec<_> = fields.get_all(VIA).iter().cloned().collect();
        fields.remove(VIA);
        for value in via.split_last().map_or(&[][..], |(_, others)| others) {
            fields.append(VIA, value.clone());
        }
        http_caching::update_stored(&mut fields, &fresh);
        let whole = ResponseHeader::build_no_case(stored.status(), Some(fields.len()));
        let Ok(mut header) = whole else { return };
        for (name, value) in &fields {
            let _ = header.append_header(name.clone(), value.clone());
        }
        let judged = self.judge(&header, Some(stored), sent_at, now);
        if judged
            .as_ref()
            .is_ok_and(|j| !self.tells_apart(&j.rules.vary))
        {
            // It is not for all any more, and nobody knows whom it is for (RFC 9111 §4.1).
            self.shared().store.remove(stored);
            return self.start_over().await;
        }
        let updated = match judged {
            Ok(judged) => {
                let length = stored.content_length();
                let mut header = stored_header(&header, Some(length), &judged.rules.excluded, now);
                let compresses = self.compresses(&header, Some(length));
                if compresses {
                    compress::vary_on_encoding(&mut header);
                }
                let content = [stored.content()];
                let content = (!stored.is_on_disk()).then_some(&content[..]);
                // Under the key of this visitor's variant, even if another's was confirmed.
                let key = &self.flight.key;
                let new = Stored::new(key, &header, content, length, judged);
                let mut new = new.with_born(stored.born());
                if compresses
                    && let Some(encoded) = stored.encoded()
                    && let Some(encoded) =
                        compress::Encoded::of(&new, encoded.contents().map(|c| c.cloned()))
                {
                    new = new.with_encoded(encoded);
                }
                self.shared().store.put(new.clone());
                if *stored.key() == *new.key() {
                    self.shared().keep_meta(&new);
                } else {
                    self.shared().keep(&new, false, None);
                }
                if let Some(variation) = &self.variation {
                    variation.note(&new);
                }
                new
            }
            Err(_) => {
                // What the shop confirms it may answer with now, but not again.
                self.shared().store.remove(stored);
                self.shared().forget_on_disk(stored.key());
                stored.clone()
            }
        };
        self.land(Stage::Stored(updated, true));
    }

    /// Whether the answers to such a fetch are told apart by all these fields.
    pub(super) fn tells_apart(&self, vary: &[http::HeaderName]) -> bool {
        let known = self.variation.as_deref().map_or(&[][..], |v| &v.fields);
        let changes = &self.order.fetch.own.route.request_headers;
        request::significant(vary, changes)
            .is_some_and(|vary| vary.iter().all(|name| known.contains(name)))
    }
}

/// The stored response that a `304` is about (RFC 9111 §4.3.4).
pub(super) fn selected<'s>(others: &'s [Stored], header: &ResponseHeader) -> Option<&'s Stored> {
    let fields: Vec<_> = others.iter().map(|other| other.fields()).collect();
    let fields: Vec<&dyn Fields> = fields.iter().map(|f| f as &dyn Fields).collect();
    others.get(http_caching::select(&fields, &header.headers)?)
}
