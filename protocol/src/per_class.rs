//! One value for each class of urgency.

use core::ops::{Index, IndexMut};

#[cfg(feature = "node")]
use crate::Instant;
use crate::Priority;

/// One value for each [`Priority`], which is its index.
///
/// ```
/// use mesh_protocol::{PerClass, Priority};
///
/// const PATIENCE: PerClass<u8> = PerClass::new([0, 4, 9, 19]);
/// let mut passed = PerClass::all(0);
/// passed[Priority::Low] += 20;
/// assert!(passed[Priority::Low] > PATIENCE[Priority::Low]);
/// assert_eq!(passed.iter().filter(|(_, passed)| **passed == 0).count(), 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerClass<T>([T; Priority::ALL.len()]);

impl<T> PerClass<T> {
    /// The values of CRITICAL, HIGH, MEDIUM and LOW.
    #[must_use]
    pub const fn new(values: [T; Priority::ALL.len()]) -> Self {
        Self(values)
    }

    /// The same value for each class.
    #[must_use]
    pub const fn all(value: T) -> Self
    where
        T: Copy,
    {
        Self([value; Priority::ALL.len()])
    }

    /// The value that `of` gives for each class, the most urgent first.
    #[must_use]
    pub fn from_fn(of: impl FnMut(Priority) -> T) -> Self {
        Self(Priority::ALL.map(of))
    }

    /// The values, the most urgent first.
    #[must_use]
    pub fn into_values(self) -> [T; Priority::ALL.len()] {
        self.0
    }

    /// Each class and its value, the most urgent first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Priority, &T)> + ExactSizeIterator {
        Priority::ALL.into_iter().zip(&self.0)
    }

    /// Each class and its value, to be changed, the most urgent first.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (Priority, &mut T)> + ExactSizeIterator {
        Priority::ALL.into_iter().zip(&mut self.0)
    }
}

impl<T> Index<Priority> for PerClass<T> {
    type Output = T;

    fn index(&self, class: Priority) -> &T {
        &self.0[class as usize]
    }
}

impl<T> IndexMut<Priority> for PerClass<T> {
    fn index_mut(&mut self, class: Priority) -> &mut T {
        &mut self.0[class as usize]
    }
}

/// Takes `at` for the time of something, if it is sooner than what is known.
#[cfg(feature = "node")]
pub(crate) fn sooner(known: &mut Option<Instant>, at: Instant) {
    *known = Some(known.map_or(at, |known| known.min(at)));
}
