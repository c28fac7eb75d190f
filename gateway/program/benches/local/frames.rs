//! Frames as all contestants write and read them: a length and that many bytes, read in pieces of up to 32 KiB.

use std::io;

use bytes::BufMut;
use mesh_agent::api::codec::{Codec, encode};
use mesh_agent::api::{Body, Destination, Request, SendRequest};
use mesh_protocol::MessageType;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::common::name;

/// How much is read at a time: as much as the gateway and its client read.
const READ: usize = 32 * 1024;

/// What a sender sends.
pub(crate) fn request(to: &str, body: &Body, reference: u64, durable: bool) -> SendRequest {
    SendRequest {
        reference: Some(reference),
        durable,
        ..SendRequest::new(Destination::agent(name(to)), MessageType::Notification, body.clone())
    }
}

/// A message of that many bytes as it stands in the stream: the echo's messages are as long.
pub(crate) fn sent(body: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let request = Request::Send(request("receiver", &Body::data(vec![7; body]), 1_000_000, false));
    encode(&request, Codec::Postcard, &mut bytes).expect("a value of ours");
    bytes
}

/// Reads what has come; false at the end of the stream.
pub(crate) async fn fill(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.reserve(READ);
    Ok(reader.read_buf(&mut buffer.limit(READ)).await? > 0)
}

/// Calls `each` with every whole frame, its length before it, and takes them out of the buffer.
pub(crate) fn cut(buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
    let mut start = 0;
    while let Some(prefix) = buffer[start..].first_chunk::<4>() {
        let end = start + 4 + u32::from_be_bytes(*prefix) as usize;
        let Some(frame) = buffer.get(start..end) else {
            break;
        };
        each(frame);
        start = end;
    }
    buffer.drain(..start);
}
