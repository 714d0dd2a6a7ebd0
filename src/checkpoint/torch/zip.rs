//! The parts of a zip file that a checkpoint needs: headers of entries, and the directory at the end.
//!
//! Source: APPNOTE.TXT of the zip format, 4.3 to 4.5; PyTorch writes entries uncompressed, often without
//! their sizes in front of them.

use crate::error::{Error, Result};

use super::super::header::{MAX_HEADER, MAX_OFFSET};
use super::Numbers;
use super::pickle::shown;

/// Begins an entry.
pub(super) const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// Begins the sizes that follow an entry.
pub(super) const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
/// Begins an entry of the directory.
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
/// Begins the end of the directory.
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";

/// Length of the fixed part of an entry's header.
pub(super) const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_BYTES: usize = 20;
/// Bytes at the end of the file that hold the end of the directory, with the longest comment.
const TAIL_BYTES: u64 = (1 << 16) + 128;
/// Longest accepted directory.
const MAX_DIRECTORY: u64 = 2 * MAX_HEADER;
/// Longest header of an entry with its name and extra fields.
const MAX_LOCAL: u64 = LOCAL_BYTES as u64 + 2 * 65535;

/// In place of a size: it stands in an extra field with 64 bits.
const WIDE: u64 = u32::MAX as u64;

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    let pair = bytes.get(at..).and_then(<[u8]>::first_chunk);
    pair.map_or(0, |&pair| u16::from_le_bytes(pair).into())
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk);
    four.map_or(0, |&four| u32::from_le_bytes(four).into())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(<[u8]>::first_chunk);
    eight.map_or(0, |&eight| u64::from_le_bytes(eight))
}

fn is_at(bytes: &[u8], at: usize, signature: [u8; 4]) -> bool {
    bytes.get(at..).is_some_and(|bytes| bytes.starts_with(&signature))
}

/// Whether these are the first bytes of something that follows the last entry.
pub(super) fn is_directory(bytes: &[u8]) -> bool {
    [CENTRAL, END, END_64].iter().any(|signature| bytes.starts_with(signature))
}

/// Length of the header of an entry, by its fixed part. Units: bytes.
pub(super) fn local_length(fixed: &[u8]) -> usize {
    let length = u16_at(fixed, 26) + u16_at(fixed, 28);
    LOCAL_BYTES + usize::try_from(length).unwrap_or(usize::MAX)
}

/// The header of an entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its name without the first folder, which is named after the file.
    pub(super) name: String,
    /// Its length, where the header states it. Units: bytes.
    pub(super) size: Option<u64>,
}

impl Entry {
    /// Errors: `unsupported-model` for an entry that is compressed or encrypted, `bad-header`.
    pub(super) fn parse(header: &[u8]) -> Result<Entry> {
        let n_name = usize::try_from(u16_at(header, 26)).unwrap_or(usize::MAX);
        let (name, extra) = header
            .get(LOCAL_BYTES..)
            .and_then(|rest| rest.split_at_checked(n_name))
            .ok_or_else(|| bad("an entry without a name"))?;
        let name = entry_name(name)?;
        check_stored(&name, u16_at(header, 6), u16_at(header, 8))?;
        let (compressed, size) = (u32_at(header, 18), u32_at(header, 22));
        let has_descriptor = u16_at(header, 6) & 8 != 0;
        let size = match (size, wide(extra).first()) {
            (WIDE, Some(&size)) if size != 0 || !has_descriptor => Some(size),
            (WIDE, _) => None,
            (0, _) if has_descriptor => None,
            (size, _) if size == compressed => Some(size),
            _ => return Err(bad(&format!("entry {} has two sizes", shown(&name)))),
        };
        Ok(Entry { name, size })
    }
}

/// Errors: `bad-header`.
fn entry_name(name: &[u8]) -> Result<String> {
    let name = std::str::from_utf8(name).map_err(|_| bad("an entry's name is not UTF-8"))?;
    Ok(name.split_once('/').map_or(name, |(_, rest)| rest).into())
}

/// Errors: `unsupported-model`.
fn check_stored(name: &str, flags: u64, method: u64) -> Result<()> {
    let problem = match (flags & 1, method) {
        (0, 0) => return Ok(()),
        (0, method) => format!("compressed (method {method})"),
        _ => "encrypted".into(),
    };
    let name = shown(name);
    Err(Error::UnsupportedModel(format!(
        "entry {name} of the zip file is {problem}; torch.save writes entries as they are"
    )))
}

