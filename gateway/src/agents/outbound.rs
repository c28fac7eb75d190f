//! The direction from the engine to the agent: events to bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::OnceLock;

use mesh_agent::api::codec::{Codec, encode};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::port::{SessionEvents, SessionId, ToEngine};

/// How much is encoded before it is written, in bytes. A guess: one of the largest messages.
const WRITE: usize = 64 * 1024;

/// Writes until the port is closed and empty, or the connection broken.
pub(super) async fn write_events<W: AsyncWrite + Unpin>(
    events: &SessionEvents,
    codec: &OnceLock<Codec>,
    writer: &mut W,
    (engine, session): (&mpsc::Sender<ToEngine>, SessionId),
) -> io::Result<()> {
    let mut batch = VecDeque::new();
    let mut bytes = Vec::new();
    loop {
        let last = events.take(&mut batch).await;
        // Who has not said a byte is told in JSON, which people can read.
        let codec = codec.get().copied().unwrap_or(Codec::Json);
        for event in batch.drain(..) {
            encode(&event, codec, &mut bytes).map_err(io::Error::other)?;
            if bytes.len() >= WRITE {
                writer.write_all(&bytes).await?;
                bytes.clear();
            }
        }
        writer.write_all(&bytes).await?;
        bytes.clear();
        writer.flush().await?;
        if last {
            return Ok(());
        }
        if events.take_refused() {
            // An engine that is gone has nothing to show any more.
            let _ = engine.send(ToEngine::Room { session }).await;
        }
        // A session that is silent holds no buffers.
        if events.is_empty() {
            batch = VecDeque::new();
            bytes = Vec::new();
        }
    }
}
