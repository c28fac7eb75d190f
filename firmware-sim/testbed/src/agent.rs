//! An agent of a gateway in the simulation: it says what it is told to, listens, answers queries, and comes back when its
//! gateway does.
//!
//! Owns how it lives on across sessions. What is made of all it sees is a [`Witness`]'s business, when it speaks the script's.

use std::sync::{Arc, Mutex, MutexGuard};

use mesh_agent::api::codec::Codec;
use mesh_agent::api::{Hello, Message, Name, SendRequest};
use mesh_agent::{Client, ClientError, Handle, Incoming, Pending};
use mesh_protocol::{Duration, Instant, MessageType};

use super::testbed::{Testbed, lock};
use super::witness::{Said, Witness};

/// An agent whose gateway is away tries again after this long. A guess.
const AGAIN: Duration = Duration::from_millis(500);

/// Both codecs are in use.
pub(super) const fn codec(agent: usize) -> Codec {
    if agent.is_multiple_of(2) { Codec::Postcard } else { Codec::Json }
}

/// See the module. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    /// Its number for the witness.
    pub(super) number: usize,
    /// Where it is attached, from 0.
    pub(super) gateway: usize,
    pub(super) name: Name,
    pub(super) codec: Codec,
    /// Groups it hears.
    pub(super) groups: Vec<Name>,
    /// What it answers to a query.
    pub(super) answer: fn(&Message) -> SendRequest,
    pub(super) testbed: Testbed,
    /// Its session, while it has one.
    pub(super) handle: Arc<Mutex<Option<Handle>>>,
    pub(super) witness: Arc<Mutex<dyn Witness>>,
}

impl Agent {
    /// Says something now; what becomes of it is listened for beside. What it cannot say, it does not say later. `number` is
    /// the script's for it, if it has one.
    pub(super) async fn say(&self, request: SendRequest, number: Option<usize>) {
        let handle = self.session().clone();
        let said = Said {
            by: Some((self.name, request.kind)),
            to: request.to,
            body: request.body.clone(),
            priority: request.priority,
            within: request.deadline_ms.map(|ms| Duration::from_millis(ms.into())),
            number,
        };
        let now = self.testbed.now();
        let Some(handle) = handle else { return self.witness().unsaid(now, said) };
        match handle.send(request).await {
            Ok(pending) => drop(tokio::spawn(self.clone().follow(said, pending))),
            Err(_) => self.witness().doubt(self.testbed.now(), said),
        }
    }

    async fn follow(self, said: Said, mut pending: Pending) {
        let accepted = pending.accepted().await;
        let now = self.testbed.now();
        match accepted {
            Ok(accepted) => self.witness().accepted(now, self.number, said, &accepted),
            Err(ClientError::Refused(error)) => return self.witness().refused(now, said, error),
            // Nobody has said whether it was accepted.
            Err(_) => return self.witness().doubt(now, said),
        }
        // Where the session is lost before its receipt comes, that comes in a later session.
        if let Ok(receipt) = pending.receipt().await {
            let now = self.testbed.now();
            self.witness().receipt(now, self.number, receipt);
        }
    }

    /// Listens, and answers queries, for as long as there is a world.
    pub(super) async fn listen(self) {
        let mut handled = None;
        loop {
            if let Ok(client) = self.attach(handled).await {
                let (handle, mut inbox) = client.split();
                *self.session() = Some(handle.clone());
                if !self.groups.is_empty() {
                    // Lost with the session, they are asked for again in the next one.
                    drop(handle.subscribe(self.groups.clone(), None).await);
                }
                while let Ok(incoming) = inbox.next().await {
                    let now = self.testbed.now();
                    let cursor = match incoming {
                        Incoming::Message(message) => {
                            let cursor = message.cursor;
                            self.heard(now, message).await;
                            cursor
                        }
                        Incoming::Receipt(receipt) => {
                            let cursor = receipt.cursor;
                            self.witness().receipt(now, self.number, receipt);
                            cursor
                        }
                        Incoming::Error(error) => {
                            self.witness().error(self.number, error);
                            None
                        }
                    };
                    handled = handled.max(cursor);
                }
                *self.session() = None;
            }
            self.testbed.pause(AGAIN).await;
        }
    }

    async fn heard(&self, now: Instant, message: Message) {
        if message.kind == MessageType::Query {
            self.say((self.answer)(&message), None).await;
        }
        self.witness().arrived(now, self.number, message);
    }

    async fn attach(&self, resume: Option<u64>) -> Result<Client, ClientError> {
        let hello = Hello { resume, ..Hello::new(self.name) };
        self.testbed.connect(self.gateway, hello, self.codec).await
    }

    fn session(&self) -> MutexGuard<'_, Option<Handle>> {
        lock(&self.handle)
    }

    fn witness(&self) -> MutexGuard<'_, dyn Witness + 'static> {
        lock(&self.witness)
    }
}
