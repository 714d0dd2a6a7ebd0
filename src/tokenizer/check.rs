//! Checks of tokenizer files before the `tokenizers` crate reads them: it panics on some, and some keep it busy
//! without bound.

use std::collections::{HashMap, HashSet};

use regex_syntax::ast::{Ast, RepetitionKind, RepetitionRange, parse::Parser};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// Longest accepted regular expression. Units: bytes.
const MAX_PATTERN: usize = 16 << 10;
/// How many times longer the steps of a tokenizer may make a text.
const MAX_GROWTH: u64 = 1024;

/// The lookahead of GPT-2's pattern: white space up to the last one before a word.
const SPACES_BEFORE_WORD: &str = r"\s+(?!\S)";

/// A `bad-tokenizer`: the value `name` of `file` has to be `expected` and is `got`.
pub(super) fn bad(
    file: &'static str,
    name: impl Into<String>,
    expected: impl Into<String>,
    got: impl ToString,
) -> Error {
    let (name, expected, got) = (name.into(), expected.into(), got.to_string());
    Error::BadTokenizer { file, name, expected, got }
}

/// What has to be checked of a `tokenizer.json`.
#[derive(Deserialize)]
struct File {
    added_tokens: Option<Vec<AddedToken>>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    normalized: bool,
}

