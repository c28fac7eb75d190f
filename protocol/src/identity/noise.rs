//! Noise_XXpsk0_25519_ChaChaPoly_SHA256 (revision 34 of the specification): two that share a secret show each other
//! their keys, and nobody else learns them.
//!
//! Owns the handshake and the two ciphers behind it. Buffers, randomness and what the messages carry are the caller's. A message
//! that is refused changes nothing, so that a forged one does not end a handshake.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::node_key::{KeyError, NodeKey, NodeSecret};

/// The protocol's name, which begins its hash.
const NAME: &[u8] = b"Noise_XXpsk0_25519_ChaChaPoly_SHA256";
/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a tag.
const TAG: usize = 16;
/// The messages of a handshake.
const MESSAGES: u8 = 3;
/// By how many bytes a message behind the handshake is longer than what it carries.
pub const TRANSPORT_OVERHEAD: usize = TAG;

/// By how many bytes each message of a handshake is longer than what it carries.
///
/// The ephemeral key stands in the first two, the sealed static key in the last two, and each ends with a tag.
pub const HANDSHAKE_OVERHEAD: [usize; MESSAGES as usize] =
    [KEY + TAG, KEY + KEY + TAG + TAG, KEY + TAG + TAG];

/// Which side of a handshake this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It writes the first message and the third.
    Initiator,
    /// It writes the second.
    Responder,
}

/// A cipher with its counter: each number seals once.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Cipher {
    key: [u8; KEY],
    count: u64,
}

impl Cipher {
    const fn new(key: [u8; KEY]) -> Self {
        Self { key, count: 0 }
    }

    /// The primitive and the nonce: four zeros, and the counter with its lowest byte first.
    fn parts(&self) -> (ChaCha20Poly1305, Nonce) {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.count.to_le_bytes());
        (ChaCha20Poly1305::new(&self.key.into()), nonce.into())
    }

    /// Seals all but the last [`TAG`] bytes of `buffer` and writes the tag there.
    fn seal(&mut self, also: &[u8], buffer: &mut [u8]) {
        let (cipher, nonce) = self.parts();
        let (text, tag) = buffer.split_at_mut(buffer.len() - TAG);
        let made = cipher
            .encrypt_inout_detached(&nonce, also, InOutBuf::from(text))
            .expect("a message is shorter than the cipher's limit of 256 GiB");
        tag.copy_from_slice(&made);
        self.count += 1;
    }

    /// Opens all but the last [`TAG`] bytes of `buffer`; where the tag does not fit, nothing has changed.
    fn open(&mut self, also: &[u8], buffer: &mut [u8]) -> Result<(), NoiseError> {
        let (text, tag) = buffer.split_last_chunk_mut::<TAG>().ok_or(NoiseError::Length)?;
        let (cipher, nonce) = self.parts();
        cipher
            .decrypt_inout_detached(&nonce, also, InOutBuf::from(text), &Tag::from(*tag))
            .map_err(|_| NoiseError::Decrypt)?;
        self.count += 1;
        Ok(())
    }
}

/// The specification's symmetric state. There is a key from the start, as the shared secret goes in first.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Symmetric {
    chaining: [u8; KEY],
    hash: [u8; KEY],
    cipher: Cipher,
}

impl Symmetric {
    fn new(psk: &[u8; KEY], prologue: &[u8]) -> Self {
        let hash: [u8; KEY] = Sha256::digest(NAME).into();
        let mut state = Self { chaining: hash, hash, cipher: Cipher::new([0; KEY]) };
        state.mix_hash(prologue);
        let [chaining, mut hashed, key] = state.derive(psk);
        state.chaining = chaining;
        state.mix_hash(&hashed);
        state.cipher = Cipher::new(key);
        hashed.zeroize();
        state
    }

    /// HKDF as the specification has it: three outputs, of which some need two.
    fn derive(&self, input: &[u8]) -> [[u8; KEY]; 3] {
        let mut okm = [0; 3 * KEY];
        Hkdf::<Sha256>::new(Some(&self.chaining), input)
            .expand(&[], &mut okm)
            .expect("96 bytes are within what HKDF-SHA256 can give");
        let parts = core::array::from_fn(|part| core::array::from_fn(|i| okm[part * KEY + i]));
        okm.zeroize();
        parts
    }

    fn mix_hash(&mut self, bytes: &[u8]) {
        self.hash = Sha256::new().chain_update(self.hash).chain_update(bytes).finalize().into();
    }

    fn mix_key(&mut self, input: &[u8]) {
        let [chaining, key, mut unused] = self.derive(input);
        self.chaining = chaining;
        self.cipher = Cipher::new(key);
        unused.zeroize();
    }

    /// An ephemeral key: with a shared secret it goes into the key as well as into the hash.
    fn mix_ephemeral(&mut self, key: &NodeKey) {
        self.mix_hash(&key.0);
        self.mix_key(&key.0);
    }

