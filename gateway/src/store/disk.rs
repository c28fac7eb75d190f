//! A disk in memory that can be told to fail, and that forgets what was not synced when its power is cut.
//!
//! Owns what is left after a cut. For tests of the store and for gateways that live in simulated time; a gateway that
//! is meant to last has a file.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_protocol::Rng;
use redb::StorageBackend;

/// What a disk writes whole or not at all (the smallest sector in use).
const SECTOR: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What readers see.
    now: Vec<u8>,
    /// What is sure to survive.
    synced: Vec<u8>,
    /// What has changed since, in order.
    unsynced: Vec<Change>,
    /// Changes and syncs until everything fails.
    left: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { now: Vec::new(), synced: Vec::new(), unsynced: Vec::new(), left: u64::MAX }
    }
}

#[derive(Debug)]
enum Change {
    Len(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn holding(image: Vec<u8>) -> Self {
        let state = State { now: image.clone(), synced: image, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Lets so many changes and syncs pass, and no more: the next ones are errors.
    pub fn fail_after(&self, changes: u64) {
        self.state().left = changes;
    }

    /// Lets everything pass from now on.
    pub fn recover(&self) {
        self.fail_after(u64::MAX);
    }

    /// The disk as found when the power is back: of what was not synced, any sectors in any combination.
    #[must_use]
    pub fn after_power_cut(&self, rng: &mut Rng) -> Self {
        let state = self.state();
        let mut image = state.synced.clone();
        for change in &state.unsynced {
            match change {
                Change::Len(len) if rng.chance(500_000) => image.resize(*len, 0),
                Change::Len(_) => {}
                Change::Write(offset, data) => {
                    // Writes are made of whole pages or lie within one sector, so these chunks are sectors.
                    for (i, sector) in data.chunks(SECTOR).enumerate() {
                        if rng.chance(500_000) {
                            put(&mut image, offset + i * SECTOR, sector);
                        }
                    }
                }
            }
        }
        Self::holding(image)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Bytes are whole between any two statements that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless the disk has failed.
    fn changing(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.left =
            state.left.checked_sub(1).ok_or_else(|| Error::other("the disk in memory was told to fail"))?;
        Ok(state)
    }
}

/// A place on the disk.
fn place(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(Error::other)
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        Ok(self.state().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let offset = place(offset)?;
        let state = self.state();
        let found =
            state.now.get(offset..offset + out.len()).ok_or_else(|| Error::other("read past the end"))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let len = place(len)?;
        let mut state = self.changing()?;
        state.now.resize(len, 0);
        state.unsynced.push(Change::Len(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let mut state = self.changing()?;
        let State { synced, unsynced, .. } = &mut *state;
        for change in unsynced.drain(..) {
            match change {
                Change::Len(len) => synced.resize(len, 0),
                Change::Write(offset, data) => put(synced, offset, &data),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let offset = place(offset)?;
        let mut state = self.changing()?;
        put(&mut state.now, offset, data);
        state.unsynced.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}
