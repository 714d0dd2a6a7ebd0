//! A tokenizer from `vocab.json` and `merges.txt`, which models had before `tokenizer.json`.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::error::{Error, Result};

use super::{Spelling, Tokenizer, check};

/// The token for symbols that have no id, where there is one.
const UNKNOWN: &str = "<unk>";
/// The end of a word, in merges.
const WORD_END: &str = "</w>";
/// The end of a piece that does not end a word, in a vocabulary.
const CONTINUES: &str = "@@";

const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";

fn bad(error: tokenizers::Error) -> Error {
    check::bad(MERGES, "the file", "the merges of vocab.json", error)
}

/// Errors: `bad-tokenizer`.
fn read(
    vocab: &str,
    merges: &str,
    vocab_size: Option<usize>,
) -> Result<(HashMap<String, u32>, Merges)> {
    let vocab: HashMap<String, u32> = serde_json::from_str(vocab)
        .map_err(|e| check::bad(VOCAB, "the file", "a JSON object of token ids", e))?;
    check::ids_fit(VOCAB, "the file", &vocab, vocab_size)?;
    // The first line is the version; a line of more or fewer than two symbols never matches.
    let pair = |line: &str| {
        let mut symbols = line.split_whitespace().map(String::from);
        match (symbols.next(), symbols.next(), symbols.next()) {
            (Some(a), Some(b), None) => Some((a, b)),
            _ => None,
        }
    };
    let body = merges.split_once('\n').map_or("", |(_, rest)| rest);
    Ok((vocab, body.lines().filter_map(pair).collect()))
}

impl Tokenizer {
    /// GPT-2's kind: the vocabulary spells bytes by characters.
    ///
    /// Errors: `bad-tokenizer`.
    /// Source: `GPT2Tokenizer` of Hugging Face transformers.
    pub fn of_bytes(vocab: &str, merges: &str, vocab_size: Option<usize>) -> Result<Tokenizer> {
        let (vocab, merges) = read(vocab, merges, vocab_size)?;
        for (i, (a, b)) in merges.iter().enumerate() {
            check::merge_fits(MERGES, &|| format!("merge {i}"), a, b, "", &vocab)?;
        }
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
    pub fn of_words(vocab: &str, merges: &str, vocab_size: Option<usize>) -> Result<Tokenizer> {
        let (entries, merges) = read(vocab, merges, vocab_size)?;
        let unknown = *entries
            .get(UNKNOWN)
            .ok_or_else(|| check::bad(VOCAB, UNKNOWN, "an id, as in CTRL's file", "nothing"))?;
        // The library merges symbols; the vocabulary has other names for them.
        let symbol = |entry: &str| match entry.strip_suffix(CONTINUES) {
            _ if entry == UNKNOWN => entry.to_string(),
            Some(start) => start.to_string(),
            None => format!("{entry}{WORD_END}"),
        };
        let mut vocab: Vocab = entries.iter().map(|(entry, &id)| (symbol(entry), id)).collect();
        // Symbols that merges use and no entry names get ids beyond all others, which mean unknown.
        let beyond = entries.values().max().map_or(Some(0), |id| id.checked_add(1));
        let n_more = u32::try_from(merges.len()).ok().and_then(|n| n.checked_mul(3));
        let fits = |n: &u32| n_more.is_some_and(|more| n.checked_add(more).is_some());
        let mut next = beyond
            .filter(fits)
            .ok_or_else(|| check::bad(VOCAB, "the file", "ids below 2^31", "larger ones"))?;
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

/// The text of an entry of a vocabulary of words: a complete word is followed by a space, unless it ends
/// with a newline.
pub(super) fn text_of(entry: &str) -> String {
    match entry.strip_suffix(CONTINUES) {
        Some(start) => start.into(),
        None if entry.ends_with('\n') || entry == UNKNOWN => entry.into(),
        None => format!("{entry} "),
    }
}
