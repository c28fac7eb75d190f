//! A message on its way, and what becomes of it.

use std::sync::Arc;

use crate::ClientError;
use crate::api::{Accepted, Receipt};
use crate::link::Owner;
use crate::link::state::Awaited;

/// A message on its way. Dropping it forgets about the message, which goes on; while it is there, the session stays.
#[derive(Debug)]
pub struct Pending {
    owner: Arc<Owner>,
    accepted: Acceptance,
    receipt: Awaited<Receipt>,
}

#[derive(Debug)]
enum Acceptance {
    Coming(Awaited<Accepted>),
    Come(Result<Accepted, ClientError>),
}

impl Pending {
    pub(crate) fn new(owner: Arc<Owner>, accepted: Awaited<Accepted>, receipt: Awaited<Receipt>) -> Self {
        Self { owner, accepted: Acceptance::Coming(accepted), receipt }
    }

    /// Waits until the gateway has taken the message over. Asked again, it says the same.
    ///
    /// # Errors
    /// If the gateway refuses it, or the connection is lost.
    pub async fn accepted(&mut self) -> Result<Accepted, ClientError> {
        match &mut self.accepted {
            Acceptance::Come(accepted) => accepted.clone(),
            Acceptance::Coming(coming) => {
                let accepted = self.owner.link().wait(coming).await;
                self.accepted = Acceptance::Come(accepted.clone());
                accepted
            }
        }
    }

    /// Waits until it is known what became of the message. Not delivered is a receipt too, not an error.
    ///
    /// # Errors
    /// If the gateway refuses the message, or the connection is lost.
    pub async fn receipt(self) -> Result<Receipt, ClientError> {
        self.owner.link().wait(self.receipt).await
    }
}
