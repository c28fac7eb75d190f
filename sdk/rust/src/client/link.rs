//! The connection under a client: one task that reads and writes, and what its handles share.
//!
//! Requests are encoded into one buffer by whoever asks, and the task writes all of it at once; events are taken to
//! those who wait for them by [`super::state`].

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, oneshot, watch};
use zeroize::Zeroize;

use super::state::State;
use super::{ClientError, Endpoint, Incoming};
use crate::api::codec::{Bounds, Codec, Decoder, encode};
use crate::api::{Bye, ErrorEvent, Event, Hello, Request, Welcome};
use crate::{Time, Wall};

/// How much is read at a time, in bytes. A guess, as in the gateway.
const READ: usize = 32 * 1024;
/// How many bytes may wait to be written before senders wait, in bytes. A guess: four of the largest messages.
const OUTGOING: usize = 256 * 1024;
/// How long the gateway may take to close after `bye`. A guess, above the gateway's own 2 s.
const PARTING: Duration = Duration::from_secs(5);

/// What the handles of a client share.
#[derive(Debug)]
pub(super) struct Link {
    codec: Codec,
    state: Mutex<State>,
    outgoing: Mutex<Outgoing>,
    /// Something is to be written.
    to_write: Notify,
    /// Something was written.
    written: Notify,
    /// Something is to be read.
    to_read: Notify,
    /// Whether the task has ended.
    over: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// Nothing more is to be asked: the session ends when this is written.
    bye: bool,
}

/// Ends the session when the last handle goes.
#[derive(Debug)]
pub(super) struct Owner(pub(super) Arc<Link>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.bye();
    }
}

