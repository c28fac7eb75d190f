//! A TCP connection to a host that may have several addresses.
//!
//! Owns the race between them (RFC 8305): one that answers nothing holds up the next one for a quarter of a second, not for the
//! minutes that the system gives it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long an address is tried before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// The most addresses of a name that are tried. A guess: no gateway has more.
const ADDRESSES: usize = 16;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TcpError {
    /// The host's name has no address.
    #[error("the host is not known: {0}")]
    Lookup(io::Error),
    /// None of its addresses could be connected with; why the first one of them could not.
    #[error("{0}")]
    Connect(io::Error),
}

/// The host and the port of `HOST:PORT`, the host without the brackets that it may stand in; `None` where there is no port. The host may
/// be empty: whether that means something is for the caller to say.
///
/// ```
/// use mesh_agent::host_port;
///
/// assert_eq!(host_port("[fe80::1%eth0]:7700"), Some(("fe80::1%eth0", 7700)));
/// assert_eq!(host_port("localhost"), None);
/// ```
#[must_use]
pub fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    // Without brackets an address with an interface is none to std, but one to the system, which knows its interfaces.
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

/// Connects with `HOST:PORT`, where the host is a name, an address, or an address in brackets, with its interface where it needs one:
/// `[fe80::1%eth0]:7700`.
///
/// # Errors
/// [`TcpError`], when every address has failed. How long that takes is the system's to say: bound it with a time limit.
pub async fn connect_tcp(address: &str) -> Result<TcpStream, TcpError> {
    let wrong = || TcpError::Lookup(io::Error::new(io::ErrorKind::InvalidInput, "it is not HOST:PORT"));
    let addresses: Vec<_> = lookup_host(host_port(address).ok_or_else(wrong)?)
        .await
        .map_err(TcpError::Lookup)?
        .take(ADDRESSES)
        .collect();
    race(alternated(addresses), TcpStream::connect).await.map_err(TcpError::Connect)
}

/// The addresses with both families in turn, each in the order of the system's preference.
fn alternated(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        turns.extend(preferred.next());
        turns.extend(others.next());
        if turns.len() == before {
            return turns;
        }
    }
}

/// The first connection that comes about; the other attempts end with it.
async fn race<S, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<S>
where
    S: Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failed = None;
    loop {
        match waiting.next() {
            Some(address) => drop(attempts.spawn(connect(address))),
            None if attempts.is_empty() => {
                let none = || io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                return Err(failed.unwrap_or_else(none));
            }
            None => {}
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(stream)) => return Ok(stream),
                // The next one need not wait for its turn.
                Ok(Err(why)) => drop(failed.get_or_insert(why)),
                Err(why) => drop(failed.get_or_insert(io::Error::other(why))),
            },
            () = sleep(STAGGER), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_everything_does_not_hide_the_next_one() {
        let both = addresses(&["192.0.2.1:1", "192.0.2.2:1"]);
        let began = Instant::now();
        let won = race(both.clone(), async |address: SocketAddr| {
            if address.port() == 1 && address.to_string().starts_with("192.0.2.1") {
                pending::<()>().await;
            }
            Ok(address)
        });
        assert_eq!(won.await.unwrap(), both[1]);
        assert_eq!(began.elapsed(), STAGGER, "in simulated time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_lets_the_next_one_try_at_once_and_the_first_reason_is_reported() {
        let three = addresses(&["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"]);
        let refuse = async |address: SocketAddr| {
            Err::<SocketAddr, _>(io::Error::other(format!("no {}", address.port())))
        };
        let began = Instant::now();
        assert_eq!(race(three.clone(), refuse).await.unwrap_err().to_string(), "no 1");
        assert_eq!(began.elapsed(), Duration::ZERO);
        let last = async |address: SocketAddr| {
            if address.port() == 3 { Ok(address) } else { Err(io::Error::other("no")) }
        };
        assert_eq!(race(three.clone(), last).await.unwrap(), three[2]);
        assert!(race(Vec::new(), refuse).await.is_err(), "a name without addresses is an error");
    }

    #[test]
    fn the_families_take_turns() {
        let mixed = addresses(&["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1"]);
        let turns = alternated(mixed);
        assert_eq!(turns, addresses(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1"]));
    }

    #[tokio::test]
    async fn a_host_may_stand_in_brackets_with_its_interface() {
        let here = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        connect_tcp(&here.local_addr().unwrap().to_string()).await.unwrap();
        connect_tcp(&format!("localhost:{}", here.local_addr().unwrap().port())).await.unwrap();
        // The loopback has the number 1 everywhere; nobody need be there for the address to be understood.
        let zoned = connect_tcp("[fe80::1%lo]:9").await.unwrap_err();
        assert!(matches!(zoned, TcpError::Connect(_)), "{zoned}");
        let unknown = connect_tcp("no-such-host.invalid:7700").await.unwrap_err();
        assert!(matches!(unknown, TcpError::Lookup(_)), "{unknown}");
    }
}
