//! When visitors come: a Poisson process whose rate follows the phases of a scenario.

use crate::random::Dice;
use crate::scenario::Phase;

/// Times of arrival in seconds, ascending, fixed by phases and seed alone: whatever the server does, the next visitor
/// comes when he comes.
pub(crate) struct Arrivals<'a> {
    phases: &'a [Phase],
    /// Where in its phase the last arrival was, in seconds.
    within: f64,
    /// When the phase began.
    began: f64,
    scale: f64,
    dice: Dice,
}

impl<'a> Arrivals<'a> {
    /// At `scale` times the rates of the phases.
    pub(crate) fn new(phases: &'a [Phase], scale: f64, dice: Dice) -> Self {
        Self {
            phases,
            within: 0.0,
            began: 0.0,
            scale,
            dice,
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = f64;

    /// Draws how many visitors' worth of rate lies before the next one, and walks along the profile until that much
    /// has passed.
    fn next(&mut self) -> Option<f64> {
        let mut left = self.dice.exponential();
        loop {
            let (phase, later) = self.phases.split_first()?;
            let slope = (phase.end_rate() - phase.rate) / phase.seconds * self.scale;
            let rate = phase.rate * self.scale + slope * self.within;
            let remaining = phase.seconds - self.within;
            let in_phase = remaining * (rate + slope * remaining / 2.0);
            if left < in_phase {
                self.within += advance(rate, slope, left);
                return Some(self.began + self.within);
            }
            left -= in_phase;
            self.began += phase.seconds;
            self.within = 0.0;
            self.phases = later;
        }
    }
}

/// The time in which a rate that grows by `slope` a second brings `count` visitors: the root of
/// `rate·t + slope·t²/2 = count`, in the form that loses no digits where the slope is small.
fn advance(rate: f64, slope: f64, count: f64) -> f64 {
    let root = (rate * rate + 2.0 * slope * count).max(0.0).sqrt();
    2.0 * count / (rate + root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(seconds: f64, rate: f64, ramp_to: Option<f64>) -> Phase {
        Phase {
            seconds,
            rate,
            ramp_to,
        }
    }

    fn arrivals(phases: &[Phase], scale: f64, seed: u64) -> Vec<f64> {
        Arrivals::new(phases, scale, Dice::new(seed)).collect()
    }

    #[test]
    fn the_seed_decides() {
        let phases = [phase(10.0, 50.0, None)];
        assert_eq!(arrivals(&phases, 1.0, 1), arrivals(&phases, 1.0, 1));
        assert_ne!(arrivals(&phases, 1.0, 1), arrivals(&phases, 1.0, 2));
    }

    #[test]
    fn each_part_of_the_profile_has_its_rate() {
        let phases = [
            phase(100.0, 200.0, None),
            phase(50.0, 0.0, None),
            phase(100.0, 0.0, Some(400.0)),
            phase(100.0, 400.0, Some(0.0)),
        ];
        let times = arrivals(&phases, 1.0, 4);
        let between = |from: f64, to: f64| times.iter().filter(|t| (from..to).contains(*t)).count();
        for (from, to, wanted) in [
            (0.0, 50.0, 10_000.0_f64),
            (50.0, 100.0, 10_000.0),
            (150.0, 200.0, 5_000.0),
            (200.0, 250.0, 15_000.0),
            (250.0, 300.0, 15_000.0),
            (300.0, 350.0, 5_000.0),
        ] {
            let got = between(from, to) as f64;
            // Four standard deviations of a Poisson count.
            assert!(
                (got - wanted).abs() < 4.0 * wanted.sqrt(),
                "{from}: {got} for {wanted}"
            );
        }
        assert_eq!(between(100.0, 150.0), 0);
        assert!(times.is_sorted());
        assert!(times.last().is_some_and(|last| *last < 350.0));
    }

    #[test]
    fn distances_are_those_of_a_poisson_process() {
        let times = arrivals(&[phase(1000.0, 100.0, None)], 1.0, 9);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of an exponential distribution the standard deviation is the mean; evenly spaced arrivals would have none.
        assert!((0.97..1.03).contains(&(variance.sqrt() / mean)));
    }

    #[test]
    fn a_scale_multiplies_the_rate() {
        let count = arrivals(&[phase(100.0, 10.0, Some(30.0))], 5.0, 1).len();
        assert!((9_600..10_400).contains(&count), "{count}");
    }
}
