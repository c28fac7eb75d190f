//! Clients against a gateway that says what the test says. Against real gateways they are tested there.

mod agent;
mod contract;
mod contract_client;
mod inbox;
mod script;
mod session;
