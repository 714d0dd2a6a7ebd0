//! The bytes of a pickle: operations and their operands.

use crate::error::Result;

use super::{MAX_LINE, V, Value, bad};

/// Longest accepted text. Units: bytes.
const MAX_TEXT: usize = 64 << 10;

/// The bytes after the code of an operation.
pub(super) struct Operand<'a> {
    pub(super) rest: &'a [u8],
    pub(super) used: usize,
}

impl<'a> Operand<'a> {
    pub(super) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        self.used += n;
        Some(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.first_chunk().copied()
    }

    /// A text up to the end of its line.
    ///
    /// Errors: `bad-header`.
    pub(super) fn line(&mut self) -> Result<Option<&'a str>> {
        let most = self.rest.get(..MAX_LINE).unwrap_or(self.rest);
        match most.iter().position(|&byte| byte == b'\n') {
            Some(n) => {
                let line = self.bytes(n + 1).and_then(|line| line.get(..n));
                let text = line.and_then(|line| std::str::from_utf8(line).ok());
                text.map(Some).ok_or_else(|| bad("a name that is not UTF-8"))
            }
            None if most.len() == MAX_LINE => Err(bad("a name that is too long")),
            None => Ok(None),
        }
    }
}

pub(super) const PROTO: u8 = 0x80;
pub(super) const STOP: u8 = b'.';

/// A number of any length, lowest byte first, in two's complement.
pub(super) fn long(bytes: &[u8]) -> Value {
    let is_negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if is_negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            V::Int(i64::from_le_bytes(wide))
        }
        None => V::Long(bytes.to_vec()),
    }
}

/// Errors: `bad-header`.
pub(super) fn text_length(n: u32) -> Result<usize> {
    let n = usize::try_from(n).ok().filter(|&n| n <= MAX_TEXT);
    n.ok_or_else(|| bad("a text that is too long"))
}

/// Errors: `bad-header`.
pub(super) fn text(bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad("a text that is not UTF-8"))?;
    Ok(V::Text(text.into()))
}

/// A text of the file as an error shows it.
pub(in crate::checkpoint::torch) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// The name of an operation that tensors do not need.
///
/// Source: `Lib/pickletools.py` of Python.
pub(super) fn operation(code: u8) -> String {
    let known = match code {
        b'0' => "POP",
        b'2' => "DUP",
        b'B' | b'C' => "BINBYTES",
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 | 0x92 => "NEWOBJ",
        0x82..=0x84 => "EXT",
        0x8b => "LONG4",
        0x93 => "STACK_GLOBAL",
        0x94 => "MEMOIZE",
        0x95 => "FRAME",
        _ => return format!("0x{code:02x}"),
    };
    known.into()
}
