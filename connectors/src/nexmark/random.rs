//! Random numbers that depend on the number of an event alone, so that each event can be made by itself.

/// A stream of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

pub(crate) const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The shortest random text, in characters.
const SHORTEST: u64 = 3;

impl Random {
    /// The stream of event `number`.
    pub(crate) fn of(number: u64) -> Self {
        Self(mix(number.wrapping_mul(STEP) ^ 0x5EED))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform in `0..n`; 0 for `n = 0`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in 0..1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True once in `ratio` times.
    pub(crate) fn once_in(&mut self, ratio: u64) -> bool {
        self.below(ratio) == 0
    }

    /// One of `items`, which are not none.
    pub(crate) fn pick(&mut self, items: &[&'static str]) -> &'static str {
        items[self.below(items.len() as u64) as usize]
    }

    /// Cents: uniform in the order of magnitude, from 1 to a million units.
    pub(crate) fn price(&mut self) -> u64 {
        self.drawn_price().cents()
    }

    /// A price that is worked out only if somebody wants to know it.
    pub(crate) fn drawn_price(&mut self) -> Price {
        Price(self.next())
    }

    /// Letters, less than `max` of them, and now and then a `space` instead of one.
    pub(crate) fn text(&mut self, max: u64, space: char) -> String {
        let length = SHORTEST + self.below(max - SHORTEST);
        let text: String = (0..length).map(|_| if self.once_in(13) { space } else { self.letter() }).collect();
        text.trim().to_owned()
    }

    /// Letters that bring a record of `size` bytes to `average` on the average.
    pub(crate) fn filler(&mut self, size: usize, average: usize) -> String {
        let mut letters = Vec::new();
        self.fill(size, average, &mut letters);
        String::from_utf8(letters).unwrap_or_default()
    }

    /// The same, instead of what is in `letters`: ASCII.
    pub(crate) fn fill(&mut self, size: usize, average: usize, letters: &mut Vec<u8>) {
        let missing = average.saturating_sub(size) as u64;
        let spread = missing / 5;
        let length = (missing - spread + self.below(2 * spread)) as usize;
        letters.clear();
        letters.reserve(length + 8);
        while letters.len() < length {
            let bytes = self.next().to_le_bytes();
            letters.extend_from_slice(&bytes.map(|byte| b'a' + (u16::from(byte) * 26 / 256) as u8));
        }
        letters.truncate(length);
    }

    fn letter(&mut self) -> char {
        char::from(b'a' + self.below(26) as u8)
    }
}

/// A price, drawn but not worked out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Price(u64);

impl Price {
    pub(crate) fn cents(self) -> u64 {
        let magnitude = self.0 as f64 / u64::MAX as f64 * 6.0;
        (10f64.powf(magnitude) * 100.0).round() as u64
    }
}

/// Spreads what differs in a few bits over all of them.
pub(crate) fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
