//! Hash tables whose order attackers cannot predict, but tests can.

use std::collections::{HashMap, HashSet};
#[cfg(test)]
use std::hash::{BuildHasherDefault, DefaultHasher};

/// The hasher: random, so that nobody can choose colliding names; in tests it is constant, so that a schedule of faults follows from its
/// seed.
#[cfg(not(test))]
type Spread = std::hash::RandomState;
#[cfg(test)]
type Spread = BuildHasherDefault<DefaultHasher>;

/// A hash map.
pub(crate) type Table<K, V> = HashMap<K, V, Spread>;
/// A hash set.
pub(crate) type Names<K> = HashSet<K, Spread>;
