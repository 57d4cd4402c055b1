//! Limits and address lists, as `dhal status` shows them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    admit::{lists::AddressList, rate::RateLimit, state::LimitDecision},
    config::model::{LimitAction, LimitCount},
};

/// A limit.
#[derive(Debug, Serialize, Deserialize)]
pub struct LimitStatus {
    /// Name.
    pub name: String,
    /// `reject`, `delay` or `log`.
    pub action: String,
    /// `all` or `origin`.
    pub count: String,
    /// Keys that are remembered.
    pub keys: usize,
    /// Bytes of what is remembered.
    pub bytes: usize,
    /// Requests that are held back now.
    pub waiting: usize,
    /// Requests since the process began that were within the rate.
    pub admitted: u64,
    /// That were held back.
    pub delayed: u64,
    /// That were refused.
    pub rejected: u64,
    /// That a limit which only logs would have refused.
    pub would_reject: u64,
}

impl LimitStatus {
    /// Reads it off.
    pub fn of(limit: &RateLimit) -> Self {
        let counts = limit.counts();
        Self {
            name: limit.name.to_owned(),
            action: match limit.action {
                LimitAction::Reject => "reject",
                LimitAction::Delay { .. } => "delay",
                LimitAction::Log => "log",
            }
            .to_owned(),
            count: match limit.count {
                LimitCount::All => "all",
                LimitCount::Origin => "origin",
            }
            .to_owned(),
            keys: limit.tracked(),
            bytes: limit.bytes(),
            waiting: limit.waiting(),
            admitted: counts.get(LimitDecision::Admitted),
            delayed: counts.get(LimitDecision::Delayed),
            rejected: counts.get(LimitDecision::Rejected),
            would_reject: counts.get(LimitDecision::WouldReject),
        }
    }
}

impl fmt::Display for LimitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12} {}: {} admitted",
            self.name, self.action, self.admitted
        )?;
        match self.action.as_str() {
            "log" => write!(f, ", {} would be refused", self.would_reject)?,
            "delay" => write!(
                f,
                ", {} delayed, {} refused, {} wait",
                self.delayed, self.rejected, self.waiting
            )?,
            _ => write!(f, ", {} refused", self.rejected)?,
        }
        let mib = self.bytes as f64 / 1_048_576.0;
        write!(f, "; {} keys in {mib:.1} MiB", self.keys)?;
        match self.count.as_str() {
            "origin" => f.write_str("; counts what the store does not answer"),
            _ => Ok(()),
        }
    }
}

/// An address list.
#[derive(Debug, Serialize, Deserialize)]
pub struct AddressListStatus {
    /// Name.
    pub name: String,
    /// Entries and lines in force.
    pub entries: usize,
    /// Bytes that they take.
    pub bytes: usize,
    /// Why what the file says now is not in force.
    pub trouble: Option<String>,
}

impl AddressListStatus {
    /// Reads it off.
    pub fn of(list: &AddressList) -> Self {
        Self {
            name: list.name.to_owned(),
            entries: list.entries(),
            bytes: list.bytes(),
            trouble: list.trouble(),
        }
    }
}

impl fmt::Display for AddressListStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {} entries", self.name, self.entries)?;
        match &self.trouble {
            Some(why) => write!(f, ", of an older version: {why}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_limits_and_lists() {
        let limit = |action: &str, count: &str| LimitStatus {
            name: "checkout".to_owned(),
            action: action.to_owned(),
            count: count.to_owned(),
            keys: 7,
            bytes: 3 << 20,
            waiting: 2,
            admitted: 100,
            delayed: 20,
            rejected: 5,
            would_reject: 9,
        };
        for (limit, wanted) in [
            (
                limit("reject", "all"),
                "checkout     reject: 100 admitted, 5 refused; 7 keys in 3.0 MiB",
            ),
            (
                limit("delay", "all"),
                "checkout     delay: 100 admitted, 20 delayed, 5 refused, 2 wait; 7 keys in 3.0 MiB",
            ),
            (
                limit("log", "origin"),
                "checkout     log: 100 admitted, 9 would be refused; 7 keys in 3.0 MiB; \
                 counts what the store does not answer",
            ),
        ] {
            assert_eq!(limit.to_string(), wanted);
        }
        let mut list = AddressListStatus {
            name: "bad".to_owned(),
            entries: 3,
            bytes: 24,
            trouble: None,
        };
        assert_eq!(list.to_string(), "bad          3 entries");
        list.trouble = Some("bad.txt:2: `x` is no address or network".to_owned());
        assert_eq!(
            list.to_string(),
            "bad          3 entries, of an older version: bad.txt:2: `x` is no address or network"
        );
    }
}
