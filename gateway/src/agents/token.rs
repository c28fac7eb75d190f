//! Who is let in: the tokens that agents show over TCP, and what each of them may do here.
//!
//! Owns [`Pass`], what a session carries of its token, and hands on the log of what they send. The tokens themselves are [`super::tokens`]'.
//! Which listener asks for one is the listener's rule; what a token allows is [`crate::access`]'s, the form of the one that is in a file of
//! its own the settings'.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mesh_agent::api::{ErrorCode, Hello, Name, Refusal, Request, Token};
use mesh_protocol::Instant;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::port::SessionId;
use super::presence::Presence;
use super::tokens::{Held, Tokens, Watched, find};
use crate::access::{self, AccessError, Audit, Calendar, Cost, Digest, Grant, Holder};
use crate::settings::{AccessToken, TokenError};

/// How often a running gateway looks whether the file of tokens has changed, beside every hello. A guess: soon for a person who
/// takes a token back, and nothing for a computer.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Checks the token of a hello.
#[derive(Clone)]
pub struct TokenCheck {
    /// The one that allows everything.
    master: Option<Digest>,
    file: Option<Arc<Watched>>,
    audit: Audit,
}

impl TokenCheck {
    /// Lets everyone in.
    #[must_use]
    pub const fn open() -> Self {
        Self { master: None, file: None, audit: Audit::off() }
    }

    /// Lets in whoever shows this token, to do everything.
    #[must_use]
    pub fn new(token: &AccessToken) -> Self {
        Self { master: Some(Digest::of(token.as_str())), file: None, audit: Audit::off() }
    }

    /// Lets in whoever shows the token in this file, to do everything.
    ///
    /// # Errors
    /// As [`AccessToken::read`].
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        AccessToken::read(path).map(|token| Self::new(&token))
    }

    /// Also lets in whoever shows a token of this data directory, to do what that one allows, and goes by the file as it changes.
    ///
    /// # Errors
    /// As [`access::read_file`].
    pub fn with_tokens_of(self, data_dir: &Path) -> Result<Self, AccessError> {
        self.with_tokens_until(data_dir, Calendar::default())
    }

    /// The same, where what time it is is told by this calendar and not by the machine's.
    ///
    /// # Errors
    /// As [`access::read_file`].
    pub fn with_tokens_until(self, data_dir: &Path, calendar: Calendar) -> Result<Self, AccessError> {
        let watched = Watched::open(data_dir.join(access::TOKENS_FILE), calendar)?;
        Ok(Self { file: Some(Arc::new(watched)), ..self })
    }

    /// Notes in this log what those who are let in send.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// The log of what those who are let in send.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Whether a token is asked for at all. From the first one on it is, until the gateway ends.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.master.is_some() || self.file.as_ref().is_some_and(|file| file.asked.load(Ordering::Relaxed))
    }

    /// Whether there is a token at all that is let in.
    #[must_use]
    pub fn admits_some(&self) -> bool {
        self.master.is_some() || self.file.as_ref().is_some_and(|file| !file.now.borrow().is_empty())
    }

    /// Looks whether the file of tokens has changed; sessions notice what follows for them.
    pub fn refresh(&self) {
        if let Some(file) = &self.file {
            file.refresh();
        }
    }

    /// Tokens that were removed together with what they sent.
    pub(super) fn purged(&self) -> Vec<Name> {
        let file = self.file.as_ref();
        file.map(|file| file.purged.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }

    /// What whoever shows this may do. The time it takes tells how many tokens there are and how long the one shown is, and nothing
    /// of which is nearly right.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub fn admit(&self, shown: Option<&Token>) -> Result<Pass, NotAdmitted> {
        self.refresh();
        if !self.is_required() {
            return Ok(Pass::free());
        }
        let shown = Digest::of(shown.ok_or(NotAdmitted::Missing)?.reveal());
        let is_master = self.master.is_some_and(|master| master.bytes().ct_eq(shown.bytes()).into());
        let held = self.file.as_ref().and_then(|file| {
            let tokens = file.now.subscribe();
            let held = find(&tokens.borrow(), &shown)?;
            Some(Pass(Some(Holds { held, tokens, calendar: file.calendar.clone() })))
        });
        if is_master {
            return Ok(Pass::free());
        }
        let mut pass = held.ok_or(NotAdmitted::Wrong)?;
        let token = pass.token();
        pass.renew().map_err(|refusal| NotAdmitted::Expired { token, refusal })?;
        Ok(pass)
    }
}

