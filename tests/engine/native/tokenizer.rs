//! Tests the conversion between text and ids, and how tokens are displayed.

use crate::support::golden::TALES_TOKENIZER;
use loupe::checkpoint::Digest;
use loupe::tokenizer::Tokenizer;

/// A tokenizer.json may contain the truncation and padding of its training; a reading needs neither.
#[test]
fn truncation_and_padding_of_the_file_are_ignored() {
    let text = "Once upon a time there was a little girl";
    let plain = Tokenizer::parse(TALES_TOKENIZER, Some(4096)).expect("a tokenizer");
    let mut json: serde_json::Value = serde_json::from_str(TALES_TOKENIZER).expect("JSON");
    json["truncation"] = serde_json::json!({
        "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0
    });
    json["padding"] = serde_json::json!({
        "strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"
    });
    let added = serde_json::json!({
        "id": 4095, "content": "\u{e9}", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false
    });
    json["added_tokens"].as_array_mut().expect("a list").push(added);
    let other = Tokenizer::parse(&json.to_string(), Some(4096)).expect("a tokenizer");
    assert_eq!(other.encode(text).expect("ids"), plain.encode(text).expect("ids"));
    let token = (0..5000).map(|id| other.token(id)).find(|t| t.text == "\u{e9}");
    assert_eq!(token.map(|t| t.bytes), Some("\u{e9}".as_bytes().to_vec()));
}

#[test]
fn tokens_show_invisible_characters() {
    let tokenizer = Tokenizer::parse(TALES_TOKENIZER, Some(4096)).expect("a tokenizer");
    let text = " the\n\tcafé 🦊\u{a0}\u{200b}";
    let ids = tokenizer.encode(text).expect("ids");
    let tokens: Vec<_> = ids.iter().map(|&id| tokenizer.token(id)).collect();
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.bytes.clone()).collect();
    assert_eq!(bytes, text.as_bytes());
    let shown: String = tokens.iter().map(|t| t.shown.as_str()).collect();
    assert!(shown.starts_with("␣the↵"), "{shown}");
    assert!(shown.contains('⇥') && shown.contains('‹'), "{shown}");
    assert!(!shown.contains(['\u{a0}', '\u{200b}', '\n', '\t', ' ', '\u{fffd}']), "{shown}");
    assert_eq!(tokenizer.token(0).shown, "<|endoftext|>");
    assert_eq!(tokenizer.token(4_000_000).shown, "#4000000");
}

/// GPT-2's own tokenizer, if it is available beside the repository.
fn gpt2() -> Option<Tokenizer> {
    let path = "../shared/gpt2-small/tokenizer.json";
    let Ok(json) = std::fs::read_to_string(path) else {
        crate::support::skip(&format!("{path} is missing"));
        return None;
    };
    Some(Tokenizer::parse(&json, Some(50_257)).expect("a tokenizer"))
}

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

/// The results of transformers (tests/golden/tokens.py).
#[derive(serde::Deserialize)]
struct Tokens {
    n_tokens: u32,
    table: String,
    cases: Vec<Case>,
}

fn golden() -> Tokens {
    serde_json::from_str(include_str!("../../golden/gpt2_tokens.json")).expect("a golden file")
}

#[test]
fn gpt2_texts_get_the_ids_of_transformers() {
    let Some(tokenizer) = gpt2() else { return };
    let Tokens { cases, .. } = golden();
    assert!(cases.len() >= 20);
    for Case { text, ids } in cases {
        assert_eq!(tokenizer.encode(&text).expect("ids"), ids, "{text:?}");
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token(id).bytes).collect();
        assert_eq!(bytes, text.as_bytes(), "{text:?} is restored");
    }
}