/// The numbers of 64 bits among the extra fields of an entry.
fn wide(mut extra: &[u8]) -> Vec<u64> {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let length = usize::try_from(u16_at(head, 2)).unwrap_or(usize::MAX);
        let Some((field, rest)) = rest.split_at_checked(length) else { break };
        if u16_at(head, 0) == 1 {
            return field.chunks_exact(8).map(|number| u64_at(number, 0)).collect();
        }
        extra = rest;
    }
    Vec::new()
}

/// Length of the sizes that follow an entry of `size` bytes, if that is known; they begin `bytes`.
/// [`MAX_DESCRIPTOR`] bytes are needed.
///
/// Errors: `bad-header`.
pub(super) fn descriptor_length(bytes: &[u8], size: Option<u64>) -> Result<usize> {
    let is_next =
        |at: usize| is_at(bytes, at, LOCAL) || is_directory(bytes.get(at..).unwrap_or(&[]));
    let narrow = (u32_at(bytes, 8), u32_at(bytes, 12));
    let wide = (u64_at(bytes, 8), u64_at(bytes, 16));
    let fits = |(compressed, plain): (u64, u64)| {
        compressed == plain && size.is_none_or(|size| size == plain)
    };
    match (is_next(16) && fits(narrow), is_next(24) && fits(wide)) {
        (true, _) => Ok(16),
        (_, true) => Ok(24),
        _ => Err(bad("the sizes after an entry contradict its length")),
    }
}

/// Bytes of the sizes after an entry and of the signature behind them.
pub(super) const MAX_DESCRIPTOR: usize = 28;
/// The length of an entry, if `bytes` end with the sizes after it: with those of 32 bits, or of 64 bits, which
/// entries behind 4 GiB have.
pub(super) fn size_before_descriptor(bytes: &[u8]) -> Option<usize> {
    let is_end = |length: usize, get: fn(&[u8], usize) -> u64, width: usize| {
        let at = bytes.len().checked_sub(length)?;
        let fits = get(bytes, at + 8) == at as u64 && get(bytes, at + 8 + width) == at as u64;
        (is_at(bytes, at, DESCRIPTOR) && fits).then_some(at)
    };
    is_end(16, u32_at, 4).or_else(|| is_end(24, u64_at, 8))
}

/// What the directory at the end of a zip file says of its entries, and the pickle that one of them is.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// By name, without the first folder. Units: bytes.
    sizes: Numbers,
    /// The bytes from the header of `data.pkl` on, up to the next entry or further.
    pub(super) pickle: Vec<u8>,
}

impl Directory {
    /// Whether these are the first bytes of a zip file. Shapes: 4 bytes or more.
    pub fn is_zip(start: &[u8]) -> bool {
        start.starts_with(&LOCAL)
    }

    /// The length of an entry. Units: bytes.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.sizes.get(name).copied()
    }
}

/// Bytes of a file: the first, and how many.
pub type Range = (u64, u64);

/// Reads the [`Directory`] of a zip file of which any bytes can be read.
#[derive(Debug)]
pub struct DirectoryReader {
    bytes: u64,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Tail,
    Directory(Range),
    Pickle(Range, Directory),
}

impl DirectoryReader {
    /// For a file of `bytes` bytes.
    pub fn new(bytes: u64) -> DirectoryReader {
        DirectoryReader { bytes, step: Step::Tail }
    }

    /// The bytes that [`DirectoryReader::take`] takes next.
    pub fn wants(&self) -> Range {
        match &self.step {
            Step::Tail => {
                let n = self.bytes.min(TAIL_BYTES);
                (self.bytes - n, n)
            }
            Step::Directory(range) | Step::Pickle(range, _) => *range,
        }
    }

    /// Takes the bytes that it wants; the directory, once it is complete.
    ///
    /// Errors: `truncated`, `bad-header`, `unsupported-model`.
    pub fn take(&mut self, bytes: Vec<u8>) -> Result<Option<Directory>> {
        let (start, n) = self.wants();
        if (bytes.len() as u64) < n {
            let received = start.saturating_add(bytes.len() as u64);
            return Err(Error::Truncated { received, expected: start.saturating_add(n) });
        }
        self.step = match std::mem::replace(&mut self.step, Step::Tail) {
            Step::Tail => {
                let range = directory_in(&bytes, start)?;
                if !is_inside(range, self.bytes) || range.1 > MAX_DIRECTORY {
                    return Err(bad("its directory lies outside of it"));
                }
                Step::Directory(range)
            }
            Step::Directory(range) => {
                let (sizes, pickle) = entries_of(&bytes, range.0)?;
                Step::Pickle(pickle, Directory { sizes, pickle: Vec::new() })
            }
            Step::Pickle(_, directory) => {
                return Ok(Some(Directory { pickle: bytes, ..directory }));
            }
        };
        Ok(None)
    }
}