impl fmt::Debug for TokenCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_required() { "TokenCheck(required)" } else { "TokenCheck(open)" })
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// No token was shown, and one is asked for.
    Missing,
    /// There is no such token.
    Wrong,
    /// It was good, and is so no longer.
    Expired {
        /// What it is called.
        token: Option<Name>,
        /// What to say.
        refusal: Refusal,
    },
}

/// What a session may do: everything, or what its token allows now.
pub struct Pass(Option<Holds>);

/// The token that a session came with, and where it is seen what becomes of it.
struct Holds {
    held: Arc<Held>,
    tokens: watch::Receiver<Tokens>,
    calendar: Calendar,
}

impl Pass {
    /// To everything, as over the Unix socket.
    #[must_use]
    pub const fn free() -> Self {
        Self(None)
    }

    /// What the token is called, if it is one of those with limits.
    #[must_use]
    pub fn token(&self) -> Option<Name> {
        self.0.as_ref().map(|holds| holds.held.grant.name)
    }

    /// The token it came with, and how much its holders may take.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        let held = &self.0.as_ref()?.held;
        Some(Holder { token: held.grant.name, quota: held.grant.quota() })
    }

    /// Counts a session among those of its token; `None` for a token that has no bound.
    ///
    /// # Errors
    /// That there are too many.
    pub(super) fn enter(&self, session: SessionId, agent: Name) -> Result<Option<Presence>, Refusal> {
        let Some(Holds { held, .. }) = &self.0 else { return Ok(None) };
        let Some(quota) = held.grant.quota() else { return Ok(None) };
        let presence = held.present.enter(session, agent, quota.sessions);
        presence.map(Some).ok_or_else(|| {
            let why = format!(
                "cannot attach {agent}: the access token {} allows {} sessions at the same time (max_sessions)",
                held.grant.name, quota.sessions
            );
            Refusal::new(ErrorCode::Overloaded, why).hint("end one of them first, or ask for another token")
        })
    }

    /// Goes by what the file of tokens says now.
    ///
    /// # Errors
    /// When the token is not there any more, or its time is over.
    pub fn renew(&mut self) -> Result<(), Refusal> {
        let Some(Holds { held, tokens, calendar }) = &mut self.0 else { return Ok(()) };
        // A list that is gone changes no more.
        if tokens.has_changed().unwrap_or(false) {
            match find(&tokens.borrow_and_update(), &held.grant.sha256) {
                Some(now) => *held = now,
                None => return Err(gone(&held.grant)),
            }
        }
        match held.grant.expires {
            Some(_) => held.grant.is_good(calendar.now()),
            None => Ok(()),
        }
    }

    /// Waits until the token is taken back or expires; what to say then.
    pub(super) fn over(&self) -> impl Future<Output = Refusal> + use<> {
        let watched = self
            .0
            .as_ref()
            .map(|holds| (Arc::clone(&holds.held), holds.tokens.clone(), holds.calendar.clone()));
        async move {
            let Some((held, mut tokens, calendar)) = watched else { return std::future::pending().await };
            loop {
                // Whatever was changed of it meanwhile, what holds is what is there now.
                match find(&tokens.borrow_and_update(), &held.grant.sha256) {
                    None => return gone(&held.grant),
                    Some(now) => {
                        if now.expired.load(Ordering::Relaxed)
                            && let Err(refusal) = now.grant.is_good(calendar.now())
                        {
                            return refusal;
                        }
                    }
                }
                if tokens.changed().await.is_err() {
                    // The list is gone, and with it the gateway.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Whether an agent may have this name.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn allows_name(&self, name: &Name) -> Result<(), Refusal> {
        self.0.as_ref().map_or(Ok(()), |holds| holds.held.grant.allows_name(name))
    }

    /// Whether this request of an agent is allowed, and takes it from the rate, by what it [costs](Cost).
    ///
    /// # Errors
    /// What is allowed instead, or how long to wait.
    pub fn allows(
        &self,
        agent: Name,
        request: &Request,
        now: impl FnOnce() -> Instant,
    ) -> Result<(), Refusal> {
        let Some(Holds { held, .. }) = &self.0 else { return Ok(()) };
        held.grant.allows(agent, request)?;
        take(held, request, now)
    }

    /// Whether a hello is allowed now, and takes it from the questions: somebody who comes and goes all the time costs as much as one who asks.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn greets(&self, now: impl FnOnce() -> Instant) -> Result<(), Refusal> {
        let Some(Holds { held, .. }) = &self.0 else { return Ok(()) };
        // A word that clients take as "come again later".
        take(held, &Request::Hello(Hello::unnamed()), now)
            .map_err(|refusal| Refusal { code: ErrorCode::Overloaded, ..refusal })
    }
}

/// Takes a request from the rate of its token, or from the questions.
fn take(held: &Held, request: &Request, now: impl FnOnce() -> Instant) -> Result<(), Refusal> {
    let (bucket, what, things, again) = match (Cost::of(request), request) {
        (Cost::Air, Request::Send(_)) => (&held.bucket, "accept the message", "messages", "send it again"),
        (Cost::Air, _) => (&held.bucket, "ask the node", "messages", "ask again"),
        (Cost::Work, Request::Hello(_)) => (&held.questions, "attach", "questions", "connect again"),
        (Cost::Work, _) => (&held.questions, "answer", "questions", "ask again"),
        (Cost::Nothing, _) => return Ok(()),
    };
    let Some(bucket) = bucket else { return Ok(()) };
    let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
    bucket.take(now()).map_err(|wait| {
        let why =
            format!("cannot {what}: the access token {} allows {} {things}", held.grant.name, bucket.rate());
        let hint = format!("{again} in {} ms", wait.as_micros().div_ceil(1_000));
        Refusal::new(ErrorCode::Busy, why).hint(hint)
    })
}

fn gone(grant: &Grant) -> Refusal {
    let why = format!("the access token {} was taken back", grant.name);
    Refusal::new(ErrorCode::Unauthorised, why).hint("ask for another one").field("token")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn master() -> AccessToken {
        AccessToken::new("0123456789abcdef").unwrap()
    }

    #[test]
    fn only_the_very_token_is_let_in() {
        let check = TokenCheck::new(&master());
        assert!(check.admit(Some(&Token::new("0123456789abcdef"))).is_ok());
        for wrong in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
            assert!(check.admit(Some(&Token::new(wrong))).is_err(), "{wrong:?}");
        }
        assert!(check.admit(None).is_err());
        assert!(TokenCheck::open().admit(None).is_ok());
    }

    #[test]
    fn no_token_is_shown() {
        let check = TokenCheck::new(&master());
        assert_eq!(format!("{check:?}"), "TokenCheck(required)");
        assert_eq!(format!("{:?}", Token::new("0123456789abcdef")), "(a token)");
    }

    #[test]
    fn of_a_million_wrong_tokens_none_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, _) = access::add(folder.path(), |sha256| Grant::new(name("sensor"), sha256)).unwrap();
        let check = TokenCheck::new(&master()).with_tokens_of(folder.path()).unwrap();
        let seed = u64::from(std::process::id());
        println!("seed {seed}");
        let mut rng = mesh_protocol::Rng::new(seed);
        let right = secret.as_str().as_bytes();
        // Nearly right ones, which one byte makes wrong, and others of the same form.
        for n in 0..1_000_000_u32 {
            let mut wrong = right.to_vec();
            let changed = if n % 2 == 0 { 1 } else { wrong.len() };
            for _ in 0..changed {
                let at = rng.next_u64() as usize % wrong.len();
                wrong[at] = if wrong[at] == b'~' { b'!' } else { wrong[at] + 1 };
            }
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(wrong.as_bytes() == right || check.admit(Some(&Token::new(wrong))).is_err());
        }
        assert_eq!(check.admit(Some(&Token::new(secret.as_str()))).unwrap().token(), Some(name("sensor")));
    }

    #[test]
    fn a_running_gateway_goes_by_the_file_as_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let check = TokenCheck::open().with_tokens_of(dir).unwrap();
        assert!(check.admit(None).is_ok(), "nothing is asked for yet");
        assert!(!check.admits_some());

        let (secret, grant) = access::add(dir, |sha256| Grant::new(name("sensor"), sha256)).unwrap();
        let shown = Token::new(secret.as_str());
        assert!(check.admit(None).is_err(), "from the first token on one is asked for");
        let mut pass = check.admit(Some(&shown)).unwrap();
        assert_eq!((pass.renew(), check.admits_some()), (Ok(()), true));

        // Limits that are changed by hand count too.
        let path = dir.join(access::TOKENS_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}as = [\"x-*\"]\n")).unwrap();
        check.refresh();
        pass.renew().unwrap();
        assert!(pass.allows_name(&name("alice")).is_err());
        // A slip of the pen changes nothing.
        std::fs::write(&path, format!("{text}as = [\"x-*\n")).unwrap();
        check.refresh();
        assert_eq!(pass.renew(), Ok(()));
        std::fs::write(&path, text).unwrap();

        access::remove(dir, &grant.name, false).unwrap();
        check.refresh();
        let refusal = pass.renew().unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Unauthorised);
        assert!(refusal.message.contains("sensor was taken back"), "{refusal}");
        assert!(check.admit(Some(&shown)).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(check.admit(None).is_err(), "and it does not let everyone in");
        assert!(!TokenCheck::open().with_tokens_of(dir).unwrap().is_required(), "until a new start");
    }

    #[test]
    fn sessions_with_one_token_share_its_rate_also_when_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let rate = Some("2/m".parse().unwrap());
        let (secret, _) =
            access::add(dir, |sha256| Grant { rate, ..Grant::new(name("sensor"), sha256) }).unwrap();
        let check = TokenCheck::open().with_tokens_of(dir).unwrap();
        let shown = Token::new(secret.as_str());
        let (first, mut second) = (check.admit(Some(&shown)).unwrap(), check.admit(Some(&shown)).unwrap());
        let send = Request::Send(crate::agents::fake::send("bob", "hi"));
        let now = || Instant::from_micros(1_000_000_000);
        let own = name("sensor");
        assert_eq!((first.allows(own, &send, now), second.allows(own, &send, now)), (Ok(()), Ok(())));
        access::add(dir, |sha256| Grant::new(name("other"), sha256)).unwrap();
        check.refresh();
        second.renew().unwrap();
        let refusal = second.allows(own, &send, now).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Busy);
        assert!(refusal.to_string().ends_with("allows 2/m messages; send it again in 30000 ms"), "{refusal}");
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_says_so_then() {
        use std::sync::atomic::AtomicU64;
        use std::time::SystemTime;

        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let clock = Arc::new(AtomicU64::new(1_796_101_200));
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let told = Arc::clone(&clock);
        let calendar = Calendar::new(move || at(told.load(Ordering::Relaxed)));
        let expires = Some("2026-12-02T00:00:00Z".parse().unwrap());
        let (secret, _) =
            access::add(dir, |sha256| Grant { expires, ..Grant::new(name("guest"), sha256) }).unwrap();
        let check = TokenCheck::open().with_tokens_until(dir, calendar).unwrap();
        let shown = Token::new(secret.as_str());
        let mut pass = check.admit(Some(&shown)).unwrap();
        let end = 1_796_169_600;
        clock.store(end - 1, Ordering::Relaxed);
        assert_eq!(pass.renew(), Ok(()));
        clock.store(end, Ordering::Relaxed);
        // Before anybody has looked around: the next request is late all the same.
        let refusal = pass.renew().unwrap_err();
        assert_eq!(refusal.code, ErrorCode::TokenExpired);
        assert!(refusal.message.ends_with("guest has expired, at 2026-12-02T00:00:00Z"), "{refusal}");
        let Err(NotAdmitted::Expired { token, refusal: same }) = check.admit(Some(&shown)) else {
            panic!("it was let in");
        };
        assert_eq!((token, same), (Some(name("guest")), refusal));
        assert_eq!(check.admit(None).err(), Some(NotAdmitted::Missing));
        assert_eq!(check.admit(Some(&Token::new("another"))).err(), Some(NotAdmitted::Wrong));
        assert!(check.is_required(), "an expired token opens no door to those without");
        // Whoever sets the clock back makes it good again.
        clock.store(end - 1, Ordering::Relaxed);
        assert!(check.admit(Some(&shown)).is_ok() && pass.renew().is_ok());
    }

    #[test]
    fn every_kind_of_request_takes_from_the_rate_what_it_costs() {
        use mesh_agent::api::{
            Ack, AgentForget, Ask, AskNode, AskWhy, Bye, Credit, LinkAdd, LinkRemove, MessageRef, RouteAdd,
            RouteRemove, Subscribe, Unsubscribe,
        };
        use mesh_protocol::{Address, MessageId};

        let own = name("sensor");
        let (reference, node) = (None, Address::new(2));
        let ask = Ask { reference };
        let probe = AskNode { reference, node, timeout_ms: 1_000 };
        let message = MessageRef { node, id: MessageId(1) };
        let air = [
            Request::Send(crate::agents::fake::send("bob", "hi")),
            Request::PingNode(probe),
            Request::TraceNode(probe),
        ];
        let work = [
            Request::Hello(Hello::new(own)),
            Request::Subscribe(Subscribe { reference, groups: vec![own], types: None }),
            Request::Unsubscribe(Unsubscribe { reference, groups: vec![own] }),
            Request::AgentForget(AgentForget { reference, name: own }),
            Request::LinkAdd(LinkAdd { reference, name: own, address: "h:1".into(), fingerprint: None }),
            Request::LinkRemove(LinkRemove { reference, name: own }),
            Request::RouteAdd(RouteAdd { reference, destination: node, next_hop: node, cost: 1 }),
            Request::RouteRemove(RouteRemove { reference, destination: node }),
            Request::Status(ask),
            Request::Peers(ask),
            Request::Health(ask),
            Request::Routes(ask),
            Request::Agents(ask),
            Request::Why(AskWhy { reference, id: message }),
            Request::Ping(ask),
        ];
        let nothing =
            [Request::Ack(Ack { cursor: 1 }), Request::Credit(Credit { n: 1 }), Request::Bye(Bye {})];
        let now = || Instant::from_micros(1_000_000_000);
        // How often each is taken at once, of a token that allows two messages an hour, before it is refused with these words.
        let asked = |request: &Request| {
            let folder = tempfile::tempdir().unwrap();
            let limits = |sha256| Grant {
                rate: Some("2/h".parse().unwrap()),
                operator: true,
                ..Grant::new(name("sensor"), sha256)
            };
            let (secret, _) = access::add(folder.path(), limits).unwrap();
            let check = TokenCheck::open().with_tokens_of(folder.path()).unwrap();
            let pass = check.admit(Some(&Token::new(secret.as_str()))).unwrap();
            (0..1_000).find_map(|n| match request {
                Request::Hello(_) => Some((n, pass.greets(now).err()?)),
                _ => Some((n, pass.allows(own, request, now).err()?)),
            })
        };
        for request in &air {
            let (taken, refusal) = asked(request).unwrap();
            assert_eq!((taken, refusal.code), (2, ErrorCode::Busy), "{request:?}");
            let text = refusal.to_string();
            assert!(text.contains("allows 2/h messages") && text.ends_with("again in 1800000 ms"), "{text}");
        }
        for request in &work {
            let (taken, refusal) = asked(request).unwrap();
            let hello = matches!(request, Request::Hello(_));
            let code = if hello { ErrorCode::Overloaded } else { ErrorCode::Busy };
            assert_eq!((taken, refusal.code), (600, code), "{request:?}");
            let text = refusal.to_string();
            assert!(text.contains("allows 600/m questions") && text.ends_with("again in 100 ms"), "{text}");
        }
        for request in &nothing {
            assert_eq!(asked(request), None, "{request:?}");
        }
    }
}
