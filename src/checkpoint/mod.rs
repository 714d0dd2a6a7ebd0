//! A safetensors file, read from bytes in any pieces and written as its tensors come.
//!
//! The only module that names `safetensors`, and `sha2` for the digests that tell a whole file from
//! a damaged one.

mod digest;
mod header;
mod reader;
mod writer;

pub use digest::Digest;
pub use header::{Element, Header, TensorInfo};
pub use reader::{Event, Reader};
pub use writer::{Beginning, Kept, Position, Store, StoreError, Writer};
