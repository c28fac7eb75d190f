//! What each kind of request costs others, and so which part of a token's rate it takes.
//!
//! Owns the table; a kind that is new has to be put in it. How much there is of each is `rate`'s.

use mesh_agent::api::Request;

use super::{Grant, Rate};

/// The fewest questions that a token with a rate may ask: 10 a second, and a minute's worth at once. A guess: a screen that asks for each
/// figure once a second, and a program that comes back often over a bad line, are never near it; a loop is.
const QUESTIONS: Rate = Rate::per_minute(600);

/// What a request costs others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Airtime, of this node and of those that relay.
    Air,
    /// Work of the gateway, and perhaps of its disk.
    Work,
    /// No more than the messages that came to the agent, which others paid for.
    Nothing,
}

impl Cost {
    /// That of a request.
    #[must_use]
    pub const fn of(request: &Request) -> Self {
        match request {
            // A message asks the mesh for its receiver as well where that is not known; a ping is flooded and answered, and a trace is so by
            // every node on the way.
            Request::Send(_) | Request::PingNode(_) | Request::TraceNode(_) => Self::Air,
            // A hello binds a name, keeps it on the disk and tells the mesh of it.
            Request::Hello(_)
            | Request::Subscribe(_)
            | Request::Unsubscribe(_)
            | Request::AgentForget(_)
            | Request::LinkAdd(_)
            | Request::LinkRemove(_)
            | Request::RouteAdd(_)
            | Request::RouteRemove(_)
            | Request::Status(_)
            | Request::Peers(_)
            | Request::Health(_)
            | Request::Routes(_)
            | Request::Agents(_)
            | Request::Why(_)
            | Request::Ping(_) => Self::Work,
            // Each ack that says something new ends a message that was delivered; credits stand for room, and have a bound of their own.
            Request::Ack(_) | Request::Credit(_) | Request::Bye(_) => Self::Nothing,
        }
    }
}

impl Grant {
    /// How many questions its holders may ask; any number where it has no rate.
    #[must_use]
    pub fn questions(&self) -> Option<Rate> {
        self.rate.map(|rate| rate.max_of(QUESTIONS))
    }
}

#[cfg(test)]
mod tests {
    use mesh_agent::api::Name;

    use super::*;
    use crate::access::Digest;

    #[test]
    fn questions_are_as_many_as_messages_and_never_few() {
        let grant = Grant::new(Name::new("sensor").unwrap(), Digest::of("a token"));
        assert_eq!(grant.questions(), None);
        for (rate, questions) in [
            ("1/h", "600/m"),
            ("5/s", "600/m"),
            ("10/s", "600/m"),
            ("11/s", "11/s"),
            ("601/m", "601/m"),
            ("36000/h", "600/m"),
            ("1000000/h", "1000000/h"),
        ] {
            let limited = Grant { rate: Some(rate.parse().unwrap()), ..grant.clone() };
            assert_eq!(limited.questions().unwrap().to_string(), questions, "{rate}");
        }
    }
}
