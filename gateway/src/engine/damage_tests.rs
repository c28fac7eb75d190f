//! Damage to the store's file: what was accepted is there, or somebody says that it is not, and no number comes twice.

use std::fs;
use std::path::Path;

use mesh_protocol::{Address, MessageId, Rng};

use super::Membership;
use super::blocks::{Numbers, Reservations, SEQ_BLOCK, SEQ_LEAP};
use super::records::{self, Seqs};
use crate::store::{Op, STORE_FILE, Store, StoreError};

const OWN: Address = Address::new(2);
/// What the database's header holds: two slots behind 64 bytes.
const HEADER: u64 = 64 + 2 * 128;
/// The byte of it that says which one counts.
const SLOTS: usize = 9;

fn membership() -> Membership {
    Membership::new([7; 16], 1, false)
}

/// A file as it is found, and what was promised on it.
struct Image {
    files: Vec<(&'static str, Vec<u8>)>,
    /// Messages accepted and not done.
    accepted: Vec<MessageId>,
    /// The first SEQ that nothing allowed to use.
    granted: u32,
}

/// Waits for the disk.
fn synced(store: &Store, ops: Vec<Op>) {
    let ticket = store.submit(ops);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.progress().wait_for(|progress| progress.through >= ticket)).unwrap();
}

/// A store in use for some commits. All goes straight to the file, so what stands in it while the store is open is what a process
/// that is killed leaves behind.
fn image(rng: &mut Rng, in_order: bool) -> Image {
    let dir = tempfile::tempdir().unwrap();
    let fingerprint = membership().fingerprint;
    let (store, _) = Store::open(dir.path()).unwrap();
    let none = Numbers { unused_from: 0, next_block: 64 };
    let mut seqs = Reservations::new(none, 64, SEQ_BLOCK);
    let (mut granted, mut wanted, mut block) = (0, 0, 64);
    let mut accepted: Vec<MessageId> = Vec::new();
    let mut next = 1;
    synced(&store, vec![records::put_seqs(fingerprint, OWN, none)]);
    for _ in 0..1 + rng.below(12) {
        let mut ops = Vec::new();
        match rng.below(4) {
            // What was only foretold is granted, or the next block is.
            0 | 1 => {
                wanted = wanted.max(granted + block);
                ops.push(records::put_seqs(fingerprint, OWN, seqs.toward(wanted)));
            }
            // The node leaves out what another used under its address.
            2 if seqs.grant(wanted) => {
                wanted = granted + 1 + rng.below(SEQ_LEAP.into()) as u32;
                ops.push(records::put_seqs(fingerprint, OWN, seqs.toward(wanted)));
            }
            _ => {}
        }
        if seqs.grant(wanted) && granted < wanted {
            granted = wanted;
            block = (2 * block).min(SEQ_BLOCK);
        }
        for _ in 0..1 + rng.below(20) {
            let id = MessageId(next);
            next += 1;
            accepted.push(id);
            ops.push(Op::PutOutbox { id, record: vec![next as u8; rng.below(300) as usize] });
        }
        if rng.below(3) == 0 {
            let id = accepted.remove(rng.below(accepted.len() as u64) as usize);
            ops.push(Op::DeleteOutbox { id });
        }
        synced(&store, ops);
    }
    if in_order {
        store.close().unwrap();
    }
    let read = |name| (name, fs::read(dir.path().join(name)).unwrap());
    Image { files: vec![read(STORE_FILE), read("gateway.commits")], accepted, granted }
}

