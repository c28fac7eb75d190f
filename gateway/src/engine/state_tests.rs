//! What the engine does with requests, beside what is seen from a socket.

use mesh_agent::api::{Body, Destination, ErrorCode, Event, Hello, Name, Pong, ReceiptRequest, SendRequest};
use mesh_protocol::{
    Address, Duration, Event as NodeEvent, Instant, MessageId, MessageType, NameHash, Priority, Reason,
    Received, SendOutcome, Verdict,
};

use super::carriage::{Carriage, Handover};
use super::journal::{After, Journal};
use super::numbers::Start;
use super::receipt_requests::{Delivered, OF_ONE};
use super::state::{EngineConfig, EngineState};
use super::{Membership, records};
use crate::access::{Caller, Holder, Quota};
use crate::agents::{QueueBound, SessionEvents, SessionId, port};
use crate::store::Store;

const OWN: Address = Address::new(2);

/// A gateway's state on a new disk; no message number is reserved yet. The directory goes with the test.
fn state() -> (EngineState, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (store, found) = Store::open(dir.path()).unwrap();
    let recovered = records::recover(found, Membership::new([7; 16], 1, true).fingerprint, OWN);
    let config = EngineConfig {
        name: "here".into(),
        address: OWN,
        adapter: "none".into(),
        default_deadline: Duration::from_secs(60),
        max_agents: 10,
        max_credits: 10,
        inbox_messages: 10,
        inbox_bytes: 1 << 20,
        inbox_total_bytes: 1 << 20,
    };
    let start = Start { id: 1, seq: 0, ids: None, seqs: None };
    (EngineState::new(Instant::ZERO, config, Journal::new(store, 0), recovered, start), dir)
}

fn attach(state: &mut EngineState, name: Name, session: SessionId, events: usize) -> SessionEvents {
    let (port, read) = port(QueueBound { events, bytes: 1 << 20 });
    state.attach((session, Caller::Inside), port, (name, false), &Hello::new(name), None);
    read
}

#[test]
fn a_session_that_was_too_slow_leaves_no_more_behind_than_one_that_ended() {
    let (mut state, _dir) = state();
    let (bob, session) = (Name::new("bob").unwrap(), SessionId(1));
    let hash = NameHash::of(bob.as_str());
    let _unread = attach(&mut state, bob, session, 1);
    let key = state.agent_of(session).unwrap();
    state.directory.note_namesake(Instant::ZERO, bob, Address::new(9));
    state.directory.learn(Instant::ZERO, hash, None, Address::new(9));
    while state.agent_of(session).is_some() {
        state.tell(session, Event::Pong(Pong { reference: None }));
    }
    assert_eq!(state.counts.events().get("sessions_too_slow"), Some(&1));
    assert!(
        !state.registry.is_connected(key) && state.directory.namesakes(state.now).next().is_none(),
        "who is absent has no namesake"
    );
    assert_eq!(state.directory.find(hash), None, "it was here last");
    assert_eq!(state.is_here(bob), Some(key));
}

#[test]
fn the_mesh_is_asked_for_few_names_at_once_on_account_of_a_limited_token() {
    let token = Name::new("sensor").unwrap();
    let quota = Quota { sessions: 1, agents: 1, groups: 1, messages: 100, bytes: 1_000, deadline_s: 60 };
    for (quota, at_once) in [(Some(quota), 60), (None, 70)] {
        let (mut state, _dir) = state();
        let (bob, session) = (Name::new("bob").unwrap(), SessionId(1));
        let (port, _events) = port(QueueBound { events: 100, bytes: 1 << 20 });
        let holder = Some(Holder { token, quota });
        state.attach((session, Caller::Inside), port, (bob, false), &Hello::new(bob), holder);
        let key = state.agent_of(session).unwrap();
        for n in 1..=70 {
            let to = Destination::agent(Name::new(&format!("nobody-{n}")).unwrap());
            let send = SendRequest::new(to, MessageType::Task, Body::text("x"));
            state.try_send(session, key, &send).unwrap();
            state.launch(MessageId(n));
        }
        assert_eq!(state.directory.due(state.now).len(), at_once, "{quota:?}");
    }
}

#[test]
fn a_message_that_is_refused_for_want_of_a_number_gives_up_nobodys_ack() {
    let (mut state, _dir) = state();
    let (bob, session) = (Name::new("bob").unwrap(), SessionId(1));
    let _events = attach(&mut state, bob, session, 100);
    let key = state.agent_of(session).unwrap();
    for id in 0..OF_ONE as u32 {
        let delivered = Delivered { from: bob, reference: None };
        state.receipt_requests.insert(Instant::ZERO, MessageId(10_000 + id), delivered, false);
    }
    state.now = Instant::ZERO + Duration::from_secs(2 * 86_400);
    let to = Destination::agent_on(Name::new("eve").unwrap(), Address::new(9));
    let mut ask = SendRequest::new(to, MessageType::Task, Body::text("x"));
    (ask.receipt, ask.durable) = (ReceiptRequest::Processed, false);
    let given_up = |state: &EngineState| state.counts.events().get("acks_given_up").copied();
    // The disk is not asked here, so that no number is reserved.
    let refusal = state.try_send(session, key, &ask).unwrap_err();
    assert_eq!((refusal.code, given_up(&state)), (ErrorCode::Busy, None));
    ask.durable = true;
    state.try_send(session, key, &ask).unwrap();
    assert_eq!(given_up(&state), Some(1), "with a number it takes the place of the oldest");
}

