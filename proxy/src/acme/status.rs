//! What operators are told of certificates that are ordered.

use std::{fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    issued::{Issued, Slot},
    order,
    storage::{Storage, seconds, time},
};
use crate::config::model::{Acme, ChallengeKind};

/// A certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its file.
    pub path: String,
    /// Its names.
    pub names: Vec<String>,
    /// `valid`, `expired` or `missing`.
    pub state: String,
    /// End of its validity, in seconds since 1970.
    pub not_after: Option<u64>,
    /// When it is renewed, the same.
    pub renewal: Option<u64>,
    /// Orders that have failed in a row.
    pub failures: u32,
    /// Why the last one did.
    pub last_failure: Option<String>,
    /// When it is ordered again, where a pause holds that up; in seconds since 1970.
    pub next_order: Option<u64>,
    /// It was just issued, and is to be renewed at once by this host's clock, which may be wrong.
    #[serde(default)]
    pub due_at_once: bool,
    /// It is in use, and could not be written down.
    pub unsaved: bool,
}

impl CertificateStatus {
    fn of(slot: &Slot, config: &Acme, now: SystemTime) -> Self {
        let held = slot.held.as_ref();
        let state = match held {
            None => "missing",
            Some(held) if held.validity.not_after <= now => "expired",
            Some(_) => "valid",
        };
        let failures = slot.failures.as_ref();
        Self {
            path: Storage::at(&config.storage)
                .certificate(&slot.stem)
                .display()
                .to_string(),
            names: slot.names.clone(),
            state: state.to_owned(),
            not_after: held.map(|held| seconds(held.validity.not_after)),
            renewal: slot.due(config.renew_before).map(seconds),
            failures: failures.map_or(0, |failures| failures.count),
            last_failure: failures.map(|failures| failures.why.clone()),
            next_order: slot.next_order(config.renew_before, now).map(seconds),
            due_at_once: (slot.rest.as_ref())
                .is_some_and(|rest| rest.is_due_at_once && rest.end(now).is_some()),
            unsaved: slot.unsaved.is_some(),
        }
    }
}

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |seconds: Option<u64>| httpdate::fmt_http_date(time(seconds.unwrap_or(0)));
        f.write_str(&self.names.join(", "))?;
        match self.state.as_str() {
            "missing" => f.write_str(": no certificate yet")?,
            "expired" => write!(f, ": EXPIRED since {}", date(self.not_after))?,
            _ => write!(
                f,
                ": valid until {}, renewed from {}",
                date(self.not_after),
                date(self.renewal)
            )?,
        }
        if let Some(why) = &self.last_failure {
            let orders = if self.failures == 1 {
                "order"
            } else {
                "orders in a row"
            };
            write!(
                f,
                "; {} {orders} failed, the last because: {why}",
                self.failures
            )?;
        }
        if self.due_at_once {
            f.write_str(
                "; is the clock right? by it this was to be renewed as soon as it was issued",
            )?;
        }
        if self.next_order.is_some() {
            write!(f, "; next order at {}", date(self.next_order))?;
        }
        if self.unsaved {
            f.write_str("; it could not be written down")?;
        }
        Ok(())
    }
}

impl Issued {
    /// All certificates that are wanted.
    pub fn status(&self) -> Vec<CertificateStatus> {
        let state = self.state();
        let Some(config) = &state.config else {
            return Vec::new();
        };
        let now = SystemTime::now();
        let slots = state.slots.iter();
        slots
            .map(|slot| CertificateStatus::of(slot, config, now))
            .collect()
    }
}

/// What a start would do with these certificates, a line for each, without asking anyone and without changing
/// anything. An error is a sentence about a file that the section names.
pub fn planned(config: &Acme) -> Result<Vec<String>, String> {
    if let Some(binding) = &config.binding {
        order::read_hmac(&binding.hmac_file)?;
    }
    super::client::Client::new(config.ca_file.as_deref())?;
    let storage = Storage::at(&config.storage);
    let challenge = match config.challenge {
        ChallengeKind::Http01 => "http-01",
        ChallengeKind::TlsAlpn01 => "tls-alpn-01",
    };
    let now = SystemTime::now();
    let lines = config.certificates.iter().map(|names| {
        let stem = Storage::stem(&config.directory, names);
        let shown = names.join(", ");
        let order = format!("would be ordered from {} by {challenge}", config.directory);
        match storage.read_certificate(&stem, names) {
            Ok(None) => format!("{shown}: {order}"),
            Ok(Some(held)) => {
                let due =
                    super::renewal::due(&held.validity, config.renew_before, None, held.jitter);
                let end = httpdate::fmt_http_date(time(seconds(held.validity.not_after)));
                let what = match due <= now {
                    true => order,
                    false => format!(
                        "renewed from {}",
                        httpdate::fmt_http_date(time(seconds(due)))
                    ),
                };
                format!("{shown}: stored, valid until {end}, {what}")
            }
            Err(broken) => format!(
                "{shown}: {order}, because {} cannot be used: {}",
                broken.path.display(),
                broken.why
            ),
        }
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_certificate() {
        let status = |state: &str, failures, next_order| CertificateStatus {
            path: "x.pem".to_owned(),
            names: vec!["shop.example".to_owned(), "www.shop.example".to_owned()],
            state: state.to_owned(),
            not_after: Some(784_111_777),
            renewal: Some(784_111_777 - 86_400),
            failures,
            last_failure: (failures > 0).then(|| "connection refused".to_owned()),
            next_order,
            due_at_once: next_order.is_some() && failures == 0,
            unsaved: false,
        };
        for (status, wanted) in [
            (
                status("valid", 0, None),
                "shop.example, www.shop.example: valid until Sun, 06 Nov 1994 08:49:37 GMT, renewed from \
                 Sat, 05 Nov 1994 08:49:37 GMT",
            ),
            (
                status("missing", 2, Some(784_111_777)),
                "shop.example, www.shop.example: no certificate yet; 2 orders in a row failed, the last because: \
                 connection refused; next order at Sun, 06 Nov 1994 08:49:37 GMT",
            ),
            (
                status("expired", 0, Some(784_115_377)),
                "shop.example, www.shop.example: EXPIRED since Sun, 06 Nov 1994 08:49:37 GMT; is the clock right? \
                 by it this was to be renewed as soon as it was issued; next order at Sun, 06 Nov 1994 09:49:37 GMT",
            ),
            (
                status("expired", 1, None),
                "shop.example, www.shop.example: EXPIRED since Sun, 06 Nov 1994 08:49:37 GMT; 1 order failed, \
                 the last because: connection refused",
            ),
        ] {
            assert_eq!(status.to_string(), wanted);
        }
    }
}