fn write(dir: &Path, files: &[(&str, Vec<u8>)]) {
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn after_a_flipped_bit_nothing_accepted_is_lost_in_silence_and_no_seq_comes_twice() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(12);
    let tries = std::env::var("TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(500);
    println!("seed {seed}, {tries} tries (set SEED and TRIES for others)");
    let mut rng = Rng::new(seed);
    let (mut whole, mut told, mut refused) = (0, 0, 0);
    let mut found = image(&mut rng, false);
    let dir = tempfile::tempdir().unwrap();
    for n in 0..tries {
        if n % 20 == 0 {
            found = image(&mut rng, n % 80 == 0);
        }
        // Every bit of the byte that says which slot counts, every byte of the header in turn, then anywhere.
        let len = found.files[0].1.len() as u64;
        let (at, bit) = match n {
            0..8 => (SLOTS, n),
            _ if n < 8 + HEADER => ((n - 8) as usize, rng.below(8)),
            _ => (rng.below(len) as usize, rng.below(8)),
        };
        let mut files = found.files.clone();
        files[0].1[at] ^= 1 << bit;
        write(dir.path(), &files);
        let (store, raw) = match Store::open(dir.path()) {
            Ok(opened) => opened,
            Err(StoreError::Damaged { .. } | StoreError::Older { .. } | StoreError::Format { .. }) => {
                refused += 1;
                continue;
            }
            Err(other) => panic!("byte {at} bit {bit}: {other}"),
        };
        let recovered = records::recover(raw.clone(), membership().fingerprint, OWN);
        let there: Vec<MessageId> = raw.outbox.iter().map(|(id, _)| *id).collect();
        if recovered.known_lost > 0 {
            told += 1;
        } else {
            assert_eq!(there, found.accepted, "byte {at} bit {bit}: lost in silence");
            whole += 1;
        }
        match recovered.seqs {
            Seqs::Known(seqs) => {
                let start = seqs.start(recovered.lost, SEQ_BLOCK, SEQ_LEAP);
                assert!(start >= found.granted, "byte {at} bit {bit}: {start} of {} granted", found.granted);
            }
            Seqs::Unknown => {}
            other => panic!("byte {at} bit {bit}: {other:?}"),
        }
        drop(store);
    }
    println!("{whole} whole, {told} told of, {refused} refused");
    assert!(whole > 0 && refused > 0, "told of {told}");
}

#[test]
fn an_old_copy_in_place_of_the_store_is_refused_or_its_numbers_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(STORE_FILE);
    let (store, _) = Store::open(dir.path()).unwrap();
    synced(&store, vec![Op::PutOutbox { id: MessageId(1), record: vec![1] }]);
    store.close().unwrap();
    let old = fs::read(&path).unwrap();
    for commits in [3, 300] {
        let (store, _) = Store::open(dir.path()).unwrap();
        for n in 0..commits {
            synced(&store, vec![Op::PutOutbox { id: MessageId(1), record: vec![n as u8; 2] }]);
        }
        store.close().unwrap();
        fs::write(&path, &old).unwrap();
        match Store::open(dir.path()) {
            Ok((_, recovered)) => assert!(commits == 3 && recovered.lost >= 3, "{recovered:?}"),
            Err(error) => {
                assert!(commits == 300 && matches!(error, StoreError::Older { .. }), "{error}");
                assert!(error.to_string().contains("mesh-gateway invite NEW-NAME"), "{error}");
            }
        }
    }
}

/// A commit that the disk lost once granted a leap behind another's SEQs, and the next run began below numbers that were used.
#[test]
fn whichever_writes_are_lost_no_seq_comes_twice_behind_a_leap_or_a_cut() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    println!("seed {seed} (set SEED for another)");
    let mut rng = Rng::new(seed);
    for _ in 0..2_000 {
        let mut written = vec![Numbers { unused_from: 0, next_block: 64 }];
        let mut lost_before = 0;
        for _run in 0..1 + rng.below(4) {
            // It was cut off, and perhaps what it wrote last is lost: all that it used was granted by then.
            // More than one is lost only where none was lost shortly before.
            let most = if lost_before == 0 { 2 } else { 1 };
            let lost = rng.below(most + 1).min(written.len() as u64 - 1);
            lost_before = lost;
            let used = written.last().unwrap().unused_from;
            written.truncate(written.len() - lost as usize);
            let found = *written.last().unwrap();
            let start = found.start(1 + lost, SEQ_BLOCK, SEQ_LEAP);
            assert!(start >= used, "{lost} writes lost behind {found:?}: {start} of {used} used");
            let mut run = Reservations::new(found, 64, SEQ_BLOCK);
            let mut limit = start;
            for _ in 0..rng.below(6) {
                limit += match rng.below(3) {
                    0 => rng.below(SEQ_LEAP.into()) as u32,
                    _ => run.block(),
                };
                while !run.grant(limit) {
                    written.push(run.toward(limit));
                }
            }
            // One that the count did not yet know of.
            let used = written.last().unwrap().unused_from;
            if let [.., before, _] = written[..] {
                let again = before.start(1, SEQ_BLOCK, SEQ_LEAP);
                assert!(again >= used, "the last write lost behind {before:?}: {again} of {used} used");
            }
        }
    }
}
