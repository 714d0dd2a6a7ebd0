//! Text ⇄ ids, and what a person sees of a token.
#![cfg(not(target_arch = "wasm32"))]

mod support;

use loupe::tokenizer::Tokenizer;
use support::golden::TALES_TOKENIZER;

/// A tokenizer.json may carry the truncation and padding of its training; a reader wants neither.
#[test]
fn truncation_and_padding_of_the_file_are_ignored() {
    let text = "Once upon a time there was a little girl";
    let plain = Tokenizer::parse(TALES_TOKENIZER).expect("a tokenizer");
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
    let other = Tokenizer::parse(&json.to_string()).expect("a tokenizer");
    assert_eq!(other.encode(text).expect("ids"), plain.encode(text).expect("ids"));
    let token = (0..5000).map(|id| other.token(id)).find(|t| t.text == "\u{e9}");
    assert_eq!(token.map(|t| t.bytes), Some("\u{e9}".as_bytes().to_vec()));
}

#[test]
fn tokens_show_what_cannot_be_seen() {
    let tokenizer = Tokenizer::parse(TALES_TOKENIZER).expect("a tokenizer");
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

/// GPT-2's own tokenizer, where it lies beside the repository: every byte of every token is right.
#[test]
fn gpt2s_tokenizer_round_trips() {
    let path = "../shared/gpt2-small/tokenizer.json";
    let Ok(json) = std::fs::read_to_string(path) else {
        println!("skipped: {path} is not on this machine");
        return;
    };
    let tokenizer = Tokenizer::parse(&json).expect("a tokenizer");
    assert_eq!(tokenizer.encode("Hello world").expect("ids"), [15496, 995]);
    let text = "Déjà vu — 東京\u{200d}🏳️‍🌈\r\n\u{0}  tabs\t\t<|endoftext|> end";
    let ids = tokenizer.encode(text).expect("ids");
    let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token(id).bytes).collect();
    assert_eq!(bytes, text.as_bytes());
    // The 256 byte tokens are the first 256 ids, each of one byte, all different.
    let mut single: Vec<u8> = (0..256).flat_map(|id| tokenizer.token(id).bytes).collect();
    single.sort_unstable();
    assert_eq!(single, (0..=255).collect::<Vec<u8>>());
}
