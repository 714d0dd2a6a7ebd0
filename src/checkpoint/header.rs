//! The header of a safetensors file: which tensors it has and where.
//!
//! The crate's own header type keeps offsets in `usize`, which has 32 bits in a browser, while GPT-2
//! XL's file has 6 GB. Its element types and their sizes are used; the offsets are read here as `u64`.

use std::collections::HashSet;

use safetensors::Dtype;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Longest accepted header. GPT-2 XL's has 60 kB.
pub(super) const MAX_HEADER: u64 = 2 << 20;
/// Largest accepted number of dimensions.
pub(super) const MAX_RANK: usize = 8;
/// Largest accepted offset: JavaScript numbers are exact up to it, and the sum of two cannot overflow.
pub(super) const MAX_OFFSET: u64 = 1 << 53;
/// Name of the entry that is not a tensor.
const METADATA: &str = "__metadata__";

/// Element type of a tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
}

impl Element {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
        }
    }

    /// Its name in a header.
    pub fn name(self) -> &'static str {
        match self {
            Element::F32 => "F32",
            Element::F16 => "F16",
            Element::Bf16 => "BF16",
        }
    }

    /// Appends the numbers in `bytes` (a whole number of them) to `out`.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Element::F32 => loupe_numbers::from_f32(bytes, out),
            Element::F16 => loupe_numbers::from_f16(bytes, out),
            Element::Bf16 => loupe_numbers::from_bf16(bytes, out),
        }
    }
}

/// One tensor of the header.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Name in the file.
    pub name: String,
    /// Element type, or the name of a type that Loupe does not read.
    pub element: std::result::Result<Element, String>,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// First byte, counted from the end of the header; of a PyTorch file, as if its tensors followed one another.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// The whole header.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    /// Every tensor, in the order of the data; of a PyTorch file, in that of its pickle.
    pub tensors: Vec<TensorInfo>,
    /// The strings of its metadata.
    pub metadata: Map<String, Value>,
}

/// What a reader returns.
#[derive(Debug)]
pub enum Event<'r> {
    /// The header is complete.
    Header(&'r Header),
    /// The next bytes of a tensor. The pieces of one tensor come in order and without gaps.
    Data {
        /// Index into the header's list.
        index: usize,
        /// The tensor that they belong to.
        tensor: &'r TensorInfo,
        /// The bytes.
        bytes: &'r [u8],
    },
}

impl Header {
    /// Reads and checks the JSON.
    ///
    /// Errors: `bad-header`.
    pub fn parse(json: &[u8]) -> Result<Header> {
        let raw: RawHeader = serde_json::from_slice(json).map_err(|e| {
            Error::BadHeader(format!("header: expected a JSON object of tensors, got {e}"))
        })?;
        let mut names = HashSet::new();
        let mut tensors = Vec::with_capacity(raw.tensors.len());
        for (name, tensor) in raw.tensors {
            if !names.insert(name.clone()) {
                return Err(Error::BadHeader(format!("tensor {name} is listed twice")));
            }
            tensors.push(check_tensor(name, tensor)?);
        }
        tensors.sort_unstable_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
        let mut at = 0;
        for t in &tensors {
            if t.start != at {
                return Err(Error::BadHeader(format!(
                    "tensor {} starts at byte {}, expected {at}: the data must be contiguous",
                    t.name, t.start
                )));
            }
            at = t.end;
        }
        Ok(Header { tensors, metadata: raw.metadata })
    }

    /// The JSON.
    ///
    /// Errors: `bad-header`, which cannot happen for tensors of known element types.
    pub fn json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::BadHeader(e.to_string()))
    }

    /// An entry of the metadata.
    pub fn said(&self, name: &str) -> Option<&str> {
        self.metadata.get(name)?.as_str()
    }

    /// Length of the data section. Units: bytes.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.last().map_or(0, |t| t.end)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            dtype: &'a str,
            shape: &'a [u64],
            data_offsets: (u64, u64),
        }
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA, &self.metadata)?;
        }
        for t in &self.tensors {
            let dtype = t.element.as_ref().map_or_else(|name| name.as_str(), |e| e.name());
            let data_offsets = (t.start, t.end);
            map.serialize_entry(&t.name, &Entry { dtype, shape: &t.shape, data_offsets })?;
        }
        map.end()
    }
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The entries of the header in the order of the file.
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: Map<String, Value>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<RawHeader, A::Error> {
                let (mut tensors, mut metadata) = (Vec::new(), Map::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        // The format allows only strings; other values are ignored.
                        let values: Option<Map<String, Value>> = map.next_value()?;
                        metadata.append(&mut values.unwrap_or_default());
                        metadata.retain(|_, value| value.is_string());
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(RawHeader { tensors, metadata })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Checks one entry. An unknown element type is an error only for a tensor that the model needs, so its
/// size is not checked here.
///
/// Errors: `bad-header`.
fn check_tensor(name: String, raw: RawTensor) -> Result<TensorInfo> {
    let (start, end) = raw.data_offsets;
    if raw.shape.len() > MAX_RANK || end > MAX_OFFSET || end < start {
        return Err(Error::BadHeader(format!(
            "tensor {name} has {} dimensions and fills bytes {start} to {end}",
            raw.shape.len()
        )));
    }
    let deserializer: StrDeserializer<'_, ValueError> = raw.dtype.as_str().into_deserializer();
    let dtype = Dtype::deserialize(deserializer).ok();
    if let Some(dtype) = dtype {
        let bits = raw.shape.iter().try_fold(dtype.bitsize() as u64, |n, &d| n.checked_mul(d));
        if bits.is_none_or(|bits| bits % 8 != 0 || end - start != bits / 8) {
            return Err(Error::BadHeader(format!(
                "tensor {name}: shape {:?} of {dtype:?} does not fill bytes {start} to {end}",
                raw.shape
            )));
        }
    }
    let element = match dtype {
        Some(Dtype::F32) => Ok(Element::F32),
        Some(Dtype::F16) => Ok(Element::F16),
        Some(Dtype::BF16) => Ok(Element::Bf16),
        _ => Err(raw.dtype),
    };
    Ok(TensorInfo { name, element, shape: raw.shape, start, end })
}
