//! A controller as a bearer: [`Host`] over a stream that is opened, and opened again.
//!
//! Owns reading, writing and waiting. What is said is the host's business; how a stream is opened, [`Open`]'s.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use mesh_protocol::{Instant, LinkId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

use super::host::Host;
use super::open::{Open, OpenError};
use super::options::HciOptions;
use super::packet::{Framer, Packet};
use crate::retry::Retry;
use crate::{Bearer, BearerError, BearerEvent, Clock, Full, Health, RADIO_LINK};

/// What is read at once: many packets, and never less than one.
const INPUT: usize = 4_096;

/// Where the stream is.
#[derive(Debug)]
enum Line<S> {
    /// Nowhere, until it is tried again.
    Closed { again: Instant },
    /// Being opened, by a task, so that nobody who stops waiting stops it.
    Opening(JoinHandle<Result<S, OpenError>>),
    /// Open.
    Open(Box<Flow<S>>),
}

/// An open stream and what is on its way through it.
#[derive(Debug)]
struct Flow<S> {
    stream: S,
    framer: Framer,
    input: Box<[u8]>,
    /// The part of the input that was read and not looked at.
    unread: std::ops::Range<usize>,
    output: Packet,
    written: usize,
}

/// A controller as a bearer. Its one link is [`RADIO_LINK`].
#[derive(Debug)]
pub struct HciBearer<O: Open, C> {
    host: Host,
    port: Arc<O>,
    clock: C,
    line: Line<O::Stream>,
    retry: Retry,
    /// Frames that were confirmed when the line was opened last.
    sent_before: u64,
}

impl<O: Open, C: Clock> HciBearer<O, C> {
    /// Opens the adapter. That it can be opened at all is found out here; setting it up begins with the first
    /// [`Bearer::next_event`].
    ///
    /// # Errors
    /// [`OpenError`]. Once it was open, it is opened again by itself whenever it has to be.
    pub async fn open(port: O, options: HciOptions, clock: C) -> Result<Self, OpenError> {
        let stream = port.open().await?;
        let mut host = Host::new(options);
        host.opened(clock.now());
        let line = Line::Open(Box::new(Flow::new(stream)));
        Ok(Self { host, port: Arc::new(port), clock, line, retry: Retry::new(), sent_before: 0 })
    }

    fn close(&mut self, why: &str) {
        self.host.closed(why);
        let sent = self.host.health().sent;
        if sent > self.sent_before {
            self.retry.works();
        }
        self.sent_before = sent;
        self.line = Line::Closed { again: self.clock.now() + self.retry.pause() };
    }

    /// Does what can be done without waiting.
    fn attend(&mut self) {
        let now = self.clock.now();
        if self.host.poll_timeout().is_some_and(|at| at <= now) {
            self.host.handle_timeout(now);
        }
        if let Line::Open(flow) = &mut self.line
            && let Err(why) = flow.hand_over(now, &mut self.host)
        {
            self.close(&why);
        }
        if let Some(why) = self.host.poll_reopen() {
            self.close(&why);
        }
        if let Line::Open(flow) = &mut self.line
            && flow.output.is_empty()
            && let Some(packet) = self.host.poll_packet(now)
        {
            (flow.output, flow.written) = (packet, 0);
        }
    }

    /// Waits until there is something to attend to. Cancel safe.
    async fn wait(&mut self) {
        match &mut self.line {
            Line::Closed { again } => {
                let again = *again;
                self.clock.sleep_until(again).await;
                let port = Arc::clone(&self.port);
                self.line = Line::Opening(tokio::spawn(async move { port.open().await }));
            }
            Line::Opening(opening) => match opening.await {
                Ok(Ok(stream)) => {
                    self.line = Line::Open(Box::new(Flow::new(stream)));
                    self.host.opened(self.clock.now());
                }
                Ok(Err(error)) => self.close(&error.to_string()),
                Err(_) => self.close("opening the adapter was cut short"),
            },
            Line::Open(flow) => {
                let due = self.host.poll_timeout();
                let late = async {
                    match due {
                        Some(at) => self.clock.sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                let moved = tokio::select! {
                    biased;
                    () = late => Ok(()),
                    moved = poll_fn(|cx| flow.poll(cx)) => moved,
                };
                if let Err(error) = moved {
                    self.close(&format!("the adapter is gone: {error}"));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Flow<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            framer: Framer::default(),
            input: vec![0; INPUT].into(),
            unread: 0..0,
            output: Packet::new(),
            written: 0,
        }
    }

    /// Hands what was read to the host.
    fn hand_over(&mut self, now: Instant, host: &mut Host) -> Result<(), String> {
        let mut bytes = &self.input[std::mem::take(&mut self.unread)];
        loop {
            match self.framer.next(&mut bytes) {
                Ok(Some(packet)) => host.handle_packet(now, &packet),
                Ok(None) => return Ok(()),
                Err(out_of_step) => return Err(out_of_step.to_string()),
            }
        }
    }

    /// Moves bytes either way; ready once something has moved.
    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
        use std::io::{Error, ErrorKind};
        if !self.output.is_empty()
            && let Poll::Ready(written) =
                Pin::new(&mut self.stream).poll_write(cx, &self.output[self.written..])
        {
            match written? {
                0 => return Poll::Ready(Err(Error::from(ErrorKind::WriteZero))),
                written => self.written += written,
            }
            if self.written == self.output.len() {
                self.output.clear();
            }
            return Poll::Ready(Ok(()));
        }
        let mut into = ReadBuf::new(&mut self.input);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
        match into.filled().len() {
            0 => Poll::Ready(Err(Error::new(ErrorKind::UnexpectedEof, "it closed the connection"))),
            read => {
                self.unread = 0..read;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<O: Open, C: Clock> Bearer for HciBearer<O, C> {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        loop {
            self.attend();
            if let Some(event) = self.host.poll_event() {
                return Ok(event);
            }
            self.wait().await;
        }
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        if link != RADIO_LINK {
            return Err(Full);
        }
        self.host.send(frame)
    }

    fn health(&mut self) -> Health {
        self.host.health().clone()
    }

    fn suspect(&mut self, why: &str, before: u32) {
        let now = self.clock.now();
        self.host.suspect(now, why, before);
    }
}

impl<O: Open, C> Drop for HciBearer<O, C> {
    fn drop(&mut self) {
        if let Line::Opening(opening) = &self.line {
            opening.abort();
        }
    }
}