/// The model, without what the crate checks by itself.
#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    vocab: Vocabulary,
    merges: Option<Vec<Merge>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vocabulary {
    Ids(HashMap<String, u32>),
    /// Of a unigram model: the index is the id.
    Scores(Vec<(String, f64)>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

const JSON: &str = "tokenizer.json";

/// Checks the text of a `tokenizer.json` for a model of `vocab_size` tokens, if that is known.
///
/// Errors: `bad-tokenizer`.
pub(super) fn tokenizer_json(text: &str, vocab_size: Option<usize>) -> Result<()> {
    let file: File = serde_json::from_str(text)
        .map_err(|e| bad(JSON, "the file", "a JSON object with a model and its vocab", e))?;
    steps("normalizer", &file.normalizer)?;
    steps("pre_tokenizer", &file.pre_tokenizer)?;
    let growth = growth(&file.normalizer).saturating_mul(growth(&file.pre_tokenizer));
    if growth > MAX_GROWTH {
        let name = "normalizer and pre_tokenizer";
        let expected = format!("steps that make a text at most {MAX_GROWTH} times longer");
        return Err(bad(JSON, name, expected, format!("up to {growth} times")));
    }
    let tokens = file.added_tokens.as_deref().unwrap_or_default();
    added_tokens(tokens, !file.normalizer.is_null())?;
    let model = &file.model;
    let ids = match &model.vocab {
        Vocabulary::Ids(ids) => ids,
        Vocabulary::Scores(scores) => return unigram(scores, vocab_size),
    };
    ids_fit(JSON, "model.vocab", ids, vocab_size)?;
    if let Some(token) = model.unk_token.as_ref().filter(|t| !t.is_empty() && !ids.contains_key(*t))
    {
        return Err(bad(JSON, "model.unk_token", "a token of the vocab", format!("{token:?}")));
    }
    let is_bpe = model.kind.as_deref().is_none_or(|kind| kind == "BPE");
    let Some(merges) = model.merges.as_ref().filter(|_| is_bpe) else { return Ok(()) };
    let prefix = model.continuing_subword_prefix.as_deref().unwrap_or_default();
    for (i, merge) in merges.iter().enumerate() {
        let name = || format!("model.merges[{i}]");
        let (a, b) = match merge {
            Merge::Pair(a, b) => (a.as_str(), b.as_str()),
            Merge::Line(line) if line.starts_with("#version") => continue,
            Merge::Line(line) => line
                .split_once(' ')
                .filter(|(_, b)| !b.contains(' '))
                .ok_or_else(|| bad(JSON, name(), "two tokens", format!("{line:?}")))?,
        };
        merge_fits(JSON, &name, a, b, prefix, ids)?;
    }
    Ok(())
}

/// Checks that a vocabulary is not empty, and that its ids are distinct and those of the model.
///
/// Errors: `bad-tokenizer`.
pub(super) fn ids_fit(
    file: &'static str,
    name: &str,
    ids: &HashMap<String, u32>,
    vocab_size: Option<usize>,
) -> Result<()> {
    if ids.is_empty() {
        return Err(bad(file, name, "at least one token", "none"));
    }
    if let Some(vocab_size) = vocab_size {
        let beyond = ids.iter().filter(|(_, id)| **id as usize >= vocab_size);
        if let Some((token, id)) = beyond.min_by_key(|(_, id)| **id) {
            let expected = format!("ids 0 to {} of the model", vocab_size.saturating_sub(1));
            return Err(bad(file, name, expected, format!("{id} for {token:?}")));
        }
    }
    let mut seen = HashSet::with_capacity(ids.len());
    match ids.values().find(|id| !seen.insert(**id)) {
        Some(id) => Err(bad(file, name, "an id for each token", format!("{id} for two tokens"))),
        None => Ok(()),
    }
}

/// Checks that a merge names tokens of the vocabulary and makes one.
///
/// Errors: `bad-tokenizer`.
pub(super) fn merge_fits(
    file: &'static str,
    name: &dyn Fn() -> String,
    a: &str,
    b: &str,
    prefix: &str,
    ids: &HashMap<String, u32>,
) -> Result<()> {
    let unknown = |token: &str| {
        bad(file, name(), "tokens of the vocab, alone and joined", format!("{token:?}"))
    };
    for token in [a, b] {
        if !ids.contains_key(token) {
            return Err(unknown(token));
        }
    }
    let rest = b.strip_prefix(prefix).ok_or_else(|| {
        bad(file, name(), format!("a second token that begins with {prefix:?}"), format!("{b:?}"))
    })?;
    let joined = format!("{a}{rest}");
    if ids.contains_key(&joined) { Ok(()) } else { Err(unknown(&joined)) }
}

fn unigram(scores: &[(String, f64)], vocab_size: Option<usize>) -> Result<()> {
    let name = "model.vocab";
    if let Some(vocab_size) = vocab_size.filter(|&n| scores.len() > n) {
        let expected = format!("at most {vocab_size} tokens, as the model has");
        return Err(bad(JSON, name, expected, scores.len()));
    }
    match scores.iter().find(|(token, score)| token.is_empty() || !score.is_finite()) {
        Some((token, score)) => {
            let got = format!("{score} for {token:?}");
            Err(bad(JSON, name, "tokens with a text and a finite score", got))
        }
        None if scores.is_empty() => Err(bad(JSON, name, "at least one token", "none")),
        None => Ok(()),
    }
}

/// Checks that no token with `lstrip` can begin with white space that `rstrip` gave to the token before it: the
/// crate would cut the text there from a later to an earlier position.
///
/// Errors: `bad-tokenizer`.
fn added_tokens(tokens: &[AddedToken], has_normalizer: bool) -> Result<()> {
    let overlaps = |token: &AddedToken| {
        token.lstrip
            && (token.content.starts_with(char::is_whitespace)
                || token.normalized && has_normalizer)
    };
    match tokens.iter().position(overlaps) {
        None => Ok(()),
        Some(i) => {
            let expected = "no lstrip for a token that may begin with white space";
            Err(bad(JSON, format!("added_tokens[{i}]"), expected, "lstrip true"))
        }
    }
}

/// How many times longer steps can make a text, at most. The crate maps every byte of a byte-level step to a
/// character of two bytes.
fn growth(value: &Value) -> u64 {
    let product = |values: &mut dyn Iterator<Item = &Value>| {
        values.fold(1, |product: u64, value| product.saturating_mul(growth(value)))
    };
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(list) => return product(&mut list.iter()),
        _ => return 1,
    };
    let own = match fields.get("type").and_then(Value::as_str) {
        Some("Replace") => {
            let content = fields.get("content").and_then(Value::as_str).unwrap_or_default().len();
            let literal = fields.get("pattern").and_then(|pattern| pattern.get("String")?.as_str());
            match literal.map(str::len) {
                Some(n) if n > 0 => content.div_ceil(n) as u64,
                // It may match between any two characters.
                _ => content as u64 + 1,
            }
        }
        Some("ByteLevel" | "Lowercase") => 2,
        Some("Metaspace") => 4,
        Some("BertNormalizer") => 8,
        Some("NFC" | "NFD" | "NFKC" | "NFKD" | "Nmt") => 18,
        _ => 1,
    };
    product(&mut fields.values()).saturating_mul(own.max(1))
}

/// Checks the regular expressions in a normalizer or a pre-tokenizer, and refuses steps that the crate does
/// not bound or panics in.
///
/// Errors: `bad-tokenizer`.
fn steps(name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Object(fields) => {
            if fields.get("type").and_then(Value::as_str) == Some("Precompiled") {
                let expected = "a normalizer without a precompiled character map";
                return Err(bad(JSON, name, expected, "type \"Precompiled\""));
            }
            if fields.get("length").and_then(Value::as_u64) == Some(0) {
                return Err(bad(JSON, format!("{name}.length"), "1 or more", 0));
            }
            if let Some(Value::String(regex)) = fields.get("Regex") {
                pattern(name, regex)?;
            }
            fields.iter().try_for_each(|(key, value)| steps(&format!("{name}.{key}"), value))
        }
        Value::Array(list) => {
            list.iter().enumerate().try_for_each(|(i, value)| steps(&format!("{name}[{i}]"), value))
        }
        _ => Ok(()),
    }
}

