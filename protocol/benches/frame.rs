//! Opening a frame, against the cipher calls that no implementation could leave out.
//!
//! `cargo bench -p mesh-protocol --bench frame`. The bare calls are one AES block for the mask and one CCM
//! decryption of the ciphertext, with keys already expanded; `decode` does them and the rest. The last line is the
//! ratio of the two, measured in turns in the same run; the goal is 1.25 at most.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use ccm::aead::AeadInOut;
use ccm::consts::{U4, U13};
use ccm::{Ccm, Tag};
use criterion::{Criterion, criterion_group};
use mesh_protocol::frame::{Frame, Kind, decode, encode};
use mesh_protocol::{Address, EpochKeys, Keyring, LEGACY_FRAME, MAX_FRAME, Mic, NetKey, Priority};

/// Header bytes before the ciphertext, and bytes of the MIC.
const HEADER: usize = 7;
const MIC: usize = 4;

/// The golden frame of the wire format: 27 bytes.
fn sealed() -> ([u8; LEGACY_FRAME], Keyring) {
    let keys = EpochKeys::derive(&NetKey::new(core::array::from_fn(|i| i as u8)), 7);
    let frame = Frame {
        ttl: 7,
        ttl0: 7,
        seq: 1,
        src: Address::new(0x0102),
        dst: Address::new(1),
        next: None,
        priority: Priority::High,
        kind: Kind::Single,
        mic: Mic::Short,
        body: b"hello, mesh!!",
    };
    let mut out = [0; MAX_FRAME];
    let len = encode(&frame, &keys, &mut out).expect("the golden frame fits");
    (out[..len].try_into().expect("it fills a legacy frame"), Keyring::new(keys))
}

/// What any reader of such a frame must compute. Its Enc and Priv are those of the golden frame, so that it verifies.
struct Bare {
    privacy: Aes128Enc,
    encryption: Aes128Enc,
}

impl Bare {
    fn new() -> Self {
        let key = |hex: u128| Aes128Enc::new(&Array(hex.to_be_bytes()));
        Self {
            privacy: key(0x077f_7fdb_dcd4_8403_7714_30ef_099c_8abe),
            encryption: key(0xe5f8_53af_ce56_f087_1f17_41df_0627_fc59),
        }
    }

    fn open(&self, frame: &mut [u8; LEGACY_FRAME]) -> bool {
        let mut mask = Array([0; 16]);
        mask[5..9].copy_from_slice(&7u32.to_be_bytes());
        mask[9..].copy_from_slice(&frame[HEADER..HEADER + 7]);
        self.privacy.encrypt_block(&mut mask);
        black_box(&mask);
        let nonce = Array([0x10, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0, 7, 0]);
        let (text, mic) = frame[HEADER..].split_at_mut(LEGACY_FRAME - HEADER - MIC);
        let mic = Tag::<U4>::try_from(&*mic).expect("four bytes");
        Ccm::<&Aes128Enc, U4, U13>::from(&self.encryption)
            .decrypt_inout_detached(&nonce, &[], text.into(), &mic)
            .is_ok()
    }
}

fn open(frame: &mut [u8; LEGACY_FRAME], ring: &Keyring) -> u32 {
    decode(black_box(frame), ring).map_or(0, |verified| verified.frame().seq)
}

fn bench(c: &mut Criterion) {
    let (frame, ring) = sealed();
    let bare = Bare::new();
    let mut group = c.benchmark_group("open a frame of 27 bytes");
    group.bench_function("decode", |b| b.iter(|| open(&mut black_box(frame), &ring)));
    group.bench_function("bare AES and CCM", |b| b.iter(|| bare.open(black_box(&mut black_box(frame)))));
    group.finish();

    let mut group = c.benchmark_group("refuse a frame of 27 bytes");
    let mut forged = frame;
    forged[LEGACY_FRAME - 1] ^= 1;
    group.bench_function("wrong MIC", |b| b.iter(|| open(&mut black_box(forged), &ring)));
    let mut foreign = frame;
    foreign[0] ^= 1;
    group.bench_function("unknown key", |b| b.iter(|| open(&mut black_box(foreign), &ring)));
    group.finish();
}

/// The ratio by itself: many short turns, so that whatever else the machine does falls on both, and the median.
#[expect(clippy::disallowed_methods, reason = "speed is measured on the wall")]
fn ratio() {
    const TURNS: usize = 401;
    const OPENS: u32 = 2_000;
    let (frame, ring) = sealed();
    let bare = Bare::new();
    assert!(bare.open(&mut { frame }) && open(&mut { frame }, &ring) == 1, "both open it");
    let time = |work: &mut dyn FnMut()| -> Duration {
        let start = Instant::now();
        for _ in 0..OPENS {
            work();
        }
        start.elapsed()
    };
    let mut ratios: Vec<(f64, Duration, Duration)> = (0..TURNS)
        .map(|_| {
            let decode = time(&mut || {
                black_box(open(&mut black_box(frame), &ring));
            });
            let bare = time(&mut || {
                black_box(bare.open(black_box(&mut black_box(frame))));
            });
            (decode.as_secs_f64() / bare.as_secs_f64(), decode, bare)
        })
        .collect();
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, decode, bare) = ratios[TURNS / 2];
    println!(
        "open a frame of 27 bytes: {:.1} ns, bare AES and CCM: {:.1} ns, ratio {ratio:.2} (goal: 1.25 at most)",
        decode.as_nanos() as f64 / f64::from(OPENS),
        bare.as_nanos() as f64 / f64::from(OPENS),
    );
}

criterion_group!(benches, bench);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    ratio();
}
