//! The bytes of a safetensors file: u64 little-endian length, JSON header, contiguous data.

use crate::error::{Error, Result};

use super::digest::Digest;
use super::header::{Event, Header, MAX_HEADER};

/// Metadata key of the SHA-256 of the data section, in files that Loupe wrote.
pub(super) const DATA_DIGEST: &str = "loupe.sha256";

/// Reads one file from pieces of any size. It buffers nothing but the header.
#[derive(Debug, Default)]
pub(super) struct Safetensors {
    /// Length prefix and header, until the header is parsed.
    head: Vec<u8>,
    head_bytes: u64,
    /// SHA-256 of length prefix and header.
    head_sha256: String,
    header: Option<Header>,
    /// Index of the tensor that the next byte belongs to.
    current: usize,
    /// Bytes of the data section that have been read.
    position: u64,
    /// Digest of the data section, and the value in the header.
    data: Option<(Digest, String)>,
}

impl Safetensors {
    /// SHA-256 of length prefix and header.
    pub(super) fn header_sha256(&self) -> String {
        self.head_sha256.clone()
    }

    /// Length of the file, once its header is known. Units: bytes.
    pub(super) fn file_bytes(&self) -> Option<u64> {
        self.header.as_ref().map(|header| self.head_bytes + header.data_bytes())
    }

    /// The running digest of the data section, if the header has its value.
    pub(super) fn data_digest(&self) -> Option<&Digest> {
        self.data.as_ref().map(|(digest, _)| digest)
    }

    /// Whether the last byte taken ended a tensor.
    pub(super) fn is_between(&self) -> bool {
        let tensors = self.header.iter().flat_map(|header| &header.tensors);
        tensors.skip(self.current).map(|t| t.end).next() == Some(self.position)
            || self.is_complete()
    }

    /// Whether every byte was received.
    pub(super) fn is_complete(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.data_bytes() == self.position)
    }

    /// Length of the file, or of what is known to come. Units: bytes.
    ///
    /// Errors: `bad-header`.
    pub(super) fn expected(&self) -> Result<u64> {
        match self.file_bytes() {
            Some(bytes) => Ok(bytes),
            None => Ok(self.head_length()?.unwrap_or(8)),
        }
    }

    /// Continues at byte `offset` of the file; false if no tensor begins there.
    pub(super) fn seek(&mut self, offset: u64) -> bool {
        let (Some(header), Some(position)) = (&self.header, offset.checked_sub(self.head_bytes))
        else {
            return false;
        };
        let begins = header.tensors.iter().position(|t| t.start == position);
        let ends = (position == header.data_bytes()).then_some(header.tensors.len());
        let Some(current) = begins.or(ends) else { return false };
        (self.current, self.position, self.data) = (current, position, None);
        true
    }

    /// Compares the digest of the data section with the one in the header.
    ///
    /// Errors: `corrupt`.
    pub(super) fn check_data(&self) -> Result<()> {
        self.data.as_ref().map_or(Ok(()), |(digest, expected)| digest.check(expected))
    }

    /// As [`super::Reader::next`].
    pub(super) fn next<'r, 'b: 'r>(
        &'r mut self,
        bytes: &mut &'b [u8],
    ) -> Result<Option<Event<'r>>> {
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
        let (piece, rest) = bytes.split_at(rest.min(bytes.len()));
        *bytes = rest;
        self.position += piece.len() as u64;
        if let Some((digest, _)) = &mut self.data {
            digest.update(piece);
        }
        Ok(Some(Event::Data { index, tensor, bytes: piece }))
    }

    /// Moves bytes of the length prefix and the header into `head`; true once the header is complete.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<bool> {
        for _ in 0..2 {
            let want = self.head_length()?.unwrap_or(8) - self.head.len() as u64;
            let n = usize::try_from(want).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(n);
            self.head.extend_from_slice(piece);
            *bytes = rest;
        }
        if self.head_length()? != Some(self.head.len() as u64) {
            return Ok(false);
        }
        let header = Header::parse(self.head.get(8..).unwrap_or_default())?;
        let data = header.said(DATA_DIGEST);
        self.data = data.map(|hex| (Digest::default(), hex.to_string()));
        self.head_bytes = self.head.len() as u64;
        let mut digest = Digest::default();
        digest.update(&self.head);
        self.head_sha256 = digest.hex();
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
