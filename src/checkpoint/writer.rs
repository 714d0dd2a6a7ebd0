//! Tensors in the order received ─▶ one safetensors file that is valid at every checkpoint.
//!
//! The data follows space reserved for the header. The header is written from time to time, always at
//! the end of a tensor. After a crash the file holds a partial copy that can be resumed, never a wrong model.

use super::digest::Digest;
use super::header::{Element, Header, MAX_HEADER, MAX_OFFSET, TensorInfo};
use super::safetensors::DATA_DIGEST;
use super::source::SourceId;

/// Metadata key of the position at which the sources are resumed.
const NEXT: &str = "loupe.next";
/// Its value in a finished copy.
const END: &str = "end";
/// Metadata key of the identities of the sources that the copy has data of.
const SOURCES: &str = "loupe.sources";
/// Data bytes between two updates of the header.
const SAVE_BYTES: u64 = 32 << 20;
/// Bytes gathered before a write.
const STAGE: usize = 1 << 20;
/// Reserved for the metadata of the header, besides the sources. Units: bytes.
const METADATA_BYTES: usize = 1024;
/// Reserved for the identity of each source. Units: bytes.
const SOURCE_BYTES: usize = 160;
/// Largest number of sources.
const MAX_SOURCES: usize = 1024;

/// A place that keeps bytes: in a browser, a file of the origin-private file system.
pub trait Store {
    /// Number of bytes in it.
    fn size(&mut self) -> Result<u64, StoreError>;
    /// Fills `into` from byte `at` on; returns how many bytes there were.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, StoreError>;
    /// Writes all of `bytes` at byte `at`.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError>;
    /// Cuts or extends it to `bytes` bytes.
    fn truncate(&mut self, bytes: u64) -> Result<(), StoreError>;
    /// Writes buffered bytes to the disk.
    fn flush(&mut self) -> Result<(), StoreError>;
}

/// Why a store failed. This never fails a load: the model is used without being kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// The platform's name of the error, such as `QuotaExceededError`.
    pub name: String,
    /// The platform's message.
    pub message: String,
}

/// Where the next byte is in a list of source files.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// Index of the file.
    pub file: usize,
    /// Byte in that file.
    pub offset: u64,
    /// Bytes of all files before it.
    pub before: u64,
    /// Digest of the file up to `offset`, if the file's digest is verified.
    pub digest: Option<Digest>,
}

impl Position {
    /// Behind the last byte of the last file.
    fn end() -> Position {
        Position { file: usize::MAX, ..Position::default() }
    }

    /// Whether no byte of the sources is missing.
    pub fn is_end(&self) -> bool {
        self.file == usize::MAX
    }

    fn parse(text: &str) -> Option<Position> {
        if text == END {
            return Some(Position::end());
        }
        let mut words = text.split(' ');
        let file = words.next()?.parse().ok().filter(|&file| file < MAX_SOURCES)?;
        let offset = words.next()?.parse().ok().filter(|&offset| offset <= MAX_OFFSET)?;
        let before = words.next()?.parse().ok().filter(|&before| before <= MAX_OFFSET)?;
        let digest = match words.next()? {
            "-" => None,
            state => Some(Digest::resume(state)?),
        };
        Some(Position { file, offset, before, digest })
    }

