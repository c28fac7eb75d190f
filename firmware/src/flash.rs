//! The flash of a board, as far as the log needs it.
//!
//! Owns the trait and nothing else. It has the shape of `NorFlash` of `embedded-storage`, so that a driver of a board's HAL fits behind it
//! with one line for each function, and none of its types, so that a board without such a driver does not need the crate.

/// NOR flash: what is erased reads as ones, a write turns ones into zeros, and only whole pages are erased.
///
/// A power cut in the middle of a write leaves the bytes before some point written and those behind it erased.
pub trait Flash {
    /// Why flash cannot be read, written or erased.
    type Error;

    /// Bytes of a word: what is written begins and ends at a multiple of it. 1, 2, 4 or 8.
    const WORD: usize;

    /// Bytes of a page: what is erased begins and ends at a multiple of it.
    const PAGE: usize;

    /// All bytes of the region that is the log's.
    fn capacity(&self) -> usize;

    /// Reads from `offset` on. The log asks for multiples of four bytes at multiples of four.
    ///
    /// # Errors
    /// Flash does not answer, or the region ends before.
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes whole words from `offset` on, in order; they were erased before, and are written once. Returns when it is done.
    ///
    /// # Errors
    /// Flash does not answer, or the region ends before. Of the bytes may be there then what a power cut would leave.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Erases whole pages, `from` up to `to`. Returns when it is done.
    ///
    /// # Errors
    /// Flash does not answer, or the region ends before.
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two small halves that never fail.
    pub(crate) struct Ram([u8; 512]);

    impl Ram {
        pub(crate) const fn new() -> Self {
            Self([0xff; 512])
        }
    }

    impl Flash for Ram {
        type Error = core::convert::Infallible;

        const WORD: usize = 4;
        const PAGE: usize = 256;

        fn capacity(&self) -> usize {
            self.0.len()
        }

        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
            Ok(())
        }

        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
            self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
            self.0[from as usize..to as usize].fill(0xff);
            Ok(())
        }
    }
}