    fn mix_agreement(&mut self, ours: &NodeSecret, theirs: &NodeKey) -> Result<(), NoiseError> {
        let shared = ours.agree(theirs).map_err(NoiseError::Key)?;
        self.mix_key(shared.as_bytes());
        Ok(())
    }

    fn seal(&mut self, buffer: &mut [u8]) {
        let hash = self.hash;
        self.cipher.seal(&hash, buffer);
        self.mix_hash(buffer);
    }

    fn open(&mut self, buffer: &mut [u8]) -> Result<(), NoiseError> {
        let before = self.hash;
        self.mix_hash(buffer);
        self.cipher.open(&before, buffer)
    }
}

/// What a message of the handshake changes.
#[derive(Clone)]
struct Progress {
    symmetric: Symmetric,
    /// Messages written and read.
    done: u8,
    their_ephemeral: Option<NodeKey>,
    their_key: Option<NodeKey>,
}

/// One side of a handshake.
///
/// ```
/// use mesh_protocol::{Handshake, NodeSecret, Side};
///
/// let secret = [9; 32]; // what the two share beforehand
/// let (a, b) = (NodeSecret::new([1; 32]), NodeSecret::new([2; 32]));
/// let mut one = Handshake::new(Side::Initiator, &secret, &a, [3; 32], b"doc");
/// let mut other = Handshake::new(Side::Responder, &secret, &b, [4; 32], b"doc");
/// let mut message = [0; 100];
///
/// let len = one.write(b"", &mut message)?;
/// other.read(&mut message[..len])?;
/// let len = other.write(b"", &mut message)?;
/// one.read(&mut message[..len])?;
/// let len = one.write(b"hello", &mut message)?;
/// assert_eq!(other.read(&mut message[..len])?, b"hello");
/// assert_eq!(other.remote(), Some(a.public()));
///
/// let (mut one, mut other) = (one.into_transport()?, other.into_transport()?);
/// let len = other.write(b"welcome", &mut message)?;
/// assert_eq!(one.read(&mut message[..len])?, b"welcome");
/// # Ok::<(), mesh_protocol::NoiseError>(())
/// ```
#[derive(Clone)]
pub struct Handshake {
    side: Side,
    secret: NodeSecret,
    ephemeral: NodeSecret,
    progress: Progress,
}

impl Handshake {
    /// A handshake that nothing has been said of. `ephemeral` must come from a source of randomness and be used for this one only; both sides
    /// must have the same `psk` and `prologue`.
    #[must_use]
    pub fn new(
        side: Side,
        psk: &[u8; 32],
        secret: &NodeSecret,
        ephemeral: [u8; 32],
        prologue: &[u8],
    ) -> Self {
        let symmetric = Symmetric::new(psk, prologue);
        let progress = Progress { symmetric, done: 0, their_ephemeral: None, their_key: None };
        Self { side, secret: secret.clone(), ephemeral: NodeSecret::new(ephemeral), progress }
    }

    /// The other side's key, once it has shown it.
    #[must_use]
    pub const fn remote(&self) -> Option<NodeKey> {
        self.progress.their_key
    }

