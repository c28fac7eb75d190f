//! How many sessions the holders of a token have at the same time.
//!
//! Owns the count. A session whose name a newer one takes counts once with it, so that an agent which lost its power comes back at
//! once; but no more than twice the sessions are there, however fast somebody comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_agent::api::Name;

use super::port::SessionId;

/// The sessions of one token.
#[derive(Clone, Debug, Default)]
pub(super) struct Present(Arc<Mutex<BTreeMap<SessionId, Name>>>);

impl Present {
    /// One more session, under this name, if there may be one.
    pub(super) fn enter(&self, session: SessionId, agent: Name, most: u32) -> Option<Presence> {
        let most = most as usize;
        let mut present = self.lock();
        let names: BTreeSet<&Name> = present.values().collect();
        let fits = names.contains(&agent) || names.len() < most;
        if !fits || present.len() >= most.saturating_mul(2) {
            return None;
        }
        present.insert(session, agent);
        Some(Presence { session, of: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Name>> {
        // Whole between any two statements that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is counted. Dropped when it is over.
#[derive(Debug)]
pub(super) struct Presence {
    session: SessionId,
    of: Present,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.of.lock().remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_under_its_name_is_counted_once_and_not_without_end() {
        let present = Present::default();
        let mut next = 0;
        let mut enter = |name: &str| {
            next += 1;
            present.enter(SessionId(next), Name::new(name).unwrap(), 2)
        };
        let first = enter("a").unwrap();
        let _b = enter("b").unwrap();
        assert!(enter("c").is_none(), "a third name");
        let _a = (enter("a").unwrap(), enter("a").unwrap());
        assert!(enter("a").is_none(), "four are there");
        drop(first);
        assert!(enter("a").is_some());
    }
}