fn is_inside((start, n): Range, bytes: u64) -> bool {
    start.checked_add(n).is_some_and(|end| end <= bytes)
}

/// Where the directory is, by the last bytes of the file, which begin at byte `start`.
///
/// Errors: `truncated` if they are not the end of a zip file.
fn directory_in(tail: &[u8], start: u64) -> Result<Range> {
    let is_end = |&at: &usize| {
        let length = u16_at(tail, at + 20);
        is_at(tail, at, END) && (at + END_BYTES) as u64 + length == tail.len() as u64
    };
    let at = (0..tail.len().saturating_sub(END_BYTES - 1)).rev().find(is_end);
    let at = at.ok_or(Error::NoEnd("the directory of a zip file"))?;
    let locator = at.checked_sub(LOCATOR_BYTES).filter(|&at| is_at(tail, at, LOCATOR_64));
    let Some(locator) = locator else { return Ok((u32_at(tail, at + 16), u32_at(tail, at + 12))) };
    let end = u64_at(tail, locator + 8).checked_sub(start);
    let end = end.and_then(|end| usize::try_from(end).ok());
    let end = end.filter(|&end| is_at(tail, end, END_64) && tail.len() - end >= END_64_BYTES);
    let end = end.ok_or_else(|| bad("the end of its directory is not where it says"))?;
    Ok((u64_at(tail, end + 48), u64_at(tail, end + 40)))
}

/// The sizes of the entries, and where `data.pkl` is; the directory begins at byte `start`.
///
/// Errors: `unsupported-model` for an entry that is compressed or encrypted, `bad-header`.
fn entries_of(mut directory: &[u8], start: u64) -> Result<(Numbers, Range)> {
    let (mut sizes, mut pickle, mut starts) = (Numbers::new(), None, Vec::new());
    while directory.starts_with(&CENTRAL) {
        let lengths = [28, 30, 32].map(|at| usize::try_from(u16_at(directory, at)));
        let [n_name, n_extra, n_comment] = lengths.map(|n| n.unwrap_or(usize::MAX));
        let end = CENTRAL_BYTES + n_name + n_extra + n_comment;
        let (entry, rest) =
            directory.split_at_checked(end).ok_or_else(|| bad("its directory is cut"))?;
        let (name, extra) = entry
            .get(CENTRAL_BYTES..)
            .and_then(|rest| rest.split_at_checked(n_name))
            .ok_or_else(|| bad("its directory is cut"))?;
        let name = entry_name(name)?;
        check_stored(&name, u16_at(entry, 8), u16_at(entry, 10))?;
        let mut wide = wide(extra).into_iter();
        // In this order they stand in the extra field, where they do.
        let mut number = |at: usize| match u32_at(entry, at) {
            WIDE => wide.next().unwrap_or(WIDE),
            number => number,
        };
        let (size, compressed, offset) = (number(24), number(20), number(42));
        if size != compressed || size > MAX_OFFSET || !is_inside((offset, size), start) {
            return Err(bad(&format!("entry {} has no possible size or place", shown(&name))));
        }
        starts.push(offset);
        if name == "data.pkl" {
            pickle = Some((offset, size));
        }
        if sizes.insert(name.clone(), size).is_some() {
            return Err(bad(&format!("entry {} is there twice", shown(&name))));
        }
        directory = rest;
    }
    let (offset, size) = pickle.ok_or_else(no_pickle)?;
    if size > MAX_HEADER {
        return Err(bad(&format!("data.pkl: expected at most {MAX_HEADER} bytes, got {size}")));
    }
    let next = starts.into_iter().filter(|&at| at > offset).min().unwrap_or(start);
    Ok((sizes, (offset, next.saturating_sub(offset).min(size + MAX_LOCAL))))
}

/// The error for a zip file that is not a checkpoint.
pub(super) fn no_pickle() -> Error {
    bad("it has no data.pkl, so torch.save did not write it")
}

pub(super) fn bad(reason: &str) -> Error {
    Error::BadHeader(format!("zip: {reason}"))
}
