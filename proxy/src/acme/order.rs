//! One order, from the account to the certificate (RFC 8555 §7).

use std::{path::Path, sync::Arc, time::Duration};

use base64::Engine;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, ExternalAccountKey,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use tokio::task::spawn_blocking;

use super::{
    challenge::{self, Exhibit, Showcase},
    client::{Client, Trouble},
    storage::{Storage, StoredAccount},
};
use crate::{
    config::model::{AccountBinding, Acme, ChallengeKind},
    regular,
};

/// How long the authority may take to look at a challenge, or to issue.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// Of a reason, so many characters: a sentence for each of some names.
const WHY_MOST: usize = 2_000;

/// An order that came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// A sentence.
    pub(super) why: String,
    /// How long the authority wants to be left in peace.
    pub(super) retry_after: Option<Duration>,
}

/// Why it came to nothing, for counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name could not be shown to lead here.
    Challenge,
    /// The authority has had too many orders.
    RateLimited,
    /// The authority could not be reached, or was not well.
    Unavailable,
    /// The authority does not want to.
    Refused,
    /// The account is not known there.
    NoAccount,
    /// The folder, or a file that the configuration names.
    Storage,
}

impl Kind {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Challenge => "challenge_failed",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Refused | Self::NoAccount => "refused",
            Self::Storage => "storage",
        }
    }
}

impl Failure {
    pub(super) fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self {
            kind,
            why: readable(&why.into()),
            retry_after: None,
        }
    }

    pub(super) fn storage(path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self::new(Kind::Storage, format!("{}: {why}", path.display()))
    }
}

/// What an authority says goes into log lines, files and terminals: bounded, and in one line.
fn readable(why: &str) -> String {
    let mut text: String = why
        .chars()
        .take(WHY_MOST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if why.chars().nth(WHY_MOST).is_some() {
        text.push('…');
    }
    text
}

impl From<Error> for Failure {
    fn from(why: Error) -> Self {
        let kind = match &why {
            Error::Api(problem) => {
                let name = problem.r#type.as_deref().unwrap_or_default();
                kind_of(name.rsplit(':').next().unwrap_or_default())
            }
            Error::Other(other) => {
                if let Some(trouble) = other.downcast_ref::<Trouble>() {
                    let kind = match trouble.status.as_u16() {
                        429 => Kind::RateLimited,
                        500.. => Kind::Unavailable,
                        _ => Kind::Refused,
                    };
                    return Self {
                        retry_after: trouble.retry_after,
                        ..Self::new(kind, trouble.to_string())
                    };
                }
                Kind::Unavailable
            }
            Error::Timeout(_) => Kind::Unavailable,
            _ => Kind::Refused,
        };
        Self::new(kind, why.to_string())
    }
}

/// Errors of RFC 8555 §6.7.
fn kind_of(error: &str) -> Kind {
    match error {
        "rateLimited" => Kind::RateLimited,
        "serverInternal" | "badNonce" => Kind::Unavailable,
        "accountDoesNotExist" => Kind::NoAccount,
        "caa" | "connection" | "dns" | "incorrectResponse" | "tls" | "unauthorized" => {
            Kind::Challenge
        }
        _ => Kind::Refused,
    }
}

/// What an order needs.
pub(super) struct Ordering<'a> {
    pub(super) config: &'a Acme,
    pub(super) storage: &'a Storage,
    pub(super) showcase: &'a Arc<Showcase>,
    pub(super) names: &'a [String],
    /// The certificate that the new one stands in for, as the authority knows it.
    pub(super) replaces: Option<CertificateIdentifier<'static>>,
}

