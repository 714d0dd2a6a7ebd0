//! SHA-256 of bytes that come in pieces, which can be set aside and gone on with another day.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Digest(Sha256);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

impl Digest {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What it is after the bytes so far, as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(&self.0.clone().finalize())
    }

    /// Its inner state as text, for [`Digest::resume`].
    pub fn state(&self) -> String {
        hex(&self.0.serialize())
    }

    /// The digest that gave this state; none if no digest can have.
    pub fn resume(state: &str) -> Option<Digest> {
        let digits = state.as_bytes();
        let pair = |p: &[u8]| Some((digit(p[0])? << 4) | digit(p[1])?);
        let bytes: Vec<u8> = digits.chunks_exact(2).map(pair).collect::<Option<_>>()?;
        let state = SerializedState::<Sha256>::try_from(&bytes[..]).ok()?;
        let is_whole = digits.len() == 2 * bytes.len();
        is_whole.then(|| Sha256::deserialize(&state).ok().map(Digest)).flatten()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

fn digit(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).map(|d| d as u8)
}
