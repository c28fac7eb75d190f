//! Requests of agents: one arm each. What answers itself is read from the node and the state; what lasts is answered behind its sync.

use ble_bearer::{Bearer, Clock};
use mesh_agent::api::{Done, ErrorCode, Event, LinkAdd, Pong, Refusal, Request, RouteAdd};
use mesh_protocol::{Address, RouteError};

use super::journal::After;
use super::problems::problems;
use super::report::Sources;
use super::{BATCHES, Engine, records};
use crate::agents::{SessionId, ToEngine};
use crate::store::Op;

impl<B: Bearer, C: Clock> Engine<B, C> {
    /// Handles this command and some of those behind it, so that many small ones share one drain and one sync.
    pub(super) fn commands(&mut self, first: ToEngine) {
        self.tick();
        let mut next = Some(first);
        for left in (0..BATCHES).rev() {
            match next {
                Some(ToEngine::Attach { session, caller, port, agent, passing, hello, holder }) => {
                    self.state.attach((session, caller), port, (agent, passing), &hello, holder);
                }
                Some(ToEngine::Changed { session, holder }) => self.state.changed(session, holder),
                Some(ToEngine::Purge { tokens }) => self.state.purge(&tokens),
                Some(ToEngine::Requests { session, batch }) => {
                    batch.into_iter().for_each(|request| self.request(session, request));
                }
                Some(ToEngine::Room { session }) => self.state.room(session),
                Some(ToEngine::Detach { session }) => self.state.detach(session),
                None => return,
            }
            // Asked again after each: one batch may use up the numbers that are reserved.
            let more = left > 0 && self.state.takes_requests();
            next = if more { self.commands.try_recv().ok() } else { None };
        }
    }

    fn request(&mut self, session: SessionId, request: Request) {
        let Some(key) = self.state.agent_of(session) else { return };
        match request {
            // The session answers these two itself.
            Request::Hello(_) | Request::Bye(_) => {}
            Request::Send(send) => self.state.send(session, key, send),
            Request::Ack(ack) => self.state.ack(key, ack.cursor),
            Request::Credit(credit) => self.state.credit(key, credit.n),
            Request::Subscribe(subscribe) => self.state.subscribe(session, key, subscribe),
            Request::Unsubscribe(unsubscribe) => self.state.unsubscribe(session, key, unsubscribe),
            Request::AgentForget(forget) => self.state.forget_agent(session, forget),
            Request::LinkAdd(add) => {
                let reference = add.reference;
                let done = self.add_link(add);
                self.links_changed(session, reference, done);
            }
            Request::LinkRemove(remove) => {
                let done = self.peers.remove(remove.name);
                self.links_changed(session, remove.reference, done);
            }
            Request::RouteAdd(add) => {
                let done = self.add_route(add);
                self.routes_changed(session, add.reference, done);
            }
            Request::RouteRemove(remove) => {
                let done = self.remove_route(remove.destination);
                self.routes_changed(session, remove.reference, done);
            }
            Request::Why(ask) => match self.state.why(ask) {
                Ok(timeline) => self.answer(session, Event::Timeline(timeline)),
                Err(refusal) => self.state.refuse(session, ask.reference, refusal),
            },
            Request::PingNode(ask) => self.state.ping_node(session, ask),
            Request::TraceNode(ask) => self.state.trace_node(session, ask),
            Request::Ping(ask) => self.answer(session, Event::Pong(Pong { reference: ask.reference })),
            Request::Status(ask) => {
                let adapter = self.bearer.health();
                let sources = self.sources();
                let status = sources.status(&adapter, problems(&sources, &adapter), ask.reference);
                self.answer(session, Event::Status(Box::new(status)));
            }
            Request::Peers(ask) => {
                let peers = self.sources().peers(ask.reference);
                self.answer(session, Event::Peers(peers));
            }
            Request::Health(ask) => {
                let deliveries = self.sources().deliveries(ask.reference);
                self.answer(session, Event::Health(Box::new(deliveries)));
            }
            Request::Routes(ask) => {
                let routes = self.sources().routes(ask.reference);
                self.answer(session, Event::Routes(routes));
            }
            Request::Agents(ask) => {
                let agents = self.sources().agents(ask.reference);
                self.answer(session, Event::Agents(agents));
            }
        }
    }

    /// Behind the answers to what was asked before: those may wait for the disk, and an agent may count on their order.
    fn answer(&mut self, session: SessionId, event: Event) {
        self.state.promise(self.state.journal.is_busy(), After::Tell { session, event });
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            state: &self.state,
            node: &self.node,
            air: &self.air,
            watch: &self.watch,
            peering: &self.peering,
            transport_counters: &self.transport_counters,
            started: self.started,
        }
    }

    fn add_link(&mut self, add: LinkAdd) -> Result<(), Refusal> {
        if self.peering.is_possible() {
            return self.peers.add(add);
        }
        let why = format!("cannot add the gateway {}: this one has no sockets", add.name);
        Err(Refusal::new(ErrorCode::NoNetwork, why).hint("add it on a gateway that runs by itself"))
    }

    /// The list of gateways to be connected with was changed, or not: it is answered once that is kept.
    fn links_changed(&mut self, session: SessionId, reference: Option<u64>, done: Result<(), Refusal>) {
        if let Err(refusal) = done {
            return self.state.refuse(session, reference, refusal);
        }
        self.peering.want(self.peers.wanted());
        self.state.journal.stage(Op::PutMeta { key: records::PEERS, value: self.peers.record() });
        self.state.promise(true, After::Tell { session, event: Event::Done(Done { reference }) });
    }

    fn add_route(&mut self, add: RouteAdd) -> Result<(), Refusal> {
        let RouteAdd { destination, next_hop, cost, .. } = add;
        if destination == next_hop {
            let why = format!("cannot add the route to {destination}: it begins where it ends");
            let hint = "name a neighbour on the way; one that hears us well needs no route";
            return Err(Refusal::new(ErrorCode::BadRequest, why).field("next_hop").hint(hint));
        }
        self.node.set_route(self.state.now, destination, next_hop, cost).map_err(|error| {
            let code = match error {
                RouteError::Full => ErrorCode::TooLarge,
                _ => ErrorCode::BadRequest,
            };
            Refusal::new(code, format!("cannot add the route to {destination}: {error}"))
                .hint("`mesh-gateway routes` and `mesh-gateway peers` show what there is")
        })
    }

    fn remove_route(&mut self, destination: Address) -> Result<(), Refusal> {
        if self.node.remove_route(destination) {
            return Ok(());
        }
        let why = format!("cannot remove the route to {destination}: there is none by an operator");
        Err(Refusal::new(ErrorCode::BadRequest, why)
            .hint("`mesh-gateway routes` lists them")
            .field("destination"))
    }

    /// The operator's routes were changed, or not: it is answered once they are kept.
    fn routes_changed(&mut self, session: SessionId, reference: Option<u64>, done: Result<(), Refusal>) {
        if let Err(refusal) = done {
            return self.state.refuse(session, reference, refusal);
        }
        let value = records::encode_routes(self.node.routes(self.state.now));
        self.state.journal.stage(Op::PutMeta { key: records::ROUTES, value });
        self.state.promise(true, After::Tell { session, event: Event::Done(Done { reference }) });
    }
}
