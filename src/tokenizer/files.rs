//! The files that a tokenizer comes in.

use crate::config::Family;
use crate::error::Result;

use super::Tokenizer;

/// The text of a tokenizer's files.
#[derive(Clone, Copy)]
pub enum TokenizerFiles<'a> {
    /// `tokenizer.json`.
    Json(&'a str),
    /// `vocab.json` and `merges.txt`, whose meaning depends on the family.
    Merges {
        /// Text of `vocab.json`.
        vocab: &'a str,
        /// Text of `merges.txt`.
        merges: &'a str,
    },
}

impl TokenizerFiles<'_> {
    /// Reads and checks the files, for a model of that family and size if they are known. Without a
    /// family the vocabulary decides: only one over bytes writes a space as U+0120.
    ///
    /// Errors: `bad-tokenizer`.
    pub fn parse(self, family: Option<Family>, vocab_size: Option<usize>) -> Result<Tokenizer> {
        let (vocab, merges) = match self {
            TokenizerFiles::Json(text) => return Tokenizer::parse(text, vocab_size),
            TokenizerFiles::Merges { vocab, merges } => (vocab, merges),
        };
        let has_spaces = || vocab.contains('\u{120}') || vocab.contains("\\u0120");
        let is_words = match family {
            Some(Family::Ctrl) => true,
            Some(Family::Gpt2 | Family::GptNeo) => false,
            None => !has_spaces(),
        };
        match is_words {
            true => Tokenizer::of_words(vocab, merges, vocab_size),
            false => Tokenizer::of_bytes(vocab, merges, vocab_size),
        }
    }
}
