//! How a message is torn: chosen by its own bytes, so that a corpus of plain messages needs no preface.

/// Lengths of pieces, without end.
#[derive(Debug)]
pub struct Pieces(u64);

impl Pieces {
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

impl Iterator for Pieces {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        // Often single bytes, seldom more than a line, sometimes all of it.
        Some(match self.0 >> 60 {
            0..=4 => 1,
            5..=11 => 1 + (self.0 >> 57 & 7) as usize,
            12..=14 => 1 + (self.0 >> 53 & 127) as usize,
            _ => usize::MAX,
        })
    }
}
