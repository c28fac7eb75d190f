//! `mesh-gateway listen`: prints what is sent to an agent, across restarts of the gateway.
//!
//! A message is acknowledged when it has been printed, so none is lost; one whose ack was lost with the connection
//! comes again and is not printed twice.

use std::collections::VecDeque;
use std::pin::pin;

use anyhow::{Context, anyhow};
use mesh_agent::api::{DEFAULT_CREDITS, Event, Message, MessageRef, Name};
use mesh_agent::{ClientError, Incoming};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::args::ListenArgs;
use super::connect::{Gateway, Pauses, leave, may_pass, taken_over};
use super::output::Output;
use super::{body, receipt};

/// How many messages are remembered, to know them again. More than can have been printed and not acknowledged: twice
/// the credits of a session.
const REMEMBERED: usize = 2 * DEFAULT_CREDITS as usize;

pub(super) async fn run(args: ListenArgs, out: Output) -> anyhow::Result<()> {
    let ListenArgs { name, groups, count, gateway } = args;
    let attempt = || format!("listening as {name}");
    let gateway = Gateway::new(gateway).with_context(attempt)?;
    let mut listener = Listener { gateway, name, groups, left: count, printed: VecDeque::new(), out };
    let stop = async {
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(mut interrupt), Ok(mut terminate)) => {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            }
            // Then a signal ends the process the hard way, which loses nothing either.
            _ => std::future::pending().await,
        }
    };
    let mut stop = pin!(stop);
    let mut welcomed = false;
    let mut pauses = Pauses::new();
    loop {
        let lost =
            match listener.session(&mut welcomed, &mut pauses, stop.as_mut()).await.with_context(attempt)? {
                Ended::Done => return Ok(()),
                Ended::Lost(error) => error,
            };
        if taken_over(&lost) {
            return Err(anyhow!("another session has taken over the name; choose another one with --as"))
                .with_context(attempt);
        }
        // A gateway that was never there is more likely a wrong address than one that restarts.
        if !welcomed || !may_pass(&lost) {
            return Err(lost).with_context(attempt);
        }
        let pause = pauses.next();
        out.note(format_args!("listening as {name}: {lost}; trying again"));
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.as_mut() => return Ok(()),
        }
    }
}

/// How a session ended.
enum Ended {
    /// There is nothing more to do.
    Done,
    /// The gateway went away, or would not.
    Lost(ClientError),
}

struct Listener {
    gateway: Gateway,
    name: Name,
    groups: Vec<Name>,
    /// How many messages are still to be printed, where that is limited.
    left: Option<u64>,
    /// The last messages printed.
    printed: VecDeque<MessageRef>,
    out: Output,
}

impl Listener {
    /// Prints what comes until the connection breaks, `stop` is ready, or enough has come.
    async fn session(
        &mut self,
        welcomed: &mut bool,
        pauses: &mut Pauses,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Ended> {
        let connected = tokio::select! {
            connected = self.gateway.connect(self.name) => connected,
            () = stop.as_mut() => return Ok(Ended::Done),
        };
        let (handle, mut inbox) = match connected {
            Ok(client) => client.split(),
            Err(error) => return Ok(Ended::Lost(error)),
        };
        if *welcomed {
            self.out.note(format_args!("listening as {} again", self.name));
        }
        *welcomed = true;
        *pauses = Pauses::new();
        inbox.set_auto_ack(false);
        if !self.groups.is_empty()
            && let Err(error) = handle.subscribe(self.groups.clone(), None).await
        {
            return Ok(Ended::Lost(error));
        }
        loop {
            let incoming = tokio::select! {
                incoming = inbox.next() => incoming,
                () = stop.as_mut() => {
                    leave(&handle).await;
                    return Ok(Ended::Done);
                }
            };
            let cursor = match incoming {
                Ok(Incoming::Message(message)) => {
                    let cursor = message.cursor;
                    self.print(message)?;
                    cursor
                }
                Ok(Incoming::Receipt(told)) => {
                    self.out.note(format_args!("receipt for an earlier message: {}", receipt::show(&told)));
                    told.cursor
                }
                Ok(Incoming::Error(error)) => {
                    self.out.note(format_args!("listening as {}: {}", self.name, error.message));
                    None
                }
                Err(error) => return Ok(Ended::Lost(error)),
            };
            // When the connection is lost, the next turn says so, and the message comes again.
            let _ = cursor.map(|cursor| handle.ack(cursor));
            if self.left == Some(0) {
                leave(&handle).await;
                return Ok(Ended::Done);
            }
        }
    }

    fn print(&mut self, message: Message) -> anyhow::Result<()> {
        if self.printed.contains(&message.id) {
            return Ok(());
        }
        let id = message.id;
        let text =
            format!("{} {} {} {}", message.from, message.kind, message.priority, body::show(&message.body));
        self.out.result(&Event::Message(message), || text)?;
        if self.printed.len() == REMEMBERED {
            self.printed.pop_front();
        }
        self.printed.push_back(id);
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}
