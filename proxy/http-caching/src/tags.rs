//! The tags of a response, by which an operator can purge many at once.

use http::HeaderName;

use crate::fields::{Fields, trim};

/// Names separated by spaces, as Fastly and Varnish have them.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// Names separated by commas, as Cloudflare and Akamai have them.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// More tags than this would make the index larger than what it points to.
pub const MAX_TAGS: usize = 256;
/// The longest tag in bytes.
pub const MAX_TAG_LENGTH: usize = 256;

/// A response has more than [`MAX_TAGS`] tags, or one longer than [`MAX_TAG_LENGTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTags;

/// Calls `f` with every tag of a response, those of `Surrogate-Key` first; a tag that comes twice is
/// seen twice. Empty ones do not count.
///
/// Where there are too many, `f` sees none: a response with half of its tags could not be purged by
/// the others.
pub fn tags(response: &dyn Fields, f: &mut dyn FnMut(&[u8])) -> Result<(), TooManyTags> {
    let (mut count, mut longest) = (0, 0);
    each(response, &mut |tag| {
        count += 1;
        longest = longest.max(tag.len());
    });
    if count > MAX_TAGS || longest > MAX_TAG_LENGTH {
        return Err(TooManyTags);
    }
    each(response, f);
    Ok(())
}

fn each(response: &dyn Fields, f: &mut dyn FnMut(&[u8])) {
    for (name, separator) in [(SURROGATE_KEY, b' '), (CACHE_TAG, b',')] {
        response.for_each(&name, &mut |value| {
            value
                .split(|byte| *byte == separator)
                .map(trim)
                .filter(|tag| !tag.is_empty())
                .for_each(&mut *f);
        });
    }
}

#[cfg(test)]
mod tests;