#[test]
fn what_was_set_aside_for_a_silent_node_is_urgent_again_when_that_says_who_is_there() {
    let (mut state, _dir) = state();
    let (bob, session) = (Name::new("bob").unwrap(), SessionId(1));
    let _events = attach(&mut state, bob, session, 100);
    let key = state.agent_of(session).unwrap();
    let node = Address::new(9);
    let to = Destination::agent_on(Name::new("eve").unwrap(), node);
    for priority in [Priority::High, Priority::Low] {
        let send = SendRequest { priority, ..SendRequest::new(to, MessageType::Task, Body::text("x")) };
        state.try_send(session, key, &send).unwrap();
    }
    let ids: Vec<MessageId> = [1, 2].map(MessageId).into();
    state.launch(ids[0]);
    let next = |state: &mut EngineState| state.outgoing.dequeue(state.now).map(|(dequeued, _)| dequeued.id);
    assert_eq!(next(&mut state), Some(ids[0]));
    state.outgoing.defer(ids[0]);
    state.launch(ids[1]);
    state.commands.carry_out_nothing();
    // Another node is not the one that was silent.
    let name = NameHash::of("eve");
    let _ = state.node_event(NodeEvent::NameAt { source: Address::new(8), name: NameHash::of("carol") });
    assert!(state.commands.is_empty());
    let _ = state.node_event(NodeEvent::NameAt { source: node, name });
    assert!(!state.commands.is_empty(), "the node is filled in this turn");
    assert_eq!(
        [next(&mut state), next(&mut state)],
        [Some(ids[0]), Some(ids[1])],
        "the urgent one first again"
    );
}

/// A message of an agent here that another gateway is to keep, and the agent's events.
fn handed_over(state: &mut EngineState) -> (Handover, MessageId, SessionEvents) {
    let (bob, session) = (Name::new("bob").unwrap(), SessionId(1));
    let events = attach(state, bob, session, 100);
    let key = state.agent_of(session).unwrap();
    let (handover, id) = (Handover { keeper: Address::new(8), receiver: Address::new(9) }, MessageId(1));
    let to = Destination::agent_on(Name::new("eve").unwrap(), handover.receiver);
    let mut send = SendRequest::new(to, MessageType::Task, Body::text("x"));
    (send.receipt, send.durable) = (ReceiptRequest::Processed, true);
    state.try_send(session, key, &send).unwrap();
    state.launch(id);
    state.outgoing.hand_over(id, Some(handover));
    (handover, id, events)
}

#[test]
fn who_has_settled_a_message_is_not_asked_any_more_to_keep_it() {
    let (mut state, _dir) = state();
    let (Handover { keeper, .. }, id, _events) = handed_over(&mut state);
    let asked = state.outgoing.dequeue(state.now).map(|(asked, _)| asked.destination);
    assert_eq!(asked, Some(keeper));
    let (destination, number, priority) = (OWN, MessageId(70), Priority::High);
    let received = Received {
        source: keeper,
        destination,
        id: number,
        priority,
        hops: 1,
        part: None,
        mark: None,
        bytes: &[],
    };
    state.settled(&received, id, 1, Verdict::Rejected(Reason::UnknownContext)).unwrap();
    assert!(state.commands.cancels(id), "its answer to that would be taken for its receiver's");
    assert!(state.outgoing.get(id).is_some());
}

#[test]
fn what_became_of_a_kept_message_is_said_though_a_store_fails_here_or_there() {
    let (mut state, _dir) = state();
    let id = MessageId(1);
    state.tell_settled(
        Address::new(9),
        Carriage::settled(MessageId(5), 1, Verdict::Delivered),
        Priority::High,
        Duration::from_secs(600),
    );
    let leaves = |state: &mut EngineState| state.outgoing.dequeue(state.now).map(|(dequeued, _)| dequeued.id);
    assert_eq!(leaves(&mut state), None, "not before it is on the disk");
    state.break_promises(vec![After::Launch(id)]);
    assert_eq!(leaves(&mut state), Some(id), "this store failed");
    state.done(id, SendOutcome::Rejected(Reason::Storage), Some(1));
    assert!(state.outgoing.get(id).is_some() && state.outgoing.resting.next().is_some(), "that one did");
    state.outgoing.heard(Address::new(9), state.now + Duration::from_secs(1));
    state.now += Duration::from_secs(2);
    state.wake();
    assert_eq!(leaves(&mut state), Some(id));
    state.done(id, SendOutcome::Delivered, Some(1));
    assert!(state.outgoing.get(id).is_none());
}

/// An ack of the receiving agent that came before the keeper's word was once dropped, as the message was not known to be delivered.
#[test]
fn an_ack_of_the_receiver_ends_a_message_that_is_kept_and_one_of_others_does_not() {
    let (mut state, _dir) = state();
    let (Handover { keeper, receiver }, id, _events) = handed_over(&mut state);
    state.outgoing.rest(state.now, id);
    for source in [keeper, Address::new(7)] {
        let _ = state.node_event(NodeEvent::Processed { source, id });
        assert!(state.outgoing.get(id).is_some(), "{source}");
    }
    let _ = state.node_event(NodeEvent::Processed { source: receiver, id });
    assert!(state.outgoing.get(id).is_none());
    assert_eq!(state.counts.events().get("messages_processed"), Some(&1));
}
