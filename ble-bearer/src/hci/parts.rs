//! Adverts that come in more than one report.
//!
//! Owns what has come so far of a few of them. When there are more, the one that began first is given up, as are those whose end
//! the controller lost.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::event::{AdvReport, Part, Sender};

/// Adverts that may be under way at a time. A guess: a controller follows few at once.
const MOST: usize = 4;
/// The most data an advert has (Core Specification, Vol 6 Part B, 2.3.4.9).
const LONGEST: usize = 1_650;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Parts {
    under_way: VecDeque<(Sender, Vec<u8>)>,
}

impl Parts {
    /// All data of an advert, once its last part is there.
    pub(super) fn whole<'a>(&mut self, advert: &AdvReport<'a>) -> Option<Cow<'a, [u8]>> {
        let at = self.under_way.iter().position(|(from, _)| *from == advert.from);
        match (at, advert.part) {
            (None, Part::Last) => Some(Cow::Borrowed(advert.data)),
            (Some(at), Part::Last) => {
                let (_, mut data) = self.under_way.remove(at)?;
                data.extend_from_slice(advert.data);
                Some(Cow::Owned(data))
            }
            (Some(at), Part::More) if self.under_way[at].1.len() + advert.data.len() <= LONGEST => {
                self.under_way[at].1.extend_from_slice(advert.data);
                None
            }
            (Some(at), _) => {
                self.under_way.remove(at);
                None
            }
            (None, Part::More) => {
                if self.under_way.len() == MOST {
                    self.under_way.pop_front();
                }
                self.under_way.push_back((advert.from, advert.data.to_vec()));
                None
            }
            (None, Part::CutShort) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(parts: &mut Parts, from: u8, part: Part, data: &[u8]) -> Option<Vec<u8>> {
        let advert = AdvReport { from: ([from; 6], 1), part, data, rssi: None };
        parts.whole(&advert).map(Cow::into_owned)
    }

    #[test]
    fn parts_come_together_also_when_adverts_take_turns() {
        let mut parts = Parts::default();
        assert_eq!(put(&mut parts, 1, Part::Last, b"whole").unwrap(), b"whole");
        assert_eq!(put(&mut parts, 1, Part::More, b"a"), None);
        assert_eq!(put(&mut parts, 2, Part::More, b"x"), None);
        assert_eq!(put(&mut parts, 1, Part::More, b"b"), None);
        assert_eq!(put(&mut parts, 2, Part::CutShort, b""), None);
        assert_eq!(put(&mut parts, 1, Part::Last, b"c").unwrap(), b"abc");
        assert_eq!(put(&mut parts, 2, Part::Last, b"y").unwrap(), b"y", "its beginning was given up");
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut parts = Parts::default();
        for from in 0..10 {
            assert_eq!(put(&mut parts, from, Part::More, &[from; 200]), None);
            assert!(parts.under_way.len() <= MOST);
        }
        for _ in 0..100 {
            put(&mut parts, 9, Part::More, &[0; 200]);
            assert!(parts.under_way.iter().all(|(_, data)| data.len() <= LONGEST));
        }
    }
}
