//! Hostile config.json: no panic, no overflow in what is computed from the sizes, and every refusal says why.
#![no_main]

#[allow(dead_code)] // the target uses part of it
#[path = "../../src/config.rs"]
mod config;
#[allow(dead_code)] // the target uses part of it
#[path = "../../src/error.rs"]
mod error;

use config::Config;
use error::Error;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text) {
        Ok(config) => {
            assert_eq!(config.windows.len(), config.n_layer);
            assert_eq!(config.head_dim() * config.n_head, config.n_embd);
            assert!(config.parameters() >= config.matrix_values());
            assert!(config.layer_norm_epsilon > 0.0 && config.embedding_scale().is_finite());
            for layer in 0..config.n_layer {
                assert!(config.attention_scale(layer) > 0.0);
            }
        }
        Err(error @ Error::BadConfig { .. }) => {
            let message = error.to_string();
            assert!(message.contains(": expected ") && message.contains(", got "), "{message}");
        }
        Err(Error::UnsupportedModel(_)) => {}
        Err(other) => panic!("{other}"),
    }
});