impl Link {
    /// Connects, says hello, and starts the task once the gateway has said welcome.
    pub(super) async fn connect(
        endpoint: &Endpoint,
        hello: Hello,
        codec: Codec,
    ) -> Result<(Arc<Self>, Welcome), ClientError> {
        let absent =
            |why: io::Error| ClientError::NoGateway { endpoint: endpoint.clone(), why: why.to_string() };
        match endpoint {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address.as_str()).await.map_err(absent)?;
                stream.set_nodelay(true).map_err(absent)?;
                let (reader, writer) = stream.into_split();
                Self::begin(reader, writer, hello, codec, Wall).await
            }
            Endpoint::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await.map_err(absent)?.into_split();
                Self::begin(reader, writer, hello, codec, Wall).await
            }
        }
    }

    /// The same over a stream that is there already, in a time of its own.
    pub(super) async fn connect_over<S, T>(
        stream: S,
        hello: Hello,
        codec: Codec,
        time: T,
    ) -> Result<(Arc<Self>, Welcome), ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
        T: Time,
    {
        let (reader, writer) = tokio::io::split(stream);
        Self::begin(reader, writer, hello, codec, time).await
    }

    async fn begin<R, W, T>(
        mut reader: R,
        mut writer: W,
        hello: Hello,
        codec: Codec,
        time: T,
    ) -> Result<(Arc<Self>, Welcome), ClientError>
    where
        T: Time,
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let first = time.first_number();
        let mut bytes = Vec::new();
        encode(&Request::Hello(hello), codec, &mut bytes)
            .map_err(|why| ClientError::Lost(why.to_string()))?;
        writer.write_all(&bytes).await.map_err(lost)?;
        // The token was in it.
        bytes.zeroize();
        let mut decoder = Decoder::with_codec(Bounds::EVENT, codec);
        let welcome = loop {
            match decoder.decode()? {
                Some(Event::Welcome(welcome)) => break welcome,
                Some(Event::Error(error)) => return Err(ClientError::Refused(error)),
                Some(Event::Goodbye(goodbye)) => return Err(ClientError::Lost(goodbye.why)),
                Some(_) => {}
                None => fill(&mut reader, &mut decoder).await?,
            }
        };
        let link = Arc::new(Self {
            codec,
            state: Mutex::new(State::new(welcome.resumed_from, welcome.credits, first)),
            outgoing: Mutex::default(),
            to_write: Notify::new(),
            written: Notify::new(),
            to_read: Notify::new(),
            over: watch::Sender::new(false),
        });
        tokio::spawn(Arc::clone(&link).run(reader, writer, decoder, time));
        Ok((link, welcome))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The table is whole between any two statements that could panic, so a poisoned one is as good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while too much is on its way to the gateway.
    pub(super) async fn room(&self) -> Result<(), ClientError> {
        loop {
            let mut written = pin!(self.written.notified());
            // Enabled before looking, so that what is written in between is not missed.
            written.as_mut().enable();
            if let Some(why) = self.state().closed() {
                return Err(why.clone());
            }
            if self.outgoing().bytes.len() < OUTGOING {
                return Ok(());
            }
            written.await;
        }
    }

    /// Queues a request to be written.
    pub(super) fn enqueue(&self, request: &Request) -> Result<(), ClientError> {
        let mut outgoing = self.outgoing();
        if outgoing.bye {
            return Err(ClientError::Lost("bye was said".into()));
        }
        let first = outgoing.bytes.is_empty();
        encode(request, self.codec, &mut outgoing.bytes).map_err(|why| ClientError::Lost(why.to_string()))?;
        outgoing.bye = matches!(request, Request::Bye(_));
        drop(outgoing);
        if first {
            self.to_write.notify_one();
        }
        Ok(())
    }

    /// Says goodbye after everything asked before.
    pub(super) fn bye(&self) {
        // Who has said it already is done.
        let _ = self.enqueue(&Request::Bye(Bye {}));
    }

    /// Waits until the connection has ended.
    pub(super) async fn over(&self) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Waits for an answer.
    pub(super) async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<Result<T, ErrorEvent>, oneshot::error::RecvError>>,
    ) -> Result<T, ClientError> {
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(ClientError::Refused(error)),
            Err(_) => Err(self.why_closed()),
        }
    }

    fn why_closed(&self) -> ClientError {
        self.state().closed().cloned().unwrap_or_else(|| ClientError::Lost("nothing more can come".into()))
    }

    /// Waits for something to read. Cancel safe.
    pub(super) async fn next(&self) -> Result<Incoming, ClientError> {
        loop {
            let (taken, credit) = {
                let mut state = self.state();
                (state.take(), state.credit())
            };
            // A lost connection is told when everything that had come has been taken.
            let _ = credit.map(|credit| self.enqueue(&Request::Credit(credit)));
            if let Some(incoming) = taken {
                return Ok(incoming);
            }
            if let Some(why) = self.state().closed() {
                return Err(why.clone());
            }
            self.to_read.notified().await;
        }
    }

    async fn run<R, W, T>(self: Arc<Self>, mut reader: R, mut writer: W, decoder: Decoder, time: T)
    where
        T: Time,
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let parting = async {
            let written = self.write(&mut writer).await;
            // Even where writing failed, the reason may still be on its way here.
            time.pause(PARTING).await;
            written.and(Err(ClientError::Lost("the gateway did not close after bye".into())))
        };
        // What the gateway says is the better reason, and no dice decide which of two is told.
        let why = tokio::select! {
            biased;
            why = self.read(&mut reader, decoder) => why,
            why = parting => why,
        };
        let Err(why) = why;
        self.state().close(why);
        self.to_read.notify_one();
        self.written.notify_waiters();
        self.over.send_replace(true);
    }

    /// Takes events to those who wait for them, until the connection ends.
    async fn read<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        mut decoder: Decoder,
    ) -> Result<Infallible, ClientError> {
        loop {
            let mut news = false;
            let (ack, credit) = {
                let mut state = self.state();
                while let Some(event) = decoder.decode()? {
                    news |= state.dispatch(event);
                }
                (state.ack(), state.credit())
            };
            if news {
                self.to_read.notify_one();
            }
            // After bye there is nothing to ask, but still something to hear.
            let _ = ack.map(|ack| self.enqueue(&Request::Ack(ack)));
            let _ = credit.map(|credit| self.enqueue(&Request::Credit(credit)));
            fill(reader, &mut decoder).await?;
        }
    }

    /// Writes what is queued, until bye is written.
    async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        loop {
            let bye = {
                let mut outgoing = self.outgoing();
                std::mem::swap(&mut outgoing.bytes, &mut bytes);
                outgoing.bye
            };
            if bytes.is_empty() {
                if bye {
                    return Ok(());
                }
                self.to_write.notified().await;
                continue;
            }
            self.written.notify_waiters();
            writer.write_all(&bytes).await.map_err(lost)?;
            writer.flush().await.map_err(lost)?;
            bytes.clear();
        }
    }
}

fn lost(why: io::Error) -> ClientError {
    ClientError::Lost(why.to_string())
}

async fn fill<R: AsyncRead + Unpin>(reader: &mut R, decoder: &mut Decoder) -> Result<(), ClientError> {
    let space = decoder.space();
    space.reserve(READ);
    match reader.read_buf(&mut space.limit(READ)).await {
        Ok(0) => Err(ClientError::Lost("the gateway closed it".into())),
        Ok(_) => Ok(()),
        Err(why) => Err(lost(why)),
    }
}
