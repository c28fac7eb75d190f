//! `mesh-gateway query`: one question and its answer.

use anyhow::{Context, bail};
use mesh_agent::ClientError;
use mesh_agent::api::{Event, Message, SendRequest};
use mesh_protocol::MessageType;
use tokio::time::timeout;

use super::args::QueryArgs;
use super::connect::{Gateway, leave, read_on};
use super::output::{Output, line, raw};
use super::{body, receipt};

pub(super) async fn run(args: QueryArgs, out: Output) -> anyhow::Result<()> {
    let attempt = format!("asking {}", args.to);
    let answer = ask(args).await.context(attempt)?;
    if out.json {
        return line(&serde_json::to_string(&Event::Message(answer))?);
    }
    match answer.body.as_text() {
        Some(text) => line(text),
        None => raw(answer.body.bytes()),
    }
}

async fn ask(args: QueryArgs) -> anyhow::Result<Message> {
    let request = SendRequest {
        priority: args.priority,
        deadline_ms: u32::try_from(args.timeout.as_millis()).ok(),
        // Nobody would read the answer after a power cut, so the question need not survive one.
        durable: false,
        ..SendRequest::new(args.to, MessageType::Query, body::read(args.body)?)
    };
    let (handle, mut inbox) = Gateway::new(args.gateway)?.connect(args.name).await?.split();
    inbox.set_auto_ack(args.name.is_none());
    let answer = tokio::select! {
        answer = timeout(args.timeout, handle.query(request)) => answer,
        never = read_on(&mut inbox) => match never {},
    };
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(ClientError::Undelivered(told))) => {
            bail!("no answer: {}; {}", receipt::show(&told), receipt::advice(told.outcome))
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => bail!(
            "no answer within {:?}; wait longer with --timeout, or see `mesh-gateway agents` for who is there",
            args.timeout
        ),
    };
    leave(&handle).await;
    Ok(answer)
}
