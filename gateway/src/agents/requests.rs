//! What follows the hello: requests in batches, each within the rules and what its token allows.

use std::pin::pin;

use ble_bearer::Clock;
use mesh_agent::api::{ErrorCode, ErrorEvent, Name, Refusal, Request};
use tokio::io::AsyncRead;

use super::common::Common;
use super::counters::{Counters, count};
use super::inbound::{Inbound, Over};
use super::port::ToEngine;
use super::rules::keeps_the_rules;
use super::token::Pass;

/// The most requests in one batch to the engine. A guess: one window of credits.
pub const MAX_BATCH: usize = 256;

impl<C: Clock> Inbound<'_, C> {
    /// Everything after the hello, in batches of what has come.
    pub(super) async fn requests<R: AsyncRead + Unpin>(
        &mut self,
        agent: Name,
        mut pass: Pass,
        reader: &mut R,
    ) -> Result<std::convert::Infallible, Over> {
        let mut token_over = pin!(pass.over());
        let mut told = pass.holder();
        loop {
            let mut batch = Vec::with_capacity(self.batch_size);
            let mut over = false;
            while batch.len() < MAX_BATCH {
                match self.decode() {
                    Ok(None) => break,
                    Ok(Some(Request::Bye(_))) => {
                        over = true;
                        break;
                    }
                    Ok(Some(request)) => match self.admit(agent, &mut pass, &request) {
                        Ok(()) => batch.push(request),
                        Err(error) => {
                            self.note(agent, &pass, &request, error.code);
                            over = self.answer(error).is_err();
                        }
                    },
                    Err(error) => over = self.answer(error).is_err(),
                }
                if over {
                    break;
                }
            }
            let full = batch.len() == MAX_BATCH;
            if !batch.is_empty() {
                self.batch_size = batch.len();
                let sends = batch.iter().filter(|request| matches!(request, Request::Send(_))).count();
                if !self.events.answers_follow(sends).await {
                    return Err(Over);
                }
                if pass.holder() != told {
                    told = pass.holder();
                    let changed = ToEngine::Changed { session: self.id, holder: told };
                    if self.common.engine.send(changed).await.is_err() {
                        self.engine_gone();
                        return Err(Over);
                    }
                }
                let requests = ToEngine::Requests { session: self.id, batch };
                if self.common.engine.send(requests).await.is_err() {
                    self.engine_gone();
                    return Err(Over);
                }
            }
            if over {
                return Err(Over);
            }
            if !full {
                let refused = tokio::select! {
                    biased;
                    refused = &mut token_over => refused,
                    filled = self.fill(reader) => {
                        filled?;
                        continue;
                    }
                };
                self.count_end(&refused);
                return self.end(refused);
            }
        }
    }

    /// Whether a request keeps the rules of the session and of its token; an error is one to answer with.
    fn admit(&self, agent: Name, pass: &mut Pass, request: &Request) -> Result<(), ErrorEvent> {
        let Common { counters, clock, .. } = self.common;
        if let Err(refusal) = pass.renew() {
            self.count_end(&refusal);
            return Err(ErrorEvent::fatal(refusal));
        }
        keeps_the_rules(request).inspect_err(|_| count(&counters.bad_requests))?;
        pass.allows(agent, request, || clock.now()).map_err(|refusal| {
            count(&counters.refused_limits);
            ErrorEvent::about(request.reference(), refusal)
        })
    }

    /// Counts a session that ends because its token is good no longer.
    fn count_end(&self, refusal: &Refusal) {
        let Counters { expired, taken_back, .. } = &*self.common.counters;
        count(if refusal.code == ErrorCode::TokenExpired { expired } else { taken_back });
    }
}
