//! Bytes in pieces of any size ─▶ (tensor, bytes), whatever the format of the file.

use crate::error::{Error, Result};

use super::digest::Digest;
use super::header::Event;
use super::safetensors::Safetensors;
use super::source::SourceId;
use super::torch::{Directory, Torch};

/// Bytes that tell the format of a file.
const MAGIC_BYTES: usize = 4;

/// The format of a file, once its first bytes are known.
#[derive(Debug)]
enum Format {
    Safetensors(Box<Safetensors>),
    Torch(Box<Torch>),
}

impl Format {
    /// A safetensors file begins with the length of its header, which is so short that its fourth byte is
    /// zero. That of a zip file is not, nor that of what `torch.save` wrote before version 1.6.
    fn of(start: &[u8]) -> Format {
        match start {
            [0x80, 2..=5, _, 1..=255] => Format::Torch(Box::new(Torch::new(false))),
            _ if Directory::is_zip(start) => Format::Torch(Box::new(Torch::new(true))),
            _ => Format::Safetensors(Box::default()),
        }
    }
}

/// Reads one file of weights from pieces of any size: a safetensors file, or what `torch.save` writes. It
/// buffers headers, and elements of PyTorch's tensors only where they are in another order.
#[derive(Debug, Default)]
pub struct Reader {
    /// The first bytes, until the format is known.
    start: Vec<u8>,
    format: Option<Format>,
    received: u64,
    /// Digest of the whole file, and its expected value.
    file: Option<(Digest, String)>,
}

impl Reader {
    /// A reader at the start of a file. `sha256` is the expected digest of the whole file, if it is known.
    pub fn new(sha256: Option<&str>) -> Reader {
        let file = sha256.map(|hex| (Digest::default(), hex.to_ascii_lowercase()));
        Reader { file, ..Reader::default() }
    }

    /// Before the first byte: uses the directory of a zip file, so that it can be read in whatever order its
    /// entries are. Without it, `data.pkl` must come first, as `torch.save` writes it.
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    pub fn set_directory(&mut self, directory: Directory) -> Result<()> {
        let mut torch = Torch::new(true);
        torch.set_directory(directory)?;
        self.format = Some(Format::Torch(Box::new(torch)));
        Ok(())
    }

    /// After the header: chooses the tensors that are wanted, by name. What is not wanted may be left out.
    ///
    /// Errors: `unsupported-model` for tensors that cannot be put in order within the memory for it.
    pub fn choose(&mut self, is_wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        match &mut self.format {
            Some(Format::Torch(torch)) => torch.choose(is_wanted),
            _ => Ok(()),
        }
    }

    /// Removes bytes from the front of `bytes` up to the next event; `None` once all are removed.
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    pub fn next<'r, 'b: 'r>(&'r mut self, bytes: &mut &'b [u8]) -> Result<Option<Event<'r>>> {
        let before = *bytes;
        if self.format.is_none() {
            let missing = MAGIC_BYTES - self.start.len();
            let (front, rest) = bytes.split_at(missing.min(bytes.len()));
            self.start.extend_from_slice(front);
            *bytes = rest;
            if self.start.len() == MAGIC_BYTES {
                let mut format = Format::of(&self.start);
                let mut start = &self.start[..];
                match &mut format {
                    Format::Safetensors(file) => file.next(&mut start).map(|_| ())?,
                    Format::Torch(file) => file.next(&mut start).map(|_| ())?,
                }
                self.format = Some(format);
            }
        }
        let event = match &mut self.format {
            Some(Format::Safetensors(file)) => file.next(bytes),
            Some(Format::Torch(file)) => file.next(bytes),
            None => Ok(None),
        };
        let n = before.len() - bytes.len();
        self.received += n as u64;
        if let (Some((digest, _)), Some(taken)) = (&mut self.file, before.get(..n)) {
            digest.update(taken);
        }
        event
    }

    /// Length of the whole file, once its header is known; that of a zip file without the headers of its
    /// entries. Units: bytes.
    pub fn file_bytes(&self) -> Option<u64> {
        match self.format.as_ref()? {
            Format::Safetensors(file) => file.file_bytes(),
            Format::Torch(file) => file.file_bytes(),
        }
    }

    /// Offset of the next expected byte in the file.
    pub fn offset(&self) -> u64 {
        self.received
    }

    /// Whether a reader can continue at this offset: no tensor is received in part.
    pub fn is_between(&self) -> bool {
        match &self.format {
            Some(Format::Safetensors(file)) => file.is_between(),
            Some(Format::Torch(file)) => file.is_between(),
            None => false,
        }
    }

    /// Whether nothing of the file that a model could need is missing.
    pub fn is_complete(&self) -> bool {
        match &self.format {
            Some(Format::Safetensors(file)) => file.is_complete(),
            Some(Format::Torch(file)) => file.is_complete(),
            None => false,
        }
    }

    /// The running digest of the whole file, if its value is verified.
    pub fn file_digest(&self) -> Option<&Digest> {
        self.file.as_ref().map(|(digest, _)| digest)
    }

    /// The running digest of the data section, if the header has its value.
    pub fn data_digest(&self) -> Option<&Digest> {
        match self.format.as_ref()? {
            Format::Safetensors(file) => file.data_digest(),
            Format::Torch(_) => None,
        }
    }

    /// What identifies the file, once its header is known.
    pub fn id(&self) -> Option<SourceId> {
        let bytes = self.file_bytes()?;
        let header_sha256 = match self.format.as_ref()? {
            Format::Safetensors(file) => file.header_sha256(),
            Format::Torch(file) => file.header_sha256(),
        };
        let sha256 = self.file.as_ref().map(|(_, expected)| expected.clone());
        Some(SourceId { bytes, header_sha256, sha256 })
    }

    /// After the header: continues at byte `offset` of the file, where a tensor begins or the file
    /// ends. `digest` is the digest of all bytes before it; without it the digest of the whole file
    /// cannot be verified.
    ///
    /// Errors: `corrupt` if no tensor begins at `offset`.
    pub fn seek(&mut self, offset: u64, digest: Option<Digest>) -> Result<()> {
        let is_found = match &mut self.format {
            Some(Format::Safetensors(file)) => file.seek(offset),
            Some(Format::Torch(file)) => file.seek(offset),
            None => false,
        };
        if !is_found {
            let changed = "it changed since the download began; download it again";
            return Err(Error::Corrupt(changed.into()));
        }
        self.received = offset;
        self.file = match (self.file.take(), digest) {
            (Some((_, expected)), Some(digest)) => Some((digest, expected)),
            _ => None,
        };
        Ok(())
    }

    /// Checks that the file is complete and has the expected digests.
    ///
    /// Errors: `truncated`, `corrupt`.
    pub fn finish(self) -> Result<()> {
        if !self.is_complete() {
            let received = self.received;
            let expected = match &self.format {
                Some(Format::Safetensors(file)) => file.expected()?,
                Some(Format::Torch(_)) => self.file_bytes().unwrap_or(0),
                None => 8,
            };
            return Err(match expected > received {
                true => Error::Truncated { received, expected },
                false => Error::NoEnd("the rest of its pickles or the directory of a zip file"),
            });
        }
        if let Some(Format::Safetensors(file)) = &self.format {
            file.check_data()?;
        }
        self.file.map_or(Ok(()), |(digest, expected)| digest.check(&expected))
    }
}
