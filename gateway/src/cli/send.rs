//! `mesh-gateway send`: one message, and what became of it.
//!
//! Owns what may truthfully be said when the connection breaks: before *accepted* nothing is known; after it the
//! message is the gateway's, and its receipt is asked for again under the same name.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use mesh_agent::api::{Accepted, Event, Name, Outcome, Receipt, ReceiptWish, SendRequest};
use mesh_agent::{ClientError, Inbox, Incoming, Pending};
use tokio::time::{sleep, timeout};

use super::args::SendArgs;
use super::connect::{Gateway, Pauses, lasting_name, leave, may_pass, passing_name, read_on, taken_over};
use super::output::{Output, without_ref};
use super::{body, receipt};

/// How much longer than the deadline a receipt is waited for where the gateway may not owe one. A guess: a gateway that
/// repairs its store takes some seconds to come back.
const GRACE: Duration = Duration::from_secs(30);
/// The deadline of a message without one: the default of `mesh.default_deadline_s`.
const USUAL_DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn run(args: SendArgs, out: Output) -> anyhow::Result<()> {
    let attempt = format!("sending to {}", args.to);
    send(args, out).await.context(attempt)
}

/// What is being sent, beyond the request itself.
struct Sender {
    gateway: Gateway,
    name: Name,
    /// The name is nobody's: what comes to it is of no use to anyone.
    throwaway: bool,
    wish: ReceiptWish,
    /// How long a receipt can be worth waiting for.
    patience: Duration,
}

async fn send(args: SendArgs, out: Output) -> anyhow::Result<()> {
    let request = SendRequest {
        priority: args.priority,
        deadline_ms: args.deadline.and_then(|deadline| u32::try_from(deadline.as_millis()).ok()),
        durable: !args.no_durable,
        reply_to: args.reply_to,
        receipt: args.receipt.into(),
        ..SendRequest::new(args.to, args.kind, body::read(args.body)?)
    };
    let own = if args.wait { lasting_name } else { passing_name };
    let sender = Sender {
        gateway: Gateway::new(args.gateway)?,
        name: args.name.map_or_else(own, Ok)?,
        throwaway: args.name.is_none(),
        wish: request.receipt,
        patience: args.deadline.unwrap_or(USUAL_DEADLINE) + GRACE,
    };
    let (handle, mut inbox) = sender.gateway.connect(sender.name).await?.split();
    inbox.set_auto_ack(sender.throwaway);
    let mut pending = handle.send(request).await.map_err(before_accepted)?;
    let accepted = tokio::select! {
        accepted = pending.accepted() => accepted.map_err(before_accepted)?,
        never = read_on(&mut inbox) => match never {},
    };
    if !args.wait {
        let shown = Accepted { reference: None, ..accepted.clone() };
        out.result(&Event::Accepted(shown), || accepted.id.to_string())?;
        leave(&handle).await;
        return Ok(());
    }

    out.note(format_args!("accepted as {}; waiting for the receipt", accepted.id));
    let receipt = match sender.await_receipt(pending, &mut inbox).await {
        Ok(Some(receipt)) => {
            leave(&handle).await;
            receipt
        }
        Ok(None) => bail!(
            "{} was accepted, but no receipt \"{}\" came within {} s; it may have arrived: ask its receiver",
            accepted.id,
            receipt_word(sender.wish),
            sender.patience.as_secs()
        ),
        Err(error) if taken_over(&error) => bail!(
            "{} was accepted, but another session has taken over the name {}; what became of the message is told there",
            accepted.id,
            sender.name
        ),
        Err(error) if !accepted.durable => bail!(
            "{} was accepted without being written to disk, and then {error}; what became of it is unknown",
            accepted.id
        ),
        Err(error) => {
            drop((handle, inbox));
            out.note(format_args!("{error}; {} is kept there, connecting again", accepted.id));
            sender.find_receipt(&accepted).await?
        }
    };
    let shown = Event::Receipt(receipt.clone());
    out.result(&without_ref(&shown)?, || receipt::show(&receipt))?;
    if !receipt::is_good(receipt.outcome) {
        bail!("{}; {}", receipt::show(&receipt), receipt::advice(receipt.outcome));
    }
    Ok(())
}

