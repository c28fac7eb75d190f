//! Questions of agents about ways: what became of a message, whether a node answers, over which nodes.
//!
//! Owns which of them are refused. The stories are [`super::timelines`]', who waits for an answer is [`super::probes`]'.

use mesh_agent::api::{AskNode, AskWhy, ErrorCode, MAX_PROBE_TIMEOUT_MS, Refusal, Timeline};
use mesh_protocol::{Address, TracedHop};

use super::probes::Asked;
use super::state::EngineState;
use super::timelines::MESSAGES;
use crate::agents::SessionId;

impl EngineState {
    /// What became of a message of this gateway's agents.
    pub(super) fn why(&self, ask: AskWhy) -> Result<Timeline, Refusal> {
        let AskWhy { reference, id } = ask;
        if id.node != self.config.address {
            let why = format!("cannot tell of {id}: the node {} took it over", id.node);
            let hint = "ask the gateway at that node";
            return Err(Refusal::new(ErrorCode::BadRequest, why).field("id").hint(hint));
        }
        let (steps, left_out) = self.timelines.steps(id.id).ok_or_else(|| {
            let why = format!("cannot tell of {id}: nothing is known of it, or nothing any more");
            let hint =
                format!("a gateway remembers the last {MESSAGES} messages of its agents until it stops");
            Refusal::new(ErrorCode::BadRequest, why).field("id").hint(hint)
        })?;
        Ok(Timeline { reference, id, steps, left_out })
    }

    /// Asks a node to answer.
    pub(super) fn ping_node(&mut self, session: SessionId, ask: AskNode) {
        match self.may_ask(ask).and_then(|()| self.probes.ask(self.now, session, ask, Asked::Ping)) {
            Ok(number) => self.commands.ping(ask.node, number),
            Err(refusal) => self.refuse(session, ask.reference, refusal),
        }
    }

    /// Asks a node, and those on the way there.
    pub(super) fn trace_node(&mut self, session: SessionId, ask: AskNode) {
        let trace = Asked::Trace { hops: Vec::new(), reached: false };
        match self.may_ask(ask).and_then(|()| self.probes.ask(self.now, session, ask, trace)) {
            Ok(number) => self.commands.trace(ask.node, number as u8),
            Err(refusal) => self.refuse(session, ask.reference, refusal),
        }
    }

    fn may_ask(&self, ask: AskNode) -> Result<(), Refusal> {
        let AskNode { node, timeout_ms, .. } = ask;
        if !node.is_node() || node == self.config.address {
            let why = format!("cannot ask {node}: it is not another node");
            let hint = "a node has an address of 0x0001 to 0x7fff; `mesh-gateway peers` and `mesh-gateway routes` show some";
            return Err(Refusal::new(ErrorCode::BadRequest, why).field("node").hint(hint));
        }
        if timeout_ms == 0 || timeout_ms > MAX_PROBE_TIMEOUT_MS {
            let why = format!("cannot wait {timeout_ms} ms for {node}");
            let hint = format!("wait for 1 to {MAX_PROBE_TIMEOUT_MS} ms");
            return Err(Refusal::new(ErrorCode::BadRequest, why).field("timeout_ms").hint(hint));
        }
        Ok(())
    }

    pub(super) fn node_pong(&mut self, source: Address, number: u16, hops: u8) {
        if let Some((session, event)) = self.probes.pong(self.now, source, number, hops) {
            self.tell(session, event);
        }
    }

    pub(super) fn node_traced(&mut self, source: Address, hop: TracedHop) {
        self.probes.traced(self.now, source, hop);
        self.keepers.traced(self.config.address, source, hop);
        self.probes_over();
    }

    /// Tells of the questions whose time is over.
    pub(super) fn probes_over(&mut self) {
        for (session, event) in self.probes.over(self.now) {
            self.tell(session, event);
        }
    }
}
