//! What limits say about one request.

use std::time::Duration;

/// What a limit does with a request; of several the last in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitDecision {
    /// It is within the rate.
    Admitted,
    /// It is not, and the rule only looks on.
    WouldReject,
    /// It is held back until it is within the rate.
    Delayed,
    /// It is refused.
    Rejected,
}

impl LimitDecision {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Admitted,
        Self::WouldReject,
        Self::Delayed,
        Self::Rejected,
    ];

    /// As metrics and log lines have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::WouldReject => "would_reject",
            Self::Delayed => "delayed",
            Self::Rejected => "rejected",
        }
    }
}

/// What limits say about one request.
#[derive(Debug, Clone)]
pub struct LimitState {
    /// The rule with the least left, which clients are told of. Its name outlives all requests, so that none of
    /// them counts who holds it.
    pub rule: &'static str,
    /// Requests that may come at once when rested.
    pub quota: u32,
    /// Seconds until a whole quota is replenished.
    pub window: u64,
    /// Requests that may still come now.
    pub remaining: u32,
    /// Seconds until the next request is admitted; `0` where this one was.
    pub retry_after: u64,
    /// Whether clients are told at all: what a rule that looks on would do is the operators' business.
    pub is_told: bool,
    /// What became of the request.
    pub decision: LimitDecision,
    /// The rule that decided it.
    pub decided_by: &'static str,
    /// Why the request was not simply admitted: `rate`, `max_delay` or `waiting`.
    pub reason: Option<&'static str>,
    /// How long it is held back.
    pub delay: Duration,
    /// The rules of the route that have charged the request, a bit for each by its place among them: they get it
    /// handed back when a later one refuses.
    pub charged: u64,
}

impl LimitState {
    /// Whether the request goes no further.
    pub(crate) fn refuses(&self) -> bool {
        self.decision == LimitDecision::Rejected
    }

    /// What two rules say together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let delay = self.delay.max(other.delay);
        let charged = self.charged | other.charged;
        let is_first = (!self.is_told, self.remaining) <= (!other.is_told, other.remaining);
        let (told, rest) = if is_first {
            (self, other)
        } else {
            (other, self)
        };
        if rest.decision > told.decision {
            return Self {
                decision: rest.decision,
                decided_by: rest.decided_by,
                reason: rest.reason,
                delay,
                charged,
                ..told
            };
        }
        Self {
            delay,
            charged,
            ..told
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_rules_are_told_as_one() {
        use LimitDecision::{Admitted, Delayed, WouldReject};
        let state = |rule, remaining, is_told, decision, delay| LimitState {
            rule,
            quota: 10,
            window: 1,
            remaining,
            retry_after: 0,
            is_told,
            decision,
            decided_by: rule,
            reason: (decision != Admitted).then_some("rate"),
            delay: Duration::from_millis(delay),
            charged: 0,
        };
        let wide = || state("wide", 9, true, Admitted, 0);
        let tight = || state("tight", 2, true, Admitted, 0);
        let looks_on = || state("looks-on", 0, false, WouldReject, 0);
        let late = || state("late", 0, true, Delayed, 50);
        for (one, two, rule, decided_by, decision, delay) in [
            (wide(), tight(), "tight", "tight", Admitted, 0),
            (wide(), looks_on(), "wide", "looks-on", WouldReject, 0),
            (late(), looks_on(), "late", "late", Delayed, 50),
            (late(), wide(), "late", "late", Delayed, 50),
            (
                late(),
                state("later", 0, true, Delayed, 80),
                "late",
                "late",
                Delayed,
                80,
            ),
        ] {
            let both = [one.clone().and(two.clone()), two.and(one)];
            assert_eq!(both[0].rule, rule);
            for both in both {
                assert_eq!((both.decision, both.delay.as_millis()), (decision, delay));
                assert!(both.is_told && (both.reason.is_some() == (decision != Admitted)));
                if rule != "late" || delay != 80 {
                    assert_eq!((both.rule, both.decided_by), (rule, decided_by));
                }
            }
        }
    }
}
