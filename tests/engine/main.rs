//! Tests the engine, but for its JavaScript API, in one program: natively, and what a browser can do as well in Chromium
//! and in Firefox. One program is linked once and opens each device with its kernels once.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod atlas;
mod atlas_parts;
mod attribution;
mod edits;
mod forms;
mod golden;
mod kernels;
mod lens_kernels;
mod lenses;
mod long_texts;
mod questions;
mod sweeps;

/// What is the same everywhere, or needs files or threads.
#[cfg(not(target_arch = "wasm32"))]
mod native {
    mod atlas_gpt2;
    mod check;
    mod checkpoint;
    mod families;
    mod hostile;
    mod keep;
    mod layers;
    mod lens_law;
    mod not_finite;
    mod session;
    mod shaders;
    mod share;
    mod tokenizer;
    mod torch;
}

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
