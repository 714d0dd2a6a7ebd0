//! Bytes in pieces of any size ─▶ (tensor, bytes).

use crate::error::{Error, Result};

use super::digest::Digest;
use super::header::{Header, MAX_HEADER, TensorInfo};
use super::source::SourceId;

/// Metadata key of the SHA-256 of the data section, in files that Loupe wrote.
pub(super) const DATA_DIGEST: &str = "loupe.sha256";

/// What the reader returns, in file order.
#[derive(Debug)]
pub enum Event<'r, 'b> {
    /// The header is complete.
    Header(&'r Header),
    /// The next bytes of a tensor. The pieces of one tensor come in order and without gaps.
    Data {
        /// Index into the header's list.
        index: usize,
        /// The tensor that they belong to.
        tensor: &'r TensorInfo,
        /// The bytes.
        bytes: &'b [u8],
    },
}

/// Reads one safetensors file from pieces of any size. It buffers nothing but the header.
#[derive(Debug, Default)]
pub struct Reader {
    /// Length prefix and header, until the header is parsed.
    head: Vec<u8>,
    head_bytes: u64,
    header: Option<Header>,
    /// What identifies the file, once the header is parsed.
    id: Option<SourceId>,
    /// Index of the tensor that the next byte belongs to.
    current: usize,
    /// Bytes of the data section that have been read.
    position: u64,
    received: u64,
    /// Digest of the whole file, and its expected value.
    file: Option<(Digest, String)>,
    /// Digest of the data section, and the value in the header.
    data: Option<(Digest, String)>,
}

impl Reader {
    /// A reader at the start of a file. `sha256` is the expected digest of the whole file, if it is known.
    pub fn new(sha256: Option<&str>) -> Reader {
        let file = sha256.map(|hex| (Digest::default(), hex.to_ascii_lowercase()));
        Reader { file, ..Reader::default() }
    }

    /// Removes bytes from the front of `bytes` up to the next event; `None` once all are removed.
    ///
    /// Errors: `bad-header`.
    /// Source: the safetensors format: u64 little-endian length, JSON header, contiguous data.
    pub fn next<'r, 'b>(&'r mut self, bytes: &mut &'b [u8]) -> Result<Option<Event<'r, 'b>>> {
        if self.header.is_none() {
            return match self.take_head(bytes)? {
                true => Ok(self.header.as_ref().map(Event::Header)),
                false => Ok(None),
            };
        }
        let Some(header) = &self.header else { return Ok(None) };
        if bytes.is_empty() {
            return Ok(None);
        }
        while header.tensors.get(self.current).is_some_and(|t| t.end == self.position) {
            self.current += 1;
        }
        let index = self.current;
        let Some(tensor) = header.tensors.get(index) else {
            return Err(Error::BadHeader(format!(
                "{} bytes follow after the last tensor",
                bytes.len()
            )));
        };
        let rest = usize::try_from(tensor.end - self.position).unwrap_or(usize::MAX);
        let n = rest.min(bytes.len());
        let (piece, rest) = bytes.split_at(n);
        *bytes = rest;
        self.position += n as u64;
        self.received += n as u64;
        for (digest, _) in [&mut self.file, &mut self.data].into_iter().flatten() {
            digest.update(piece);
        }
        Ok(Some(Event::Data { index, tensor, bytes: piece }))
    }

    /// Length of the whole file, once its header is known. Units: bytes.
    pub fn file_bytes(&self) -> Option<u64> {
        self.header.as_ref().map(|header| self.head_bytes + header.data_bytes())
    }

    /// Offset of the next expected byte in the file.
    pub fn offset(&self) -> u64 {
        self.received
    }

    /// The running digest of the whole file, if its value is verified.
    pub fn file_digest(&self) -> Option<&Digest> {
        self.file.as_ref().map(|(digest, _)| digest)
    }

    /// The running digest of the data section, if the header has its value.
    pub fn data_digest(&self) -> Option<&Digest> {
        self.data.as_ref().map(|(digest, _)| digest)
    }

    /// What identifies the file, once its header is known.
    pub fn id(&self) -> Option<&SourceId> {
        self.id.as_ref()
    }

    /// After the header: continues at byte `offset` of the file, where a tensor begins or the file
    /// ends. `digest` is the digest of all bytes before it; without it the digest of the whole file
    /// cannot be verified.
    ///
    /// Errors: `corrupt` if no tensor begins at `offset`.
    pub fn seek(&mut self, offset: u64, digest: Option<Digest>) -> Result<()> {
        let changed =
            || Error::Corrupt("it changed since the download began; download it again".into());
        let header = self.header.as_ref().ok_or_else(changed)?;
        let position = offset.checked_sub(self.head_bytes).ok_or_else(changed)?;
        let begins = header.tensors.iter().position(|t| t.start == position);
        let ends = (position == header.data_bytes()).then_some(header.tensors.len());
        self.current = begins.or(ends).ok_or_else(changed)?;
        (self.position, self.received) = (position, offset);
        self.file = match (self.file.take(), digest) {
            (Some((_, expected)), Some(digest)) => Some((digest, expected)),
            _ => None,
        };
        self.data = None;
        Ok(())
    }

    /// Checks that the file is complete and has the expected digests.
    ///
    /// Errors: `truncated`, `corrupt`.
    pub fn finish(self) -> Result<()> {
        let expected = match self.file_bytes() {
            Some(bytes) => bytes,
            None => self.head_length()?.unwrap_or(8),
        };
        if self.received < expected {
            return Err(Error::Truncated { received: self.received, expected });
        }
        for (digest, expected) in [self.file, self.data].into_iter().flatten() {
            let found = digest.hex();
            if found != expected {
                return Err(Error::Corrupt(format!(
                    "SHA-256: expected {expected}, got {found}; download it again"
                )));
            }
        }
        Ok(())
    }

    /// Moves bytes of the length prefix and the header into `head`; true once the header is complete.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<bool> {
        for _ in 0..2 {
            let want = self.head_length()?.unwrap_or(8) - self.head.len() as u64;
            let n = usize::try_from(want).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(n);
            self.head.extend_from_slice(piece);
            self.received += n as u64;
            *bytes = rest;
        }
        if self.head_length()? != Some(self.head.len() as u64) {
            return Ok(false);
        }
        let header = Header::parse(self.head.get(8..).unwrap_or_default())?;
        let data = header.metadata.get(DATA_DIGEST);
        self.data = data.map(|hex| (Digest::default(), hex.clone()));
        if let Some((digest, _)) = &mut self.file {
            digest.update(&self.head);
        }
        self.head_bytes = self.head.len() as u64;
        let sha256 = self.file.as_ref().map(|(_, expected)| expected.clone());
        let bytes = self.head_bytes + header.data_bytes();
        self.id = Some(SourceId::new(bytes, &self.head, sha256));
        self.head = Vec::new();
        self.header = Some(header);
        Ok(true)
    }

    /// Bytes of the length prefix and the header together, once the prefix is known.
    fn head_length(&self) -> Result<Option<u64>> {
        let Some(prefix) = self.head.first_chunk::<8>() else { return Ok(None) };
        let n = u64::from_le_bytes(*prefix);
        if !(2..=MAX_HEADER).contains(&n) {
            return Err(Error::BadHeader(format!(
                "header length: expected 2 to {MAX_HEADER} bytes, got {n}"
            )));
        }
        Ok(Some(8 + n))
    }
}
