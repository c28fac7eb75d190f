//! Keys of an epoch and the two AES constructions a frame needs: CCM and the header mask.
//!
//! Owns derivation and the ciphers. Knows nothing of frame layout (`frame`) nor of which epochs are accepted
//! (`Keyring` only holds them). The primitives are RustCrypto's; here they are only put together.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use ccm::aead::AeadInOut;
use ccm::aead::inout::InOutBuf;
use ccm::consts::{U4, U8, U13};
use ccm::{Ccm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Address;

/// Bytes in a CCM nonce.
pub const NONCE_LEN: usize = 13;
/// Salt of the derivation of an epoch's keys from its network key.
const NETWORK_SALT: &[u8] = b"mesh-gw v1 net";
/// Info prefix of the ratchet from one epoch's network key to the next.
const RATCHET_INFO: &[u8] = b"mesh-gw v1 ratchet";
/// Nonce domain of network frames.
const NETWORK_DOMAIN: u8 = 0x10;

/// The secret of a network in one epoch: 128 bits, wiped from memory when dropped, never printed.
///
/// ```
/// use mesh_protocol::{EpochKeys, NetKey};
///
/// let key = NetKey::new([7; 16]);
/// let now = EpochKeys::derive(&key, 1);
/// let next = EpochKeys::derive(&key.ratchet(1), 2);
/// assert_eq!((now.epoch(), next.epoch()), (1, 2));
/// assert_eq!(format!("{key:?}"), "NetKey(..)", "it is never printed");
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NetKey([u8; 16]);

impl NetKey {
    /// The key with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key of the epoch after `epoch`: a one-way step, so that an old key does not follow from a new one.
    #[must_use]
    pub fn ratchet(&self, epoch: u32) -> Self {
        let mut next = [0; 16];
        let next_epoch = epoch.wrapping_add(1).to_be_bytes();
        Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(&[RATCHET_INFO, &next_epoch], &mut next)
            .expect("16 bytes are within what HKDF-SHA256 can give");
        Self(next)
    }
}

impl core::fmt::Debug for NetKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NetKey(..)")
    }
}

/// How many bytes guard a frame: 4 on data, 8 on everything that changes state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mic {
    /// Four bytes: data.
    Short,
    /// Eight bytes: acks, receipts, hellos, names.
    Long,
}

impl Mic {
    /// Bytes on the air.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Short => 4,
            Self::Long => 8,
        }
    }
}

/// What one epoch's frames are sealed and masked with.
#[derive(Clone)]
pub struct EpochKeys {
    epoch: u32,
    nid: u8,
    encryption: Aes128Enc,
    privacy: Aes128Enc,
}

impl core::fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "EpochKeys {{ epoch: {}, .. }}", self.epoch)
    }
}

impl EpochKeys {
    /// Derives NID, encryption and privacy keys of `epoch` from its network key.
    #[must_use]
    pub fn derive(key: &NetKey, epoch: u32) -> Self {
        // NID | Enc | Priv | Beacon; beacons come with joining.
        let mut okm = [0; 49];
        Hkdf::<Sha256>::new(Some(NETWORK_SALT), &key.0)
            .expand(&epoch.to_be_bytes(), &mut okm)
            .expect("49 bytes are within what HKDF-SHA256 can give");
        let part = |at: usize| Aes128Enc::new(&Array(core::array::from_fn(|i| okm[at + i])));
        let keys = Self { epoch, nid: okm[0] & 0x3f, encryption: part(1), privacy: part(17) };
        okm.zeroize();
        keys
    }

    /// The epoch these keys belong to.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Byte 0 of every frame under these keys: version 0, low bit of the epoch, NID.
    #[must_use]
    pub const fn first_byte(&self) -> u8 {
        ((self.epoch as u8 & 1) << 6) | self.nid
    }

