//! The entries of a zip file, one after the other.

use crate::error::Result;

use super::pickle;
use super::zip::{self, Entry, bad};
use super::{State, Storage, Torch, big_endian, to_usize};

/// Longest entry of unknown length that is passed over: version, byte order, serialization id.
const MAX_SMALL: usize = 4096;

impl Torch {
    /// Takes the header of the next entry of a zip file, or the sizes after the last one.
    pub(super) fn next_entry(&mut self, size: Option<u64>, bytes: &mut &[u8]) -> Result<()> {
        if !self.fill(zip::DESCRIPTOR.len(), bytes) {
            return Ok(());
        }
        if self.buffer.starts_with(&zip::DESCRIPTOR) {
            if self.fill(zip::MAX_DESCRIPTOR, bytes) {
                let n = zip::descriptor_length(&self.buffer, size)?;
                self.buffer.drain(..n);
                self.state = Some(State::Entry(None));
            }
            return Ok(());
        }
        if zip::is_directory(&self.buffer) {
            self.state = Some(State::End);
            return if self.header.is_some() { Ok(()) } else { Err(zip::no_pickle()) };
        }
        if !self.buffer.starts_with(&zip::LOCAL) {
            return Err(bad("what follows an entry is not the next one"));
        }
        if self.fill(zip::LOCAL_BYTES, bytes) && self.fill(zip::local_length(&self.buffer), bytes) {
            let entry = Entry::parse(&self.buffer)?;
            self.buffer.clear();
            self.begin_entry(entry)?;
        }
        Ok(())
    }

    /// Errors: `bad-header`.
    pub(super) fn begin_entry(&mut self, Entry { name, size }: Entry) -> Result<()> {
        let shown = pickle::shown(&name);
        let size = match &self.directory {
            None => size,
            Some(directory) => match directory.size(&name) {
                Some(known) if size.is_none_or(|size| size == known) => Some(known),
                _ => return Err(bad(&format!("entry {shown} is another one in the directory"))),
            },
        };
        if let Some(key) = name.strip_prefix("data/")
            && let Some(&storage) = self.by_key.get(key)
        {
            let storage = to_usize(storage);
            let expected = self.storages.get(storage).map_or(0, Storage::bytes);
            if let Some(size) = size.filter(|&size| size != expected) {
                let got = format!("entry {shown}: expected {expected} bytes, got {size}");
                return Err(bad(&got));
            }
            return self.begin_storage(storage);
        }
        self.state = Some(match (name.as_str(), size) {
            ("data.pkl", size) if self.header.is_none() => State::Contents { size, taken: 0 },
            // The directory has named each entry once.
            ("data.pkl", _) if self.directory.is_none() => {
                return Err(bad("it has two data.pkl"));
            }
            ("byteorder", size) => State::Small { size, is_byte_order: true },
            (_, Some(0)) => State::Entry(Some(0)),
            (name, Some(size)) if self.header.is_some() || !name.starts_with("data/") => {
                State::Skip { left: size, size }
            }
            (name, _) if name.starts_with("data/") => {
                return Err(bad(&format!(
                    "entry {shown} is not one that data.pkl before it names"
                )));
            }
            (_, size) => State::Small { size, is_byte_order: false },
        });
        Ok(())
    }

    /// Takes a small entry, whose end is known from its length or from the sizes after it.
    pub(super) fn take_small(
        &mut self,
        size: Option<u64>,
        is_byte_order: bool,
        bytes: &mut &[u8],
    ) -> Result<()> {
        let n = match size {
            Some(size) if size > MAX_SMALL as u64 => return Err(bad("a small entry is too long")),
            Some(size) => self.fill(to_usize(size), bytes).then_some(to_usize(size)),
            None => loop {
                let n = self.buffer.len();
                if let Some(size) = zip::size_before_descriptor(&self.buffer) {
                    break Some(size);
                }
                if n > MAX_SMALL {
                    return Err(bad("an entry without a length is too long"));
                }
                if !self.fill(n + 1, bytes) {
                    break None;
                }
            },
        };
        let Some(n) = n else { return Ok(()) };
        let content = self.buffer.get(..n).unwrap_or_default();
        if is_byte_order && content != b"little" {
            return Err(big_endian());
        }
        self.buffer.drain(..n);
        self.state = Some(State::Entry(Some(n as u64)));
        Ok(())
    }
}
