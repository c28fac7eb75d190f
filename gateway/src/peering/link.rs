//! Frames over a stream between two gateways.
//!
//! Owns their framing, and noticing that nobody is at the other end. A frame is a length of two bytes, big endian, and so many bytes; a
//! length of nothing only says that someone is there.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use ble_bearer::FrameBytes;
use bytes::{Buf, BytesMut};
use mesh_protocol::MAX_FRAME;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Something is said at least this often. A guess: often enough to notice soon that nobody is there, and little beside the mesh's hellos.
const SAY_WITHIN: Duration = Duration::from_secs(5);
/// Who has said nothing for so long does not answer: three times that.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// Who has said nothing for so long is gone: twice that, as a way that stalls may come back.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// What is read at a time, in bytes. A guess: some tens of frames.
const READ: usize = 8 * 1024;
/// What is written at a time, in bytes. A guess, as above.
const WRITE: usize = 8 * 1024;

/// Carries frames both ways until the stream ends or `outgoing` does; says why. `heard` is called whenever anything came. Frames that came
/// are handed to `incoming`, which may wait: then the other end waits, too.
pub(super) async fn carry<S, F>(
    stream: S,
    mut outgoing: mpsc::Receiver<FrameBytes>,
    heard: impl Fn(),
    incoming: impl Fn(FrameBytes) -> F,
) -> String
where
    S: AsyncRead + AsyncWrite,
    F: Future<Output = bool>,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = read(&mut reader, heard, incoming) => ended,
        ended = write(&mut writer, &mut outgoing) => ended,
    };
    let why = match ended {
        Ok(never) => match never {},
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        Err(why) => why.to_string(),
    };
    // It may be gone, or slow: nobody waits for it.
    let _ = timeout(Duration::from_secs(1), writer.shutdown()).await;
    why
}

async fn read<R, F>(
    reader: &mut R,
    heard: impl Fn(),
    incoming: impl Fn(FrameBytes) -> F,
) -> io::Result<Infallible>
where
    R: AsyncRead + Unpin,
    F: Future<Output = bool>,
{
    let mut bytes = BytesMut::with_capacity(READ);
    loop {
        while let Some(len) = bytes.first_chunk().map(|len| usize::from(u16::from_be_bytes(*len))) {
            if len > MAX_FRAME {
                return Err(io::Error::other("it sent something that is no frame"));
            }
            if bytes.len() < 2 + len {
                break;
            }
            bytes.advance(2);
            let frame = bytes.split_to(len);
            if let Ok(frame) = FrameBytes::from_slice(&frame)
                && !frame.is_empty()
                && !incoming(frame).await
            {
                return Err(io::Error::other("this gateway is going away"));
            }
        }
        bytes.reserve(READ);
        let Ok(read) = timeout(GONE_AFTER, reader.read_buf(&mut bytes)).await else {
            return Err(io::Error::other(format!("it said nothing for {} s", GONE_AFTER.as_secs())));
        };
        if read? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        heard();
    }
}

async fn write<W>(writer: &mut W, outgoing: &mut mpsc::Receiver<FrameBytes>) -> io::Result<Infallible>
where
    W: AsyncWrite + Unpin,
{
    let mut bytes = Vec::with_capacity(WRITE);
    loop {
        match timeout(SAY_WITHIN, outgoing.recv()).await {
            Ok(Some(frame)) => push(&mut bytes, &frame),
            Ok(None) => return Err(io::Error::other("this gateway gave the connection up")),
            Err(_) => push(&mut bytes, &[]),
        }
        while bytes.len() < WRITE - MAX_FRAME - 2
            && let Ok(frame) = outgoing.try_recv()
        {
            push(&mut bytes, &frame);
        }
        match timeout(GONE_AFTER, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        })
        .await
        {
            Ok(written) => written?,
            Err(_) => {
                return Err(io::Error::other(format!("it took nothing for {} s", GONE_AFTER.as_secs())));
            }
        }
        bytes.clear();
    }
}

