//! Who is let in: the tokens that agents show over TCP, and what each of them may do here.
//!
//! Owns comparing them in constant time, noticing that the file of tokens has changed, and [`Pass`], what a session carries of
//! all that; and hands on the log of what they send. Which listener asks for a token is the listener's rule; what a token allows is [`crate::access`]'s, the form of
//! the one that is in a file of its own the settings'.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_agent::api::{ErrorCode, Name, Refusal, Request, Token};
use mesh_protocol::Instant;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;

use crate::access::{self, AccessError, Audit, Bucket, Digest, Grant, Holder, TokenFile};
use crate::settings::{AccessToken, TokenError};

use super::port::SessionId;
use super::presence::{Presence, Present};

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
        let watched = Watched::open(data_dir.join(access::TOKENS_FILE))?;
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

    /// What whoever shows this may do; `None` if it is not let in. The time it takes tells how many tokens there are and how long
    /// the one shown is, and nothing of which is nearly right.
    #[must_use]
    pub fn admit(&self, shown: Option<&Token>) -> Option<Pass> {
        self.refresh();
        if !self.is_required() {
            return Some(Pass::free());
        }
        let shown = Digest::of(shown?.reveal());
        let is_master = self.master.is_some_and(|master| master.bytes().ct_eq(shown.bytes()).into());
        let held = self.file.as_ref().and_then(|file| {
            let tokens = file.now.subscribe();
            let held = find(&tokens.borrow(), &shown)?;
            Some(Pass(Some((held, tokens))))
        });
        if is_master { Some(Pass::free()) } else { held }
    }
}

impl fmt::Debug for TokenCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_required() { "TokenCheck(required)" } else { "TokenCheck(open)" })
    }
}

type Tokens = Vec<Arc<Held>>;

/// A token in use.
struct Held {
    grant: Grant,
    /// What was taken of its rate, by all sessions with it.
    bucket: Option<Mutex<Bucket>>,
    /// The sessions with it.
    present: Present,
}

/// The token of this digest. All are compared, whichever it is.
fn find(tokens: &[Arc<Held>], digest: &Digest) -> Option<Arc<Held>> {
    // Its place, counted from 1.
    let mut place = 0_u32;
    for (at, held) in (1_u32..).zip(tokens) {
        place.conditional_assign(&at, held.grant.sha256.bytes().ct_eq(digest.bytes()));
    }
    tokens.get((place as usize).checked_sub(1)?).cloned()
}

/// The file of tokens, and what it said last.
struct Watched {
    path: PathBuf,
    stamp: Mutex<Option<Stamp>>,
    /// Whether it was ever there.
    asked: AtomicBool,
    now: watch::Sender<Tokens>,
    /// Tokens that were removed together with what they sent.
    purged: Mutex<Vec<Name>>,
}

/// What tells a file from the one that was there before: each change by `mesh-gateway token` makes another file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(about) => Ok(Some(Self {
                inode: about.ino(),
                len: about.len(),
                modified: (about.mtime(), about.mtime_nsec()),
                changed: (about.ctime(), about.ctime_nsec()),
            })),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }
}

impl Watched {
    fn open(path: PathBuf) -> Result<Self, AccessError> {
        // Before reading: what changes in between is read again.
        let stamp = Stamp::of(&path).ok().flatten();
        let found = access::read_file(&path)?;
        let asked = AtomicBool::new(found.is_some());
        let TokenFile { tokens: grants, purged } = found.unwrap_or_default();
        let now = watch::Sender::new(held(grants, &[]));
        Ok(Self { path, stamp: Mutex::new(stamp), asked, now, purged: Mutex::new(purged) })
    }

    /// Reads the file if it is another one than before. Small and rarely changed: it is not worth a thread of its own.
    fn refresh(&self) {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be looked at now is as it was.
        let Ok(found) = Stamp::of(&self.path) else { return };
        if found == *stamp {
            return;
        }
        *stamp = found;
        match access::read_file(&self.path) {
            Ok(found) => {
                if found.is_some() {
                    self.asked.store(true, Ordering::Relaxed);
                }
                let TokenFile { tokens: grants, purged } = found.unwrap_or_default();
                *self.purged.lock().unwrap_or_else(PoisonError::into_inner) = purged;
                tracing::info!(tokens = grants.len(), "the access tokens have changed");
                let tokens = held(grants, &self.now.borrow());
                self.now.send_replace(tokens);
            }
            // Cutting everyone off for a slip of the pen helps nobody; the commands make none.
            Err(why) => tracing::error!(%why, "the access tokens stay as they were"),
        }
    }
}

/// The tokens with what was taken of their rates before.
fn held(grants: Vec<Grant>, before: &[Arc<Held>]) -> Tokens {
    let kept = |grant: &Grant| {
        before.iter().find(|held| held.grant == *grant).cloned().unwrap_or_else(|| {
            let bucket = grant.rate.map(|rate| Mutex::new(Bucket::new(rate)));
            // Whatever was changed of it, its sessions are there.
            let known = before.iter().find(|held| held.grant.sha256 == grant.sha256);
            let present = known.map(|held| held.present.clone()).unwrap_or_default();
            Arc::new(Held { grant: grant.clone(), bucket, present })
        })
    };
    grants.iter().map(kept).collect()
}

