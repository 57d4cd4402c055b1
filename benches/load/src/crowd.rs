//! Those who had to wait, and those who came to buy, as they stand in a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{Buyer, Record};

/// Who had to wait in a waiting room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Times that a visitor was told to wait, and those after he had been admitted before.
    pub(crate) waited: u64,
    pub(crate) again: u64,
    pub(crate) admitted: u64,
    pub(crate) gave_up: u64,
    /// When the run ended.
    pub(crate) still_waiting: u64,
    /// From the first request to the last one, which was let in.
    pub(crate) p50_s: f64,
    pub(crate) p90_s: f64,
    pub(crate) p99_s: f64,
    pub(crate) max_s: f64,
}

/// What became of those who came to buy. Each is counted once.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Buyers {
    pub(crate) came: u64,
    /// Never asked to wait, or admitted.
    pub(crate) let_in: u64,
    pub(crate) finished: u64,
    /// Of those let in whom the end of the run did not cut off.
    pub(crate) finished_share: f64,
    /// Those let in who did not finish, by what stopped them.
    pub(crate) stopped: BTreeMap<String, u64>,
    /// Inside when the run ended.
    pub(crate) under_way: u64,
    /// Never let in.
    pub(crate) gave_up: u64,
    pub(crate) still_waiting: u64,
}

impl Buyers {
    /// By how each of them ended.
    pub(crate) fn of(ends: &[Buyer]) -> Self {
        let mut buyers = Self {
            came: ends.len() as u64,
            ..Self::default()
        };
        for end in ends {
            let mut stopped = |by: &str| *buyers.stopped.entry(by.to_owned()).or_default() += 1;
            match end {
                Buyer::Finished => buyers.finished += 1,
                Buyer::Stopped(fate) => stopped(fate.name()),
                Buyer::SentBack => stopped("sent-back"),
                Buyer::UnderWay => buyers.under_way += 1,
                Buyer::GaveUp => buyers.gave_up += 1,
                Buyer::StillWaiting => buyers.still_waiting += 1,
            }
        }
        let ended = buyers.finished + buyers.stopped.values().sum::<u64>();
        buyers.let_in = ended + buyers.under_way;
        buyers.finished_share = match ended {
            0 => 0.0,
            ended => buyers.finished as f64 / ended as f64,
        };
        buyers
    }
}

impl Waiting {
    /// Of the books.
    pub(crate) fn of(record: &Record) -> Self {
        let seconds = |quantile| record.waited_ms.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            waited: record.waits,
            again: record.waits_again,
            admitted: record.waited_ms.len(),
            gave_up: record.gave_up,
            still_waiting: record.still_waiting,
            p50_s: seconds(0.5),
            p90_s: seconds(0.9),
            p99_s: seconds(0.99),
            max_s: record.waited_ms.max() as f64 / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;

    #[test]
    fn every_buyer_is_counted_once() {
        let buyers = Buyers::of(&[
            Buyer::Finished,
            Buyer::Finished,
            Buyer::Finished,
            Buyer::Stopped(Fate::Busy),
            Buyer::SentBack,
            Buyer::GaveUp,
            Buyer::StillWaiting,
            Buyer::UnderWay,
        ]);
        assert_eq!((buyers.came, buyers.let_in, buyers.finished), (8, 6, 3));
        assert_eq!(buyers.finished_share, 0.6);
        assert_eq!(buyers.stopped.len(), 2);
        assert_eq!(Buyers::of(&[]).finished_share, 0.0);
    }
}
