//! Finding out what an adapter is worth: not what it says it can, but what it does.
//!
//! Owns the trials, each over the bare stream, one command after the other. What follows from them is for whoever asks.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::command::{self, Command, StaticAddress, name, reason};
use super::event::{self, Event};
use super::open::{Open, OpenError};
use super::options::{ADV_INTERVAL, COMMAND_TIMEOUT, HciOptions, Scan};
use super::packet::{Framer, OutOfStep};
use super::setup::{Adapter, Refused, Setup};

/// Commands whose answers are timed. A guess.
const TIMED: usize = 50;
/// Frames given to one advertising set, one after the other. A guess.
const CONFIRMED: u32 = 10;
/// How long adverts are counted, alone and beside sending. A guess: a busy place has tens of them a second.
const LISTENED: Duration = Duration::from_secs(3);

/// What an adapter did.
#[derive(Clone, Debug)]
pub struct Examination {
    /// What it said of itself.
    pub adapter: Adapter,
    /// What a command took, the median and the longest of some.
    pub latency: (Duration, Duration),
    /// Whether it takes another random address while it scans. Most refuse, and senders that change theirs then fail in silence.
    pub address_changes: bool,
    /// Frames given to an advertising set while it scans all the time, and how many it confirmed. `None` on a legacy adapter.
    pub confirmed: Option<(u32, u32)>,
    /// Adverts heard a second, alone and while it sends.
    pub heard: (f64, f64),
}

