//! The part of Python's pickle format that tensors need. A pickle is a program; this interpreter knows the
//! few operations and names that tensors consist of and refuses every other. It imports and calls nothing.

mod operand;
mod tensors;

use crate::error::{Error, Result};

use super::{Numbers, to_usize};
use operand::{Operand, PROTO, STOP, long, operation, text, text_length};
use tensors::Global;

pub(super) use operand::shown;
pub(super) use tensors::{Contents, Storage, View};

/// Largest accepted number of values, and of values on the stack. The pickle of CTRL
/// makes about 15,000.
const MAX_VALUES: usize = 1 << 17;
/// Longest accepted name of a module, an attribute or a storage. Units: bytes.
const MAX_LINE: usize = 256;

/// A value, by the indices of its parts: a pickle nests values without limit, and nothing here recurses.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    /// A number that does not fit 64 bits: its bytes, lowest first.
    Long(Vec<u8>),
    Text(String),
    Tuple(Vec<usize>),
    List(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

use self::Value as V;

/// Interprets the pickles of one file, from bytes in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Machine {
    values: Vec<Value>,
    stack: Vec<usize>,
    /// Heights of the stack at which marks lie.
    marks: Vec<usize>,
    /// By the pickler's numbers, which begin at 0, or at 1 in Python 2.
    memo: Vec<Option<usize>>,
    storages: Vec<Storage>,
    by_key: Numbers,
    tensors: Vec<View>,
    /// Entries of dictionaries that were made of lists.
    n_pairs: usize,
    /// Whether an operation of the current pickle was read.
    has_begun: bool,
}

