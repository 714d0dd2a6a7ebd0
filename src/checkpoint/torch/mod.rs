//! A file that `torch.save` wrote: a zip file, or the stream that PyTorch wrote before version 1.6. A pickle
//! says which tensors there are; their elements follow in storages, which tensors may share.
//!
//! Source: `torch/serialization.py` of PyTorch.

mod entries;
mod pickle;
mod stream;
mod views;
mod zip;

use std::collections::HashMap;

use crate::error::{Error, Result};

use super::digest::Digest;
use super::header::{Event, Header, MAX_HEADER, TensorInfo};
use pickle::{Contents, Machine, Storage, View};
use stream::bad_stream;
use views::{Held, Layout};
use zip::bad;

pub use zip::{Directory, DirectoryReader, Range};

/// Places or lengths by name.
type Numbers = HashMap<String, u64>;

/// Bytes of a pickle that are interpreted at once.
const STEP: usize = 4096;

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy)]
enum State {
    /// A pickle of the old format: its place among the five.
    Pickle(usize),
    /// The number of elements in front of a storage of the old format: its place in the list of keys.
    Count(usize),
    /// The sizes after an entry of this length, if that is known, or the header of the next entry.
    Entry(Option<u64>),
    /// `data.pkl`: its length, if that is known, and the bytes taken.
    Contents { size: Option<u64>, taken: u64 },
    /// An entry that is passed over: the bytes that are left, and its length.
    Skip { left: u64, size: u64 },
    /// A small entry, such as the byte order: its length, if that is known.
    Small { size: Option<u64>, is_byte_order: bool },
    /// A storage, and the bytes of it that were taken.
    Storage { storage: usize, taken: u64 },
    /// The tensors of a storage that is held.
    Held { storage: usize },
    /// What follows the last storage.
    End,
}

/// Reads one file from pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Torch {
    is_zip: bool,
    state: Option<State>,
    /// Bytes of headers and pickles that are not complete.
    buffer: Vec<u8>,
    machine: Machine,
    /// Bytes of the pickles so far.
    pickled: u64,
    /// Digest of the pickles, which identifies the file.
    digest: Digest,
    /// The value of the pickle with the tensors, in the old format.
    root: usize,
    storages: Vec<Storage>,
    /// Place of a storage by its key.
    by_key: Numbers,
    /// The order of the storages in the old format.
    order: Vec<usize>,
    /// Place of the current storage in it.
    place: usize,
    is_read: Vec<bool>,
    tensors: Vec<(String, View)>,
    header: Option<Header>,
    /// Whether the header was returned.
    is_announced: bool,
    /// One for each storage, once it is known which tensors are wanted.
    layouts: Vec<Layout>,
    held: Held,
    directory: Option<Directory>,
}

impl Torch {
    /// A reader of a zip file, or of the stream of the old format.
    pub(super) fn new(is_zip: bool) -> Torch {
        Torch { is_zip, ..Torch::default() }
    }

    fn state(&self) -> State {
        let first = if self.is_zip { State::Entry(None) } else { State::Pickle(0) };
        self.state.unwrap_or(first)
    }

    /// Uses the directory of a zip file of which nothing was read yet.
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    pub(super) fn set_directory(&mut self, mut directory: Directory) -> Result<()> {
        let bytes = std::mem::take(&mut directory.pickle);
        self.directory = Some(directory);
        let mut rest = &bytes[..];
        while self.header.is_none() && !rest.is_empty() {
            self.step(&mut rest)?;
        }
        self.state = None;
        self.buffer.clear();
        match self.header {
            Some(_) => Ok(()),
            None => Err(bad("data.pkl is cut")),
        }
    }

    /// Digest of the pickles.
    pub(super) fn header_sha256(&self) -> String {
        self.digest.hex()
    }

    /// Length of the file, once its header is known; of a zip file without the headers of its entries.
    /// Units: bytes.
    pub(super) fn file_bytes(&self) -> Option<u64> {
        self.header.as_ref()?;
        let counts = 8 * self.order.len() as u64;
        let storages = self.storages.iter().map(Storage::bytes);
        Some(storages.fold(self.pickled + counts, u64::saturating_add))
    }

    /// Chooses the tensors that are wanted; all are until then.
    ///
    /// Errors: `unsupported-model`.
    pub(super) fn choose(&mut self, is_wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let mut of_storage = vec![Vec::new(); self.storages.len()];
        for (index, (name, view)) in self.tensors.iter().enumerate() {
            if let Some(wanted) = of_storage.get_mut(view.storage)
                && is_wanted(name)
            {
                wanted.push(index);
            }
        }
        let layouts = self.storages.iter().zip(of_storage);
        let layouts = layouts.map(|(storage, wanted)| Layout::of(storage, wanted, &self.tensors));
        self.layouts = layouts.collect::<Result<_>>()?;
        Ok(())
    }

