//! A disk in memory that can be told to fail, and that forgets what was not synced when its power is cut.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use mesh_protocol::Rng;
use redb::StorageBackend;

/// What a disk writes whole or not at all (the smallest sector in use).
const SECTOR: usize = 512;

/// Clones are the same disk.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<State>>);

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

#[derive(Debug)]
enum Change {
    Len(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::holding(Vec::new())
    }

    fn holding(image: Vec<u8>) -> Self {
        let state = State { now: image.clone(), synced: image, unsynced: Vec::new(), left: u64::MAX };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Lets so many changes and syncs pass, and no more.
    pub(super) fn fail_after(&self, changes: u64) {
        self.state().left = changes;
    }

    /// The disk as found when the power is back: of what was not synced, any sectors in any combination.
    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> Self {
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
        self.0.lock().unwrap()
    }

    /// The state, unless the disk has failed.
    fn changing(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.left = state.left.checked_sub(1).ok_or_else(|| Error::other("the test's disk has failed"))?;
        Ok(state)
    }
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
        let offset = usize::try_from(offset).unwrap();
        let state = self.state();
        let found =
            state.now.get(offset..offset + out.len()).ok_or_else(|| Error::other("read past the end"))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let len = usize::try_from(len).unwrap();
        let mut state = self.changing()?;
        state.now.resize(len, 0);
        state.unsynced.push(Change::Len(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let mut state = self.changing()?;
        state.synced = state.now.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.changing()?;
        put(&mut state.now, offset, data);
        state.unsynced.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}