impl Machine {
    /// Interprets the complete operations at the start of `bytes`. Returns the bytes used, and the value of
    /// the pickle once it ends.
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    pub(super) fn run(&mut self, bytes: &[u8]) -> Result<(usize, Option<usize>)> {
        let mut at = 0;
        while let Some((&code, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) {
            if !std::mem::replace(&mut self.has_begun, true) && code != PROTO {
                return Err(bad("a pickle does not begin with its protocol"));
            }
            if code == STOP {
                let value = self.pop()?;
                let is_clean = self.stack.is_empty() && self.marks.is_empty();
                self.has_begun = false;
                self.memo.clear();
                return match is_clean {
                    true => Ok((at + 1, Some(value))),
                    false => Err(bad("a pickle ends with more than one value")),
                };
            }
            let Some(used) = self.step(code, rest)? else { break };
            at += 1 + used;
        }
        Ok((at, None))
    }

    /// A value that [`Machine::run`] returned.
    pub(super) fn value(&self, index: usize) -> &Value {
        self.values.get(index).unwrap_or(&V::None)
    }

    /// The entry `name` of a dictionary.
    pub(super) fn entry(&self, dict: usize, name: &str) -> Option<usize> {
        let V::Dict(entries) = self.value(dict) else { return None };
        let is_it = |key: usize| matches!(self.value(key), V::Text(text) if text == name);
        entries.iter().rev().find(|(key, _)| is_it(*key)).map(|&(_, value)| value)
    }

    /// Runs one operation; `None` if its bytes are not complete, else the bytes it used after its code.
    fn step(&mut self, code: u8, rest: &[u8]) -> Result<Option<usize>> {
        let mut operand = Operand { rest, used: 0 };
        // `None` of an operand: more bytes are needed.
        macro_rules! take {
            ($operand:expr) => {
                match $operand {
                    Some(value) => value,
                    None => return Ok(None),
                }
            };
        }
        let made = match code {
            PROTO => {
                let [version] = take!(operand.array::<1>());
                if !(2..=5).contains(&version) {
                    return Err(unknown(&format!("pickle protocol {version}")));
                }
                None
            }
            b'N' => Some(V::None),
            0x88 => Some(V::Bool(true)),
            0x89 => Some(V::Bool(false)),
            b'J' => Some(V::Int(i32::from_le_bytes(take!(operand.array())).into())),
            b'K' => Some(V::Int(u8::from_le_bytes(take!(operand.array())).into())),
            b'M' => Some(V::Int(u16::from_le_bytes(take!(operand.array())).into())),
            0x8a => {
                let [n] = take!(operand.array::<1>());
                let bytes = take!(operand.bytes(n.into()));
                Some(long(bytes))
            }
            b'G' => {
                take!(operand.array::<8>());
                Some(V::Float)
            }
            b'X' | b'T' => {
                let n = u32::from_le_bytes(take!(operand.array()));
                let bytes = take!(operand.bytes(text_length(n)?));
                Some(text(bytes)?)
            }
            0x8c | b'U' => {
                let [n] = take!(operand.array::<1>());
                let bytes = take!(operand.bytes(n.into()));
                Some(text(bytes)?)
            }
            b'c' => {
                let module = take!(operand.line()?);
                let name = take!(operand.line()?);
                let global = Global::of(module, name).ok_or_else(|| {
                    let found = shown(&format!("{module}.{name}"));
                    unknown(&format!("{found}, which is not part of a tensor that it reads"))
                })?;
                Some(V::Global(global))
            }
            b'(' => {
                if self.marks.len() >= MAX_VALUES {
                    return Err(too_many());
                }
                self.marks.push(self.stack.len());
                None
            }
            b']' => Some(V::List(Vec::new())),
            b'}' => Some(V::Dict(Vec::new())),
            b')' => Some(V::Tuple(Vec::new())),
            0x85..=0x87 => {
                let n = usize::from(code - 0x84);
                let height = self.stack.len().checked_sub(n).ok_or_else(empty)?;
                let parts = self.above(height)?;
                Some(V::Tuple(parts))
            }
            b't' => {
                let parts = self.above_mark()?;
                Some(V::Tuple(parts))
            }
            b'a' => {
                let part = self.pop()?;
                self.extend_list(&[part])?;
                None
            }
            b'e' => {
                let parts = self.above_mark()?;
                self.extend_list(&parts)?;
                None
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])?;
                None
            }
            b'u' => {
                let parts = self.above_mark()?;
                self.extend_dict(&parts)?;
                None
            }
            b'q' => {
                let [key] = take!(operand.array::<1>());
                self.remember(key.into())?;
                None
            }
            b'r' => {
                let key = u32::from_le_bytes(take!(operand.array()));
                self.remember(key)?;
                None
            }
            b'h' => {
                let [key] = take!(operand.array::<1>());
                self.recall(key.into())?;
                None
            }
            b'j' => {
                let key = u32::from_le_bytes(take!(operand.array()));
                self.recall(key)?;
                None
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                Some(V::Storage(storage))
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                Some(self.reduce(callable, arguments)?)
            }
            b'b' => {
                // The state of an OrderedDict holds `_metadata`, versions that nothing here needs.
                self.pop()?;
                let target = self.stack.last().map(|&index| self.value(index));
                if !matches!(target, Some(V::Dict(_))) {
                    return Err(unknown("a state of something that is not a dictionary"));
                }
                None
            }
            other => return Err(unknown(&format!("the pickle operation {}", operation(other)))),
        };
        if let Some(value) = made {
            self.push(value)?;
        }
        Ok(Some(operand.used))
    }

    fn push(&mut self, value: Value) -> Result<()> {
        if self.values.len() >= MAX_VALUES {
            return Err(too_many());
        }
        self.values.push(value);
        self.push_index(self.values.len() - 1)
    }

    fn push_index(&mut self, index: usize) -> Result<()> {
        if self.stack.len() >= MAX_VALUES {
            return Err(too_many());
        }
        self.stack.push(index);
        Ok(())
    }

    fn pop(&mut self) -> Result<usize> {
        let is_above = self.marks.last().is_none_or(|&mark| self.stack.len() > mark);
        self.stack.pop().filter(|_| is_above).ok_or_else(empty)
    }

    /// Removes the values above `height`, none of which lies under a mark.
    fn above(&mut self, height: usize) -> Result<Vec<usize>> {
        match self.marks.last().is_none_or(|&mark| height >= mark) && height <= self.stack.len() {
            true => Ok(self.stack.split_off(height)),
            false => Err(empty()),
        }
    }

    fn above_mark(&mut self) -> Result<Vec<usize>> {
        let mark = self.marks.pop().ok_or_else(empty)?;
        self.above(mark)
    }

    fn top(&mut self) -> Result<&mut Value> {
        let index = *self.stack.last().ok_or_else(empty)?;
        self.values.get_mut(index).ok_or_else(empty)
    }

    fn extend_list(&mut self, parts: &[usize]) -> Result<()> {
        match self.top()? {
            V::List(list) => list.extend_from_slice(parts),
            _ => return Err(bad("something is appended to what is not a list")),
        }
        Ok(())
    }

    fn extend_dict(&mut self, parts: &[usize]) -> Result<()> {
        let (pairs, rest) = parts.as_chunks::<2>();
        match self.top()? {
            V::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|&[k, v]| (k, v))),
            _ => return Err(bad("an entry is set in what is not a dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        let index = *self.stack.last().ok_or_else(empty)?;
        let place = to_usize(key.into());
        if place >= MAX_VALUES {
            return Err(too_many());
        }
        if place > self.memo.len() + 1 {
            return Err(bad("a value is remembered out of order"));
        }
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        if let Some(known) = self.memo.get_mut(place) {
            *known = Some(index);
        }
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        let index = self.memo.get(to_usize(key.into())).copied().flatten();
        let index = index.ok_or_else(|| bad("a value is used before it is made"))?;
        self.push_index(index)
    }

    fn tuple(&self, index: usize) -> Option<&[usize]> {
        match self.value(index) {
            V::Tuple(parts) => Some(parts),
            _ => None,
        }
    }
}

/// What a tensor does not need is refused by name.
#[cold]
#[inline(never)]
fn unknown(found: &str) -> Error {
    Error::UnsupportedModel(format!(
        "its pickle names {found}; Loupe reads only tensors and runs nothing"
    ))
}

#[cold]
#[inline(never)]
fn bad(reason: &str) -> Error {
    Error::BadHeader(format!("pickle: {reason}"))
}

#[cold]
#[inline(never)]
fn empty() -> Error {
    bad("an operation needs more values than there are")
}

#[cold]
#[inline(never)]
fn too_many() -> Error {
    bad("more values than any model needs")
}
