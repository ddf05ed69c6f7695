//! The global window: all of a key, when the stream ends.

use super::{Sliced, Slicing};

/// All of a key in one window, from the beginning of time to its end: it fires when the stream ends, and before that when
/// its trigger says so. Records need no event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Global;

impl Sliced for Global {
    fn slicing(&self) -> Slicing {
        Slicing::WHOLE
    }
}
