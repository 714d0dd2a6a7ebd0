//! The part of Python's pickle format that tensors need. A pickle is a program; this interpreter knows the
//! few operations and names that tensors consist of and refuses every other. It imports and calls nothing.

use std::collections::HashSet;

use crate::error::{Error, Result};

use super::super::header::{Element, MAX_OFFSET, MAX_RANK};
use super::{Numbers, to_usize};

/// Largest accepted number of values, and of values on the stack. The pickle of CTRL
/// makes about 15,000.
const MAX_VALUES: usize = 1 << 17;
/// Largest accepted number of tensors. GPT-2 XL has 581.
const MAX_TENSORS: usize = 1 << 14;
/// Longest accepted name of a module, an attribute or a storage. Units: bytes.
const MAX_LINE: usize = 256;
/// Longest accepted text. Units: bytes.
const MAX_TEXT: usize = 64 << 10;

/// The element type of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StorageType {
    /// Name of the type in PyTorch, such as `FloatStorage`.
    name: &'static str,
    /// Name in a safetensors header.
    dtype: &'static str,
    /// Bytes of one element.
    pub(super) size: u64,
}

/// Source: `torch/storage.py`, `_dtype_to_storage_type_map`.
const STORAGE_TYPES: [StorageType; 9] = [
    StorageType { name: "FloatStorage", dtype: "F32", size: 4 },
    StorageType { name: "HalfStorage", dtype: "F16", size: 2 },
    StorageType { name: "BFloat16Storage", dtype: "BF16", size: 2 },
    StorageType { name: "DoubleStorage", dtype: "F64", size: 8 },
    StorageType { name: "LongStorage", dtype: "I64", size: 8 },
    StorageType { name: "IntStorage", dtype: "I32", size: 4 },
    StorageType { name: "CharStorage", dtype: "I8", size: 1 },
    StorageType { name: "ByteStorage", dtype: "U8", size: 1 },
    StorageType { name: "BoolStorage", dtype: "BOOL", size: 1 },
];

impl StorageType {
    /// The element type, or the name of a type that Loupe does not read.
    pub(super) fn element(self) -> std::result::Result<Element, String> {
        let known = [Element::F32, Element::F16, Element::Bf16];
        let element = known.into_iter().find(|element| element.name() == self.dtype);
        element.ok_or_else(|| self.dtype.to_string())
    }
}

/// Elements that tensors share.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) kind: StorageType,
    /// Number of elements.
    pub(super) n: u64,
}

impl Storage {
    /// Units: bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.n * self.kind.size
    }
}

/// A tensor: which elements of a storage it has, in which order. Offset and strides count elements.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) storage: usize,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// What the pickle of a file contains.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) storages: Vec<Storage>,
    /// Place of a storage by its key.
    pub(super) by_key: Numbers,
    /// In the order of the pickle.
    pub(super) tensors: Vec<(String, View)>,
}

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(StorageType),
}

