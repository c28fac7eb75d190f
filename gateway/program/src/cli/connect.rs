//! How a command gets to a running gateway: where it is, what it is known by, with which token, under which name.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use gateway::settings::AccessToken;
use mesh_agent::api::{Hello, Name, Token};
use mesh_agent::{Absence, Agent, Client, ClientError, Endpoint, Handle, Inbox, KnownGateways, host_port};
use tokio::time::timeout;

use super::args::{GatewayArgs, PlaceArgs};
use super::output::Output;

/// How long a gateway may take to say welcome. A guess, as long as the gateway waits for a hello.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// How long parting may take; nothing depends on it. A guess.
const PARTING_WITHIN: Duration = Duration::from_secs(1);

/// A gateway that can be connected to.
#[derive(Debug)]
pub(super) struct Gateway {
    endpoint: Endpoint,
    token: Option<AccessToken>,
    out: Output,
}

impl Gateway {
    /// What the arguments come to; reads the token's file.
    pub(super) fn new(args: GatewayArgs, out: Output) -> anyhow::Result<Self> {
        let GatewayArgs { place: PlaceArgs { gateway, token_file }, fingerprint } = args;
        let token = token_file.as_deref().map(AccessToken::read).transpose()?;
        let endpoint = match fingerprint {
            Some(fingerprint) => gateway.known_by(fingerprint),
            None => gateway,
        };
        if let (Endpoint::Tcp(address), Some(_)) = (&endpoint, &token)
            && !stays_here(address)
        {
            out.note(format_args!(
                "the token and all that is said can be read on the way to {address}: give --gateway tls:{address}"
            ));
        }
        Ok(Self { endpoint, token, out })
    }

    /// Connects, and says so where that gateway was not known before.
    async fn meet<T>(&self, connect: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        let Endpoint::Tls { address, pin: None } = &self.endpoint else { return connect.await };
        let known = KnownGateways::of_this_user()?;
        let was_known = known.find(address)?.is_some();
        let connected = connect.await?;
        if let Some(fingerprint) = known.find(address)?.filter(|_| !was_known) {
            self.out.note(format_args!(
                "{address} was met for the first time; its certificate's fingerprint {fingerprint} is kept in {}: see that \
                 `mesh-gateway peers` on that machine prints the same",
                known.path().display()
            ));
        }
        Ok(connected)
    }

    /// Connects under a name and comes back when the gateway was away; what has not been acknowledged under the name comes
    /// again. A gateway that was never there is an error: it is more likely a wrong address than one that restarts.
    pub(super) async fn stay(&self, name: Name) -> Result<Agent, ClientError> {
        let mut agent = Agent::builder(name).endpoint(self.endpoint.clone());
        if let Some(token) = &self.token {
            agent = agent.token(Token::new(token.as_str()));
        }
        self.meet(agent.connect()).await
    }

    /// Connects for something that is over at once: under a name, or under none, and then the gateway keeps nothing of it.
    pub(super) async fn connect(&self, name: Option<Name>) -> Result<Client, ClientError> {
        let mut hello = name.map_or_else(Hello::unnamed, Hello::new);
        hello.token = self.token.as_ref().map(|token| Token::new(token.as_str()));
        let absent = |_| ClientError::NoGateway {
            endpoint: self.endpoint.clone(),
            cause: Absence::Silent,
            why: format!("no welcome within {} s", WELCOME_WITHIN.as_secs()),
        };
        let connect = timeout(WELCOME_WITHIN, Client::connect(&self.endpoint, hello));
        self.meet(async { connect.await.map_err(absent)? }).await
    }
}

/// Whether what is sent to this `HOST:PORT` leaves this machine by no wire.
fn stays_here(address: &str) -> bool {
    let host = host_port(address).map_or(address, |(host, _)| host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical().is_loopback())
}

/// The name of a command that waits for something that is kept for it, also while the gateway is away: nobody else has it. It
/// is to be [forgotten](Handle::forget_agent) at the end.
pub(super) fn lasting_name() -> anyhow::Result<Name> {
    let mut tag = [0; 4];
    getrandom::fill(&mut tag).context("making a name: the system gives no random numbers")?;
    Ok(Name::new(&format!("cli-{:08x}", u32::from_be_bytes(tag)))?)
}

/// Ends a session so that what has been acknowledged here is acknowledged there.
pub(super) async fn leave(handle: &Handle) {
    let parting = async {
        // An ack that was held back goes out behind the answer to a ping.
        let _ = handle.ping().await;
        handle.bye().await;
    };
    // Without it some messages come again, which is allowed.
    let _ = timeout(PARTING_WITHIN, parting).await;
}

/// The same, and the gateway forgets the name, which nobody else has.
pub(super) async fn leave_for_good(handle: &Handle, name: Name) {
    // Without it the name stays, and `mesh-gateway agents forget` is for such.
    let _ = timeout(PARTING_WITHIN, handle.forget_agent(name)).await;
    leave(handle).await;
}

/// Reads what nobody waits for, so that it stands in nobody's way. Under a name that was given, nothing of it is
/// acknowledged: it is for the one who listens there.
pub(super) async fn read_on(inbox: &mut Inbox) -> Infallible {
    while inbox.next().await.is_ok() {}
    // Whoever waits for more is told why nothing comes.
    std::future::pending().await
}
