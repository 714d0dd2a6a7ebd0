//! A file of the origin-private file system as a [`Store`], or anything of the same shape.

use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::checkpoint::{Store, StoreError};
use crate::error::{Error, Result};

use super::results::{message_of, object, set};

#[wasm_bindgen]
extern "C" {
    /// `FileSystemSyncAccessHandle`.
    #[derive(Clone)]
    pub type Handle;
    #[wasm_bindgen(method, structural, catch)]
    fn read(this: &Handle, into: &Uint8Array, at: &Object) -> std::result::Result<f64, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn write(this: &Handle, bytes: &Uint8Array, at: &Object) -> std::result::Result<f64, JsValue>;
    #[wasm_bindgen(method, structural, catch, js_name = getSize)]
    fn get_size(this: &Handle) -> std::result::Result<f64, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn truncate(this: &Handle, bytes: f64) -> std::result::Result<(), JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn flush(this: &Handle) -> std::result::Result<(), JsValue>;
}

/// The methods a handle must have.
const METHODS: [&str; 5] = ["read", "write", "getSize", "truncate", "flush"];

/// A handle, and the array that its bytes are copied through.
pub(super) struct KeptFile {
    handle: Handle,
    buffer: Uint8Array,
}

impl KeptFile {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: &JsValue) -> Result<Handle> {
        for name in METHODS {
            let method = Reflect::get(value, &name.into()).unwrap_or_default();
            if !method.is_function() {
                let got = format!("an object without the method {name}");
                return Err(Error::option("keep", "a FileSystemSyncAccessHandle", got));
            }
        }
        Ok(value.clone().unchecked_into())
    }

    pub(super) fn new(handle: &Handle) -> KeptFile {
        KeptFile { handle: handle.clone(), buffer: Uint8Array::default() }
    }

    fn array(&mut self, length: usize) -> Uint8Array {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if self.buffer.length() < length {
            self.buffer = Uint8Array::new_with_length(length);
        }
        self.buffer.subarray(0, length)
    }
}

impl Store for KeptFile {
    fn size(&mut self) -> std::result::Result<u64, StoreError> {
        self.handle.get_size().map(bytes).map_err(store_error)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn read(&mut self, at: u64, into: &mut [u8]) -> std::result::Result<usize, StoreError> {
        let array = self.array(into.len());
        let n = self.handle.read(&array, &offset(at)).map_err(store_error)?;
        // Clamped before it becomes a length: the handle may be any object.
        let n = n.clamp(0.0, into.len() as f64) as u32;
        let (read, _) = into.split_at_mut(n as usize);
        array.subarray(0, n).copy_to(read);
        Ok(read.len())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> std::result::Result<(), StoreError> {
        let array = self.array(bytes.len());
        array.copy_from(bytes);
        let n = self.handle.write(&array, &offset(at)).map_err(store_error)?;
        if n == bytes.len() as f64 {
            return Ok(());
        }
        let message = format!("only {n} of {} bytes were written", bytes.len());
        Err(StoreError { name: "QuotaExceededError".into(), message })
    }

    fn truncate(&mut self, bytes: u64) -> std::result::Result<(), StoreError> {
        self.handle.truncate(bytes as f64).map_err(store_error)
    }

    fn flush(&mut self) -> std::result::Result<(), StoreError> {
        self.handle.flush().map_err(store_error)
    }
}

fn offset(at: u64) -> Object {
    let options = object();
    set(&options, "at", at as f64);
    options
}

fn store_error(thrown: JsValue) -> StoreError {
    let name = Reflect::get(&thrown, &"name".into()).ok().and_then(|n| n.as_string());
    StoreError { name: name.unwrap_or_else(|| "Error".into()), message: message_of(&thrown) }
}

/// A length that JavaScript gives.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
pub(super) fn bytes(length: f64) -> u64 {
    length as u64
}