impl Ordering<'_> {
    /// Brings an order to its end: the chain and its key, in one PEM text.
    pub(super) async fn run(&self) -> Result<String, Failure> {
        let client = client(self.config).await?;
        match self.attempt(&client).await {
            Err(failure) if failure.kind == Kind::NoAccount => {
                // It has forgotten us, or somebody has closed the account.
                tracing::warn!(why = %failure.why, "the authority does not know the account, and gets another one");
                set_aside(&account_path(self.config, self.storage)).await?;
                self.attempt(&client).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, client: &Client) -> Result<String, Failure> {
        let account = account(self.config, self.storage, client).await?;
        self.with(&account).await
    }

    async fn with(&self, account: &Account) -> Result<String, Failure> {
        let mut order = self.begin(account).await?;
        let mut shown = Vec::with_capacity(self.names.len());
        self.show(&mut order, &mut shown).await?;
        let status = match order.poll_ready(&POLLING).await {
            Ok(status) => status,
            Err(Error::Api(_)) => OrderStatus::Invalid,
            Err(why) => return Err(why.into()),
        };
        if status != OrderStatus::Ready {
            return Err(self.reasons(&mut order).await);
        }
        drop(shown);
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&POLLING).await?;
        Ok(format!("{}\n{key}", chain.trim_end()))
    }

    async fn begin(&self, account: &Account) -> Result<Order, Failure> {
        let names: Vec<Identifier> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let new = || {
            let order = NewOrder::new(&names);
            match &self.config.profile {
                Some(profile) => order.profile(profile),
                None => order,
            }
        };
        if let Some(replaces) = self.replaces.clone() {
            // It only makes renewals cheaper at the authority's limits. What it does not know, or does not offer, is
            // ordered as if it were the first.
            match account.new_order(&new().replaces(replaces)).await {
                Ok(order) => return Ok(order),
                Err(why) => {
                    let failure = Failure::from(why);
                    if failure.kind == Kind::RateLimited || failure.kind == Kind::NoAccount {
                        return Err(failure);
                    }
                    tracing::debug!(why = %failure.why, "ordered as if it were the first");
                }
            }
        }
        Ok(account.new_order(&new()).await?)
    }

    /// Shows for every name what the authority wants to see, and says so.
    async fn show(&self, order: &mut Order, shown: &mut Vec<Exhibit>) -> Result<(), Failure> {
        let (wanted, word) = match self.config.challenge {
            ChallengeKind::Http01 => (ChallengeType::Http01, "http-01"),
            ChallengeKind::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => {
                    let why = format!("the authorization for {name} is {status:?} already");
                    return Err(Failure::new(Kind::Challenge, why));
                }
            }
            let none = || {
                let why = format!("the authority offers no {word} for {name}");
                Failure::new(Kind::Refused, why)
            };
            let mut challenge = authorization.challenge(wanted.clone()).ok_or_else(none)?;
            let text = challenge.key_authorization();
            shown.push(match self.config.challenge {
                ChallengeKind::Http01 => self.showcase.show_token(&challenge.token, text.as_str()),
                ChallengeKind::TlsAlpn01 => {
                    let key = challenge::certificate(&name, text.digest().as_ref())
                        .map_err(|why| Failure::new(Kind::Challenge, why))?;
                    self.showcase.show_handshake(&name, &key)
                }
            });
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// What the authority says of an order that it has given up.
    async fn reasons(&self, order: &mut Order) -> Failure {
        let mut reasons = Vec::new();
        let mut kind = Kind::Challenge;
        if let Some(problem) = &order.state().error {
            let name = problem.r#type.as_deref().unwrap_or_default();
            kind = match kind_of(name.rsplit(':').next().unwrap_or_default()) {
                // Boulder says "unauthorized" of the order and details at the challenges; others say nothing of use.
                Kind::Refused => Kind::Challenge,
                kind => kind,
            };
            reasons.extend(problem.detail.clone());
        }
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let name = authorization.identifier().to_string();
            if authorization.refresh().await.is_err() {
                continue;
            }
            let failed = authorization.challenges.iter();
            let details = failed.filter_map(|challenge| challenge.error.as_ref()?.detail.clone());
            reasons.extend(details.map(|detail| format!("{name}: {detail}")));
        }
        let why = match reasons.is_empty() {
            true => "the authority has given the order up and does not say why".to_owned(),
            false => reasons.join("; "),
        };
        Failure::new(kind, why)
    }
}

pub(super) async fn client(config: &Acme) -> Result<Client, Failure> {
    let ca_file = config.ca_file.clone();
    let made = spawn_blocking(move || Client::new(ca_file.as_deref())).await;
    made.map_err(|why| why.to_string())
        .flatten()
        .map_err(|why| Failure::new(Kind::Storage, why))
}

fn account_path(config: &Acme, storage: &Storage) -> std::path::PathBuf {
    let key_id = config
        .binding
        .as_ref()
        .map(|binding| binding.key_id.as_str());
    storage.account(&config.directory, key_id)
}

async fn set_aside(path: &Path) -> Result<(), Failure> {
    let moved = path.to_owned();
    let outcome = spawn_blocking(move || Storage::set_aside(&moved)).await;
    match outcome {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => Err(Failure::storage(path, &why)),
        Err(why) => Err(Failure::storage(path, &why)),
    }
}

/// The stored account, if there is one.
async fn stored_account(
    config: &Acme,
    storage: &Storage,
) -> Result<Option<StoredAccount>, Failure> {
    let path = account_path(config, storage);
    let (reader, file) = (storage.clone(), path.clone());
    let read = spawn_blocking(move || reader.read_account(&file))
        .await
        .map_err(|why| Failure::storage(&path, &why))?;
    match read {
        Ok(stored) => Ok(stored),
        Err(broken) if !broken.is_garbage => Err(Failure::storage(&broken.path, &broken.why)),
        Err(broken) => {
            tracing::error!(
                path = %broken.path.display(), why = %broken.why,
                "a stored account cannot be used; it is set aside, and another one is made"
            );
            set_aside(&path).await?;
            Ok(None)
        }
    }
}

