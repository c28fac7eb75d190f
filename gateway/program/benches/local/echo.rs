//! The bare echo: a task that sends every frame back, and another one, connected over TCP, that keeps so many in flight.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::Turn;
use crate::frames::{cut, fill, sent};

/// How the echo answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// One write for each frame, on both sides.
    Each,
    /// One write for each frame by the client; the echo writes the bytes of each read as they are, like the example
    /// in tokio's documentation.
    Copied,
    /// One write for all frames that are due, on both sides: the least that can be done.
    Batched,
}

/// A client of an echo.
#[derive(Debug)]
pub(crate) struct Echo {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    frame: Vec<u8>,
    buffer: Vec<u8>,
    writes: Writes,
}

impl Echo {
    /// Starts an echo and connects to it.
    pub(crate) async fn start(writes: Writes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("the client comes");
            serve(stream, writes).await;
        });
        let stream = TcpStream::connect(address).await.expect("the echo listens");
        stream.set_nodelay(true).expect("a TCP connection");
        let (reader, writer) = stream.into_split();
        Self { reader, writer, frame: sent(crate::BODY), buffer: Vec::new(), writes }
    }

    /// Keeps so many frames in flight for so long. Writes as the echo does: each frame, or all that are due.
    pub(crate) async fn turn(&mut self, time: Duration, most_in_flight: usize) -> Turn {
        let begin = Instant::now();
        let (mut in_flight, mut done) = (0, 0u64);
        let mut out = Vec::new();
        loop {
            if begin.elapsed() < time {
                while in_flight < most_in_flight {
                    in_flight += 1;
                    out.extend_from_slice(&self.frame);
                    if self.writes != Writes::Batched {
                        self.writer.write_all(&out).await.expect("the echo is there");
                        out.clear();
                    }
                }
            } else if in_flight == 0 {
                break;
            }
            if !out.is_empty() {
                self.writer.write_all(&out).await.expect("the echo is there");
                out.clear();
            }
            assert!(fill(&mut self.reader, &mut self.buffer).await.expect("the echo is there"));
            cut(&mut self.buffer, |_| {
                in_flight -= 1;
                done += 1;
            });
        }
        Turn { messages: done, per_second: done as f64 / begin.elapsed().as_secs_f64(), ..Turn::default() }
    }
}

async fn serve(stream: TcpStream, writes: Writes) {
    stream.set_nodelay(true).expect("a TCP connection");
    let (mut reader, mut writer) = stream.into_split();
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    let mut ends = Vec::new();
    while fill(&mut reader, &mut buffer).await.unwrap_or(false) {
        if writes == Writes::Copied {
            if writer.write_all(&buffer).await.is_err() {
                return;
            }
            buffer.clear();
            continue;
        }
        cut(&mut buffer, |frame| {
            frames.extend_from_slice(frame);
            ends.push(frames.len());
        });
        if writes == Writes::Batched {
            ends.clear();
            ends.push(frames.len());
        }
        let mut start = 0;
        for end in ends.drain(..) {
            if writer.write_all(&frames[start..end]).await.is_err() {
                return;
            }
            start = end;
        }
        frames.clear();
    }
}
