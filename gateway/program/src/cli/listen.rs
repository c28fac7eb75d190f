//! `mesh-gateway listen`: prints what is sent to an agent, across restarts of the gateway.
//!
//! A message is acknowledged when it has been printed, so none is lost and none is printed twice.

use std::pin::pin;

use anyhow::{Context, anyhow};
use mesh_agent::api::{Event, Message, Name};
use mesh_agent::{Connection, Incoming};
use tokio::signal::unix::{SignalKind, signal};

use super::args::ListenArgs;
use super::connect::{Gateway, leave};
use super::output::Output;
use super::{body, receipt};

pub(super) async fn run(args: ListenArgs, out: Output) -> anyhow::Result<()> {
    let attempt = format!("listening as {}", args.name);
    listen(args, out).await.context(attempt)
}

async fn listen(args: ListenArgs, out: Output) -> anyhow::Result<()> {
    let ListenArgs { name, groups, count, gateway } = args;
    let mut stop = pin!(stopped());
    let gateway = Gateway::new(gateway, out)?;
    let agent = tokio::select! {
        agent = gateway.stay(name) => agent?,
        () = stop.as_mut() => return Ok(()),
    };
    let (handle, mut inbox) = agent.split();
    inbox.set_auto_ack(false);
    let mut connection = handle.connection();
    connection.mark_unchanged();
    if !groups.is_empty() {
        handle.subscribe(groups, None).await?;
    }
    let mut left = count;
    while left != Some(0) {
        let incoming = tokio::select! {
            incoming = inbox.next() => incoming,
            Ok(()) = connection.changed() => {
                tell(&connection.borrow_and_update(), name, out);
                continue;
            }
            () = stop.as_mut() => break,
        };
        let incoming = incoming.map_err(|error| match error.is_taken_over() {
            true => anyhow!("another session has taken over the name; choose another one with --as"),
            false => error.into(),
        })?;
        let cursor = incoming.cursor();
        match incoming {
            Incoming::Message(message) => {
                print(message, out)?;
                left = left.map(|left| left - 1);
            }
            Incoming::Receipt(told) => {
                out.note(format_args!("receipt for an earlier message: {}", receipt::show(&told)));
            }
            Incoming::Error(error) => out.note(format_args!("listening as {name}: {error}")),
        }
        // Without a session it is said in the next one.
        let _ = cursor.map(|cursor| handle.ack(cursor));
    }
    leave(&handle).await;
    Ok(())
}

/// Says how it stands with the gateway. What ends the listening is told as an error.
fn tell(connection: &Connection, name: Name, out: Output) {
    match connection {
        Connection::Up => out.note(format_args!("listening as {name} again")),
        Connection::Away { why, .. } => out.note(format_args!("listening as {name}: {why}; trying again")),
        Connection::Over(_) => {}
    }
}

fn print(message: Message, out: Output) -> anyhow::Result<()> {
    let text =
        format!("{} {} {} {}", message.from, message.kind, message.priority, body::show(&message.body));
    out.result(&Event::Message(message), || text)
}

/// Waits for the signals that end a program in order.
async fn stopped() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        // Then a signal ends the process the hard way, which loses nothing either.
        _ => std::future::pending().await,
    }
}
