//! Values into bytes.

use serde::Serialize;

use super::{Codec, PREFIX};

/// A value that could not be written. With the types of this crate it does not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the value: {0}; this is a mistake in the program, please report it")]
pub struct EncodeError(String);

/// Appends one value to `buffer`, as a line or as a frame.
///
/// # Errors
/// If the value cannot be written; `buffer` is then as it was.
pub fn encode<T: Serialize>(value: &T, codec: Codec, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = buffer.len();
    let written = match codec {
        Codec::Json => encode_line(value, buffer),
        Codec::Postcard => encode_frame(value, buffer),
    };
    if written.is_err() {
        buffer.truncate(start);
    }
    written
}

fn encode_line<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    serde_json::to_writer(&mut *buffer, value).map_err(|why| EncodeError(why.to_string()))?;
    buffer.push(b'\n');
    Ok(())
}

fn encode_frame<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    postcard::serialize_with_flavor(value, Appended(buffer)).map_err(|why| EncodeError(why.to_string()))?;
    let length = buffer.len() - start - PREFIX;
    let length = u32::try_from(length).map_err(|_| EncodeError(format!("it has {length} bytes")))?;
    buffer[start..start + PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Lets postcard append to a buffer that is used again.
struct Appended<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appended<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