/// Checks that a regular expression cannot take exponential time. The crate backtracks where an
/// expression has a lookaround, a backreference, a word boundary or a possessive quantifier. Lookarounds and
/// backreferences are refused, but for the lookahead of every byte-level tokenizer; in an expression that
/// backtracks, a repetition may contain no alternative and no repetition of variable length.
///
/// Errors: `bad-tokenizer`.
fn pattern(name: &str, pattern: &str) -> Result<()> {
    if pattern.len() > MAX_PATTERN {
        let expected = format!("a regular expression of at most {MAX_PATTERN} bytes");
        return Err(bad(JSON, name, expected, pattern.len()));
    }
    let plain = pattern.replace(SPACES_BEFORE_WORD, r"\s+");
    let ast = Parser::new().parse(&plain).map_err(|e| {
        let expected =
            "a regular expression without backreferences and lookarounds except \\s+(?!\\S)";
        bad(JSON, name, expected, format!("{pattern:?} ({})", e.kind()))
    })?;
    let backtracks = ["++", "*+", "?+", "}+", r"\b", r"\B", r"\<", r"\>"];
    let may_backtrack = plain != pattern || backtracks.iter().any(|p| plain.contains(p));
    if may_backtrack && has_choice_in_repetition(&ast, false) {
        let expected =
            "a regular expression whose repetitions hold no repetition and no alternative";
        return Err(bad(JSON, name, expected, format!("{pattern:?}")));
    }
    Ok(())
}

/// Whether a repetition holds another one or an alternative, so that a text may match in many ways; `inside`
/// says whether `ast` is in one.
fn has_choice_in_repetition(ast: &Ast, inside: bool) -> bool {
    let any = |list: &[Ast]| list.iter().any(|ast| has_choice_in_repetition(ast, inside));
    match ast {
        Ast::Repetition(repetition) => {
            let (is_choice, repeats) = match repetition.op.kind {
                RepetitionKind::ZeroOrOne => (true, false),
                RepetitionKind::Range(RepetitionRange::Exactly(n)) => (false, n > 1),
                RepetitionKind::Range(RepetitionRange::Bounded(_, n)) => (true, n > 1),
                _ => (true, true),
            };
            inside && is_choice || has_choice_in_repetition(&repetition.ast, inside || repeats)
        }
        Ast::Group(group) => has_choice_in_repetition(&group.ast, inside),
        Ast::Alternation(alternation) => inside || any(&alternation.asts),
        Ast::Concat(concat) => any(&concat.asts),
        _ => false,
    }
}
