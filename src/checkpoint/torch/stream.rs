//! The stream that PyTorch wrote before version 1.6: five pickles, then the storages, each behind its number of
//! elements.

use crate::error::{Error, Result};

use super::pickle::Value;
use super::{State, Torch, big_endian};

/// The number that begins the old format, lowest byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Its version.
const PROTOCOL: i64 = 1001;

impl Torch {
    /// Ends a pickle of the old format.
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    pub(super) fn end_pickle(&mut self, place: usize, root: usize) -> Result<()> {
        match (place, self.machine.value(root)) {
            (0, Value::Long(magic)) if *magic == MAGIC => {}
            (0, _) => return Err(bad_stream("it is a pickle that torch.save did not write")),
            (1, Value::Int(PROTOCOL)) => {}
            (1, _) => return Err(bad_stream(&format!("expected version {PROTOCOL}"))),
            (2, _) => {
                let order = self.machine.entry(root, "little_endian");
                match order.map(|index| self.machine.value(index)) {
                    Some(Value::Bool(true)) => {}
                    Some(Value::Bool(false)) => return Err(big_endian()),
                    _ => return Err(bad_stream("it does not state its byte order")),
                }
            }
            (3, _) => self.root = root,
            _ => return self.end_keys(root),
        }
        self.state = Some(State::Pickle(place + 1));
        Ok(())
    }

    /// The last pickle of the old format lists the keys of the storages in the order of the file.
    pub(super) fn end_keys(&mut self, root: usize) -> Result<()> {
        let wrong = || bad_stream("its list of storages is not that of its tensors");
        let machine = std::mem::take(&mut self.machine);
        self.order = machine.storages_of(root).ok_or_else(wrong)?;
        self.set_contents(machine.contents(self.root)?);
        let mut is_listed = vec![false; self.storages.len()];
        for &index in &self.order {
            match is_listed.get_mut(index) {
                Some(is_listed) if !*is_listed => *is_listed = true,
                _ => return Err(wrong()),
            }
        }
        if is_listed.contains(&false) {
            return Err(wrong());
        }
        self.begin_place(0);
        Ok(())
    }

    pub(super) fn begin_place(&mut self, place: usize) {
        self.place = place;
        self.state = Some(match place < self.order.len() {
            true => State::Count(place),
            false => State::End,
        });
    }

    /// Compares the number of elements in front of a storage with that of its tensors.
    pub(super) fn check_count(&mut self, place: usize) -> Result<()> {
        let index = self.order.get(place).copied().unwrap_or(usize::MAX);
        let expected = self.storages.get(index).map_or(0, |storage| storage.n);
        let got = self.buffer.first_chunk().map_or(0, |&count| u64::from_le_bytes(count));
        self.buffer.clear();
        if got != expected {
            return Err(bad_stream(&format!("a storage: expected {expected} elements, got {got}")));
        }
        self.begin_storage(index)
    }
}

pub(super) fn bad_stream(reason: &str) -> Error {
    Error::BadHeader(format!("PyTorch's old format: {reason}"))
}