impl Sender {
    /// The receipt over the same connection; `None` when the gateway does not owe one and none came.
    async fn await_receipt(
        &self,
        pending: Pending,
        inbox: &mut Inbox,
    ) -> Result<Option<Receipt>, ClientError> {
        let patience = async {
            match self.wish {
                // The gateway tells what became of every message, by its own clock and deadline.
                ReceiptWish::Delivered => std::future::pending().await,
                // Whether the agent acknowledges it is the agent's to decide.
                ReceiptWish::Processed => sleep(self.patience).await,
            }
        };
        tokio::select! {
            receipt = pending.receipt() => receipt.map(Some),
            () = patience => Ok(None),
            never = read_on(inbox) => match never {},
        }
    }

    /// The receipt after the connection was lost: it waits in the inbox of the same name.
    async fn find_receipt(&self, accepted: &Accepted) -> anyhow::Result<Receipt> {
        let id = accepted.id;
        // Around all attempts: one that fails at once would never meet a bound of its own.
        match timeout(self.patience, self.keep_looking(accepted)).await {
            Ok(Ok(receipt)) => Ok(receipt),
            Ok(Err(error)) => bail!("{id} was accepted, but its receipt cannot be had: {error}"),
            Err(_) => bail!(
                "{id} was accepted, but no receipt came within {} s of the lost connection; it may have arrived: see \
                 `mesh-gateway status`, and `mesh-gateway listen --as {}` shows what still comes",
                self.patience.as_secs(),
                self.name
            ),
        }
    }

    async fn keep_looking(&self, accepted: &Accepted) -> Result<Receipt, ClientError> {
        let mut pauses = Pauses::new();
        loop {
            sleep(pauses.next()).await;
            match self.look_for(accepted).await {
                Err(error) if may_pass(&error) => {}
                done => return done,
            }
        }
    }

    async fn look_for(&self, accepted: &Accepted) -> Result<Receipt, ClientError> {
        let (handle, mut inbox) = self.gateway.connect(self.name).await?.split();
        inbox.set_auto_ack(self.throwaway);
        loop {
            let Incoming::Receipt(receipt) = inbox.next().await? else {
                continue;
            };
            let not_yet = self.wish == ReceiptWish::Processed && receipt.outcome == Outcome::Delivered;
            if receipt.id != accepted.id || not_yet {
                continue;
            }
            // Without the ack the receipt comes again, to whoever bears the name then.
            let _ = receipt.cursor.map(|cursor| handle.ack(cursor));
            leave(&handle).await;
            return Ok(receipt);
        }
    }
}

/// What is true when a message was handed over and nothing more is heard.
fn before_accepted(error: ClientError) -> anyhow::Error {
    match &error {
        ClientError::Refused(refusal) if !refusal.fatal => error.into(),
        _ => anyhow!(
            "{error}; whether the message was accepted is unknown: send it again only if twice does no harm"
        ),
    }
}

const fn receipt_word(wish: ReceiptWish) -> &'static str {
    match wish {
        ReceiptWish::Delivered => "delivered",
        ReceiptWish::Processed => "processed",
    }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::{Address, MessageId};

    use super::*;
    use crate::cli::args::GatewayArgs;
    use mesh_agent::api::MessageRef;

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_never_comes_back_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = format!("unix:{}", folder.path().join("none.sock").display());
        let sender = Sender {
            gateway: Gateway::new(GatewayArgs { gateway: nobody.parse().unwrap(), token_file: None })
                .unwrap(),
            name: Name::new("alice").unwrap(),
            throwaway: false,
            wish: ReceiptWish::Delivered,
            patience: Duration::from_secs(50),
        };
        let id = MessageRef { node: Address::new(1), id: MessageId(17) };
        let accepted = Accepted { reference: None, id, durable: true, at_us: 0 };
        let told = sender.find_receipt(&accepted).await.unwrap_err().to_string();
        assert!(told.starts_with("0x0001/17 was accepted, but no receipt came within 50 s"), "{told}");
    }
}
