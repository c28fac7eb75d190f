//! What waits here of the messages that came with each token, on their way or in inboxes.
//!
//! Owns the count. Each message carries a [`Charge`], and whatever takes the message out gives its charge back. How much there may
//! be is [`crate::access::Quota`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_agent::api::Name;

#[derive(Debug, Default)]
struct Account {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// The accounts of all tokens that have something here.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<Name, Arc<Account>>);

/// One message on a token's account.
#[derive(Debug)]
pub(super) struct Charge {
    token: Name,
    account: Arc<Account>,
    bytes: usize,
}

impl Accounts {
    /// Counts a message with a body of so many bytes, if it came with a token.
    pub(super) fn charge(&mut self, token: Option<Name>, bytes: usize) -> Option<Charge> {
        let token = token?;
        if !self.0.contains_key(&token) {
            // Tokens come and go: those that nothing is charged to are not held on to.
            self.0.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let account = Arc::clone(self.0.entry(token).or_default());
        account.messages.fetch_add(1, Ordering::Relaxed);
        account.bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(Charge { token, account, bytes })
    }

    /// Messages and bytes on a token's account.
    pub(super) fn of(&self, token: Name) -> (usize, usize) {
        self.0.get(&token).map_or((0, 0), |account| {
            (account.messages.load(Ordering::Relaxed), account.bytes.load(Ordering::Relaxed))
        })
    }
}

impl Charge {
    pub(super) const fn token(&self) -> Name {
        self.token
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.messages.fetch_sub(1, Ordering::Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
