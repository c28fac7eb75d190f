//! Decibels and milliwatts.
//!
//! Owns the conversion, made of multiplications only, so that it gives the same bits on every machine. Powers are
//! whole hundredths of a dB until they are added up.

/// Ten to the power of a thousandth.
const STEP: f64 = 1.002_305_238_077_899_7;
/// A signal nobody can notice, in hundredths of a dBm.
pub(super) const SILENCE: i32 = -30_000;

/// Decibels as whole hundredths, as far as an `i32` goes.
pub(super) fn centi(db: f64) -> i32 {
    (db * 100.0).round() as i32
}

/// So many hundredths of a dBm in milliwatts; also a ratio of so many hundredths of a dB. Zero at [`SILENCE`] and
/// below, infinite beyond +300 dB.
pub(super) fn linear(centi: i32) -> f32 {
    if centi <= SILENCE {
        return 0.0;
    }
    if centi > -SILENCE {
        return f32::INFINITY;
    }
    let (tens, rest) = (centi.div_euclid(1_000), centi.rem_euclid(1_000));
    let mut value = 1.0_f64;
    for _ in 0..tens.unsigned_abs() {
        value *= if tens < 0 { 0.1 } else { 10.0 };
    }
    let (mut power, mut rest) = (STEP, rest);
    while rest > 0 {
        if rest & 1 == 1 {
            value *= power;
        }
        power *= power;
        rest >>= 1;
    }
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliwatts_agree_with_the_formula() {
        for centi in (-12_000..=2_000).step_by(7) {
            let exact = 10.0_f64.powf(f64::from(centi) / 1_000.0);
            let ratio = f64::from(linear(centi)) / exact;
            assert!((ratio - 1.0).abs() < 1e-6, "{centi}: {ratio}");
        }
        assert_eq!((linear(SILENCE), linear(100_000)), (0.0, f32::INFINITY));
        assert_eq!((linear(0), centi(-65.737)), (1.0, -6_574));
    }
}
