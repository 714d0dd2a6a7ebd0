//! Tensors as they come ─▶ one safetensors file that is valid whenever it is left.
//!
//! The data goes behind room reserved for the header. The header is written now and then, always at
//! the end of a tensor: after a crash the file holds a beginning to go on from, never a wrong model.

use super::digest::Digest;
use super::header::{Element, Header, MAX_HEADER, MAX_OFFSET, TensorInfo};
use super::reader::DATA_DIGEST;
use crate::error::Result as Checked;

/// Where the sources are to be gone on with.
const NEXT: &str = "loupe.next";
/// What stands there once nothing of them is wanted any more.
const END: &str = "end";
/// Bytes after which the header is brought up to date.
const SAVE_BYTES: u64 = 32 << 20;
/// Bytes gathered before a write.
const STAGE: usize = 1 << 20;
/// More than the metadata of any file takes.
const METADATA_ROOM: usize = 1024;

/// A place that keeps bytes: in a browser, a file of the origin-private file system.
pub trait Store {
    /// Bytes it holds.
    fn size(&mut self) -> Result<u64, StoreError>;
    /// Fills `into` from byte `at` on; returns how many bytes there were.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, StoreError>;
    /// Writes all of `bytes` at byte `at`.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError>;
    /// Cuts or grows it.
    fn truncate(&mut self, bytes: u64) -> Result<(), StoreError>;
    /// Brings what was written to the disk.
    fn flush(&mut self) -> Result<(), StoreError>;
}

/// Why a store refused. It never fails a load: the model is used without being kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// The platform's name of it, e.g. `QuotaExceededError`.
    pub name: String,
    /// In words.
    pub message: String,
}

/// Where in a list of source files the next byte is.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// Index of the file.
    pub file: usize,
    /// Byte in it.
    pub offset: u64,
    /// Bytes of all the files before it.
    pub before: u64,
    /// Digest of the file up to there, if the file's digest has to be some value.
    pub digest: Option<Digest>,
}

impl Position {
    /// Behind the last byte of the last file.
    fn end() -> Position {
        Position { file: usize::MAX, ..Position::default() }
    }

    fn parse(text: &str) -> Option<Position> {
        if text == END {
            return Some(Position::end());
        }
        let mut words = text.split(' ');
        let file = words.next()?.parse().ok()?;
        let offset = words.next()?.parse().ok()?;
        let before = words.next()?.parse().ok()?;
        let digest = match words.next()? {
            "-" => None,
            state => Some(Digest::resume(state)?),
        };
        Some(Position { file, offset, before, digest })
    }

    fn text(&self) -> String {
        let state = self.digest.as_ref().map_or_else(|| "-".into(), Digest::state);
        format!("{} {} {} {state}", self.file, self.offset, self.before)
    }
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its length. Units: bytes.
    pub bytes: u64,
    /// SHA-256 of its data section, which its header states as well.
    pub sha256: String,
}

/// What a file that may be unfinished holds.
#[derive(Debug)]
pub struct Beginning {
    header: Header,
    /// Where its data begins.
    head: u64,
    /// Where the sources go on.
    pub position: Position,
}

impl Beginning {
    /// The beginning that `store` holds, if it is one.
    pub fn find(store: &mut dyn Store) -> Option<Beginning> {
        let mut prefix = [0; 8];
        let size = store.size().ok()?;
        if store.read(0, &mut prefix).ok()? < 8 {
            return None;
        }
        let length = u64::from_le_bytes(prefix);
        if length > MAX_HEADER || 8 + length > size {
            return None;
        }
        let mut json = vec![0; length as usize];
        if store.read(8, &mut json).ok()? < json.len() {
            return None;
        }
        let header = Header::parse(&json).ok()?;
        let position = Position::parse(header.metadata.get(NEXT)?)?;
        let found = Beginning { header, head: 8 + length, position };
        (found.bytes() <= size).then_some(found)
    }

    /// Bytes from the start of the file to the end of the last complete tensor.
    pub fn bytes(&self) -> u64 {
        self.head + self.header.data_bytes()
    }
}

/// The end of the last complete tensor.
#[derive(Clone, Default)]
struct Mark {
    n_tensors: usize,
    data_bytes: u64,
    digest: Digest,
    position: Position,
}

/// Writes one file.
pub struct Writer {
    store: Box<dyn Store>,
    /// Bytes of prefix and header: where the data begins.
    head: u64,
    tensors: Vec<TensorInfo>,
    /// Of the data section, staged ones included.
    data_bytes: u64,
    staged: Vec<u8>,
    digest: Digest,
    mark: Mark,
    /// Data bytes when the header was last brought up to date.
    saved: u64,
}

