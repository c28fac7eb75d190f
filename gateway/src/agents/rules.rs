//! The rules of a session that need no knowledge of other agents: what one request after the hello may be.

use mesh_agent::api::{ErrorCode, ErrorEvent, MAX_BODY, MAX_GROUPS, Refusal, Request};

/// The rules of the session for one request after the hello.
pub(super) fn keeps_the_rules(request: &Request) -> Result<(), ErrorEvent> {
    let too_large = |message: String| Refusal::new(ErrorCode::TooLarge, message);
    let groups = |doing: &str| {
        too_large(format!("cannot name more than {MAX_GROUPS} groups at once"))
            .hint(format!("{doing} in parts"))
            .field("groups")
    };
    let refusal = match request {
        Request::Send(send) if send.body.len() > MAX_BODY => {
            too_large(format!("cannot send a body of {} bytes: {MAX_BODY} is the most", send.body.len()))
                .hint("send it in parts")
                .field(send.body.field())
        }
        Request::Subscribe(subscribe) if subscribe.groups.len() > MAX_GROUPS => groups("subscribe"),
        Request::Unsubscribe(unsubscribe) if unsubscribe.groups.len() > MAX_GROUPS => groups("unsubscribe"),
        Request::Hello(_) => Refusal::new(ErrorCode::BadRequest, "cannot say hello twice")
            .hint("open another connection for another agent"),
        _ => return Ok(()),
    };
    Err(ErrorEvent::about(request.reference(), refusal))
}
