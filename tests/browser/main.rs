//! Tests the JavaScript API in a worker of a real browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod api;
mod lenses;
mod loading;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