    /// Whether the last byte taken ended a storage, and all its tensors were returned.
    pub(super) fn is_between(&self) -> bool {
        match self.state() {
            State::Count(_) | State::Entry(_) | State::End => self.buffer.is_empty(),
            State::Held { storage } => match self.layouts.get(storage) {
                Some(Layout::Held(wanted)) => {
                    let last = wanted.last().and_then(|&index| self.tensors.get(index));
                    last.is_some_and(|(_, view)| self.held.has_ended(wanted.len(), view))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether every storage was passed.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state(), State::End)
    }

    /// Continues at byte `offset` of the file; false if no storage can end there.
    pub(super) fn seek(&mut self, offset: u64) -> bool {
        self.buffer.clear();
        if self.is_zip {
            // If an entry does not end there, its header is not found, which is an error.
            self.state = None;
            return self.header.is_some();
        }
        let mut at = self.pickled;
        for place in 0..=self.order.len() {
            if at == offset {
                self.begin_place(place);
                return true;
            }
            let storage = self.order.get(place).and_then(|&index| self.storages.get(index));
            at = at.saturating_add(8).saturating_add(storage.map_or(0, Storage::bytes));
        }
        false
    }

    /// As [`super::Reader::next`].
    pub(super) fn next<'r, 'b: 'r>(
        &'r mut self,
        bytes: &mut &'b [u8],
    ) -> Result<Option<Event<'r>>> {
        loop {
            if self.header.is_some() && !self.is_announced {
                self.is_announced = true;
                return Ok(self.header.as_ref().map(Event::Header));
            }
            match self.state() {
                State::Held { storage } => {
                    if let Some(index) = self.put_in_order(storage) {
                        return Ok(event(self.header.as_ref(), index, self.held.piece()));
                    }
                }
                _ if bytes.is_empty() => return Ok(None),
                State::Storage { storage, taken } => {
                    if let Some((index, piece)) = self.take_storage(storage, taken, bytes) {
                        return Ok(event(self.header.as_ref(), index, piece));
                    }
                }
                _ => self.step(bytes)?,
            }
        }
    }

    /// Takes bytes that are not those of a storage.
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    fn step(&mut self, bytes: &mut &[u8]) -> Result<()> {
        match self.state() {
            State::Pickle(place) => {
                if let Some(root) = self.interpret(bytes, usize::MAX)? {
                    self.end_pickle(place, root)?;
                }
            }
            State::Count(place) => {
                if self.fill(8, bytes) {
                    self.check_count(place)?;
                }
            }
            State::Entry(size) => self.next_entry(size, bytes)?,
            State::Contents { size, taken } => {
                let before = self.pickled;
                let most = size.map_or(usize::MAX, |size| to_usize(size - taken));
                let root = self.interpret(bytes, most)?;
                let taken = taken + (self.pickled - before);
                match root {
                    Some(_) if size.is_some_and(|size| size != taken) => {
                        return Err(bad("bytes follow after the pickle in data.pkl"));
                    }
                    Some(root) => {
                        let contents = std::mem::take(&mut self.machine).contents(root)?;
                        self.set_contents(contents);
                        self.state = Some(State::Entry(Some(taken)));
                    }
                    None if size == Some(taken) => return Err(bad("data.pkl is cut")),
                    None => self.state = Some(State::Contents { size, taken }),
                }
            }
            State::Skip { left, size } => {
                let left = left - advance(bytes, left).len() as u64;
                self.state = Some(match left {
                    0 => State::Entry(Some(size)),
                    _ => State::Skip { left, size },
                });
            }
            State::Small { size, is_byte_order } => self.take_small(size, is_byte_order, bytes)?,
            State::End if self.is_zip => *bytes = &[],
            State::End => {
                let n = bytes.len();
                return Err(bad_stream(&format!("{n} bytes follow after the last storage")));
            }
            State::Storage { .. } | State::Held { .. } => {}
        }
        Ok(())
    }

    /// Moves bytes into the buffer until it has `n`; true once it has.
    fn fill(&mut self, n: usize, bytes: &mut &[u8]) -> bool {
        let missing = n.saturating_sub(self.buffer.len());
        self.buffer.extend_from_slice(advance(bytes, missing as u64));
        self.buffer.len() >= n
    }

    /// Interprets at most `most` bytes of a pickle; its value once it ends.
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    fn interpret(&mut self, bytes: &mut &[u8], most: usize) -> Result<Option<usize>> {
        let mut rest = *bytes;
        let before = self.buffer.len();
        let piece = advance(&mut rest, most.min(STEP) as u64);
        self.buffer.extend_from_slice(piece);
        let (used, root) = self.machine.run(&self.buffer)?;
        let taken = match root {
            Some(_) => used.saturating_sub(before),
            None => piece.len(),
        };
        let piece = advance(bytes, taken as u64);
        self.digest.update(piece);
        self.pickled += piece.len() as u64;
        self.buffer.drain(..used.min(self.buffer.len()));
        if root.is_some() {
            self.buffer.clear();
        }
        match self.pickled > MAX_HEADER {
            true => {
                let most = format!("its pickles: expected at most {MAX_HEADER} bytes, got more");
                Err(Error::BadHeader(most))
            }
            false => Ok(root),
        }
    }

