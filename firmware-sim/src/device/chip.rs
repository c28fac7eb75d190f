//! The flash chip of a device, byte by byte.
//!
//! Owns what a power cut in the middle of a write leaves of it. How long a write takes, and when power is cut, is `flash`'s business.

use mesh_firmware::flash::Flash;

/// Bytes of a page, and how many there are: half of them hold the marks of more sources than any node has room for.
const PAGE: usize = 4_096;
const PAGES: usize = 16;
/// Nothing is written here.
const ERASED: u8 = 0xff;

/// Power went before everything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PowerCut;

/// A chip.
#[derive(Clone, Debug, Default)]
pub(super) struct Chip {
    /// From the beginning to the last byte that was ever written of each page: a field of devices has thousands of chips.
    pages: [Vec<u8>; PAGES],
    /// All bytes that were ever written.
    written: usize,
    /// So many more are written before power is cut; `None` while it is not about to be.
    left: Option<usize>,
}

impl Chip {
    /// How many bytes were ever written.
    pub(super) const fn written(&self) -> usize {
        self.written
    }

    /// Power is cut behind so many bytes more; with `None` it is back.
    pub(super) const fn cut_behind(&mut self, bytes: Option<usize>) {
        self.left = bytes;
    }
}

impl Flash for Chip {
    type Error = PowerCut;

    const WORD: usize = 4;
    const PAGE: usize = PAGE;

    fn capacity(&self) -> usize {
        PAGE * PAGES
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), PowerCut> {
        for (at, byte) in (offset as usize..).zip(bytes) {
            *byte = self.pages[at / PAGE].get(at % PAGE).copied().unwrap_or(ERASED);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), PowerCut> {
        for (at, byte) in (offset as usize..).zip(bytes) {
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(1).ok_or(PowerCut)?;
            }
            let page = &mut self.pages[at / PAGE];
            if page.len() <= at % PAGE {
                page.resize(at % PAGE + 1, ERASED);
            }
            // As in NOR flash: ones become zeros, and never the other way round. A log that wrote a word twice would not find it again.
            page[at % PAGE] &= byte;
            self.written += 1;
        }
        Ok(())
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), PowerCut> {
        if self.left == Some(0) {
            return Err(PowerCut);
        }
        self.pages[from as usize / PAGE..to as usize / PAGE].iter_mut().for_each(Vec::clear);
        Ok(())
    }
}
