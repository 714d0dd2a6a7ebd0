//! Tests that tokenizer files that would panic, hang or mislead are rejected, and that the loupe stays usable.

use std::time::{Duration, Instant};

use crate::support::golden::{Golden, TALES_TOKENIZER};
use loupe::config::Family;
use loupe::error::{Error, Result};
use loupe::session::LoadRequest;
use loupe::tokenizer::{Tokenizer, TokenizerFiles};

/// A tokenizer.json with the given model and pre-tokenizer.
fn json(model: &str, pre_tokenizer: &str) -> String {
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":{pre_tokenizer},"post_processor":null,"decoder":null,"model":{model}}}"#
    )
}

fn split(regex: &str) -> String {
    let regex = serde_json::to_string(regex).expect("JSON");
    format!(
        r#"{{"type":"Split","pattern":{{"Regex":{regex}}},"behavior":"Isolated","invert":false}}"#
    )
}

fn rejected(text: &str) -> String {
    match Tokenizer::parse(text, Some(10)) {
        Err(error @ Error::BadTokenizer { .. }) => error.to_string(),
        other => panic!("{text} gave {:?}", other.err()),
    }
}

/// Invalid models, and a word of each message.
const MODELS: [(&str, &str); 14] = [
    // These panic inside tokenizers 0.23.2.
    (r#"{"type":"BPE","vocab":{"ab":0,"cd":1},"merges":[["ab","cd"]]}"#, "abcd"),
    (r#"{"type":"BPE","vocab":{"ab":0,"cd":1},"merges":["ab cd"]}"#, "abcd"),
    (
        r#"{"type":"BPE","continuing_subword_prefix":"@@@@","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}"#,
        "@@@@",
    ),
    (
        r#"{"type":"BPE","continuing_subword_prefix":"é","vocab":{"a":0,"ü":1,"aü":2},"merges":[["a","ü"]]}"#,
        "é",
    ),
    // These parse, but then fail for every text or have no meaning.
    (r#"{"type":"BPE","vocab":{},"merges":[]}"#, "at least one token"),
    (r#"{"type":"BPE","vocab":{"a":0},"merges":[["a","b"]]}"#, "\"b\""),
    (r#"{"type":"BPE","vocab":{"a":0},"merges":["a"]}"#, "two tokens"),
    (r#"{"type":"BPE","vocab":{"a":0},"merges":["a b c"]}"#, "two tokens"),
    (r#"{"type":"BPE","unk_token":"<unk>","vocab":{"a":0},"merges":[]}"#, "unk_token"),
    (r#"{"type":"BPE","vocab":{"a":10},"merges":[]}"#, "ids 0 to 9"),
    (r#"{"type":"BPE","vocab":{"a":4294967295},"merges":[]}"#, "ids 0 to 9"),
    (r#"{"type":"BPE","vocab":{"a":1,"b":1},"merges":[]}"#, "two tokens"),
    (r#"{"vocab":{"ab":0,"cd":1},"merges":[["ab","cd"]]}"#, "abcd"),
    (r#"{"type":"Unigram","unk_id":0,"vocab":[["a",0.0],["",-1.0]]}"#, "finite score"),
];

#[test]
fn hostile_models_are_rejected_with_the_cause() {
    for (model, word) in MODELS {
        let message = rejected(&json(model, "null"));
        assert!(message.contains(word), "{message} has no {word}");
        assert!(message.contains(": expected ") && message.contains(", got "), "{message}");
    }
    for text in ["", "{}", "[]", "null", "{\"model\": 3}", "{\"model\": {}}"] {
        rejected(text);
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    rejected(&json(r#"{"type":"BPE","vocab":{"a":0},"merges":[]}"#, &deep));
    let precompiled = json(r#"{"type":"BPE","vocab":{"a":0},"merges":[]}"#, "null").replace(
        "\"normalizer\":null",
        r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}"#,
    );
    assert!(rejected(&precompiled).contains("Precompiled"));
}

/// A tokenizer.json with a byte-level model and other steps than none.
fn with_steps(steps: &[(&str, &str)]) -> String {
    let mut text = json(r#"{"type":"BPE","vocab":{"a":0," ":1},"merges":[]}"#, "null");
    for (name, value) in steps {
        let none = if *name == "added_tokens" { "[]" } else { "null" };
        text = text.replace(&format!("\"{name}\":{none}"), &format!("\"{name}\":{value}"));
    }
    text
}

/// Steps that the library runs without a bound, or that panic in it at the first text.
#[test]
fn hostile_steps_are_rejected() {
    let fixed = r#"{"type":"FixedLength","length":0}"#;
    assert!(rejected(&with_steps(&[("pre_tokenizer", fixed)])).contains("length"));

    let doubling = r#"{"type":"Replace","pattern":{"String":"a"},"content":"aa"}"#;
    let sequence = |step: &str, kind: &str| {
        let steps = vec![step; 40].join(",");
        format!(r#"{{"type":"Sequence","{kind}":[{steps}]}}"#)
    };
    let normalizer = sequence(doubling, "normalizers");
    assert!(rejected(&with_steps(&[("normalizer", &normalizer)])).contains("1024 times"));
    let bytes =
        r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}"#;
    let pre_tokenizer = sequence(bytes, "pretokenizers");
    assert!(rejected(&with_steps(&[("pre_tokenizer", &pre_tokenizer)])).contains("1024 times"));

    let added = |id: u32, content: &str, lstrip: bool, rstrip: bool| {
        format!(
            r#"{{"id":{id},"content":"{content}","single_word":false,"lstrip":{lstrip},"rstrip":{rstrip},"normalized":false,"special":false}}"#
        )
    };
    let overlapping = format!("[{},{}]", added(0, "a", false, true), added(1, " ", true, false));
    assert!(rejected(&with_steps(&[("added_tokens", &overlapping)])).contains("lstrip"));

    // A template may name a second text, which is not there; templates are not applied.
    let template = r#"{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":0}}],"special_tokens":{}}"#;
    let text = with_steps(&[("post_processor", template)]);
    let tokenizer = Tokenizer::parse(&text, Some(2)).expect("a tokenizer");
    assert_eq!(tokenizer.encode("aa a"), Ok(vec![0, 0, 1, 0]));

    // The steps of common tokenizers.
    let metaspace = r#"{"type":"Sequence","normalizers":[{"type":"NFKC"},
        {"type":"Replace","pattern":{"String":" "},"content":"▁"},{"type":"Prepend","prepend":"▁"}]}"#;
    Tokenizer::parse(&with_steps(&[("normalizer", metaspace)]), Some(2)).expect("a tokenizer");
}

/// Merges with a prefix are valid if they contain it; old files have an empty prefix.
#[test]
fn valid_models_are_read() {
    let prefix = json(
        r###"{"type":"BPE","continuing_subword_prefix":"##","vocab":{"a":0,"##b":1,"ab":2},"merges":[["a","##b"]]}"###,
        "null",
    );
    let tokenizer = Tokenizer::parse(&prefix, Some(3)).expect("a tokenizer");
    assert_eq!(tokenizer.encode("ab").expect("ids"), [2]);
    let old = json(
        r#"{"dropout":null,"unk_token":"","continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,
        "vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}"#,
        "null",
    );
    assert_eq!(Tokenizer::parse(&old, Some(3)).expect("an old file").encode("ab"), Ok(vec![2]));
    let unigram = json(r#"{"type":"Unigram","unk_id":0,"vocab":[["?",0.0],["a",-1.0]]}"#, "null");
    assert_eq!(
        Tokenizer::parse(&unigram, Some(2)).expect("a tokenizer").encode("aa"),
        Ok(vec![1, 1])
    );
    // An added token beyond the vocabulary gets an id that the model does not have: Vocabulary::encode reports it.
    let added = prefix.replace(
        "\"added_tokens\":[]",
        r#""added_tokens":[{"id":7,"content":"<x>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}]"#,
    );
    assert_eq!(Tokenizer::parse(&added, Some(3)).expect("a tokenizer").encode("<x>"), Ok(vec![3]));
}

/// Dropout is for training: with it, the same text would get different ids each time.
#[test]
fn dropout_is_ignored() {
    let model = r#"{"type":"BPE","dropout":0.9,"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}"#;
    let tokenizer = Tokenizer::parse(&json(model, "null"), None).expect("a tokenizer");
    for _ in 0..50 {
        assert_eq!(tokenizer.encode("abab"), Ok(vec![2, 2]));
    }
}

#[test]
fn a_regular_expression_takes_time_in_proportion_to_the_text() {
    let model = r#"{"type":"BPE","vocab":{"a":0,"b":1," ":2},"merges":[]}"#;
    let parse = |regex: &str| Tokenizer::parse(&json(model, &split(regex)), Some(3));
    for regex in [
        r"(a+)+(?!b)",
        r"(?=(a+))\1*b",
        r"(a|aa)+\1",
        r"(?<=a)b",
        r"(?:a*)*c\s+(?!\S)",
        r"(?:(?:a{1,9}){1,9})+\s+(?!\S)",
        r"(?:a++)+b",
        r"(a+)+\bX",
        r"(?:a|a)*b\s+(?!\S)",
        r"(?:a?a?)*b\s+(?!\S)",
        "(",
    ] {
        let message = parse(regex).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            message.contains("pre_tokenizer.pattern: expected a regular"),
            "{regex}: {message}"
        );
    }
    let published = [
        // GPT-2, cl100k, Llama 3, Qwen 2
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"\S+\n?",
        // Without a lookaround nested repetitions run in linear time.
        r"(a+)+b",
    ];
    let text = format!("{}c {}", "a".repeat(20_000), " a b".repeat(5_000));
    for regex in published {
        let tokenizer = parse(regex).unwrap_or_else(|e| panic!("{regex}: {e}"));
        let start = Instant::now();
        let ids = tokenizer.encode(&text).expect("ids");
        assert!(ids.len() > 20_000, "{regex}");
        // This does not measure speed: backtracking would take hours.
        assert!(start.elapsed() < Duration::from_secs(60), "{regex}");
    }
}

#[test]
fn hostile_vocab_and_merges_are_rejected() {
    let parse = |family: Option<Family>, vocab: &str, merges: &str, size| -> Result<Tokenizer> {
        TokenizerFiles::Merges { vocab, merges }.parse(family, size)
    };
    let gpt2 = Some(Family::Gpt2);
    let ctrl = Some(Family::Ctrl);
    for (family, vocab, merges, size, word) in [
        (gpt2, r#"{"ab":0,"cd":1}"#, "#version: 0.2\nab cd\n", None, "abcd"),
        (gpt2, r#"{"a":0}"#, "#version: 0.2\na b\n", None, "\"b\""),
        (gpt2, "{}", "#version: 0.2\n", None, "at least one token"),
        (gpt2, r#"{"a":5}"#, "#version: 0.2\n", Some(5), "ids 0 to 4"),
        (gpt2, r#"{"a":1,"b":1}"#, "#version: 0.2\n", None, "two tokens"),
        (gpt2, r#"{"a":-1}"#, "#version: 0.2\n", None, "token ids"),
        (ctrl, r#"{"a":0}"#, "#version: 0.2\n", None, "<unk>"),
        (ctrl, r#"{"<unk>":9}"#, "#version: 0.2\n", Some(9), "ids 0 to 8"),
        (ctrl, r#"{"<unk>":4294967294}"#, "#version: 0.2\na b</w>\n", None, "below 2^31"),
    ] {
        let error = parse(family, vocab, merges, size).err().expect("it is rejected");
        assert_eq!(error.code(), "bad-tokenizer");
        assert!(error.to_string().contains(word), "{error} has no {word}");
    }
}

/// A tokenizer is parsed before anything is allocated.
#[test]
fn after_a_hostile_tokenizer_the_next_load_works() {
    pollster::block_on(async {
        let session = crate::support::session().await;
        let golden = Golden::bare();
        let hostile = json(MODELS[0].0, "null");
        let request = LoadRequest::new(golden.config, Some(&hostile));
        let result = session.load(&request).await.map(|_| ()).map_err(|e| e.code());
        assert_eq!(result, Err("bad-tokenizer"));
        // The tokenizer has ids beyond the model's vocabulary of 23.
        let request = LoadRequest::new(golden.config, Some(TALES_TOKENIZER));
        let result = session.load(&request).await.map(|_| ()).map_err(|e| e.code());
        assert_eq!(result, Err("bad-tokenizer"));
        let request = LoadRequest::new(golden.config, None);
        let mut loading = session.load(&request).await.expect("a load");
        session.push(&mut loading, golden.weights).await.expect("a valid file");
        loading.loader.end_file().expect("a whole file");
        session.install(loading).await.expect("a whole model");
    });
}
