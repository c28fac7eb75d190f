//! An operator's routes: set, seen, kept over a power cut, taken away, and of no harm when they are wrong.

mod common;

use common::{agent, cable, name, plan};
use gateway::Gateway;
use gateway::engine::Membership;
use mesh_agent::ClientError;
use mesh_agent::api::{Body, ErrorCode, Outcome, Route, RouteOrigin, SendRequest};
use mesh_protocol::{Address, MessageType};

fn refused(result: Result<(), ClientError>) -> (ErrorCode, String) {
    match result.unwrap_err() {
        ClientError::Refused(error) => (error.code, error.to_string()),
        other => panic!("{other}"),
    }
}

fn operators(routes: &[Route]) -> Vec<(u16, Option<u16>, u32)> {
    let own = routes.iter().filter(|route| route.origin == RouteOrigin::Operator);
    own.map(|route| (route.destination.bits(), route.next_hop.map(Address::bits), route.cost)).collect()
}

#[tokio::test]
async fn routes_last_until_they_are_removed_and_a_wrong_one_costs_no_message() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let membership = |fresh| Membership::new([7; 16], 1, fresh);
    let a = Gateway::start(plan(1, end_a, dirs[0].path(), membership(true))).await.unwrap();
    let b = Gateway::start(plan(2, end_b, dirs[1].path(), membership(true))).await.unwrap();
    let alice = agent(&a, "alice").await;
    let mut bob = agent(&b, "bob").await;
    let address = Address::new;
    // Nobody is at 0x0009: it passes nothing on.
    alice.handle().add_route(address(2), address(9), 3).await.unwrap();
    alice.handle().add_route(address(5), address(2), 1).await.unwrap();
    alice.handle().add_route(address(5), address(2), 2).await.unwrap();
    assert_eq!(
        operators(&alice.handle().routes().await.unwrap().routes),
        [(2, Some(9), 3), (5, Some(2), 2)],
        "the later one of two counts"
    );
    for text in ["first", "second"] {
        let send = SendRequest::new("bob".parse().unwrap(), MessageType::Task, Body::text(text));
        let receipt = alice.handle().send(send).await.unwrap().receipt().await.unwrap();
        assert_eq!(receipt.outcome, Outcome::Delivered);
        assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some(text));
    }

    for (destination, via, said) in
        [(1, 2, "not this one"), (2, 1, "not this one"), (0x8001, 2, "0x0001 to 0x7fff")]
    {
        let (code, why) = refused(alice.handle().add_route(address(destination), address(via), 1).await);
        assert_eq!(code, ErrorCode::BadRequest);
        assert!(why.contains(said), "{why}");
    }
    let (code, why) = refused(alice.handle().remove_route(address(7)).await);
    assert_eq!(code, ErrorCode::BadRequest);
    assert!(why.contains("`mesh-gateway routes` lists them"), "{why}");

    drop(alice);
    a.cut().await;
    let (end_a, _) = cable();
    let a = Gateway::start(plan(1, end_a, dirs[0].path(), membership(false))).await.unwrap();
    let alice = agent(&a, "alice").await;
    assert_eq!(operators(&alice.handle().routes().await.unwrap().routes), [(2, Some(9), 3), (5, Some(2), 2)]);
    alice.handle().remove_route(address(2)).await.unwrap();
    assert_eq!(operators(&alice.handle().routes().await.unwrap().routes), [(5, Some(2), 2)]);
    assert_eq!(name("alice"), alice.welcome().name);
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}