    /// The nonce of a network frame.
    pub(crate) fn nonce(&self, seq: u32, src: Address) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        nonce[0] = NETWORK_DOMAIN;
        nonce[1..4].copy_from_slice(&seq.to_be_bytes()[1..]);
        nonce[4..6].copy_from_slice(&src.bits().to_be_bytes());
        nonce[8..12].copy_from_slice(&self.epoch.to_be_bytes());
        nonce
    }

    /// The six bytes that mask hop byte, SEQ, SRC, and two more for NEXT.
    pub(crate) fn mask(&self, sample: &[u8; 7]) -> [u8; 16] {
        let mut block = Array([0; 16]);
        block[5..9].copy_from_slice(&self.epoch.to_be_bytes());
        block[9..16].copy_from_slice(sample);
        self.privacy.encrypt_block(&mut block);
        block.into()
    }

    /// Encrypts all but the last `mic` bytes of `buffer` in place and writes the MIC there.
    ///
    /// `buffer` must be at least as long as the MIC.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], buffer: &mut [u8], mic: Mic) {
        let (text, tag) = buffer.split_at_mut(buffer.len() - mic.bytes());
        seal_detached(&self.encryption, nonce, text, tag, mic);
    }

    /// Decrypts all but the last `mic` bytes of `buffer` in place; `false` if the MIC does not verify.
    ///
    /// The comparison takes the same time whatever differs. `buffer` must be at least as long as the MIC.
    #[must_use]
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], buffer: &mut [u8], mic: Mic) -> bool {
        let (text, tag) = buffer.split_at_mut(buffer.len() - mic.bytes());
        open_detached(&self.encryption, nonce, text, tag, mic)
    }
}

fn seal_detached(aes: &Aes128Enc, nonce: &[u8; NONCE_LEN], text: &mut [u8], tag: &mut [u8], mic: Mic) {
    let nonce: &Nonce<U13> = nonce.into();
    let text = InOutBuf::from(text);
    // Longer than any frame only at 64 KiB, where CCM's length field ends; frames are at most 245 bytes.
    const SHORT_ENOUGH: &str = "a frame is shorter than CCM's limit";
    match mic {
        Mic::Short => tag.copy_from_slice(
            &Ccm::<&Aes128Enc, U4, U13>::from(aes)
                .encrypt_inout_detached(nonce, &[], text)
                .expect(SHORT_ENOUGH),
        ),
        Mic::Long => tag.copy_from_slice(
            &Ccm::<&Aes128Enc, U8, U13>::from(aes)
                .encrypt_inout_detached(nonce, &[], text)
                .expect(SHORT_ENOUGH),
        ),
    }
}

fn open_detached(aes: &Aes128Enc, nonce: &[u8; NONCE_LEN], text: &mut [u8], tag: &[u8], mic: Mic) -> bool {
    let nonce: &Nonce<U13> = nonce.into();
    let text = InOutBuf::from(text);
    match mic {
        Mic::Short => Tag::<U4>::try_from(tag).is_ok_and(|tag| {
            Ccm::<&Aes128Enc, U4, U13>::from(aes).decrypt_inout_detached(nonce, &[], text, &tag).is_ok()
        }),
        Mic::Long => Tag::<U8>::try_from(tag).is_ok_and(|tag| {
            Ccm::<&Aes128Enc, U8, U13>::from(aes).decrypt_inout_detached(nonce, &[], text, &tag).is_ok()
        }),
    }
}

/// The keys a node accepts: those of its epoch, and of the one before while a rotation is under way.
///
/// ```
/// use mesh_protocol::{EpochKeys, Keyring, NetKey};
///
/// let (old, new) = (NetKey::new([7; 16]), NetKey::new([7; 16]).ratchet(1));
/// let keys = Keyring::with_previous(EpochKeys::derive(&new, 2), EpochKeys::derive(&old, 1));
/// assert_eq!(keys.current().epoch(), 2, "what it sends under");
/// ```
#[derive(Clone, Debug)]
pub struct Keyring {
    current: EpochKeys,
    previous: Option<EpochKeys>,
}

impl Keyring {
    /// Sends and accepts under `current` only.
    #[must_use]
    pub const fn new(current: EpochKeys) -> Self {
        Self { current, previous: None }
    }

    /// Sends under `current`, accepts both.
    #[must_use]
    pub const fn with_previous(current: EpochKeys, previous: EpochKeys) -> Self {
        Self { current, previous: Some(previous) }
    }

    /// The keys to send with.
    #[must_use]
    pub const fn current(&self) -> &EpochKeys {
        &self.current
    }

    /// All of them, at most two.
    pub(crate) fn both(&self) -> impl Iterator<Item = &EpochKeys> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten()
    }

    /// The keys whose frames begin with this byte, at most two.
    pub(crate) fn candidates(&self, first_byte: u8) -> impl Iterator<Item = &EpochKeys> {
        self.both().filter(move |keys| keys.first_byte() == first_byte)
    }
}

#[cfg(test)]
#[path = "crypto_vectors.rs"]
mod vectors;
