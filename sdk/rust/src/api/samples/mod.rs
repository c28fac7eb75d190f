//! One of everything, for tests: every request and event, with every optional field once there and once absent.

use mesh_protocol::{Address, MessageId, MessageType, Priority};

use super::*;

mod reports;

pub(crate) use reports::status;
use reports::{agents, health, peers, routes, timeline, trace};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn id(number: u32) -> MessageRef {
    MessageRef { node: Address::new(1), id: MessageId(number) }
}

pub(crate) fn send(to: &str, text: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text(text))
}

pub(crate) fn requests() -> Vec<Request> {
    let bob = Destination::agent_on(name("bob"), Address::new(3));
    let full = SendRequest {
        reference: Some(u64::MAX),
        to: bob,
        kind: MessageType::ParameterUpdate,
        priority: Priority::Critical,
        deadline_ms: Some(30_000),
        durable: false,
        reply_to: Some(id(17)),
        receipt: ReceiptRequest::Processed,
        body: Body::data(vec![0, 1, 254, 255]),
        key: Some(u64::MAX - 1),
    };
    let ask = Ask { reference: Some(7) };
    let hello = Hello {
        name: Some(name("alice")),
        token: Some(Token::new("open sesame")),
        resume: Some(99),
        credits: 8,
    };
    vec![
        Request::Hello(Hello::new(name("alice"))),
        Request::Hello(Hello::unnamed()),
        Request::Hello(hello),
        Request::Send(send("everyone", "grüß \"Gott\"\n\u{1}")),
        Request::Send(full),
        Request::Send(send("node:0x0003", "")),
        Request::Send(send("group:kitchen", "dinner")),
        Request::Ack(Ack { cursor: 12 }),
        Request::Credit(Credit { n: 128 }),
        Request::Subscribe(Subscribe {
            reference: Some(7),
            groups: vec![name("kitchen"), name("hall")],
            types: None,
        }),
        Request::Subscribe(Subscribe {
            reference: None,
            groups: vec![],
            types: Some(MessageType::ALL.to_vec()),
        }),
        Request::Unsubscribe(Unsubscribe { reference: Some(7), groups: vec![name("hall")] }),
        Request::Status(ask),
        Request::Peers(ask),
        Request::Routes(ask),
        Request::Agents(Ask::default()),
        Request::Ping(ask),
        Request::Bye(Bye {}),
        Request::Health(ask),
        Request::LinkAdd(LinkAdd {
            reference: Some(7),
            name: name("cellar"),
            address: "192.168.1.100:7700".into(),
            fingerprint: Some("ab".repeat(32)),
        }),
        Request::LinkAdd(LinkAdd {
            reference: None,
            name: name("cellar"),
            address: "cellar.local:7700".into(),
            fingerprint: None,
        }),
        Request::LinkRemove(LinkRemove { reference: Some(7), name: name("cellar") }),
        Request::RouteAdd(RouteAdd {
            reference: Some(7),
            destination: Address::new(5),
            next_hop: Address::new(3),
            cost: 2,
        }),
        Request::RouteRemove(RouteRemove { reference: Some(7), destination: Address::new(5) }),
        Request::AgentForget(AgentForget { reference: Some(7), name: name("bob") }),
        Request::Why(AskWhy { reference: Some(7), id: id(17) }),
        Request::PingNode(AskNode { reference: Some(7), node: Address::new(5), timeout_ms: 500 }),
        Request::TraceNode(AskNode { reference: None, node: Address::new(5), timeout_ms: PROBE_TIMEOUT_MS }),
    ]
}

pub(crate) fn message(text: &str) -> Message {
    Message {
        cursor: Some(5),
        id: id(17),
        from: Destination::agent_on(name("bob"), Address::new(3)),
        to: Destination::agent(name("alice")),
        kind: MessageType::Response,
        priority: Priority::High,
        reply_to: Some(id(16)),
        hops: 3,
        at_us: 1_234_567,
        body: Body::text(text),
    }
}

