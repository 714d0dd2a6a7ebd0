//! What tensors consist of: storages, views of them, and the few names that a pickle may use for them.

use std::collections::HashSet;

use crate::checkpoint::header::{Element, MAX_OFFSET, MAX_RANK};
use crate::error::{Error, Result};

use super::super::{Numbers, to_usize};
use super::{MAX_LINE, MAX_VALUES, Machine, V, Value, bad, shown, too_many, unknown};

/// Largest accepted number of tensors. GPT-2 XL has 581.
const MAX_TENSORS: usize = 1 << 14;

/// The element type of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint::torch) struct StorageType {
    /// Name of the type in PyTorch, such as `FloatStorage`.
    name: &'static str,
    /// Name in a safetensors header.
    dtype: &'static str,
    /// Bytes of one element.
    pub(in crate::checkpoint::torch) size: u64,
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
    pub(in crate::checkpoint::torch) fn element(self) -> std::result::Result<Element, String> {
        let known = [Element::F32, Element::F16, Element::Bf16];
        let element = known.into_iter().find(|element| element.name() == self.dtype);
        element.ok_or_else(|| self.dtype.to_string())
    }
}

/// Elements that tensors share.
#[derive(Debug)]
pub(in crate::checkpoint::torch) struct Storage {
    pub(in crate::checkpoint::torch) kind: StorageType,
    /// Number of elements.
    pub(in crate::checkpoint::torch) n: u64,
}

impl Storage {
    /// Units: bytes.
    pub(in crate::checkpoint::torch) fn bytes(&self) -> u64 {
        self.n * self.kind.size
    }
}

/// A tensor: which elements of a storage it has, in which order. Offset and strides count elements.
#[derive(Debug, Clone)]
pub(in crate::checkpoint::torch) struct View {
    pub(in crate::checkpoint::torch) storage: usize,
    pub(in crate::checkpoint::torch) offset: u64,
    pub(in crate::checkpoint::torch) shape: Vec<u64>,
    pub(in crate::checkpoint::torch) strides: Vec<u64>,
}

/// What the pickle of a file contains.
#[derive(Debug)]
pub(in crate::checkpoint::torch) struct Contents {
    pub(in crate::checkpoint::torch) storages: Vec<Storage>,
    /// Place of a storage by its key.
    pub(in crate::checkpoint::torch) by_key: Numbers,
    /// In the order of the pickle.
    pub(in crate::checkpoint::torch) tensors: Vec<(String, View)>,
}

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint::torch) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(StorageType),
}

impl Global {
    pub(super) fn of(module: &str, name: &str) -> Option<Global> {
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

impl Machine {
    /// The storages that a list names; `None` if it is not a list of their names.
    pub(in crate::checkpoint::torch) fn storages_of(&self, list: usize) -> Option<Vec<usize>> {
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
    pub(in crate::checkpoint::torch) fn contents(self, root: usize) -> Result<Contents> {
        let mut tensors = self.named_tensors(root)?;
        if let Some(inner) = self.entry(root, "state_dict").filter(|_| tensors.is_empty()) {
            tensors = self.named_tensors(inner)?;
        }
        // A Jacobian lens, or the checkpoint of a fit of one: matrices by block.
        for name in ["J", "jacobian_sum"] {
            if let Some(inner) = self.entry(root, name).filter(|_| tensors.is_empty()) {
                tensors = self.numbered_tensors(name, inner)?;
            }
        }
        if tensors.is_empty() {
            let none = "expected a dictionary of tensors (a state_dict), found none in the file";
            return Err(Error::UnsupportedModel(none.into()));
        }
        Ok(Contents { storages: self.storages, by_key: self.by_key, tensors })
    }

    fn named_tensors(&self, dict: usize) -> Result<Vec<(String, View)>> {
        self.tensors_by(dict, |key| match key {
            V::Text(name) => Some(name.clone()),
            _ => None,
        })
    }

    /// Those of a dictionary whose keys are numbers, as `name.number`.
    fn numbered_tensors(&self, name: &str, dict: usize) -> Result<Vec<(String, View)>> {
        self.tensors_by(dict, |key| match key {
            V::Int(i) if *i >= 0 => Some(format!("{name}.{i}")),
            _ => None,
        })
    }

    fn tensors_by(
        &self,
        dict: usize,
        name_of: impl Fn(&Value) -> Option<String>,
    ) -> Result<Vec<(String, View)>> {
        let (mut names, mut named) = (HashSet::new(), Vec::new());
        let V::Dict(entries) = self.value(dict) else { return Ok(named) };
        for &(key, value) in entries {
            let (Some(name), V::Tensor(index)) = (name_of(self.value(key)), self.value(value))
            else {
                continue;
            };
            if names.len() >= MAX_TENSORS {
                return Err(too_many());
            }
            if !names.insert(name.clone()) {
                return Err(bad(&format!("tensor {} is listed twice", shown(&name))));
            }
            named.extend(self.tensors.get(*index).map(|view| (name.clone(), view.clone())));
        }
        Ok(named)
    }

    /// The entries of a list of pairs, which are lists or tuples. All such entries of a file count together, because
    /// one list can be named again and again.
    fn pairs(&mut self, list: usize) -> Result<Vec<(usize, usize)>> {
        let wrong = || bad("a dictionary of what is not pairs");
        let V::List(pairs) = self.value(list) else { return Err(wrong()) };
        let copied = self.n_pairs.saturating_add(pairs.len());
        if copied > MAX_VALUES {
            return Err(too_many());
        }
        let pair = |&pair: &usize| match self.value(pair) {
            V::List(parts) | V::Tuple(parts) => match parts[..] {
                [key, value] => Ok((key, value)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        };
        let pairs = pairs.iter().map(pair).collect();
        self.n_pairs = copied;
        pairs
    }

    /// `("storage", type, key, location, n)`, and a view of it in old files.
    pub(super) fn storage(&mut self, id: usize) -> Result<usize> {
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

    pub(super) fn reduce(&mut self, callable: usize, arguments: usize) -> Result<Value> {
        let V::Global(global) = *self.value(callable) else {
            return Err(unknown("a call of something that is not a function"));
        };
        let parts = self.tuple(arguments).unwrap_or_default();
        match (global, parts) {
            (Global::OrderedDict, []) => Ok(V::Dict(Vec::new())),
            // As Python 2 writes it.
            (Global::OrderedDict, &[list]) => self.pairs(list).map(V::Dict),
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
