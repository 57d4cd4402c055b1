//! Certificates, as `dhal status` shows them.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{Certificates, Entry};

/// Names of a certificate that are shown.
const NAMES_SHOWN: usize = 3;

/// A certificate.
#[derive(Debug, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The chain's file.
    pub path: String,
    /// The DNS names it is for.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// End of its validity, in seconds since 1970.
    pub expires: u64,
    /// Since when it is served, in seconds since 1970.
    pub loaded: u64,
    /// `"require"` or `"optional"` where its visitors are asked for certificates of their own.
    #[serde(default)]
    pub client_auth: Option<String>,
    /// Why what is in the files now cannot be used.
    #[serde(default)]
    pub error: Option<String>,
}

/// A file, or folder, of which nothing is served.
#[derive(Debug, Serialize, Deserialize)]
pub struct CertificateProblem {
    /// Which one.
    pub path: String,
    /// Why.
    pub error: String,
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// All certificates, and what else is wrong.
pub fn of(certificates: &Certificates) -> (Vec<CertificateStatus>, Vec<CertificateProblem>) {
    let table = certificates.table();
    let mut problems = certificates.problems();
    let all = table.entries().iter().map(|entry| {
        let own = problems.iter().position(|p| p.path == entry.path);
        let error = own.map(|at| problems.swap_remove(at).why.to_string());
        status(entry, error)
    });
    let all = all.collect();
    let left = problems.into_iter().map(|problem| CertificateProblem {
        path: problem.path,
        error: problem.why.to_string(),
    });
    (all, left.collect())
}

fn status(entry: &Entry, error: Option<String>) -> CertificateStatus {
    let facts = &entry.pair.facts;
    let mode = entry.client_auth.as_ref().map(|auth| auth.mode.as_str());
    CertificateStatus {
        path: entry.path.clone(),
        names: facts.names.clone(),
        issuer: facts.issuer.clone(),
        expires: unix(facts.not_after),
        loaded: unix(entry.pair.loaded),
        client_auth: mode.map(str::to_owned),
        error,
    }
}

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = match self.names.as_slice() {
            [] => "no names".to_owned(),
            names if names.len() > NAMES_SHOWN => {
                let more = names.len() - NAMES_SHOWN;
                format!("{} and {more} more", names[..NAMES_SHOWN].join(", "))
            }
            names => names.join(", "),
        };
        let end = UNIX_EPOCH + Duration::from_secs(self.expires);
        let left = match end.duration_since(SystemTime::now()) {
            Ok(left) if left.as_secs() >= 86_400 => {
                format!("{} days left", left.as_secs() / 86_400)
            }
            Ok(left) => format!("{} hours left", left.as_secs() / 3_600),
            Err(_) => "EXPIRED".to_owned(),
        };
        let loaded = UNIX_EPOCH + Duration::from_secs(self.loaded);
        write!(
            f,
            "{names}: until {} ({left}), issued by {}, loaded {}, {}",
            date(end),
            self.issuer,
            date(loaded),
            self.path,
        )?;
        if let Some(mode) = &self.client_auth {
            write!(f, ", client certificates: {mode}")?;
        }
        match &self.error {
            Some(why) => write!(f, "\n          NOT REPLACED: {why}"),
            None => Ok(()),
        }
    }
}

/// `2026-11-22 02:22`
fn date(time: SystemTime) -> String {
    let text = crate::observe::process_log::timestamp(time);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}