/// Of each kind, one for each thing that a message can have waited for, and of messages to many that were counted.
fn receipts() -> ([Receipt; 3], [Receipt; 6], [Receipt; 2]) {
    let delivered = Receipt {
        cursor: Some(6),
        reference: Some(1),
        id: id(17),
        outcome: Outcome::Delivered,
        at_node: Some(Address::new(3)),
        why: None,
        hops: Some(2),
        at_us: 9,
        detail: None,
    };
    let rejected = Receipt {
        cursor: None,
        reference: None,
        outcome: Outcome::Rejected,
        at_node: None,
        why: Some("inbox full".into()),
        hops: None,
        ..delivered.clone()
    };
    let lost = Receipt {
        outcome: Outcome::Unknown,
        why: Some("no route".into()),
        detail: Some(Detail {
            waited_for: WaitedFor::Route,
            since_ms: Some(900),
            last_hop: Some(Address::new(4)),
            hops_on: Some(3),
            ..Detail::default()
        }),
        ..delivered.clone()
    };
    let waited = |waited_for| Receipt {
        outcome: Outcome::Expired,
        detail: Some(Detail { waited_for, ..Detail::default() }),
        ..rejected.clone()
    };
    let reasons = [
        WaitedFor::Disk,
        WaitedFor::Name,
        WaitedFor::Turn,
        WaitedFor::Air,
        WaitedFor::Room,
        WaitedFor::Answer,
    ];
    let waited = reasons.map(waited);
    let reached = |known| Receipt {
        outcome: Outcome::Sent,
        detail: Some(Detail { reached: Some(12), known, ..Detail::default() }),
        why: None,
        ..rejected.clone()
    };
    let counted = [reached(Some(14)), reached(None)];
    ([delivered, rejected, lost], waited, counted)
}

pub(crate) fn events() -> Vec<Event> {
    let node = Address::new(1);
    let bare = Message { cursor: None, reply_to: None, body: Body::data(vec![0xFF; 3]), ..message("") };
    let mut events = vec![
        Event::Welcome(Welcome {
            name: name("alice"),
            gateway: "gw".into(),
            node,
            session: 4,
            resumed_from: 99,
            credits: 256,
            max_body: MAX_BODY as u32,
        }),
        Event::Accepted(Accepted { reference: Some(1), id: id(17), durable: true, at_us: 8 }),
        Event::Accepted(Accepted { reference: None, id: id(17), durable: false, at_us: 8 }),
        Event::Timeline(timeline()),
        Event::NodePong(NodePong {
            reference: Some(7),
            node: Address::new(5),
            round_trip_us: Some(41_000),
            hops: Some(3),
        }),
        Event::NodePong(NodePong { reference: None, node, round_trip_us: None, hops: None }),
        Event::Trace(trace()),
        Event::Message(message("hello\u{2028}\\")),
        Event::Message(bare),
        Event::Error(ErrorEvent::about(
            Some(3),
            Refusal::new(ErrorCode::UnknownReceiver, "nobody is called zed")
                .hint("see who is there")
                .field("to"),
        )),
        Event::Error(ErrorEvent::fatal(Refusal::new(ErrorCode::NameTaken, "choose another name"))),
        Event::Peers(peers()),
        Event::Health(Box::new(health())),
        Event::Done(Done { reference: Some(7) }),
        Event::Routes(routes()),
        Event::Agents(agents()),
        Event::Pong(Pong { reference: None }),
        Event::Subscribed(Subscribed { reference: Some(7), groups: vec![name("kitchen")] }),
        Event::Goodbye(Goodbye { why: "bye".into() }),
    ];
    let (kinds, waited, counted) = receipts();
    // The recorded contract has them in this order.
    events.splice(3..3, kinds.map(Event::Receipt));
    events.extend(waited.map(Event::Receipt));
    events.extend(counted.map(Event::Receipt));
    for problems in [vec![], vec!["the disk is full".to_string()]] {
        events.push(Event::Status(Box::new(status(problems))));
    }
    let expired = Refusal::new(ErrorCode::TokenExpired, "the token is good no longer").field("token");
    events.push(Event::Error(ErrorEvent::fatal(expired)));
    events
}
