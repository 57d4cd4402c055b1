//! Numbers of what left before it was asked for again.

/// Numbers that share a row; the oldest of a full one goes.
const ROW: usize = 4;
/// Rows of the smallest memory.
const ROWS_MIN: usize = 256;

/// A memory for about so many numbers as there are objects: eight bytes each, in a power of two of rows. It
/// may take one number for another, which costs that object's place in the queue of the unproven and no more.
pub(crate) struct Ghost {
    /// Half a number and the step at which it left. Step 0 is an empty place.
    rows: Vec<[(u32, u32); ROW]>,
    step: u32,
}

impl Ghost {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), step: 0 }
    }

    fn row(&mut self, number: u64) -> Option<&mut [(u32, u32); ROW]> {
        let mask = self.rows.len().wrapping_sub(1);
        self.rows.get_mut(number as usize & mask)
    }

    /// Remembers a number. `objects` is how many there are of those that stayed.
    pub(crate) fn remember(&mut self, number: u64, objects: usize) {
        if objects > self.rows.len() * ROW || self.rows.is_empty() {
            // What it knew is lost: a row is found by bits that it does not have.
            let rows = objects.div_ceil(ROW).next_power_of_two().max(ROWS_MIN);
            self.rows = vec![[(0, 0); ROW]; rows];
        }
        self.step = self.step.wrapping_add(1).max(1);
        let step = self.step;
        let half = half(number);
        if let Some(row) = self.row(number) {
            let age = |at: u32| if at == 0 { u32::MAX } else { step.wrapping_sub(at) };
            let known = row.iter().position(|(there, at)| *there == half && *at != 0);
            let oldest = (0..ROW).max_by_key(|place| age(row[*place].1));
            row[known.or(oldest).unwrap_or(0)] = (half, step);
        }
    }

    /// Whether a number was among the last `objects` that left; it is forgotten by that.
    pub(crate) fn recall(&mut self, number: u64, objects: usize) -> bool {
        let step = self.step;
        let half = half(number);
        let Some(row) = self.row(number) else {
            return false;
        };
        let Some(place) = row.iter_mut().find(|(there, at)| *there == half && *at != 0) else {
            return false;
        };
        let age = step.wrapping_sub(place.1);
        *place = (0, 0);
        (age as usize) < objects
    }
}

/// The half that does not say which row.
fn half(number: u64) -> u32 {
    (number >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number whose bits are spread.
    fn number(n: u64) -> u64 {
        (n + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn the_last_are_known_and_the_others_forgotten() {
        let mut ghost = Ghost::new();
        assert!(!ghost.recall(number(0), 1_000));
        for n in 0..10_000 {
            ghost.remember(number(n), 1_000);
        }
        let known = |ghost: &mut Ghost, range: std::ops::Range<u64>| {
            range.filter(|n| ghost.recall(number(*n), 1_000)).count()
        };
        assert_eq!(known(&mut ghost, 0..8_000), 0);
        // Some rows have more than their share.
        let last = known(&mut ghost, 9_000..10_000);
        assert!(last > 800, "{last}");
        assert_eq!(known(&mut ghost, 9_000..10_000), 0, "recalled once");
    }

    #[test]
    fn it_grows_with_the_objects_and_stays_bounded() {
        let mut ghost = Ghost::new();
        for n in 0..100_000 {
            ghost.remember(number(n), 100);
        }
        assert_eq!(ghost.rows.len(), ROWS_MIN);
        ghost.remember(number(1), 100_000);
        assert_eq!(ghost.rows.len() * ROW, 131_072);
    }
}
