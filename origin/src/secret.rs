//! The secret behind cookies and tokens, and the keys derived from it.

use std::fs;

use axum_extra::extract::cookie::Key;

use crate::cli::Serve;

/// Bytes below which a secret could be guessed.
const LENGTH_MIN: usize = 32;

/// Keys derived from one secret; each purpose has its own, so that one cannot stand in for another.
#[derive(Clone)]
pub struct Keys {
    /// Signs the session cookie.
    pub cookie: Key,
    /// Authenticates form tokens.
    pub csrf: [u8; 32],
}

impl Keys {
    /// Derives all keys.
    pub fn derive(secret: &[u8]) -> Self {
        let mut cookie = [0; 64];
        blake3::Hasher::new_derive_key("dhakacart 2026 session cookie")
            .update(secret)
            .finalize_xof()
            .fill(&mut cookie);
        Self {
            cookie: Key::from(&cookie),
            csrf: blake3::derive_key("dhakacart 2026 form token", secret),
        }
    }
}

/// The secret the operator gave, if any: the variable itself or the file it names.
pub fn configured(options: &Serve) -> Result<Option<Vec<u8>>, String> {
    let secret = match (&options.secret, &options.secret_file) {
        (Some(_), Some(_)) => {
            return Err("set DHAKACART_SECRET or DHAKACART_SECRET_FILE, not both".to_owned());
        }
        (Some(secret), None) => secret.clone().into_bytes(),
        (None, Some(path)) => fs::read(path)
            .map_err(|error| format!("cannot read the secret from {path}: {error}"))?
            .trim_ascii()
            .to_vec(),
        (None, None) => return Ok(None),
    };
    if secret.len() < LENGTH_MIN {
        return Err(format!(
            "the secret has {} bytes, and at least {LENGTH_MIN} are needed",
            secret.len()
        ));
    }
    Ok(Some(secret))
}

/// Random bytes as lowercase hexadecimal digits.
pub fn random_hex<const N: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