    fn text(&self) -> String {
        if self.is_end() {
            return END.into();
        }
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

/// The content of a copy, finished or not.
#[derive(Debug)]
pub struct PartialCopy {
    header: Header,
    /// Offset of its data.
    head: u64,
    /// Where the sources are resumed.
    pub position: Position,
    /// The sources that it has data of, in order.
    pub sources: Vec<SourceId>,
}

impl PartialCopy {
    /// The copy that `store` holds; `None` if it does not hold one.
    pub fn find(store: &mut dyn Store) -> Option<PartialCopy> {
        let mut prefix = [0; 8];
        let size = store.size().ok()?;
        if store.read(0, &mut prefix).ok()? < 8 {
            return None;
        }
        let length = u64::from_le_bytes(prefix);
        if length > MAX_HEADER || 8 + length > size {
            return None;
        }
        let mut json = vec![0; usize::try_from(length).ok()?];
        if store.read(8, &mut json).ok()? < json.len() {
            return None;
        }
        let header = Header::parse(&json).ok()?;
        let position = Position::parse(header.said(NEXT)?)?;
        let sources = header.said(SOURCES)?.split_terminator(' ').map(SourceId::parse);
        let sources: Vec<_> = sources.take(MAX_SOURCES).collect::<Option<_>>()?;
        let is_covered = position.is_end() || position.file < sources.len();
        let found = PartialCopy { header, head: 8 + length, position, sources };
        (is_covered && found.bytes() <= size).then_some(found)
    }

    /// Bytes from the start of the copy to the end of the last complete tensor.
    pub fn bytes(&self) -> u64 {
        self.head + self.header.data_bytes()
    }

    /// Compares the copy with source files, of which the digests may be known. `None` if it was made of
    /// other files, or cannot be continued from these; else the indices of the files whose headers decide.
    pub fn compare(&self, sha256: &[Option<&str>]) -> Option<Vec<usize>> {
        let n = self.sources.len();
        let has_all = if self.position.is_end() { n == sha256.len() } else { n <= sha256.len() };
        // The digest of a resumed file can be verified only from the state that the copy saved.
        let has_no_digest = sha256.get(self.position.file).is_none_or(Option::is_none);
        let continues =
            has_no_digest || self.position.digest.is_some() || self.position.offset == 0;
        let mut undecided = Vec::new();
        for (i, (source, sha256)) in self.sources.iter().zip(sha256).enumerate() {
            match source.has_digest(*sha256) {
                Some(true) => {}
                Some(false) => return None,
                // The header alone would not tell two fine-tunes apart.
                None if sha256.is_some() => return None,
                None => undecided.push(i),
            }
        }
        (has_all && continues).then_some(undecided)
    }

    /// Bytes of the sources that need not be read again. Units: bytes.
    pub fn received(&self) -> u64 {
        match self.position.is_end() {
            true => self.sources.iter().fold(0, |sum, source| sum.saturating_add(source.bytes)),
            false => self.position.before.saturating_add(self.position.offset),
        }
    }
}

/// State at the end of the last complete tensor.
#[derive(Clone, Default)]
struct Mark {
    n_tensors: usize,
    data_bytes: u64,
    digest: Digest,
    position: Position,
}

/// Writes one copy.
pub struct Writer {
    store: Box<dyn Store>,
    /// Bytes of prefix and header: the offset of the data.
    head: u64,
    tensors: Vec<TensorInfo>,
    sources: Vec<SourceId>,
    /// Length of the data section, staged bytes included.
    data_bytes: u64,
    staged: Vec<u8>,
    digest: Digest,
    mark: Mark,
    /// Data bytes at the last update of the header.
    saved: u64,
}

impl Writer {
    /// Starts a copy that will hold these tensors, in any order, from `n_sources` files.
    ///
    /// Errors: a header that would be longer than is accepted.
    pub fn new<'a>(
        store: Box<dyn Store>,
        tensors: impl Iterator<Item = (&'a str, Element, &'a [u64])>,
        n_sources: usize,
    ) -> Result<Writer, StoreError> {
        let widest = tensors.map(|(name, element, shape)| TensorInfo {
            name: name.into(),
            element: Ok(element),
            shape: shape.into(),
            start: MAX_OFFSET,
            end: MAX_OFFSET,
        });
        let header = Header { tensors: widest.collect(), metadata: Default::default() };
        let metadata = METADATA_BYTES + n_sources.min(MAX_SOURCES) * SOURCE_BYTES;
        let failed = |message: String| StoreError { name: "DataError".into(), message };
        let json = header.json().map_err(|error| failed(error.to_string()))?;
        let head = (8 + json.len() + metadata).next_multiple_of(8) as u64;
        if head - 8 > MAX_HEADER {
            return Err(failed(format!("header: expected at most {MAX_HEADER} bytes, got {head}")));
        }
        Ok(Writer {
            store,
            head,
            tensors: Vec::new(),
            sources: Vec::new(),
            data_bytes: 0,
            staged: Vec::new(),
            digest: Digest::default(),
            mark: Mark::default(),
            saved: 0,
        })
    }

    /// Continues `copy`; `digest` is the digest of its data.
    pub fn resume(store: Box<dyn Store>, copy: PartialCopy, digest: Digest) -> Writer {
        let PartialCopy { header, head, position, mut sources } = copy;
        // The file that is continued announces itself again.
        sources.truncate(position.file);
        let tensors = header.tensors;
        let data_bytes = tensors.last().map_or(0, |t| t.end);
        let n_tensors = tensors.len();
        let mark = Mark { n_tensors, data_bytes, digest: digest.clone(), position };
        Writer {
            store,
            head,
            tensors,
            sources,
            data_bytes,
            staged: Vec::new(),
            digest,
            mark,
            saved: data_bytes,
        }
    }

    /// Records the source file that the next tensors come from.
    pub fn source(&mut self, id: SourceId) {
        self.sources.push(id);
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

    /// Appends the next bytes of the current tensor.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        self.staged.extend_from_slice(bytes);
        self.data_bytes += bytes.len() as u64;
        if self.staged.len() >= STAGE { self.write_staged() } else { Ok(()) }
    }

    /// Ends the current tensor; `position` is where the sources continue.
    pub fn end(&mut self, position: Position) -> Result<(), StoreError> {
        let (n_tensors, data_bytes) = (self.tensors.len(), self.data_bytes);
        self.mark = Mark { n_tensors, data_bytes, digest: self.digest.clone(), position };
        if data_bytes - self.saved >= SAVE_BYTES { self.save() } else { Ok(()) }
    }

    /// Updates the header, so that the complete tensors can be resumed from.
    pub fn save(&mut self) -> Result<(), StoreError> {
        self.write_staged()?;
        let mark = self.mark.clone();
        self.write_header(&mark)?;
        self.saved = mark.data_bytes;
        self.store.flush()
    }

    /// Finishes the copy. Every tensor must have ended. It is still found by [`PartialCopy::find`], at
    /// the end of its sources, so a crash before its owner records it loses nothing.
    pub fn finish(&mut self) -> Result<Kept, StoreError> {
        self.write_staged()?;
        let mark = Mark {
            n_tensors: self.tensors.len(),
            data_bytes: self.data_bytes,
            digest: self.digest.clone(),
            position: Position::end(),
        };
        self.write_header(&mark)?;
        let bytes = self.head + mark.data_bytes;
        self.store.truncate(bytes)?;
        self.store.flush()?;
        Ok(Kept { bytes, sha256: mark.digest.hex() })
    }

    /// Empties the store.
    pub fn discard(&mut self) -> Result<(), StoreError> {
        self.store.truncate(0)?;
        self.store.flush()
    }

    /// Reads bytes of the copy back.
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

    fn write_header(&mut self, mark: &Mark) -> Result<(), StoreError> {
        let failed = |message: String| StoreError { name: "HeaderError".into(), message };
        let sources: Vec<String> = self.sources.iter().map(SourceId::text).collect();
        let metadata = [
            ("format", "pt".into()),
            (DATA_DIGEST, mark.digest.hex()),
            (NEXT, mark.position.text()),
            (SOURCES, sources.join(" ")),
        ];
        let metadata = metadata.map(|(name, value)| (name.to_string(), value.into()));
        let metadata = metadata.into_iter().collect();
        let tensors = self.tensors.iter().take(mark.n_tensors).cloned().collect();
        let header = Header { tensors, metadata };
        let json = header.json().map_err(|e| failed(e.to_string()))?;
        let mut bytes = (self.head - 8).to_le_bytes().to_vec();
        bytes.extend(json);
        let length = usize::try_from(self.head).unwrap_or(usize::MAX);
        if bytes.len() > length {
            return Err(failed("the header is longer than the space reserved for it".into()));
        }
        // The format allows spaces after the JSON.
        bytes.resize(length, b' ');
        self.store.write(0, &bytes)
    }
}