impl Global {
    fn of(module: &str, name: &str) -> Option<Global> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Global::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => {
                Some(Global::RebuildTensor)
            }
            ("torch._utils", "_rebuild_parameter") => Some(Global::RebuildParameter),
            ("torch", _) => STORAGE_TYPES.into_iter().find(|t| t.name == name).map(Global::Storage),
            _ => None,
        }
    }
}

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

    /// The storages that a list names; `None` if it is not a list of their names.
    pub(super) fn storages_of(&self, list: usize) -> Option<Vec<usize>> {
        let V::List(parts) = self.value(list) else { return None };
        let storage = |&part: &usize| match self.value(part) {
            V::Text(key) if key.len() <= MAX_LINE => self.by_key.get(key).map(|&i| to_usize(i)),
            _ => None,
        };
        parts.iter().map(storage).collect()
    }

    /// The tensors of a dictionary, or of the dictionary that it has as `state_dict`.
    ///
    /// Errors: `bad-header` for a tensor that is listed twice, `unsupported-model` if there is none.
    pub(super) fn contents(self, root: usize) -> Result<Contents> {
        let mut tensors = self.named_tensors(root)?;
        if let Some(inner) = self.entry(root, "state_dict").filter(|_| tensors.is_empty()) {
            tensors = self.named_tensors(inner)?;
        }
        if tensors.is_empty() {
            let none = "expected a dictionary of tensors (a state_dict), found none in the file";
            return Err(Error::UnsupportedModel(none.into()));
        }
        Ok(Contents { storages: self.storages, by_key: self.by_key, tensors })
    }

    fn named_tensors(&self, dict: usize) -> Result<Vec<(String, View)>> {
        let (mut names, mut named) = (HashSet::new(), Vec::new());
        let V::Dict(entries) = self.value(dict) else { return Ok(named) };
        for &(key, value) in entries {
            let (V::Text(name), V::Tensor(index)) = (self.value(key), self.value(value)) else {
                continue;
            };
            if names.len() >= MAX_TENSORS {
                return Err(too_many());
            }
            if !names.insert(name.clone()) {
                return Err(bad(&format!("tensor {} is listed twice", shown(name))));
            }
            named.extend(self.tensors.get(*index).map(|view| (name.clone(), view.clone())));
        }
        Ok(named)
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

    /// The entries of a list of pairs, which are lists or tuples.
    fn pairs(&self, list: usize) -> Option<Vec<(usize, usize)>> {
        let V::List(pairs) = self.value(list) else { return None };
        let pair = |&pair: &usize| match self.value(pair) {
            V::List(parts) | V::Tuple(parts) => match parts[..] {
                [key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        };
        pairs.iter().map(pair).collect()
    }

    /// `("storage", type, key, location, n)`, and a view of it in old files.
    fn storage(&mut self, id: usize) -> Result<usize> {
        let parts = self.tuple(id).unwrap_or_default();
        let parts: Vec<&Value> = parts.iter().take(7).map(|&part| self.value(part)).collect();
        let (kind, key, n) = match parts[..] {
            [
                V::Text(tag),
                V::Global(Global::Storage(kind)),
                V::Text(key),
                V::Text(_),
                V::Int(n),
            ]
            | [
                V::Text(tag),
                V::Global(Global::Storage(kind)),
                V::Text(key),
                V::Text(_),
                V::Int(n),
                V::None,
            ] if tag == "storage" && key.len() <= MAX_LINE => (*kind, key.clone(), *n),
            _ => return Err(unknown("a persistent object that is not a storage")),
        };
        let n = u64::try_from(n).ok().filter(|n| n.saturating_mul(kind.size) <= MAX_OFFSET);
        let n = n.ok_or_else(|| bad(&format!("storage {} has no possible size", shown(&key))))?;
        if let Some(&known) = self.by_key.get(&key) {
            let known = to_usize(known);
            let is_same = self.storages.get(known).is_some_and(|s| s.kind == kind && s.n == n);
            return match is_same {
                true => Ok(known),
                false => Err(bad(&format!("storage {} has two types or sizes", shown(&key)))),
            };
        }
        self.by_key.insert(key, self.storages.len() as u64);
        self.storages.push(Storage { kind, n });
        Ok(self.storages.len() - 1)
    }

    fn reduce(&mut self, callable: usize, arguments: usize) -> Result<Value> {
        let V::Global(global) = *self.value(callable) else {
            return Err(unknown("a call of something that is not a function"));
        };
        let parts = self.tuple(arguments).unwrap_or_default();
        match (global, parts) {
            (Global::OrderedDict, []) => Ok(V::Dict(Vec::new())),
            // As Python 2 writes it.
            (Global::OrderedDict, &[list]) => {
                let pairs = self.pairs(list);
                pairs.map(V::Dict).ok_or_else(|| bad("a dictionary of what is not pairs"))
            }
            (Global::RebuildParameter, &[tensor, _, _]) => match self.value(tensor) {
                V::Tensor(index) => Ok(V::Tensor(*index)),
                _ => Err(bad("a parameter that is not a tensor")),
            },
            (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                if self.tensors.len() >= MAX_TENSORS {
                    return Err(too_many());
                }
                let view = self.view(storage, offset, shape, strides)?;
                self.tensors.push(view);
                Ok(V::Tensor(self.tensors.len() - 1))
            }
            _ => Err(unknown("a call that makes no tensor")),
        }
    }

    /// Checks that a view lies inside its storage.
    fn view(&self, storage: usize, offset: usize, shape: usize, strides: usize) -> Result<View> {
        let wrong = || bad("a tensor whose storage, shape or strides are not numbers");
        let V::Storage(storage) = *self.value(storage) else { return Err(wrong()) };
        let n = self.storages.get(storage).ok_or_else(wrong)?.n;
        let number = |index: usize| match *self.value(index) {
            V::Int(i) => u64::try_from(i).ok().filter(|&i| i <= MAX_OFFSET).ok_or_else(wrong),
            _ => Err(wrong()),
        };
        let numbers = |index: usize| match self.tuple(index) {
            Some(parts) if parts.len() <= MAX_RANK => {
                parts.iter().map(|&part| number(part)).collect::<Result<Vec<u64>>>()
            }
            Some(parts) => Err(bad(&format!("a tensor of {} dimensions", parts.len()))),
            None => Err(wrong()),
        };
        let (offset, shape, strides) = (number(offset)?, numbers(shape)?, numbers(strides)?);
        if shape.len() != strides.len() {
            return Err(bad("a tensor whose shape and strides differ in length"));
        }
        // Its last element, if it has any.
        let step = |at: u64, (&size, &stride): (&u64, &u64)| {
            (size - 1).checked_mul(stride).and_then(|n| at.checked_add(n))
        };
        let has_none = shape.contains(&0);
        let last = || shape.iter().zip(&strides).try_fold(offset, step);
        let count = shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size));
        let is_inside = match has_none {
            true => offset <= n,
            false => last().is_some_and(|last| last < n) && count.is_some_and(|c| c <= MAX_OFFSET),
        };
        match is_inside {
            true => Ok(View { storage, offset, shape, strides }),
            false => Err(bad(&format!("a tensor of shape {shape:?} is larger than its storage"))),
        }
    }
}

/// The bytes after the code of an operation.
struct Operand<'a> {
    rest: &'a [u8],
    used: usize,
}

impl<'a> Operand<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        self.used += n;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.first_chunk().copied()
    }

    /// A text up to the end of its line.
    ///
    /// Errors: `bad-header`.
    fn line(&mut self) -> Result<Option<&'a str>> {
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

const PROTO: u8 = 0x80;
const STOP: u8 = b'.';

/// A number of any length, lowest byte first, in two's complement.
fn long(bytes: &[u8]) -> Value {
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
fn text_length(n: u32) -> Result<usize> {
    let n = usize::try_from(n).ok().filter(|&n| n <= MAX_TEXT);
    n.ok_or_else(|| bad("a text that is too long"))
}

/// Errors: `bad-header`.
fn text(bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad("a text that is not UTF-8"))?;
    Ok(V::Text(text.into()))
}

/// A text of the file as an error shows it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// The name of an operation that tensors do not need.
///
/// Source: `Lib/pickletools.py` of Python.
fn operation(code: u8) -> String {
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
