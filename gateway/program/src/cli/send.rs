//! `mesh-gateway send`: one message, and what became of it.
//!
//! Owns how long a gateway that has gone is waited for, and what may truthfully be said when it does not come back.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use mesh_agent::api::{Accepted, Event, Name, Receipt, ReceiptRequest, SendRequest};
use mesh_agent::{ClientError, Connection, Handle};
use tokio::sync::watch;
use tokio::time::sleep;

use super::args::SendArgs;
use super::connect::{Gateway, lasting_name, leave, leave_for_good, read_on};
use super::fault::{Code, Failure};
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

async fn send(args: SendArgs, out: Output) -> anyhow::Result<()> {
    let request = SendRequest {
        priority: args.priority,
        deadline_ms: args.deadline.and_then(|deadline| u32::try_from(deadline.as_millis()).ok()),
        durable: !args.no_durable,
        reply_to: args.reply_to,
        receipt: args.receipt.into(),
        ..SendRequest::new(args.to, args.kind, body::read(args.body)?)
    };
    let asked = request.receipt;
    let patience = args.deadline.unwrap_or(USUAL_DEADLINE) + GRACE;
    let gateway = Gateway::new(args.gateway, out)?;
    // Only what is waited for is kept for this command, under a name that nobody else has.
    let own = if args.wait { Some(lasting_name()?) } else { None };
    let (name, (handle, mut inbox)) = match args.name.or(own) {
        Some(name) => (name, gateway.stay(name).await?.split()),
        None => {
            let client = gateway.connect(None).await?;
            (client.welcome().name, client.split())
        }
    };
    // Where the name is nobody's, what comes to it is of no use to anyone.
    inbox.set_auto_ack(args.name.is_none());
    // Where nothing more can come for it, a name of the command's own is not left behind.
    let part = async || match args.name {
        Some(_) => leave(&handle).await,
        None => leave_for_good(&handle, name).await,
    };
    let mut pending = handle.send(request).await.map_err(before_accepted)?;
    let accepted = tokio::select! {
        accepted = pending.accepted() => match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if matches!(error, ClientError::Refused(_)) {
                    part().await;
                }
                return Err(before_accepted(error));
            }
        },
        () = gone(&handle, patience, out, "the message is sent again when it is back") => {
            let why = format!("the gateway did not come back within {} s", patience.as_secs());
            return Err(before_accepted(ClientError::Lost(why)));
        }
        never = read_on(&mut inbox) => match never {},
    };
    let id = accepted.id;
    if !args.wait {
        let shown = Accepted { reference: None, ..accepted };
        out.result(&Event::Accepted(shown), || id.to_string())?;
        leave(&handle).await;
        return Ok(());
    }

    out.note(format_args!("accepted as {id}; waiting for the receipt"));
    let unheard = async {
        match asked {
            // The gateway tells what became of every message, by its own clock and deadline.
            ReceiptRequest::Delivered => std::future::pending().await,
            // Whether the agent acknowledges it is the agent's to decide.
            ReceiptRequest::Processed => sleep(patience).await,
        }
    };
    let meanwhile = format!("{id} is kept there, connecting again");
    let receipt = tokio::select! {
        receipt = pending.receipt() => receipt,
        () = unheard => {
            part().await;
            bail!(
                "{id} was accepted, but no receipt \"processed\" came within {} s; it may have arrived: ask its receiver",
                patience.as_secs()
            )
        }
        () = gone(&handle, patience, out, &meanwhile) => bail!(
            "{id} was accepted, but no receipt came within {} s of the lost connection; it may have arrived: see \
             `mesh-gateway status`, and `mesh-gateway listen --as {name}` shows what still comes",
            patience.as_secs()
        ),
        never = read_on(&mut inbox) => match never {},
    };
    let receipt = receipt.map_err(|error| no_receipt(&accepted, name, &error))?;
    part().await;
    conclude(&receipt, out)
}

/// What is true when a message was accepted and its receipt does not come.
fn no_receipt(accepted: &Accepted, name: Name, error: &ClientError) -> anyhow::Error {
    let id = accepted.id;
    if error.is_taken_over() {
        anyhow!(
            "{id} was accepted, but another session has taken over the name {name}; what became of the message is told there"
        )
    } else if !accepted.durable {
        anyhow!(
            "{id} was accepted without being written to disk, and then {error}; what became of it is unknown"
        )
    } else {
        anyhow!("{id} was accepted, but its receipt cannot be had: {error}")
    }
}

/// Shows what became of the message; an error where it did not get there.
fn conclude(receipt: &Receipt, out: Output) -> anyhow::Result<()> {
    let shown = Event::Receipt(receipt.clone());
    out.result(&without_ref(&shown)?, || receipt::show(receipt))?;
    if !receipt::is_good(receipt.outcome) {
        let text = format!("{}; {}", receipt::show(receipt), receipt::advice(receipt.outcome, "--deadline"));
        return Err(Failure(Code::NotDelivered, text).into());
    }
    Ok(())
}

/// Returns when the connection was lost and what is waited for has not come for so long since; says when it is lost.
async fn gone(handle: &Handle, patience: Duration, out: Output, meanwhile: &str) {
    lost(handle.connection(), |why| out.note(format_args!("{why}; {meanwhile}"))).await;
    // Around all attempts: one that fails at once would never meet a bound of its own.
    sleep(patience).await;
}

/// Waits until the connection is lost. For ever, if it is so for good: whoever waits for something is told why.
async fn lost(mut connection: watch::Receiver<Connection>, tell: impl FnOnce(&ClientError)) {
    let away = connection.wait_for(|connection| matches!(connection, Connection::Away { .. })).await;
    match away.as_deref() {
        Ok(Connection::Away { why, .. }) => tell(why),
        _ => std::future::pending().await,
    }
}

/// What is true when a message was handed over and nothing more is heard.
fn before_accepted(error: ClientError) -> anyhow::Error {
    match &error {
        ClientError::Refused(refusal) if !refusal.fatal => error.into(),
        ClientError::Overdue { .. } => error.into(),
        _ => anyhow!(
            "{error}; whether the message was accepted is unknown: send it again only if twice does no harm"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_connection_is_told_once_and_the_patience_begins() {
        let stands = watch::Sender::new(Connection::Up);
        let mut told = None;
        let waiting = lost(stands.subscribe(), |why| told = Some(why.to_string()));
        let away =
            async { stands.send(Connection::Away { why: ClientError::Lost("cut".into()), attempts: 0 }) };
        let ((), sent) = tokio::join!(waiting, away);
        sent.unwrap();
        assert_eq!(
            told.as_deref(),
            Some("the connection to the gateway ended (cut): connect again to go on")
        );
    }
}
