//! The task under a client: one session after the other, each with a reader and a writer.
//!
//! Owns when a session counts as ended. What is asked and answered in it is the link's.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::dial::{Session, fill};
use super::reconnect::Reconnect;
use super::{Connection, Link, Shared};
use crate::api::codec::Decoder;
use crate::error::lost;
use crate::{ClientError, Time};

/// How long the gateway may take to close after `bye`. A guess, above the gateway's own 2 s.
const PARTING: Duration = Duration::from_secs(5);

impl Link {
    pub(super) async fn run(
        self: Arc<Self>,
        mut session: Session,
        time: impl Time,
        mut reconnect: Option<Reconnect>,
    ) {
        let heartbeat = reconnect.as_ref().map(|reconnect| reconnect.heartbeat);
        let why = loop {
            let began = time.now();
            let Err(why) = self.session(session, &time, heartbeat).await;
            // What had come before the end is there to be read.
            self.to_read.notify_one();
            let Some(reconnect) = reconnect.as_mut().filter(|_| why.is_passing()) else { break why };
            if self.suspend(&why) {
                break why;
            }
            // Before the next attempt: after a session that lasted, the pauses are short again.
            reconnect.lasted(time.now().saturating_sub(began));
            let (next, asked) = match reconnect.next_session(&self, &time, why).await {
                Ok(next) => next,
                Err(why) => break why,
            };
            if let Err(why) = self.resume(&next, asked, time.now()) {
                break why;
            }
            session = next;
        };
        self.lock().state.close(why.clone());
        self.to_read.notify_one();
        self.room.notify_waiters();
        self.connection.send_replace(Connection::Over(why));
    }

    /// There is no session. True if none is wanted.
    fn suspend(&self, why: &ClientError) -> bool {
        let Shared { state, outgoing } = &mut *self.lock();
        outgoing.away = true;
        // What is not written now is kept in the state, and written in the next session.
        outgoing.bytes.clear();
        state.suspend(why);
        outgoing.bye
    }

    /// There is a session again.
    fn resume(&self, session: &Session, asked: u64, now: Duration) -> Result<(), ClientError> {
        {
            let Shared { state, outgoing } = &mut *self.lock();
            outgoing.away = false;
            state.resume(&session.welcome, asked, now, |request| outgoing.put(request, &self.to_write))?;
        }
        self.room.notify_waiters();
        self.connection.send_replace(Connection::Up);
        Ok(())
    }

    /// One session, to its end.
    async fn session(
        &self,
        session: Session,
        time: &impl Time,
        heartbeat: Option<Duration>,
    ) -> Result<Infallible, ClientError> {
        let Session { mut reader, mut writer, decoder, .. } = session;
        let parting = async {
            let written = self.write(&mut writer).await;
            // Even where writing failed, the reason may still be on its way here.
            time.pause(PARTING).await;
            written.and(Err(lost("the gateway did not close after bye")))
        };
        let silence = async {
            match heartbeat {
                Some(span) => self.silence(time, span).await,
                None => std::future::pending().await,
            }
        };
        // Biased: what the gateway says is the better reason, and the same one is reported whatever the order of the tasks.
        tokio::select! {
            biased;
            why = self.read(&mut reader, decoder) => why,
            why = parting => why,
            why = silence => why,
        }
    }

    /// Takes events to those who wait for them, until the session ends.
    async fn read<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        mut decoder: Decoder,
    ) -> Result<Infallible, ClientError> {
        let mut events = Vec::new();
        loop {
            // Decoded without the lock: whoever asks meanwhile need not wait.
            let whole = loop {
                match decoder.decode() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break Ok(()),
                    Err(why) => break Err(why),
                }
            };
            let mut news = false;
            let (freed, ended) = {
                let mut shared = self.lock();
                for event in events.drain(..) {
                    news |= shared.state.dispatch(event);
                }
                let ack = shared.state.mail.ack();
                // After bye nothing can be asked, but events still come.
                let _ = self.acknowledge(&mut shared, ack);
                self.give_back(&mut shared);
                (shared.state.take_freed(), shared.state.take_ended())
            };
            if news {
                self.to_read.notify_one();
            }
            if freed {
                self.room.notify_waiters();
            }
            if let Some(why) = ended {
                return Err(why);
            }
            whole?;
            fill(reader, &mut decoder).await?;
            // Any byte counts, half a line too: a long event over a slow link is no silence.
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is queued, until bye is written.
    async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        loop {
            let bye = {
                let outgoing = &mut self.lock().outgoing;
                std::mem::swap(&mut outgoing.bytes, &mut bytes);
                outgoing.bye
            };
            if bytes.is_empty() {
                if bye {
                    return Ok(());
                }
                self.to_write.notified().await;
                // Who asks once often asks again at once: that is then one write.
                tokio::task::yield_now().await;
                continue;
            }
            self.room.notify_waiters();
            writer.write_all(&bytes).await.map_err(lost)?;
            writer.flush().await.map_err(lost)?;
            bytes.clear();
        }
    }

    /// Returns when nothing has come from the gateway for twice this span, though it was asked whether it is there. TCP alone does
    /// not notice a gateway that has lost its power.
    async fn silence(&self, time: &impl Time, span: Duration) -> Result<Infallible, ClientError> {
        loop {
            let reads = self.reads.load(Ordering::Relaxed);
            time.pause(span).await;
            if self.reads.load(Ordering::Relaxed) != reads {
                continue;
            }
            {
                let Shared { state, outgoing } = &mut *self.lock();
                let ping = state.ping();
                // After bye its answer is waited for no longer than parting may take.
                let _ = outgoing.put(&ping, &self.to_write);
            }
            time.pause(span).await;
            if self.reads.load(Ordering::Relaxed) == reads {
                return Err(lost(format_args!("nothing came from it for {} s", 2 * span.as_secs())));
            }
        }
    }
}
