//! The crowd: connections that are held and say nothing, or a byte now and then.
//!
//! Owns its sockets and the thread that goes round them. What the gateway makes of it, others measure.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mesh_agent::api::{Hello, Name, Token};

use crate::program::Idle;

/// How long one way round the crowd takes: so often does each slow one say a byte.
const ROUND: Duration = Duration::from_secs(5);
/// How often some of them have their turn: so often that no burst of theirs is measured.
const STEP: Duration = Duration::from_millis(1);
/// What the slow ones say, over and over: the length of a frame of 4,000 bytes, and then its bytes.
const FRAME: u32 = 4_000;

/// What kind of people they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They have shown the token and been welcomed.
    Agents,
    /// They never say a whole hello. Whom the gateway cuts off comes again.
    Strangers,
}

/// The crowd, gone when dropped.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    walking: Option<JoinHandle<()>>,
}

struct Shared {
    address: String,
    kind: Kind,
    people: Mutex<Vec<Person>>,
    pausing: AtomicBool,
    over: AtomicBool,
}

struct Person {
    stream: TcpStream,
    slow: bool,
    said: u32,
    /// How often it came again.
    returns: u64,
}

impl Crowd {
    /// So many connections, every other one silent. It rests until it is told to [`Self::go_on`].
    pub(crate) fn gather(address: &str, kind: Kind, token: &Token, size: usize) -> Self {
        let person = |n: usize| {
            let stream = match kind {
                Kind::Agents => {
                    let name = Name::new(&format!("crowd-{n}")).expect("a name");
                    let hello = Hello { token: Some(token.clone()), ..Hello::new(name) };
                    Idle::attach(address, hello).stream
                }
                Kind::Strangers => TcpStream::connect(address).expect("the gateway listens"),
            };
            stream.set_nonblocking(true).expect("a TCP connection");
            Person { stream, slow: n % 2 == 1, said: 0, returns: 0 }
        };
        let people = Mutex::new((0..size).map(person).collect());
        let (pausing, over) = (AtomicBool::new(true), AtomicBool::new(false));
        let shared = Arc::new(Shared { address: address.to_owned(), kind, people, pausing, over });
        let walker = Arc::clone(&shared);
        let walking = std::thread::spawn(move || walker.walk());
        Self { shared, walking: Some(walking) }
    }

    /// The slow ones speak.
    pub(crate) fn go_on(&self) {
        self.shared.pausing.store(false, Ordering::Relaxed);
    }

    /// Nobody says anything, or comes again.
    pub(crate) fn rest(&self) {
        self.shared.pausing.store(true, Ordering::Relaxed);
    }

    /// How many the gateway still holds, and how often one of them came again.
    pub(crate) fn count(&self) -> (usize, u64) {
        let mut people = self.shared.people.lock().unwrap_or_else(PoisonError::into_inner);
        let held = people.iter_mut().filter_map(|person| person.is_held().then_some(())).count();
        (held, people.iter().map(|person| person.returns).sum())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(walking) = self.walking.take() {
            let _ = walking.join();
        }
    }
}

impl Shared {
    fn walk(&self) {
        let mut next = 0;
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(STEP);
            if self.pausing.load(Ordering::Relaxed) {
                continue;
            }
            let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
            let size = people.len();
            let turn = (size as f64 * STEP.as_secs_f64() / ROUND.as_secs_f64()).ceil() as usize;
            for _ in 0..turn.min(size) {
                people[next].turn(&self.address, self.kind);
                next = (next + 1) % size;
            }
        }
    }
}

impl Person {
    fn is_held(&mut self) -> bool {
        // What agents are told, others' coming and going not being of it, fits the socket; nothing is read for long.
        match self.stream.read(&mut [0; 512]) {
            Ok(read) => read > 0,
            Err(why) => why.kind() == ErrorKind::WouldBlock,
        }
    }

    fn turn(&mut self, address: &str, kind: Kind) {
        if !self.is_held() {
            if kind == Kind::Strangers
                && let Ok(stream) = TcpStream::connect(address)
                && stream.set_nonblocking(true).is_ok()
            {
                let returns = self.returns + 1;
                *self = Self { stream, slow: self.slow, said: 0, returns };
            }
        } else if self.slow {
            let byte = FRAME.to_be_bytes().get(self.said as usize).copied().unwrap_or(7);
            // Whether it is still held shows at its next turn.
            let _ = self.stream.write(&[byte]);
            self.said = (self.said + 1) % (4 + FRAME);
        }
    }
}