    /// Writes the next message, with `payload` in it, into `out`; returns its length.
    ///
    /// # Errors
    /// [`NoiseError::OutOfOrder`] when it is the other side's turn, [`NoiseError::Length`] when `out` is too small,
    /// [`NoiseError::Key`] for a key that no other node can have. Nothing changes then.
    pub fn write(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, NoiseError> {
        let (done, writer) = self.turn()?;
        if self.side != writer {
            return Err(NoiseError::OutOfOrder);
        }
        let len = HANDSHAKE_OVERHEAD[usize::from(done)] + payload.len();
        let mut rest = out.get_mut(..len).ok_or(NoiseError::Length)?;
        let mut next = self.progress.clone();
        if done < 2 {
            let ephemeral = take(&mut rest, KEY)?;
            ephemeral.copy_from_slice(&self.ephemeral.public().0);
            next.symmetric.mix_ephemeral(&self.ephemeral.public());
        }
        if done > 0 {
            let theirs = next.their_ephemeral.ok_or(NoiseError::OutOfOrder)?;
            if done == 1 {
                next.symmetric.mix_agreement(&self.ephemeral, &theirs)?;
            }
            let key = take(&mut rest, KEY + TAG)?;
            key[..KEY].copy_from_slice(&self.secret.public().0);
            next.symmetric.seal(key);
            next.symmetric.mix_agreement(&self.secret, &theirs)?;
        }
        rest[..payload.len()].copy_from_slice(payload);
        next.symmetric.seal(rest);
        next.done += 1;
        self.progress = next;
        Ok(len)
    }

    /// Reads the next message, in place; returns what it carries.
    ///
    /// # Errors
    /// [`NoiseError`] for any other bytes. Nothing but the buffer changes then, and the true message may still come.
    pub fn read<'m>(&mut self, message: &'m mut [u8]) -> Result<&'m [u8], NoiseError> {
        let (done, writer) = self.turn()?;
        if self.side == writer {
            return Err(NoiseError::OutOfOrder);
        }
        if message.len() < HANDSHAKE_OVERHEAD[usize::from(done)] {
            return Err(NoiseError::Length);
        }
        let mut rest = message;
        let mut next = self.progress.clone();
        if done < 2 {
            let theirs = self.theirs(take(&mut rest, KEY)?)?;
            next.symmetric.mix_ephemeral(&theirs);
            next.their_ephemeral = Some(theirs);
            if done == 1 {
                next.symmetric.mix_agreement(&self.ephemeral, &theirs)?;
            }
        }
        if done > 0 {
            let key = take(&mut rest, KEY + TAG)?;
            next.symmetric.open(key)?;
            let theirs = self.theirs(&key[..KEY])?;
            next.symmetric.mix_agreement(&self.ephemeral, &theirs)?;
            next.their_key = Some(theirs);
        }
        next.symmetric.open(rest)?;
        next.done += 1;
        self.progress = next;
        let len = rest.len() - TAG;
        Ok(&rest[..len])
    }

    /// The two ciphers that a finished handshake leaves.
    ///
    /// # Errors
    /// [`NoiseError::OutOfOrder`] before the third message.
    pub fn into_transport(self) -> Result<Transport, NoiseError> {
        if self.progress.done < MESSAGES {
            return Err(NoiseError::OutOfOrder);
        }
        let [first, second, mut unused] = self.progress.symmetric.derive(&[]);
        unused.zeroize();
        let [first, second] = [first, second].map(Cipher::new);
        let (send, receive) = match self.side {
            Side::Initiator => (first, second),
            Side::Responder => (second, first),
        };
        Ok(Transport { send, receive })
    }

    /// How many messages there were, and who writes the next one.
    fn turn(&self) -> Result<(u8, Side), NoiseError> {
        match self.progress.done {
            done @ (0 | 2) => Ok((done, Side::Initiator)),
            1 => Ok((1, Side::Responder)),
            _ => Err(NoiseError::OutOfOrder),
        }
    }

    /// A key of the other side, which is none of ours.
    fn theirs(&self, bytes: &[u8]) -> Result<NodeKey, NoiseError> {
        let key = NodeKey(bytes.try_into().map_err(|_| NoiseError::Length)?);
        if key == self.secret.public() || key == self.ephemeral.public() {
            return Err(NoiseError::Key(KeyError::OwnKey));
        }
        Ok(key)
    }
}

impl core::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Handshake {{ side: {:?}, messages: {}, .. }}", self.side, self.progress.done)
    }
}

/// What two that have shaken hands send each other: in order, none lost.
pub struct Transport {
    send: Cipher,
    receive: Cipher,
}

impl Transport {
    /// Seals `payload` into `out`; returns the message's length.
    ///
    /// # Errors
    /// [`NoiseError::Length`] when `out` is too small; nothing changes then.
    pub fn write(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, NoiseError> {
        let len = payload.len() + TAG;
        let message = out.get_mut(..len).ok_or(NoiseError::Length)?;
        message[..payload.len()].copy_from_slice(payload);
        self.send.seal(&[], message);
        Ok(len)
    }

    /// Opens the next message, in place; returns what it carries.
    ///
    /// # Errors
    /// [`NoiseError::Length`] or [`NoiseError::Decrypt`]; nothing but the buffer changes then.
    pub fn read<'m>(&mut self, message: &'m mut [u8]) -> Result<&'m [u8], NoiseError> {
        self.receive.open(&[], message)?;
        let len = message.len() - TAG;
        Ok(&message[..len])
    }
}

impl core::fmt::Debug for Transport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Transport(..)")
    }
}

/// Takes the first `len` bytes off `rest`.
fn take<'m>(rest: &mut &'m mut [u8], len: usize) -> Result<&'m mut [u8], NoiseError> {
    rest.split_off_mut(..len).ok_or(NoiseError::Length)
}

/// Why a message of a handshake was refused, or could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseError {
    /// It is shorter than such a message can be, or the buffer is.
    Length,
    /// It was made by somebody who does not have the secret, or was changed on the way.
    Decrypt,
    /// There is a key in it that no other node can have.
    Key(KeyError),
    /// It is not this side's turn to write, or to read.
    OutOfOrder,
}

impl core::fmt::Display for NoiseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "the message is too short, or its buffer is",
            Self::Decrypt => "the message was made with another secret, or was changed on the way",
            Self::Key(error) => return error.fmt(f),
            Self::OutOfOrder => "the message is not the one that comes next",
        })
    }
}

impl core::error::Error for NoiseError {}
