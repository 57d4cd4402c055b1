//! Chance that comes out the same for the same seed, on every machine and with every version of a library.

/// splitmix64: small, fast, and good enough for whom to send where.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Dice of their own, so that what one visitor draws does not change what the next one does.
    pub(crate) fn branch(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 up to and without `sides`.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        ((self.unit() * sides as f64) as usize).min(sides.saturating_sub(1))
    }

    /// Exponentially distributed with mean 1: the distance between two events that know nothing of each other.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

/// A draw among weighted things.
#[derive(Debug, Clone)]
pub(crate) struct Weighted {
    sums: Vec<f64>,
}

impl Weighted {
    /// By these weights, of which at least one is above 0.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let sums = weights.into_iter().map(|weight| {
            sum += weight;
            sum
        });
        Self {
            sums: sums.collect(),
        }
    }

    /// Zipf's law: the thing of rank k is wanted k^-exponent times as often as the first.
    pub(crate) fn zipf(ranks: usize, exponent: f64) -> Self {
        Self::new((1..=ranks).map(|rank| (rank as f64).powf(-exponent)))
    }

    /// The position of one.
    pub(crate) fn draw(&self, dice: &mut Dice) -> usize {
        let at = dice.unit() * self.sums.last().copied().unwrap_or_default();
        self.sums
            .partition_point(|sum| *sum <= at)
            .min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            [dice.next(), dice.branch().next(), dice.next()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn exponential_draws_have_mean_one() {
        let mut dice = Dice::new(1);
        let mean = (0..100_000).map(|_| dice.exponential()).sum::<f64>() / 100_000.0;
        assert!((0.98..1.02).contains(&mean), "{mean}");
    }

    #[test]
    fn zipf_gives_each_rank_its_share() {
        let (zipf, mut dice) = (Weighted::zipf(500, 1.0), Dice::new(3));
        let mut drawn = [0_u32; 500];
        for _ in 0..200_000 {
            drawn[zipf.draw(&mut dice)] += 1;
        }
        let harmonic: f64 = (1..=500).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1_u32, 2, 10, 50] {
            let wanted = 200_000.0 / harmonic / f64::from(rank);
            let got = f64::from(drawn[rank as usize - 1]);
            assert!(
                (0.9..1.1).contains(&(got / wanted)),
                "{rank}: {got} for {wanted}"
            );
        }
        assert!(drawn[499] > 0);
    }

    #[test]
    fn what_weighs_nothing_is_never_drawn() {
        let (weighted, mut dice) = (Weighted::new([0.0, 3.0, 0.0, 1.0, 0.0]), Dice::new(5));
        let mut drawn = [0; 5];
        for _ in 0..40_000 {
            drawn[weighted.draw(&mut dice)] += 1;
        }
        assert_eq!((drawn[0], drawn[2], drawn[4]), (0, 0, 0));
        assert!((29_000..31_000).contains(&drawn[1]), "{drawn:?}");
    }
}