/// Why an adapter could not be examined to the end.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It went away.
    #[error("talking to the adapter: {0}; plug it in again, or restart the computer it is in")]
    Gone(#[from] std::io::Error),
    /// It sends what is no packet.
    #[error("{0}; check the line's speed and flow control")]
    OutOfStep(#[from] OutOfStep),
    /// It does not answer.
    #[error("{0} was not answered within 2 s: the controller is stuck; power it off and on")]
    Mute(&'static str),
    /// It refuses what cannot be done without.
    #[error("{0}; this adapter cannot be used")]
    Refused(String),
}

/// A controller that is asked one thing after the other.
struct Talk<S> {
    stream: S,
    framer: Framer,
    input: Vec<u8>,
    /// Adverts heard since the last count.
    adverts: u64,
    /// Events that ended sets are said to have had.
    ended: u32,
}

/// An answer: the parameters of its completion, status first.
type Answer = Vec<u8>;

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Talk<S> {
    /// Sends a command and waits for its answer.
    async fn ask(&mut self, command: &Command) -> Result<Answer, ExamineError> {
        self.stream.write_all(&command.packet).await?;
        let wait = Duration::from_micros(COMMAND_TIMEOUT.as_micros());
        let answer = timeout(wait, self.listen(Some(command.opcode))).await;
        answer.map_err(|_| ExamineError::Mute(name(command.opcode)))?.map(Option::unwrap_or_default)
    }

    /// As [`Talk::ask`]; anything but success is an error.
    async fn must(&mut self, command: &Command) -> Result<(), ExamineError> {
        match self.ask(command).await?.first() {
            Some(0) => Ok(()),
            status => {
                let why = status.map_or("nothing", |status| reason(*status));
                Err(ExamineError::Refused(format!("{} was answered with: {why}", name(command.opcode))))
            }
        }
    }

    /// Reads until a command is answered, or for ever.
    async fn listen(&mut self, until: Option<u16>) -> Result<Option<Answer>, ExamineError> {
        loop {
            let mut bytes = &self.input[..];
            while let Some(packet) = self.framer.next(&mut bytes)? {
                let (answered, answer) = match event::read(&packet) {
                    Event::Complete { opcode, returned, .. } => (opcode, returned.to_vec()),
                    Event::Status { opcode, status, .. } => (opcode, vec![status]),
                    Event::Reports(adverts) => {
                        self.adverts += adverts.count() as u64;
                        continue;
                    }
                    Event::SetTerminated { events, .. } => {
                        self.ended += u32::from(events > 0);
                        continue;
                    }
                    Event::HardwareError(_) | Event::Other | Event::Malformed => continue,
                };
                if until == Some(answered) {
                    self.input = bytes.to_vec();
                    return Ok(Some(answer));
                }
            }
            self.input.clear();
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Listens for a while.
    async fn pause(&mut self, span: Duration) -> Result<(), ExamineError> {
        match timeout(span, self.listen(None)).await {
            Ok(ended) => ended.map(|_| ()),
            Err(_) => Ok(()),
        }
    }

    /// Listens for [`LISTENED`]; adverts a second.
    async fn count(&mut self) -> Result<f64, ExamineError> {
        self.adverts = 0;
        self.pause(LISTENED).await?;
        Ok(self.adverts as f64 / LISTENED.as_secs_f64())
    }
}

/// Opens an adapter and sets it up; it scans then.
async fn meet<O: Open>(port: &O, options: HciOptions) -> Result<(Talk<O::Stream>, Adapter), ExamineError> {
    let stream = port.open().await?;
    let mut talk = Talk { stream, framer: Framer::default(), input: Vec::new(), adverts: 0, ended: 0 };
    let mut setup = Setup::new(options, StaticAddress::new(options.address), Scan::default());
    while let Some(command) = setup.next() {
        let answer = talk.ask(&command).await?;
        setup.answered(command.opcode, &answer).map_err(|Refused(why)| ExamineError::Refused(why))?;
    }
    let adapter = setup.finish();
    Ok((talk, adapter))
}

/// What an adapter says of itself. It is reset, before and after.
///
/// # Errors
/// [`ExamineError`].
pub async fn introduce(port: &impl Open, options: HciOptions) -> Result<Adapter, ExamineError> {
    let (mut talk, adapter) = meet(port, options).await?;
    let _ = talk.ask(&command::reset()).await;
    Ok(adapter)
}

/// Puts an adapter to the trials. It takes about ten seconds, and sends a few adverts that no mesh understands.
///
/// # Errors
/// [`ExamineError`].
pub async fn examine(port: &impl Open, options: HciOptions) -> Result<Examination, ExamineError> {
    let (mut talk, adapter) = meet(port, options).await?;

    let mut times = Vec::new();
    for _ in 0..TIMED {
        let asked = Instant::now();
        talk.ask(&command::read_version()).await?;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let latency = (times[TIMED / 2], times[TIMED - 1]);

    let other = command::set_random_address(StaticAddress::new(options.address.rotate_left(8)));
    let address_changes = talk.ask(&other).await?.first() == Some(&0);

    let alone = talk.count().await?;
    // Manufacturer data of four bytes, which is no frame of any length that counts.
    let [low, high] = options.company.to_le_bytes();
    let data = [7, 0xff, low, high, 0, 0, 0, 0];
    let (confirmed, sending) = if adapter.extended {
        talk.must(&command::set_ext_adv_data(0, &data)).await?;
        for _ in 0..CONFIRMED {
            talk.must(&command::start_set(0, 1)).await?;
            talk.pause(Duration::from_millis(60)).await?;
            talk.must(&command::stop_set(0)).await?;
        }
        let confirmed = talk.ended.min(CONFIRMED);
        talk.must(&command::start_set(0, 0)).await?;
        let sending = talk.count().await?;
        talk.must(&command::stop_set(0)).await?;
        (Some((CONFIRMED, confirmed)), sending)
    } else {
        talk.must(&command::set_adv_params(ADV_INTERVAL)).await?;
        talk.must(&command::set_adv_data(&data)).await?;
        talk.must(&command::set_adv_enable(true)).await?;
        let sending = talk.count().await?;
        talk.must(&command::set_adv_enable(false)).await?;
        (None, sending)
    };
    // As it was found: nobody's address, nobody scanning.
    let _ = talk.ask(&command::reset()).await;
    Ok(Examination { adapter, latency, address_changes, confirmed, heard: (alone, sending) })
}

/// Sends so many frames from one bearer to another, as fast as it allows; how many were heard.
///
/// # Errors
/// What kept them from starting.
pub async fn loss<A: crate::Bearer, B: crate::Bearer>(
    from: &mut A,
    to: &mut B,
    frames: u16,
) -> Result<u16, String> {
    use crate::BearerEvent;
    const UP_WITHIN: Duration = Duration::from_secs(10);
    const TAIL: Duration = Duration::from_millis(500);
    /// How often a frame is handed over before the adapter counts as taking none. A guess.
    const BUSY: u32 = 20;
    let up = async {
        let (mut sends, mut hears) = (None, false);
        loop {
            if let (Some(link), true) = (sends, hears) {
                return Ok::<_, crate::BearerError>(link);
            }
            tokio::select! {
                event = from.next_event() => if let BearerEvent::LinkUp { link, info } = event? { sends = Some((link, info)) },
                event = to.next_event() => hears |= matches!(event?, BearerEvent::LinkUp { .. }),
            }
        }
    };
    let (link, info) = timeout(UP_WITHIN, up)
        .await
        .map_err(|_| "one of the adapters does not become ready".to_owned())?
        .map_err(|error| error.to_string())?;
    let mut heard = std::collections::BTreeSet::new();
    let gap = Duration::from_micros(info.min_gap.as_micros());
    let mut number = 0;
    // One that is busy gets the same frame again: what is asked is what becomes of frames that it takes.
    for _ in 0..u32::from(frames) * BUSY {
        if number < frames {
            let mut frame = vec![0x5a; info.mtu];
            frame[..2].copy_from_slice(&number.to_be_bytes());
            number += u16::from(from.try_send(link, &frame).is_ok());
        }
        let until = Instant::now() + if number < frames { gap } else { TAIL };
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                event = from.next_event() => drop(event.map_err(|error| error.to_string())?),
                event = to.next_event() => if let BearerEvent::Frame { bytes, .. } = event.map_err(|error| error.to_string())?
                    && let [high, low, 0x5a, ..] = bytes[..]
                {
                    heard.insert(u16::from_be_bytes([high, low]));
                },
            }
        }
        if number == frames {
            break;
        }
    }
    Ok(heard.len() as u16)
}
