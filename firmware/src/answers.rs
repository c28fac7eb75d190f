//! What a node says to a message: whom it is for, whether that is here, and the answer to a query.
//!
//! Owns the decision. Where an answer waits is `posting`'s business, when the message itself counts as delivered `intake`'s.

use mesh_protocol::{
    Carried, Duration, Envelope, EnvelopeError, MessageRef, MessageType, NameHash, Part, Reason, Received,
};

use crate::tables::MessageName;

/// How long anyone wants an answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Messages that may wait for room in the node when a query comes; with more it is refused. A guess.
pub const ANSWERS: usize = 8;

/// What becomes of a message that is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It is not taken.
    Refuse(Reason),
    /// An agent of this node is to have it.
    Deliver(Envelope<'a>),
    /// The same, and it is answered at once.
    Answer {
        /// The message.
        query: Envelope<'a>,
        /// What is to be sent to whose it is, as urgent as it was, [within](ANSWER_WITHIN) so long.
        answer: Envelope<'a>,
    },
}

/// Whose a message is, and its number there, and what it says: also where another node has kept it and brings it now. To that one goes the
/// verdict, and by this name the message is known, whoever brings it.
///
/// # Errors
/// Why it is refused.
pub fn original<'a>(received: &Received<'a>) -> Result<(MessageName, Envelope<'a>), Reason> {
    match Carried::parse(received.bytes) {
        Some(Ok(Carried::OnBehalf { of, envelope })) if received.destination.is_node() => {
            Ok(((of.node, of.id), envelope))
        }
        // It keeps nothing for others, and nobody keeps anything for it.
        Some(_) => Err(Reason::Malformed),
        None => match Envelope::parse(received.bytes) {
            Ok(envelope) => Ok(((received.source, received.id), envelope)),
            // It keeps no contexts of senders: a source that hears this says the names again.
            Err(EnvelopeError::UnknownContext) => Err(Reason::UnknownContext),
            Err(_) => Err(Reason::Malformed),
        },
    }
}

/// Decides about a message of this [name](original), at a node whose agents bear `names`. A query is answered with its own body, as an
/// echo; `waiting` messages of this node wait already.
pub fn decide<'a>(
    (node, id): MessageName,
    envelope: Envelope<'a>,
    mut names: impl Iterator<Item: AsRef<str>>,
    waiting: usize,
) -> Decision<'a> {
    // Without a name it is for the node itself.
    if !envelope.to.is_empty() && !names.any(|name| name.as_ref() == envelope.to) {
        return Decision::Refuse(Reason::NoSuchAgent);
    }
    if envelope.kind != MessageType::Query {
        return Decision::Deliver(envelope);
    }
    // Refused before it is delivered: its source may try again, and a query that was delivered is never answered later.
    if waiting >= ANSWERS {
        return Decision::Refuse(Reason::InboxFull);
    }
    let answer = Envelope {
        kind: MessageType::Response,
        from: envelope.to,
        to: envelope.from,
        processed: false,
        reply_to: Some(MessageRef { node, id }),
        text: envelope.text,
        body: envelope.body,
    };
    Decision::Answer { query: envelope, answer }
}

/// Whether one of `names` is the one that another node looks for: then it is to be announced to that node.
pub fn is_wanted(mut names: impl Iterator<Item: AsRef<str>>, wanted: NameHash) -> bool {
    names.any(|name| NameHash::of(name.as_ref()) == wanted)
}

/// What a part of a long message is to a node that has so many bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartStep {
    /// Bytes between are missing: the source must begin again.
    Restart,
    /// So many bytes are there now.
    Taken(u32),
    /// It was the last one.
    Complete,
}

