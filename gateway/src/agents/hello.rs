//! The first request of a session: whether it is a hello, in time, and from whom.
//!
//! Owns what a hello has to be, one step after the other. Errors are answered here.

use std::sync::Arc;

use ble_bearer::Clock;
use mesh_agent::api::codec::Bounds;
use mesh_agent::api::{ErrorCode, Hello, Name, Refusal, Request};
use tokio::io::AsyncRead;
use tokio::sync::OwnedSemaphorePermit;

use super::common::Transport;
use super::counters::count;
use super::inbound::{Inbound, Over};
use super::passing::{PASSING, is_passing, passing_name};
use super::presence::Presence;
use super::token::{NotAdmitted, Pass};

/// Who was let in.
pub(super) struct Admitted {
    pub(super) agent: Name,
    /// Whether it has that name for this session alone.
    pub(super) passing: bool,
    pub(super) hello: Hello,
    pub(super) pass: Pass,
    /// Its place among the sessions of its token.
    pub(super) presence: Option<Presence>,
    /// Its place among those with limits, which leave some to those without.
    pub(super) limited: Option<OwnedSemaphorePermit>,
}

impl<C: Clock> Inbound<'_, C> {
    /// Reads the hello, and decides whether its sender is let in.
    pub(super) async fn hello<R: AsyncRead + Unpin>(
        &mut self,
        transport: Transport,
        reader: &mut R,
    ) -> Result<Admitted, Over> {
        let mut hello = self.first_request(transport, reader).await?;
        let pass = self.check_token(transport, &hello)?;
        self.check_rate(&hello, &pass)?;
        self.check_name(&hello, &pass)?;
        let passing = hello.name.is_none();
        let Some(agent) = hello.name.or_else(passing_name) else {
            let message = "the system gives no random numbers to make a name of";
            return self.end(Refusal::new(ErrorCode::Internal, message).hint("say hello with a name"));
        };
        let limited = self.limited_place(agent, &pass)?;
        let presence = match pass.enter(self.id, agent) {
            Ok(presence) => presence,
            Err(refusal) => {
                count(&self.common.counters.refused_limits);
                self.note_not_let_in(hello.name, pass.token(), refusal.code);
                return self.end(refusal);
            }
        };
        hello.token = None;
        self.decoder.set_bounds(Bounds::REQUEST);
        Ok(Admitted { agent, passing, hello, pass, presence, limited })
    }

    /// The first request, which has to be a hello.
    async fn first_request<R: AsyncRead + Unpin>(
        &mut self,
        transport: Transport,
        reader: &mut R,
    ) -> Result<Hello, Over> {
        let request = loop {
            match self.decode() {
                Ok(Some(request)) => break request,
                Ok(None) => {
                    self.fill(reader).await?;
                    if transport == Transport::Full {
                        let message = "the gateway has all the connections it takes";
                        return self.end(
                            Refusal::new(ErrorCode::Overloaded, message)
                                .hint("try again later, or raise the limit in its settings"),
                        );
                    }
                }
                // Before the hello a mistake ends it: who cannot say hello is not one of ours.
                Err(mut error) => {
                    error.fatal = true;
                    if error.code == ErrorCode::TooLarge {
                        error.message = format!(
                            "the first request must be a hello, and none is so long; {}",
                            error.message
                        );
                    }
                    self.events.refuse(error);
                    return Err(Over);
                }
            }
        };
        match request {
            Request::Hello(hello) => Ok(hello),
            _ => {
                count(&self.common.counters.bad_requests);
                let message = "the first request must be a hello";
                self.end(Refusal::new(ErrorCode::NotWelcome, message).hint("send it before this one"))
            }
        }
    }

    /// What its token allows; one of this gateway's own user is asked for none.
    fn check_token(&self, transport: Transport, hello: &Hello) -> Result<Pass, Over> {
        let admitted = match transport {
            Transport::Unix => return Ok(Pass::free()),
            Transport::Tcp | Transport::Full => self.common.token.admit(hello.token.as_ref()),
        };
        let (counter, token, refusal) = match admitted {
            Ok(pass) => return Ok(pass),
            Err(NotAdmitted::Expired { token, refusal }) => (&self.common.counters.expired, token, refusal),
            Err(why) => {
                let (message, hint) = match why {
                    NotAdmitted::Missing => (
                        "this gateway asks for an access token",
                        "give it as `token` in the hello, on the command line with --token-file",
                    ),
                    _ => (
                        "the access token is wrong",
                        "give one that `mesh-gateway token add` printed, or the one in the gateway's settings",
                    ),
                };
                let refusal = Refusal::new(ErrorCode::Unauthorised, message).hint(hint).field("token");
                (&self.common.counters.refused_token, None, refusal)
            }
        };
        count(counter);
        self.note_not_let_in(hello.name, token, refusal.code);
        self.end(refusal)
    }

    /// Whether its token allows one more hello now.
    fn check_rate(&self, hello: &Hello, pass: &Pass) -> Result<(), Over> {
        let Err(refusal) = pass.greets(|| self.common.clock.now()) else { return Ok(()) };
        count(&self.common.counters.refused_limits);
        self.note_not_let_in(hello.name, pass.token(), refusal.code);
        self.end(refusal)
    }

    /// Whether its token allows the name, and whether anybody may have it.
    fn check_name(&self, hello: &Hello, pass: &Pass) -> Result<(), Over> {
        if let Some(name) = &hello.name
            && let Err(refusal) = pass.allows_name(name)
        {
            count(&self.common.counters.refused_limits);
            self.note_not_let_in(hello.name, pass.token(), refusal.code);
            return self.end(refusal);
        }
        if let Some(name) = hello.name.filter(is_passing) {
            count(&self.common.counters.bad_requests);
            let message = format!(
                "cannot attach as {name}: names that begin with {PASSING} are for sessions without one of their own"
            );
            let refusal = Refusal::new(ErrorCode::BadRequest, message);
            return self.end(refusal.hint("take another name, or none").field("name"));
        }
        Ok(())
    }

    /// A place among the sessions with limits, if its token has some.
    fn limited_place(&self, agent: Name, pass: &Pass) -> Result<Option<OwnedSemaphorePermit>, Over> {
        if pass.holder().and_then(|holder| holder.quota).is_none() {
            return Ok(None);
        }
        match Arc::clone(&self.common.limited).try_acquire_owned() {
            Ok(place) => Ok(Some(place)),
            Err(_) => {
                count(&self.common.counters.refused_full);
                let why = format!("cannot attach {agent}: the last connections are kept for the operator");
                let refusal = Refusal::new(ErrorCode::Overloaded, why);
                self.end(refusal.hint("try again later, or raise agents.max_connections"))
            }
        }
    }
}