/// What a session may do: everything, or what its token allows now.
pub struct Pass(Option<(Arc<Held>, watch::Receiver<Tokens>)>);

impl Pass {
    /// To everything, as over the Unix socket.
    #[must_use]
    pub const fn free() -> Self {
        Self(None)
    }

    /// What the token is called, if it is one of those with limits.
    #[must_use]
    pub fn token(&self) -> Option<Name> {
        self.0.as_ref().map(|(held, _)| held.grant.name)
    }

    /// The token it came with, and how much its holders may take.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        let (held, _) = self.0.as_ref()?;
        Some(Holder { token: held.grant.name, quota: held.grant.quota() })
    }

    /// Counts a session among those of its token; `None` for a token that has no bound.
    ///
    /// # Errors
    /// That there are too many.
    pub(super) fn enter(&self, session: SessionId, agent: Name) -> Result<Option<Presence>, Refusal> {
        let Some((held, _)) = &self.0 else { return Ok(None) };
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
    /// When the token is not there any more.
    pub fn renew(&mut self) -> Result<(), Refusal> {
        let Some((held, tokens)) = &mut self.0 else { return Ok(()) };
        // A list that is gone changes no more.
        if tokens.has_changed().unwrap_or(false) {
            match find(&tokens.borrow_and_update(), &held.grant.sha256) {
                Some(now) => *held = now,
                None => return Err(gone(&held.grant)),
            }
        }
        Ok(())
    }

    /// Waits until the token is taken back; what to say then.
    pub(super) fn taken_back(&self) -> impl Future<Output = Refusal> + use<> {
        let watched = self.0.as_ref().map(|(held, tokens)| (Arc::clone(held), tokens.clone()));
        async move {
            let Some((held, mut tokens)) = watched else { return std::future::pending().await };
            let left = tokens.wait_for(|tokens| find(tokens, &held.grant.sha256).is_none()).await.is_err();
            if left {
                // The list is gone, and with it the gateway.
                std::future::pending::<()>().await;
            }
            gone(&held.grant)
        }
    }

    /// Whether an agent may have this name.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn allows_name(&self, name: &Name) -> Result<(), Refusal> {
        self.0.as_ref().map_or(Ok(()), |(held, _)| held.grant.allows_name(name))
    }

    /// Whether this request of an agent is allowed, and takes it from the rate.
    ///
    /// # Errors
    /// What is allowed instead, or how long to wait.
    pub fn allows(
        &self,
        agent: Name,
        request: &Request,
        now: impl FnOnce() -> Instant,
    ) -> Result<(), Refusal> {
        let Some((held, _)) = &self.0 else { return Ok(()) };
        held.grant.allows(agent, request)?;
        let (Request::Send(_), Some(bucket)) = (request, &held.bucket) else { return Ok(()) };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(now()).map_err(|wait| {
            let why = format!(
                "cannot accept the message: the access token {} allows {} messages",
                held.grant.name,
                bucket.rate()
            );
            let hint = format!("send it again in {} ms", wait.as_micros().div_ceil(1_000));
            Refusal::new(ErrorCode::Busy, why).hint(hint)
        })
    }
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
        assert!(check.admit(Some(&Token::new("0123456789abcdef"))).is_some());
        for wrong in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
            assert!(check.admit(Some(&Token::new(wrong))).is_none(), "{wrong:?}");
        }
        assert!(check.admit(None).is_none());
        assert!(TokenCheck::open().admit(None).is_some());
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
            assert!(wrong.as_bytes() == right || check.admit(Some(&Token::new(wrong))).is_none());
        }
        assert_eq!(check.admit(Some(&Token::new(secret.as_str()))).unwrap().token(), Some(name("sensor")));
    }

    #[test]
    fn each_of_many_tokens_is_found() {
        let grants: Vec<_> =
            (0..1_000).map(|n| Grant::new(name(&format!("t{n}")), Digest::of(&n.to_string()))).collect();
        let tokens = held(grants, &[]);
        for n in 0..1_000 {
            let found = find(&tokens, &Digest::of(&n.to_string())).unwrap();
            assert_eq!(found.grant.name, name(&format!("t{n}")));
        }
        assert!(find(&tokens, &Digest::of("1000")).is_none());
    }

    #[test]
    fn a_running_gateway_goes_by_the_file_as_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let check = TokenCheck::open().with_tokens_of(dir).unwrap();
        assert!(check.admit(None).is_some(), "nothing is asked for yet");
        assert!(!check.admits_some());

        let (secret, grant) = access::add(dir, |sha256| Grant::new(name("sensor"), sha256)).unwrap();
        let shown = Token::new(secret.as_str());
        assert!(check.admit(None).is_none(), "from the first token on one is asked for");
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
        assert!(check.admit(Some(&shown)).is_none());
        std::fs::remove_file(&path).unwrap();
        assert!(check.admit(None).is_none(), "and it does not let everyone in");
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
}
