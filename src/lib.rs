//! Loupe: the logit lens on WebGPU.
//!
//! text ─ [`tokenizer`] ─▶ ids ─ [`model`] ─▶ taps (residual stream) ─ [`lens`] ─▶ [`reading`].
//! The bytes of a checkpoint pass through [`checkpoint`] into the model's weights on the [`device`];
//! [`kernels`] are the project's own WGSL, each with a CPU twin in [`mod@reference`].
//! [`atlas`] shows the weights by themselves. [`session`] owns all of it; the `web` module exports it to JavaScript.
//!
//! Shape letters, used in every comment and shader: T tokens, C = n_embd, H heads, D = C/H,
//! L = n_layer, V = vocab_size, N taps, K top-k, J targets. C4 is C rounded up to a multiple of 4.
#![deny(missing_docs)]

pub mod error;

pub mod checkpoint;
pub mod config;
pub mod reading;
pub mod tokenizer;

pub mod device;

pub mod atlas;
pub mod kernels;
pub mod lens;
pub mod model;

pub mod session;

#[cfg(target_arch = "wasm32")]
pub mod web;

pub mod reference;
