//! Files of weights, read from bytes in pieces of any size: safetensors, and what `torch.save` writes. The kept
//! copy is a safetensors file, written as its tensors come.
//!
//! The only module that names `safetensors`, and `sha2` for the digests that detect damaged files.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))] // everything here comes from strangers

mod digest;
mod header;
mod reader;
mod safetensors;
mod source;
mod torch;
mod writer;

pub use digest::Digest;
pub use header::{Element, Event, Header, TensorInfo};
pub use reader::Reader;
pub use source::{SourceId, is_sha256};
pub use torch::{Directory, DirectoryReader, Range};
pub use writer::{Kept, PartialCopy, Position, Store, StoreError, Writer};