    fn set_contents(&mut self, contents: Contents) {
        let Contents { storages, by_key, tensors } = contents;
        self.by_key = by_key;
        self.is_read = vec![false; storages.len()];
        let mut end = 0;
        let infos = tensors.iter().map(|(name, view)| {
            let kind = storages.get(view.storage).map(|storage| storage.kind);
            let size = kind.map_or(0, |kind| kind.size);
            let start = end;
            end = view.shape.iter().fold(size, |n, &d| n.saturating_mul(d)).saturating_add(start);
            TensorInfo {
                name: name.clone(),
                element: kind.map_or_else(|| Err(String::new()), |kind| kind.element()),
                shape: view.shape.clone(),
                start,
                end,
            }
        });
        self.header = Some(Header { tensors: infos.collect(), ..Header::default() });
        (self.storages, self.tensors) = (storages, tensors);
    }

    /// Errors: `bad-header` for a storage that was read already, `unsupported-model`.
    fn begin_storage(&mut self, storage: usize) -> Result<()> {
        if self.layouts.is_empty() {
            self.choose(&|_| true)?;
        }
        match self.is_read.get_mut(storage) {
            Some(is_read) if !*is_read => *is_read = true,
            _ => return Err(Error::BadHeader("a storage is there twice".into())),
        }
        self.go_on(storage, 0);
        Ok(())
    }

    /// Continues behind `taken` bytes of a storage.
    fn go_on(&mut self, storage: usize, taken: u64) {
        let bytes = self.storages.get(storage).map_or(0, Storage::bytes);
        let is_held = matches!(self.layouts.get(storage), Some(Layout::Held(_)));
        match (taken < bytes, is_held) {
            (true, _) => self.state = Some(State::Storage { storage, taken }),
            (false, true) => self.state = Some(State::Held { storage }),
            (false, false) => self.end_storage(bytes),
        }
    }

    fn end_storage(&mut self, bytes: u64) {
        match self.is_zip {
            true => self.state = Some(State::Entry(Some(bytes))),
            false => self.begin_place(self.place + 1),
        }
    }

    /// Takes the next bytes of a storage; some of them, if they are those of a tensor as they are.
    fn take_storage<'b>(
        &mut self,
        storage: usize,
        taken: u64,
        bytes: &mut &'b [u8],
    ) -> Option<(usize, &'b [u8])> {
        let all = self.storages.get(storage).map_or(0, Storage::bytes);
        let (index, piece) = match self.layouts.get(storage) {
            Some(Layout::Held(_)) => {
                let piece = advance(bytes, all - taken);
                self.held.push(piece);
                (None, piece)
            }
            Some(Layout::InOrder(spans)) => {
                // The first that has not ended.
                let next = spans.get(spans.partition_point(|&(_, _, end)| end <= taken));
                match next {
                    Some(&(index, start, end)) if start <= taken => {
                        (Some(index), advance(bytes, end - taken))
                    }
                    Some(&(_, start, _)) => (None, advance(bytes, start - taken)),
                    None => (None, advance(bytes, all - taken)),
                }
            }
            None => (None, advance(bytes, all - taken)),
        };
        self.go_on(storage, taken + piece.len() as u64);
        index.map(|index| (index, piece))
    }

    /// Puts the next bytes of a storage that is held in order: the tensor that they belong to, or none
    /// between two tensors.
    fn put_in_order(&mut self, storage: usize) -> Option<usize> {
        let kind = self.storages.get(storage).map(|storage| storage.kind);
        let wanted = match self.layouts.get(storage) {
            Some(Layout::Held(wanted)) => wanted.get(self.held.tensor()),
            _ => None,
        };
        let view = wanted.and_then(|&index| self.tensors.get(index));
        let (Some(&index), Some((_, view)), Some(kind)) = (wanted, view, kind) else {
            self.held = Held::default();
            self.end_storage(self.storages.get(storage).map_or(0, Storage::bytes));
            return None;
        };
        self.held.next(view, kind.size).then_some(index)
    }
}

/// Bytes of a tensor.
fn event<'r>(header: Option<&'r Header>, index: usize, bytes: &'r [u8]) -> Option<Event<'r>> {
    let tensor = header?.tensors.get(index)?;
    Some(Event::Data { index, tensor, bytes })
}

/// Removes at most `n` bytes from the front.
fn advance<'b>(bytes: &mut &'b [u8], n: u64) -> &'b [u8] {
    let (front, rest) = bytes.split_at(to_usize(n).min(bytes.len()));
    *bytes = rest;
    front
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn big_endian() -> Error {
    Error::UnsupportedModel("the file's byte order is not little-endian".into())
}
