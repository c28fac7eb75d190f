//! A controller at a serial line, as firmware for H4 over UART or USB CDC makes one.
//!
//! Owns the line's settings: 8 bits, no parity, one stop bit, and the hardware flow control that H4 asks for (Core Specification,
//! Vol 4 Part A, 3).

use serial2_tokio::{CharSize, FlowControl, Parity, SerialPort, Settings, StopBits};

use super::open::{OpenError, Stream};

/// Opens the line at `path`.
pub(super) fn open(path: &str, speed: u32) -> Result<Box<dyn Stream>, OpenError> {
    let configure = |mut settings: Settings| {
        settings.set_raw();
        settings.set_char_size(CharSize::Bits8);
        settings.set_parity(Parity::None);
        settings.set_stop_bits(StopBits::One);
        settings.set_flow_control(FlowControl::RtsCts);
        settings.set_baud_rate(speed)?;
        Ok(settings)
    };
    match SerialPort::open(path, configure) {
        Ok(line) => Ok(Box::new(line)),
        Err(error) => Err(OpenError::Device { name: format!("serial:{path}"), error }),
    }
}
