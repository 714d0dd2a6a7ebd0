//! Hostile kept copies: the header of one is found or not, without a panic, without memory beyond its length, and
//! what is found can be compared and continued.
#![no_main]

#[allow(dead_code)] // the target uses part of it
#[path = "../../src/checkpoint/mod.rs"]
mod checkpoint;
#[allow(dead_code)] // the target uses part of it
#[path = "../../src/error.rs"]
mod error;

use checkpoint::{Digest, PartialCopy, Store, StoreError, Writer};
use libfuzzer_sys::fuzz_target;

/// Bytes as a file in the browser.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Store for Bytes {
    fn size(&mut self) -> Result<u64, StoreError> {
        Ok(self.0.len() as u64)
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, StoreError> {
        let rest = self.0.get(at as usize..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let at = at as usize;
        assert!(at + bytes.len() <= self.0.len().max(1 << 22), "a write far behind the end");
        self.0.resize(self.0.len().max(at + bytes.len()), 0);
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn truncate(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.0.truncate(bytes as usize);
        Ok(())
    }
    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    // A true length in front, and data behind, so that the header is what is hostile.
    let mut file = (input.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(input);
    file.resize(file.len() + 256, 7);
    let mut store = Bytes(file);
    let Some(copy) = PartialCopy::find(&mut store) else { return };
    assert!(copy.bytes() <= store.0.len() as u64);
    let _ = copy.received();
    let digests: Vec<_> = copy.sources.iter().map(|source| source.sha256.clone()).collect();
    let digests: Vec<_> = digests.iter().map(Option::as_deref).collect();
    if let Some(undecided) = copy.compare(&digests) {
        assert!(undecided.iter().all(|&i| i < copy.sources.len()));
    }
    assert!(copy.sources.iter().all(|source| source.is_same(source)));
    // The sources of another model never match one whose digest is known.
    let other = "0".repeat(64);
    let others: Vec<_> = digests.iter().map(|_| Some(other.as_str())).collect();
    if digests.iter().flatten().any(|digest| *digest != other) {
        assert!(copy.compare(&others).is_none());
    }
    let mut writer = Writer::resume(Box::new(store), copy, Digest::default());
    let _ = writer.save();
});