fn push(bytes: &mut Vec<u8>, frame: &[u8]) {
    // A frame has at most 245 bytes.
    bytes.extend_from_slice(&(frame.len() as u16).to_be_bytes());
    bytes.extend_from_slice(frame);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn frame(bytes: &[u8]) -> FrameBytes {
        FrameBytes::from_slice(bytes).unwrap()
    }

    /// What `bytes`, sent in pieces of `piece`, come to, and why the link ended.
    async fn heard(bytes: &[u8], piece: usize) -> (Vec<FrameBytes>, String) {
        let (mut theirs, ours) = tokio::io::duplex(64);
        let got = Mutex::new(Vec::new());
        let (_keep, outgoing) = mpsc::channel(1);
        let carrying = carry(
            ours,
            outgoing,
            || {},
            async |frame| {
                got.lock().unwrap().push(frame);
                true
            },
        );
        let sending = async {
            for piece in bytes.chunks(piece) {
                if theirs.write_all(piece).await.is_err() {
                    break;
                }
            }
            drop(theirs);
        };
        let (why, ()) = tokio::join!(carrying, sending);
        (got.into_inner().unwrap(), why)
    }

    #[tokio::test]
    async fn frames_come_whole_however_the_stream_cuts_them() {
        let mut bytes = Vec::new();
        let frames: Vec<FrameBytes> = [1, 27, MAX_FRAME].map(|len| frame(&vec![len as u8; len])).into();
        for frame in &frames {
            push(&mut bytes, frame);
            push(&mut bytes, &[]);
        }
        for piece in [1, 2, 3, 63, 1_000] {
            let (got, why) = heard(&bytes, piece).await;
            assert_eq!(got, frames, "in pieces of {piece}");
            assert_eq!(why, "it closed the connection");
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_ends_the_link() {
        let (got, why) = heard(&[0, 1, 7, 0, 246, 1, 2, 3], 4).await;
        assert_eq!(got, [frame(&[7])]);
        assert_eq!(why, "it sent something that is no frame");
    }

    #[tokio::test]
    async fn both_ends_may_write_at_once_however_little_the_stream_holds() {
        let (left, right) = tokio::io::duplex(64);
        // Whoever is done first keeps its end until the other is done, too.
        let both = tokio::sync::Barrier::new(2);
        let both = &both;
        let end = |stream, mark: u8| async move {
            let (sender, outgoing) = mpsc::channel(4);
            let (arrived, mut arriving) = mpsc::channel::<FrameBytes>(4);
            let feed = async {
                for _ in 0..500 {
                    sender.send(frame(&[mark; MAX_FRAME])).await.unwrap();
                }
            };
            let count = async {
                for _ in 0..500 {
                    assert_ne!(arriving.recv().await.unwrap()[0], mark);
                }
            };
            let carrying = carry(
                stream,
                outgoing,
                || {},
                |frame| {
                    let arrived = arrived.clone();
                    async move { arrived.send(frame).await.is_ok() }
                },
            );
            tokio::select! {
                biased;
                // What the other end does when both are done is no failure.
                () = async {
                    tokio::join!(feed, count);
                    both.wait().await;
                } => {}
                why = carrying => panic!("{why}"),
            }
        };
        tokio::join!(end(left, 1), end(right, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_gone_and_who_has_nothing_to_say_is_not() {
        let (silent, ours) = tokio::io::duplex(64);
        let (_keep, outgoing) = mpsc::channel(1);
        let why = carry(ours, outgoing, || {}, async |_| true).await;
        assert_eq!(why, "it said nothing for 30 s");
        drop(silent);
        let (left, right) = tokio::io::duplex(64);
        let (keep_left, from_left) = mpsc::channel(1);
        let (keep_right, from_right) = mpsc::channel(1);
        let idle = async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            drop((keep_left, keep_right));
        };
        let (left, right, ()) = tokio::join!(
            carry(left, from_left, || {}, async |_| true),
            carry(right, from_right, || {}, async |_| true),
            idle
        );
        assert!(left.contains("gave the connection up") || right.contains("gave the connection up"));
    }
}