#[test]
fn every_token_of_gpt2_has_its_bytes() {
    let Some(tokenizer) = gpt2() else { return };
    let Tokens { n_tokens, table, .. } = golden();
    let mut digest = Digest::default();
    let (mut partial, mut single) = (0, Vec::new());
    for id in 0..n_tokens {
        let token = tokenizer.token(id);
        digest.update(&(token.bytes.len() as u32).to_le_bytes());
        digest.update(&token.bytes);
        // A token that is not UTF-8 by itself is shown as its bytes, and no other token is shown that way.
        let hex: Vec<String> = token.bytes.iter().map(|b| format!("{b:02X}")).collect();
        let as_bytes = format!("‹{}›", hex.join(" "));
        let is_text = std::str::from_utf8(&token.bytes).is_ok();
        let is_control = token.bytes.len() == 1 && token.bytes[0].is_ascii_control();
        if !is_text {
            partial += 1;
            assert_eq!(token.shown, as_bytes, "{id}");
            assert!(token.text.contains('\u{fffd}'), "{id}");
        } else if !is_control {
            assert_ne!(token.shown, as_bytes, "{id}");
        }
        // The first 256 ids are single bytes.
        if id < 256 {
            single.extend(token.bytes);
        }
    }
    assert_eq!(digest.hex(), table);
    assert!(partial > 128, "{partial} tokens are parts of characters");
    single.sort_unstable();
    assert_eq!(single, (0..=255).collect::<Vec<u8>>());
    assert_eq!(tokenizer.token(n_tokens).shown, format!("#{n_tokens}"), "no such token");
}

#[derive(serde::Deserialize)]
struct WordCase {
    text: String,
    ids: Vec<u32>,
    tokens: Vec<String>,
}

/// A toy vocabulary with CTRL's conventions is compared with transformers' own CTRLTokenizer
/// (tests/golden/ctrl_tokens.py).
#[test]
fn ctrl_words_get_the_ids_of_transformers() {
    let vocab = include_str!("../../golden/ctrl_tokens/vocab.json");
    let merges = include_str!("../../golden/ctrl_tokens/merges.txt");
    let tokenizer = Tokenizer::of_words(vocab, merges, None).expect("a tokenizer");
    let cases: Vec<WordCase> =
        serde_json::from_str(include_str!("../../golden/ctrl_tokens/expected.json")).expect("JSON");
    assert!(cases.len() > 5);
    for WordCase { text, ids, tokens } in cases {
        assert_eq!(tokenizer.encode(&text).expect("ids"), ids, "{text:?}: {tokens:?}");
        for (&id, name) in ids.iter().zip(&tokens) {
            let token = tokenizer.token(id);
            let expected = match name.strip_suffix("@@") {
                _ if token.text == "<unk>" => continue,
                Some(start) => start.to_string(),
                None if name == "\n" => name.clone(),
                None => format!("{name} "),
            };
            assert_eq!(token.text, expected, "{name:?}");
        }
    }
    assert_eq!(tokenizer.token(9999).shown, "#9999", "the library's own ids are not tokens");
    let no_unknown = Tokenizer::of_words("{\"a\": 0}", merges, None).err();
    assert_eq!(no_unknown.map(|e| e.code()), Some("bad-tokenizer"));
    let overflow = Tokenizer::of_words(r#"{"<unk>": 4294967295}"#, merges, None).err();
    assert_eq!(overflow.map(|e| e.code()), Some("bad-tokenizer"));
    assert_eq!(
        Tokenizer::of_words("[", merges, None).err().map(|e| e.code()),
        Some("bad-tokenizer")
    );
}

/// Without a tokenizer.json, its two older files give the same tokenizer.
#[test]
fn a_vocabulary_and_merges_are_the_same_tokenizer() {
    let json: serde_json::Value = serde_json::from_str(TALES_TOKENIZER).expect("JSON");
    let vocab = json["model"]["vocab"].to_string();
    let line = |merge: &serde_json::Value| match merge {
        serde_json::Value::String(line) => line.clone(),
        pair => {
            format!("{} {}", pair[0].as_str().expect("a token"), pair[1].as_str().expect("a token"))
        }
    };
    let merges = json["model"]["merges"].as_array().expect("merges").iter().map(line);
    let merges = format!("#version: 0.2\n{}\n", merges.collect::<Vec<_>>().join("\n"));
    let whole = Tokenizer::parse(TALES_TOKENIZER, Some(4096)).expect("a tokenizer");
    let older = Tokenizer::of_bytes(&vocab, &merges, Some(4096)).expect("a tokenizer");
    for text in ["Once upon a time, “Café”\n\n🦊  it's", "<|endoftext|> don't\tstop", ""] {
        let ids = whole.encode(text).expect("ids");
        assert_eq!(older.encode(text).expect("ids"), ids, "{text:?}");
        for id in ids {
            assert_eq!(older.token(id), whole.token(id));
        }
    }
}
