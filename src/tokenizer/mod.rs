//! Text ⇄ ids, a token's bytes and its visible form. The only module that names `tokenizers`.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))] // the files come from strangers

mod check;
mod files;
mod merges;

use std::collections::{HashMap, HashSet};

use tokenizers::{DecoderWrapper, ModelWrapper, PostProcessorWrapper};

use crate::error::{Error, Result};

pub use files::TokenizerFiles;

/// One token as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its bytes as text; bytes that are not UTF-8 by themselves become U+FFFD.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// A form in which every character is visible: `␣the`, `↵`, `⇥`, `‹E2 80›`
    /// for bytes that are not text; `#id` without a tokenizer.
    pub shown: String,
}

impl Token {
    /// A token whose text is unknown.
    pub fn unnamed(id: u32) -> Token {
        Token { id, text: String::new(), bytes: Vec::new(), shown: format!("#{id}") }
    }
}

/// How a vocabulary writes its entries.
enum Spelling {
    /// As themselves.
    Plain,
    /// Bytes, by GPT-2's stand-in characters.
    Bytes,
    /// Words of CTRL: entries by id; ids from `known` on exist only in the library and mean `unknown`.
    Words { names: HashMap<u32, String>, known: u32, unknown: u32 },
}

/// A tokenizer, with the same results as in Hugging Face's library.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    spelling: Spelling,
    /// Ids of added tokens, which are spelt as themselves.
    added: HashSet<u32>,
}

impl Tokenizer {
    /// Reads and checks the text of a `tokenizer.json`, for a model of `vocab_size` tokens if that is known.
    ///
    /// Errors: `bad-tokenizer`.
    pub fn parse(text: &str, vocab_size: Option<usize>) -> Result<Tokenizer> {
        check::tokenizer_json(text, vocab_size)?;
        let bad = |e: tokenizers::Error| check::bad("tokenizer.json", "the file", "a tokenizer", e);
        let mut inner = tokenizers::Tokenizer::from_bytes(text).map_err(bad)?;
        // Truncation, padding and dropout are for training, and nothing is added to a text.
        inner.with_truncation(None).map_err(bad)?;
        inner.with_padding(None);
        inner.with_post_processor(None::<PostProcessorWrapper>);
        if let ModelWrapper::BPE(bpe) = inner.get_model()
            && bpe.dropout.is_some()
        {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            inner.with_model(ModelWrapper::BPE(bpe));
        }
        let spelling = match inner.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => Spelling::Bytes,
            _ => Spelling::Plain,
        };
        Ok(Tokenizer::new(inner, spelling))
    }

    fn new(inner: tokenizers::Tokenizer, spelling: Spelling) -> Tokenizer {
        let added = inner.get_added_tokens_decoder().into_keys().collect();
        Tokenizer { inner, spelling, added }
    }

    /// The ids of a text. Nothing is prepended to it.
    ///
    /// Errors: `bad-tokenizer`.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let bad = |e: tokenizers::Error| -> Error {
            check::bad("tokenizer", "the text", "text that it can encode", e)
        };
        let encoding = self.inner.encode_fast(text, false).map_err(bad)?;
        let mut ids = encoding.get_ids().to_vec();
        if let Spelling::Words { known, unknown, .. } = self.spelling {
            ids.iter_mut().filter(|id| **id >= known).for_each(|id| *id = unknown);
        }
        Ok(ids)
    }

    /// The token of an id; unnamed for an id without an entry.
    pub fn token(&self, id: u32) -> Token {
        let entry = match &self.spelling {
            Spelling::Words { names, .. } => names.get(&id).map(|entry| merges::text_of(entry)),
            Spelling::Plain | Spelling::Bytes => self.inner.id_to_token(id),
        };
        let Some(entry) = entry else { return Token::unnamed(id) };
        let bytes = match matches!(self.spelling, Spelling::Bytes) && !self.added.contains(&id) {
            true => entry.chars().map(byte_of).collect::<Option<Vec<u8>>>(),
            false => None,
        };
        let bytes = bytes.unwrap_or_else(|| entry.into_bytes());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Token { id, shown: shown(&bytes), text, bytes }
    }
}

/// The byte that a character of a byte-level vocabulary means.
///
/// Source: GPT-2's encoder: printable Latin-1 means itself, the other 68 bytes are U+0100 and up.
fn byte_of(c: char) -> Option<u8> {
    let itself = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let byte = |b: u32| u8::try_from(b).ok();
    let c = u32::from(c);
    if itself(c) {
        return byte(c);
    }
    let n = usize::try_from(c.checked_sub(0x100)?).ok()?;
    (0..=255).filter(|&b| !itself(b)).nth(n).and_then(byte)
}

/// Makes every byte visible.
fn shown(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
        return format!("‹{}›", hex.join(" "));
    };
    if text.is_empty() {
        return "‹empty›".into();
    }
    let mut out = String::new();
    for c in text.chars() {
        match c {
            ' ' => out.push('␣'),
            '\n' => out.push('↵'),
            '\t' => out.push('⇥'),
            '\r' => out.push('␍'),
            c if c.is_ascii_control() => out.push_str(&format!("‹{:02X}›", u32::from(c))),
            c if c.is_control() || c.is_whitespace() || is_invisible(c) => {
                out.push_str(&format!("‹U+{:04X}›", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Characters that draw nothing, or that reorder the text around them.
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff)
}
