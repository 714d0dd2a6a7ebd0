//! SHA-256 of bytes that come in pieces. Its state can be saved and restored later.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Digest(Sha256);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

impl Digest {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of the bytes so far, as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(&self.0.clone().finalize())
    }

    /// Compares the digest of the bytes so far with its expected value.
    ///
    /// Errors: `corrupt`.
    pub(super) fn check(&self, expected: &str) -> Result<()> {
        let found = self.hex();
        match found == expected {
            true => Ok(()),
            false => Err(Error::Corrupt(format!(
                "SHA-256: expected {expected}, got {found}; download it again"
            ))),
        }
    }

    /// The inner state as text, for [`Digest::resume`].
    pub fn state(&self) -> String {
        hex(&self.0.serialize())
    }

    /// Restores a digest from its state; `None` if `state` is not the state of a digest.
    pub fn resume(state: &str) -> Option<Digest> {
        let (pairs, rest) = state.as_bytes().as_chunks::<2>();
        let byte = |&[high, low]: &[u8; 2]| Some((digit(high)? << 4) | digit(low)?);
        let bytes: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
        let state = SerializedState::<Sha256>::try_from(&bytes[..]).ok()?;
        rest.is_empty().then(|| Sha256::deserialize(&state).ok().map(Digest)).flatten()
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

fn digit(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok())
}
