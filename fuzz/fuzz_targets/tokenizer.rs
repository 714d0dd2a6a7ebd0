//! Hostile tokenizer files: no panic, no hang, and every refusal names what was expected and what came.
#![no_main]

#[allow(dead_code)] // the target uses part of it
#[path = "../../src/config.rs"]
mod config;
#[allow(dead_code)] // the target uses part of it
#[path = "../../src/error.rs"]
mod error;
#[allow(dead_code)] // the target uses part of it
#[path = "../../src/tokenizer/mod.rs"]
mod tokenizer;

use config::Family;
use error::{Error, Result};
use libfuzzer_sys::fuzz_target;
use tokenizer::{Tokenizer, TokenizerFiles};

/// Texts that reach added tokens, bytes outside ASCII, white space and long runs.
const TEXTS: [&str; 5] =
    ["", "ab cd", " the\n\tcaf\u{e9} \u{1f98a}\u{a0}<unk>", "aaaaaaaaaaaaaaaaaaaaaaab", "a\0b"];

fn parse(mode: u8, body: &str) -> Result<Tokenizer> {
    let vocab_size = [None, Some(1), Some(8), Some(1 << 20)][usize::from(mode >> 4 & 3)];
    let family = [None, Some(Family::Gpt2), Some(Family::Ctrl)];
    match mode & 3 {
        // A zero byte separates the two files.
        0..3 => {
            let (vocab, merges) = body.split_once('\0').unwrap_or((body, ""));
            let family = family[usize::from(mode & 3)];
            TokenizerFiles::Merges { vocab, merges }.parse(family, vocab_size)
        }
        _ => TokenizerFiles::Json(body).parse(None, vocab_size),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&mode, body)) = input.split_first() else { return };
    let Ok(body) = std::str::from_utf8(body) else { return };
    match parse(mode, body) {
        Ok(tokenizer) => {
            for text in TEXTS {
                for id in tokenizer.encode(text).unwrap_or_default() {
                    let token = tokenizer.token(id);
                    assert_eq!(token.id, id);
                    assert!(!token.shown.is_empty());
                }
            }
            let _ = tokenizer.token(u32::MAX);
        }
        Err(error @ Error::BadTokenizer { .. }) => {
            let message = error.to_string();
            assert!(message.contains(": expected ") && message.contains(", got "), "{message}");
        }
        Err(other) => panic!("{other}"),
    }
});
