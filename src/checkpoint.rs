//! Bytes in any pieces ─▶ (tensor, offset, bytes). The only file that names `safetensors`.
//!
//! The crate's own header type keeps offsets in `usize`, which is 32 bits wide in a browser, and
//! GPT-2 XL's file is 6 GB; its element types are used, the offsets are read here as `u64`.

use std::collections::HashSet;

use safetensors::Dtype;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// Longest header that is read. GPT-2 XL's is 60 kB.
const MAX_HEADER: u64 = 2 << 20;
/// Most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// Largest offset: what JavaScript counts exactly, and far from overflowing a sum of two.
const MAX_OFFSET: u64 = 1 << 53;

/// How the numbers of a tensor are stored in the file.
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

    /// Appends the numbers in `bytes` (a whole number of them) to `out`.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Element::F32 => out.extend(
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            ),
            Element::F16 => out.extend(
                bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()),
            ),
            Element::Bf16 => out.extend(
                bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()),
            ),
        }
    }
}

/// One line of the header.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Name in the file.
    pub name: String,
    /// Element type, or the name of one that Loupe does not compute with.
    pub element: std::result::Result<Element, String>,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// First byte, counted from the end of the header.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// What the reader hands over, in file order.
#[derive(Debug)]
pub enum Event<'a> {
    /// The header is complete: every tensor, in the order of the data.
    Header(&'a [TensorInfo]),
    /// The next bytes of a tensor. Pieces of one tensor come in order and without a gap.
    Data {
        /// Index into the header's list.
        index: usize,
        /// The tensor they belong to.
        tensor: &'a TensorInfo,
        /// The bytes.
        bytes: &'a [u8],
    },
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: Dtype,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header's entries as they come, without a detour over a tree of values.
struct RawHeader(Vec<(String, RawTensor)>);

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
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(RawHeader(tensors))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Reads one safetensors file from pieces of any size, without ever holding more than the header.
#[derive(Debug, Default)]
pub struct Reader {
    /// Length prefix and header, until the header is parsed.
    head: Vec<u8>,
    tensors: Option<Vec<TensorInfo>>,
    /// Tensor the next byte belongs to.
    current: usize,
    /// Bytes of the data section seen.
    position: u64,
    received: u64,
}

impl Reader {
    /// A reader at the start of a file.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Takes the next piece and hands every event in it to `sink`.
    ///
    /// Errors: `bad-header`, and whatever `sink` returns.
    /// Source: the safetensors format: u64 little-endian length, JSON header, contiguous data.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Event<'_>) -> Result<()>,
    ) -> Result<()> {
        self.received += bytes.len() as u64;
        if self.tensors.is_none() {
            bytes = self.take_head(bytes)?;
            let Some(length) = self.head_length()? else { return Ok(()) };
            if (self.head.len() as u64) < length {
                return Ok(());
            }
            let tensors = parse_header(&self.head[8..])?;
            self.head = Vec::new();
            sink(Event::Header(&tensors))?;
            self.tensors = Some(tensors);
        }
        let Some(tensors) = &self.tensors else { return Ok(()) };
        while !bytes.is_empty() {
            let Some(tensor) = tensors.get(self.current) else {
                return Err(Error::BadHeader(format!(
                    "{} bytes follow after the last tensor",
                    bytes.len()
                )));
            };
            let n = ((tensor.end - self.position).min(bytes.len() as u64)) as usize;
            if n > 0 {
                sink(Event::Data { index: self.current, tensor, bytes: &bytes[..n] })?;
            }
            self.position += n as u64;
            bytes = &bytes[n..];
            if self.position == tensor.end {
                self.current += 1;
            }
        }
        Ok(())
    }

    /// Length of the whole file, once its header is known. Units: bytes.
    pub fn file_bytes(&self) -> Option<u64> {
        let tensors = self.tensors.as_ref()?;
        Some(self.received - self.position + tensors.last().map_or(0, |t| t.end))
    }

    /// Says whether the file was complete.
    ///
    /// Errors: `truncated`.
    pub fn finish(self) -> Result<()> {
        let expected = match self.file_bytes() {
            Some(bytes) => bytes,
            None => self.head_length()?.unwrap_or(8),
        };
        if self.received < expected {
            return Err(Error::Truncated { received: self.received, expected });
        }
        Ok(())
    }

    /// Moves bytes of the length prefix and the header into `head`; returns the rest.
    fn take_head<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8]> {
        for _ in 0..2 {
            let want = self.head_length()?.unwrap_or(8) - self.head.len() as u64;
            let n = want.min(bytes.len() as u64) as usize;
            self.head.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
        }
        Ok(bytes)
    }

    /// Bytes of prefix and header together, once the prefix is there.
    fn head_length(&self) -> Result<Option<u64>> {
        let Some(prefix) = self.head.first_chunk::<8>() else { return Ok(None) };
        let n = u64::from_le_bytes(*prefix);
        if !(2..=MAX_HEADER).contains(&n) {
            return Err(Error::BadHeader(format!(
                "the header would be {n} bytes long; is this a model.safetensors file?"
            )));
        }
        Ok(Some(8 + n))
    }
}

fn parse_header(json: &[u8]) -> Result<Vec<TensorInfo>> {
    let raw: RawHeader = serde_json::from_slice(json).map_err(|e| {
        Error::BadHeader(format!("its header is not the JSON that is expected: {e}"))
    })?;
    let mut names = HashSet::new();
    let mut tensors = Vec::with_capacity(raw.0.len());
    for (name, tensor) in raw.0 {
        if !names.insert(name.clone()) {
            return Err(Error::BadHeader(format!("tensor {name} is listed twice")));
        }
        tensors.push(check_tensor(name, tensor)?);
    }
    tensors.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
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
    Ok(tensors)
}

fn check_tensor(name: String, raw: RawTensor) -> Result<TensorInfo> {
    let (start, end) = raw.data_offsets;
    if raw.shape.len() > MAX_RANK || end > MAX_OFFSET {
        return Err(Error::BadHeader(format!(
            "tensor {name} has {} dimensions and ends at byte {end}",
            raw.shape.len()
        )));
    }
    let bits = raw
        .shape
        .iter()
        .try_fold(raw.dtype.bitsize() as u64, |n, &d| n.checked_mul(d))
        .ok_or_else(|| Error::BadHeader(format!("tensor {name}: its shape overflows")))?;
    if end < start || bits % 8 != 0 || end - start != bits / 8 {
        return Err(Error::BadHeader(format!(
            "tensor {name}: shape {:?} of {:?} does not fill bytes {start} to {end}",
            raw.shape, raw.dtype
        )));
    }
    let element = match raw.dtype {
        Dtype::F32 => Ok(Element::F32),
        Dtype::F16 => Ok(Element::F16),
        Dtype::BF16 => Ok(Element::Bf16),
        other => Err(format!("{other:?}")),
    };
    Ok(TensorInfo { name, element, shape: raw.shape, start, end })
}
