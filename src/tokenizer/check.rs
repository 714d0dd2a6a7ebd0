//! Checks of tokenizer files before the `tokenizers` crate reads them: it panics on some, and some keep it busy
//! without bound.

use std::collections::{HashMap, HashSet};

use regex_syntax::ast::{Ast, RepetitionKind, RepetitionRange, parse::Parser};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// Longest accepted regular expression. Units: bytes.
const MAX_PATTERN: usize = 16 << 10;
/// Repetitions up to this count are as good as written out.
const FEW: u32 = 8;

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
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: Model,
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

/// Checks the regular expressions in a normalizer or a pre-tokenizer, and refuses a step that the crate does
/// not bound.
///
/// Errors: `bad-tokenizer`.
fn steps(name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Object(fields) => {
            if fields.get("type").and_then(Value::as_str) == Some("Precompiled") {
                let expected = "a normalizer without a precompiled character map";
                return Err(bad(JSON, name, expected, "type \"Precompiled\""));
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

/// Checks that a regular expression takes time in proportion to the text. The crate backtracks where an
/// expression has a lookaround or a backreference. These are refused, but for the lookahead that every
/// byte-level tokenizer has, beside which no repetition may hold another.
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
    // A possessive quantifier makes the crate backtrack as well.
    let is_possessive = ["++", "*+", "?+", "}+"].iter().any(|p| plain.contains(p));
    if (plain != pattern || is_possessive) && has_nested_repetition(&ast, false) {
        let expected = "a regular expression whose repetitions hold no other repetition";
        return Err(bad(JSON, name, expected, format!("{pattern:?}")));
    }
    Ok(())
}

/// Whether an unbounded repetition holds another; `inside` says whether `ast` stands in one.
fn has_nested_repetition(ast: &Ast, inside: bool) -> bool {
    let any = |list: &[Ast]| list.iter().any(|ast| has_nested_repetition(ast, inside));
    match ast {
        Ast::Repetition(repetition) => {
            let is_short = match &repetition.op.kind {
                RepetitionKind::ZeroOrOne => true,
                RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => false,
                RepetitionKind::Range(RepetitionRange::Exactly(n)) => *n <= FEW,
                RepetitionKind::Range(RepetitionRange::AtLeast(_)) => false,
                RepetitionKind::Range(RepetitionRange::Bounded(_, n)) => *n <= FEW,
            };
            (!is_short && inside) || has_nested_repetition(&repetition.ast, inside || !is_short)
        }
        Ast::Group(group) => has_nested_repetition(&group.ast, inside),
        Ast::Alternation(alternation) => any(&alternation.asts),
        Ast::Concat(concat) => any(&concat.asts),
        _ => false,
    }
}