impl Writer {
    /// Begins a file that will hold these tensors, in whatever order they come.
    ///
    /// Errors: `bad-header` for a header that would be longer than is read.
    pub fn new<'a>(
        store: Box<dyn Store>,
        tensors: impl Iterator<Item = (&'a str, Element, &'a [u64])>,
    ) -> Checked<Writer> {
        let widest = tensors.map(|(name, element, shape)| TensorInfo {
            name: name.into(),
            element: Ok(element),
            shape: shape.into(),
            start: MAX_OFFSET,
            end: MAX_OFFSET,
        });
        let header = Header { tensors: widest.collect(), metadata: Default::default() };
        let head = (8 + header.json()?.len() + METADATA_ROOM).next_multiple_of(8) as u64;
        Ok(Writer {
            store,
            head,
            tensors: Vec::new(),
            data_bytes: 0,
            staged: Vec::new(),
            digest: Digest::default(),
            mark: Mark::default(),
            saved: 0,
        })
    }

    /// Goes on where `beginning` ends; `digest` is that of its data.
    pub fn go_on(store: Box<dyn Store>, beginning: Beginning, digest: Digest) -> Writer {
        let tensors = beginning.header.tensors;
        let data_bytes = tensors.last().map_or(0, |t| t.end);
        let (n_tensors, position) = (tensors.len(), beginning.position);
        let mark = Mark { n_tensors, data_bytes, digest: digest.clone(), position };
        Writer {
            store,
            head: beginning.head,
            tensors,
            data_bytes,
            staged: Vec::new(),
            digest,
            mark,
            saved: data_bytes,
        }
    }

    /// Begins the next tensor.
    pub fn begin(&mut self, name: &str, element: Element, shape: &[u64]) {
        let start = self.data_bytes;
        let end = start + shape.iter().product::<u64>() * element.size() as u64;
        self.tensors.push(TensorInfo {
            name: name.into(),
            element: Ok(element),
            shape: shape.into(),
            start,
            end,
        });
    }

    /// Takes its next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        self.staged.extend_from_slice(bytes);
        self.data_bytes += bytes.len() as u64;
        if self.staged.len() >= STAGE { self.write_staged() } else { Ok(()) }
    }

    /// Ends it; `position` is where the sources go on.
    pub fn end(&mut self, position: Position) -> Result<(), StoreError> {
        let (n_tensors, data_bytes) = (self.tensors.len(), self.data_bytes);
        self.mark = Mark { n_tensors, data_bytes, digest: self.digest.clone(), position };
        if data_bytes - self.saved >= SAVE_BYTES { self.save() } else { Ok(()) }
    }

    /// Makes what is complete so far a beginning that can be gone on from.
    pub fn save(&mut self) -> Result<(), StoreError> {
        self.write_staged()?;
        let mark = self.mark.clone();
        self.write_header(&mark, mark.position.text())?;
        self.saved = mark.data_bytes;
        self.store.flush()
    }

    /// Makes it the finished file. Every tensor begun must have ended. It can still be found as a
    /// beginning, of which nothing is missing: so a crash before its owner knows loses nothing.
    pub fn finish(&mut self) -> Result<Kept, StoreError> {
        self.write_staged()?;
        let mark = self.mark.clone();
        self.write_header(&mark, END.into())?;
        let bytes = self.head + mark.data_bytes;
        self.store.truncate(bytes)?;
        self.store.flush()?;
        Ok(Kept { bytes, sha256: mark.digest.hex() })
    }

    /// Leaves nothing behind.
    pub fn discard(&mut self) -> Result<(), StoreError> {
        self.store.truncate(0)?;
        self.store.flush()
    }

    /// Reads back what the file holds.
    pub fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, StoreError> {
        self.store.read(at, into)
    }

    fn write_staged(&mut self) -> Result<(), StoreError> {
        let at = self.head + self.data_bytes - self.staged.len() as u64;
        if !self.staged.is_empty() {
            self.store.write(at, &self.staged)?;
            self.staged.clear();
        }
        Ok(())
    }

    fn write_header(&mut self, mark: &Mark, next: String) -> Result<(), StoreError> {
        let metadata = [("format", "pt".into()), (DATA_DIGEST, mark.digest.hex()), (NEXT, next)];
        let metadata = metadata.map(|(name, value)| (name.to_string(), value)).into();
        let tensors = self.tensors[..mark.n_tensors].to_vec();
        let header = Header { tensors, metadata };
        let failed = |message: String| StoreError { name: "HeaderError".into(), message };
        let json = header.json().map_err(|e| failed(e.to_string()))?;
        let mut bytes = (self.head - 8).to_le_bytes().to_vec();
        bytes.extend(json);
        if bytes.len() as u64 > self.head {
            return Err(failed("the header has outgrown its room".into()));
        }
        // The format allows spaces after the JSON.
        bytes.resize(self.head as usize, b' ');
        self.store.write(0, &bytes)
    }
}
