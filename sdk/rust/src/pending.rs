//! A message in flight, and its outcome.

use std::sync::Arc;

use crate::ClientError;
use crate::api::{Accepted, Receipt};
use crate::link::Owner;
use crate::link::state::Awaited;

/// A message in flight. Dropping it gives up the wait and not the message; while it is there, the session stays.
///
/// ```no_run
/// # async fn example(mut pending: mesh_agent::Pending) -> Result<(), mesh_agent::ClientError> {
/// let accepted = pending.accepted().await?; // on the disk of this gateway
/// println!("{} is in flight", accepted.id);
/// let receipt = pending.receipt().await?; // its outcome
/// println!("{:?} at {:?}", receipt.outcome, receipt.at_node);
/// # Ok(())
/// # }
/// ```
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

    /// Waits until the gateway has taken the message over. A second call returns the same.
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

    /// Waits until the outcome of the message is known. *Not delivered* is a receipt too, and no error.
    ///
    /// # Errors
    /// If the gateway refuses the message, or the connection is lost.
    pub async fn receipt(self) -> Result<Receipt, ClientError> {
        self.owner.link().wait(self.receipt).await
    }
}
