//! A tokenizer from `vocab.json` and `merges.txt`, as models had it before there was a `tokenizer.json`.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::error::{Error, Result};

use super::{Spelling, Tokenizer};

/// What stands for pieces that have no id, where there is such a thing.
const UNKNOWN: &str = "<unk>";
/// The end of a word, in merges.
const WORD_END: &str = "</w>";
/// That a word goes on, in a vocabulary.
const GOES_ON: &str = "@@";

fn bad(error: tokenizers::Error) -> Error {
    Error::BadTokenizer(error.to_string())
}

/// Errors: `bad-tokenizer`.
fn read(vocab: &str, merges: &str) -> Result<(HashMap<String, u32>, Merges)> {
    let vocab = serde_json::from_str(vocab)
        .map_err(|e| Error::BadTokenizer(format!("vocab.json is not what is expected: {e}")))?;
    // The first line is the version; a line of more or less than two parts never matches.
    let pair = |line: &str| {
        let mut parts = line.split_whitespace().map(String::from);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(a), Some(b), None) => Some((a, b)),
            _ => None,
        }
    };
    let body = merges.split_once('\n').map_or("", |(_, rest)| rest);
    Ok((vocab, body.lines().filter_map(pair).collect()))
}

impl Tokenizer {
    /// GPT-2's kind: words are bytes, spelt by stand-in characters.
    ///
    /// Errors: `bad-tokenizer`.
    /// Source: `GPT2Tokenizer` of Hugging Face transformers.
    pub fn of_bytes(vocab: &str, merges: &str) -> Result<Tokenizer> {
        let (vocab, merges) = read(vocab, merges)?;
        let end = "<|endoftext|>";
        let has_end = vocab.contains_key(end);
        let vocab: Vocab = vocab.into_iter().collect();
        let model = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(bad)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevel::new(false, true, true)));
        if has_end {
            inner.add_special_tokens([AddedToken::from(end, true)]).map_err(bad)?;
        }
        Ok(Tokenizer::new(inner, Spelling::Bytes))
    }

    /// CTRL's kind: words end with `</w>` in the merges, and go on with `@@` in the vocabulary.
    ///
    /// Errors: `bad-tokenizer`.
    /// Source: `CTRLTokenizer` of Hugging Face transformers.
    pub fn of_words(vocab: &str, merges: &str) -> Result<Tokenizer> {
        let (entries, merges) = read(vocab, merges)?;
        let unknown = *entries.get(UNKNOWN).ok_or_else(|| {
            Error::BadTokenizer(format!("vocab.json has no {UNKNOWN}; is it CTRL's?"))
        })?;
        // The library merges symbols; a vocabulary names what they are called at the end.
        let symbol = |entry: &str| match entry.strip_suffix(GOES_ON) {
            _ if entry == UNKNOWN => entry.to_string(),
            Some(start) => start.to_string(),
            None => format!("{entry}{WORD_END}"),
        };
        let mut vocab: Vocab = entries.iter().map(|(entry, &id)| (symbol(entry), id)).collect();
        // What merges pass through and no entry names gets an id beyond all others: unknown.
        let beyond = entries.values().max().map_or(Some(0), |id| id.checked_add(1));
        let room = 3 * u32::try_from(merges.len()).unwrap_or(u32::MAX / 3);
        let next = beyond.filter(|n| n.checked_add(room).is_some());
        let mut next =
            next.ok_or_else(|| Error::BadTokenizer("vocab.json has ids that are no ids".into()))?;
        let known = next;
        for (a, b) in &merges {
            for symbol in [a.clone(), b.clone(), format!("{a}{b}")] {
                vocab.entry(symbol).or_insert_with(|| {
                    next += 1;
                    next - 1
                });
            }
        }
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .unk_token(UNKNOWN.into())
            .end_of_word_suffix(WORD_END.into())
            .build()
            .map_err(bad)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        let words = SplitPattern::Regex(r"\S+\n?".into());
        let words = Split::new(words, SplitDelimiterBehavior::Removed, true).map_err(bad)?;
        inner.with_pre_tokenizer(Some(words));
        inner.add_special_tokens([AddedToken::from(UNKNOWN, true)]).map_err(bad)?;
        let names = entries.into_iter().map(|(entry, id)| (id, entry)).collect();
        Ok(Tokenizer::new(inner, Spelling::Words { names, known, unknown }))
    }
}

/// What a vocabulary entry of words stands for: a word that ends is followed by a space, unless a
/// newline is its end.
pub(super) fn text_of(entry: &str) -> String {
    match entry.strip_suffix(GOES_ON) {
        Some(start) => start.into(),
        None if entry.ends_with('\n') || entry == UNKNOWN => entry.into(),
        None => format!("{entry} "),
    }
}
