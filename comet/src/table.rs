//! Tables whose order an attacker cannot know, and a test can.

use std::collections::{HashMap, HashSet};
#[cfg(test)]
use std::hash::{BuildHasherDefault, DefaultHasher};

/// How keys are spread: at random, so that nobody can choose names that meet, but in tests the same every time, so that a
/// schedule of faults follows from its seed.
#[cfg(not(test))]
type Spread = std::hash::RandomState;
#[cfg(test)]
type Spread = BuildHasherDefault<DefaultHasher>;

/// A hash map.
pub(crate) type Table<K, V> = HashMap<K, V, Spread>;
/// A hash set.
pub(crate) type Names<K> = HashSet<K, Spread>;
