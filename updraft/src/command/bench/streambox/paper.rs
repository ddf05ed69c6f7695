//! What the paper tells: Miao et al., "StreamBox: Modern Stream Processing on a Multicore Machine", USENIX ATC 2017, §9, on 56 cores
//! (four Xeon E7-4850v4). Most figures are read off plots.

use std::time::Duration;

/// Highest rates of one benchmark, in million records a second.
pub(super) struct Rates {
    /// With 4, 12, 32 and 56 cores, for [`TARGET`].
    pub(super) cores: [f64; 4],
    /// With 56 cores, for a tighter target.
    pub(super) tight: (Duration, f64),
}

/// The target latency of most figures.
pub(super) const TARGET: Duration = Duration::from_secs(1);
/// How many cores there were.
pub(super) const CORES: [u32; 4] = [4, 12, 32, 56];

const MS_50: Duration = Duration::from_millis(50);
const MS_500: Duration = Duration::from_millis(500);

pub(super) const GREP: Rates = Rates { cores: [7.5, 22.0, 36.5, 38.0], tight: (MS_50, 36.0) };
pub(super) const WORD_COUNT: Rates = Rates { cores: [0.7, 2.4, 4.4, 5.0], tight: (MS_50, 3.4) };
pub(super) const JOIN: Rates = Rates { cores: [1.5, 2.6, 3.7, 5.0], tight: (MS_50, 4.6) };
pub(super) const DISTINCT: Rates = Rates { cores: [0.19, 0.42, 1.1, 1.55], tight: (MS_50, 1.1) };
pub(super) const NETWORK: Rates = Rates { cores: [0.1, 0.29, 0.65, 1.0], tight: (MS_500, 0.7) };
pub(super) const TWEETS: Rates = Rates { cores: [0.7, 1.9, 3.8, 5.0], tight: (MS_500, 4.5) };

impl Rates {
    /// Million records a second and core for `target`, with as few and as many cores as there is a figure for.
    pub(super) fn per_core(&self, target: Duration) -> [Option<f64>; 2] {
        let [least, .., most] = CORES.map(f64::from);
        if target == TARGET {
            [Some(self.cores[0] / least), Some(self.cores[3] / most)]
        } else {
            [None, (target == self.tight.0).then_some(self.tight.1 / most)]
        }
    }
}