/// The account that is stored, without making one: for questions.
pub(super) async fn known_account(
    config: &Acme,
    storage: &Storage,
) -> Result<Option<Account>, Failure> {
    let Some(stored) = stored_account(config, storage).await? else {
        return Ok(None);
    };
    let http = Box::new(client(config).await?);
    let builder = Account::builder_with_http(http);
    Ok(Some(builder.from_credentials(stored.credentials).await?))
}

/// The account that is stored, or a new one.
async fn account(config: &Acme, storage: &Storage, client: &Client) -> Result<Account, Failure> {
    let builder = || Account::builder_with_http(Box::new(client.clone()));
    let contact: Vec<&str> = config.contact.iter().map(String::as_str).collect();
    let path = account_path(config, storage);
    if let Some(stored) = stored_account(config, storage).await? {
        // They cannot be copied, and are needed once more where the contact has changed.
        let copy = serde_json::to_value(&stored.credentials)
            .and_then(serde_json::from_value)
            .map_err(|why| Failure::storage(&path, &why))?;
        let account = builder().from_credentials(stored.credentials).await?;
        if stored.contact != config.contact {
            account.update_contacts(&contact).await?;
            keep_account(storage, &path, config, copy).await?;
        }
        return Ok(account);
    }
    let binding = match &config.binding {
        Some(binding) => Some(external(binding).await?),
        None => None,
    };
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let made = builder().create(&new, config.directory.clone(), binding.as_ref());
    let (account, credentials) = made.await?;
    keep_account(storage, &path, config, credentials).await?;
    tracing::info!(account = account.id(), directory = %config.directory, "an account has been made");
    Ok(account)
}

async fn keep_account(
    storage: &Storage,
    path: &Path,
    config: &Acme,
    credentials: instant_acme::AccountCredentials,
) -> Result<(), Failure> {
    let stored = StoredAccount {
        contact: config.contact.clone(),
        credentials,
    };
    let (writer, file) = (storage.clone(), path.to_owned());
    let written = spawn_blocking(move || writer.write_account(&file, &stored)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(Failure::storage(path, &why)),
        Err(why) => Err(Failure::storage(path, &why)),
    }
}

async fn external(binding: &AccountBinding) -> Result<ExternalAccountKey, Failure> {
    let file = binding.hmac_file.clone();
    let key = spawn_blocking(move || read_hmac(&file)).await;
    let key = key
        .map_err(|why| why.to_string())
        .flatten()
        .map_err(|why| Failure::new(Kind::Storage, why))?;
    Ok(ExternalAccountKey::new(binding.key_id.clone(), &key))
}

/// Bytes of the file of such a key.
const HMAC_MAX: u64 = 64 << 10;

/// The key of an external account. An error is a sentence.
pub(super) fn read_hmac(file: &Path) -> Result<Vec<u8>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let text = regular::read_text(file, HMAC_MAX).map_err(|why| wrong(&why))?;
    decoded(&text).ok_or_else(|| wrong(&"holds no key in base64url"))
}

/// Base64url, or base64 as some authorities write it, padded or not.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_end_matches('=');
    let text = text.replace('+', "-").replace('/', "_");
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text);
    key.ok().filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It comes from the network, and goes to terminals.
    #[test]
    fn reasons_are_a_line_of_bounded_length() {
        let why = |text: &str| Failure::new(Kind::Refused, text).why;
        assert_eq!(why("no\x1b[2J,\r\nnever: ঢ\u{9b}"), "no [2J,  never: ঢ ");
        let long = why(&"ঢ".repeat(1 << 20));
        assert_eq!(long.chars().count(), WHY_MOST + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn keys_as_authorities_hand_them_out() {
        for (text, wanted) in [
            ("3q2-7w", Some(&[0xde, 0xad, 0xbe, 0xef][..])),
            ("3q2+7w==\n", Some(&[0xde, 0xad, 0xbe, 0xef])),
            (" 3q2-7w== ", Some(&[0xde, 0xad, 0xbe, 0xef])),
            ("", None),
            ("\n", None),
            ("not a key", None),
        ] {
            assert_eq!(decoded(text).as_deref(), wanted, "{text:?}");
        }
    }

    #[test]
    fn kinds_of_failures() {
        for (error, wanted) in [
            ("rateLimited", Kind::RateLimited),
            ("serverInternal", Kind::Unavailable),
            ("accountDoesNotExist", Kind::NoAccount),
            ("unauthorized", Kind::Challenge),
            ("connection", Kind::Challenge),
            ("rejectedIdentifier", Kind::Refused),
            ("", Kind::Refused),
        ] {
            assert_eq!(kind_of(error), wanted, "{error}");
        }
    }
}