/// Decides about a part with `len` bytes when the first `taken` bytes of its message are there. Parts come in order, and one may come again.
#[must_use]
pub const fn take_part(taken: u32, part: Part, len: usize) -> PartStep {
    if part.offset > taken {
        return PartStep::Restart;
    }
    let taken = part.offset + len as u32;
    if taken == part.total { PartStep::Complete } else { PartStep::Taken(taken) }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::{Address, CARRIED_HEAD_MAX, MessageId, Priority};

    use super::*;

    const ENVELOPE: Envelope<'_> = Envelope {
        kind: MessageType::Query,
        from: "asker",
        to: "echo",
        processed: true,
        reply_to: None,
        text: true,
        body: b"hello",
    };

    const ASKER: MessageName = (Address::new(3), MessageId(7));

    fn decided(envelope: &Envelope<'_>, waiting: usize, test: impl FnOnce(Decision<'_>)) {
        let mut bytes = [0; 64];
        let len = envelope.write(&mut bytes).unwrap();
        let (name, envelope) = original(&received(&bytes[..len])).unwrap();
        assert_eq!(name, ASKER);
        test(decide(name, envelope, ["lamp", "echo"].iter(), waiting));
    }

    const fn received(bytes: &[u8]) -> Received<'_> {
        let (source, id) = ASKER;
        let (destination, priority) = (Address::new(4), Priority::Low);
        Received { source, destination, id, priority, hops: 1, part: None, mark: None, bytes }
    }

    #[test]
    fn a_message_that_another_node_has_kept_is_known_and_answered_as_its_senders() {
        let of = MessageRef { node: Address::new(9), id: MessageId(70) };
        let mut head = [0; CARRIED_HEAD_MAX];
        let len = Carried::OnBehalf { of, envelope: ENVELOPE }.write_head(&mut head).unwrap();
        let mut bytes = [0; CARRIED_HEAD_MAX + 5];
        bytes[..len].copy_from_slice(&head[..len]);
        bytes[len..len + 5].copy_from_slice(b"hello");
        let brought = received(&bytes[..len + 5]);
        let (name, envelope) = original(&brought).unwrap();
        assert_eq!((name, envelope), ((of.node, of.id), ENVELOPE));
        let decision = decide(name, envelope, ["echo"].iter(), 0);
        let Decision::Answer { answer, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(answer.reply_to, Some(of));
        let to_all = Received { destination: Address::EVERYONE, ..brought };
        assert_eq!(original(&to_all), Err(Reason::Malformed), "it is brought to one");
        let len =
            Carried::Keep { to: of.node, seconds: 60, envelope: ENVELOPE }.write_head(&mut head).unwrap();
        assert_eq!(original(&received(&head[..len])), Err(Reason::Malformed), "it keeps nothing for others");
    }

    #[test]
    fn a_query_is_answered_with_its_body_to_whoever_asked() {
        decided(&ENVELOPE, ANSWERS - 1, |decision| {
            let Decision::Answer { query, answer } = decision else { panic!("{decision:?}") };
            assert_eq!(query, ENVELOPE);
            let reply_to = Some(MessageRef { node: Address::new(3), id: MessageId(7) });
            let kind = MessageType::Response;
            assert_eq!(
                answer,
                Envelope { kind, from: "echo", to: "asker", processed: false, reply_to, ..ENVELOPE }
            );
        });
    }

    #[test]
    fn what_asks_nothing_is_delivered_and_what_asks_too_much_refused() {
        let command = Envelope { kind: MessageType::Task, ..ENVELOPE };
        decided(&command, ANSWERS, |decision| assert_eq!(decision, Decision::Deliver(command)));
        decided(&ENVELOPE, ANSWERS, |decision| assert_eq!(decision, Decision::Refuse(Reason::InboxFull)));
    }

    #[test]
    fn a_message_for_nobody_here_is_refused_and_one_without_a_name_is_the_nodes() {
        let other = Envelope { to: "ech", ..ENVELOPE };
        decided(&other, 0, |decision| assert_eq!(decision, Decision::Refuse(Reason::NoSuchAgent)));
        let own = Envelope { to: "", ..ENVELOPE };
        decided(&own, 0, |decision| assert!(matches!(decision, Decision::Answer { .. })));
        assert_eq!(original(&received(&[])), Err(Reason::Malformed));
        let hash = NameHash::of("echo");
        assert!(is_wanted(["lamp", "echo"].iter(), hash) && !is_wanted(["lamp"].iter(), hash));
    }

    #[test]
    fn parts_in_order_are_taken_and_a_gap_begins_again() {
        let part = |offset| Part { total: 100, offset };
        assert_eq!(take_part(0, part(0), 40), PartStep::Taken(40));
        assert_eq!(take_part(40, part(0), 40), PartStep::Taken(40), "once more");
        assert_eq!(take_part(40, part(80), 20), PartStep::Restart);
        assert_eq!(take_part(80, part(80), 20), PartStep::Complete);
    }
}
