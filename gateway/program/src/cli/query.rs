//! `mesh-gateway query`: one question and its answer.

use anyhow::Context;
use mesh_agent::ClientError;
use mesh_agent::api::{Event, Message, SendRequest};
use mesh_protocol::MessageType;
use tokio::time::timeout;

use super::args::QueryArgs;
use super::connect::{Gateway, leave, read_on};
use super::fault::{Code, Failure};
use super::output::Output;
use super::{body, receipt};
use crate::stdout::raw;

pub(super) async fn run(args: QueryArgs, out: Output) -> anyhow::Result<()> {
    let attempt = format!("asking {}", args.to);
    let as_it_is = args.raw;
    let answer = ask(args, out).await.context(attempt)?;
    if as_it_is && !out.json {
        return raw(answer.body.bytes());
    }
    let text = body::show(&answer.body);
    out.result(&Event::Message(answer), || text)
}

async fn ask(args: QueryArgs, out: Output) -> anyhow::Result<Message> {
    let request = SendRequest {
        priority: args.priority,
        deadline_ms: u32::try_from(args.timeout.as_millis()).ok(),
        // Nobody would read the answer after a power cut, so the question need not survive one, unless that is asked for.
        durable: args.durable,
        ..SendRequest::new(args.to, MessageType::Query, body::read(args.body)?)
    };
    let (handle, mut inbox) = Gateway::new(args.gateway, out)?.connect(args.name).await?.split();
    inbox.set_auto_ack(args.name.is_none());
    let answer = tokio::select! {
        answer = timeout(args.timeout, handle.query(request)) => answer,
        never = read_on(&mut inbox) => match never {},
    };
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(ClientError::Undelivered(told))) => {
            let advice = receipt::advice(told.outcome, "--timeout");
            return Err(
                Failure(Code::NoAnswer, format!("no answer: {}; {advice}", receipt::show(&told))).into()
            );
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            let text = format!(
                "no answer within {:?}; wait longer with --timeout, or see `mesh-gateway agents` for who is there",
                args.timeout
            );
            return Err(Failure(Code::NoAnswer, text).into());
        }
    };
    leave(&handle).await;
    Ok(answer)
}
