//! Tests lenses, fits and corpora through the JavaScript API: values, error codes, files, and what is freed.

use js_sys::{Array, Float32Array, Function, Promise};
use loupe::web::Loupe;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::*;

use crate::support::script::{error_code, get, tales};

/// What an asynchronous function of `it` returns.
async fn run(body: &str, it: &JsValue) -> JsValue {
    let source = format!("return (async () => {{ {body} }})();");
    let function = Function::new_with_args("it", &source);
    let promise = function.call1(&JsValue::UNDEFINED, it).expect("a promise");
    JsFuture::from(Promise::from(promise)).await.unwrap_or_else(|error| {
        let message = get(&error, "message").as_string().unwrap_or_default();
        panic!("{}: {message}", error_code(&error));
    })
}

async fn open() -> JsValue {
    let loupe: Loupe = tales().await;
    loupe.into()
}

#[wasm_bindgen_test]
async fn a_lens_is_fitted_exported_opened_and_read_with() {
    let loupe = open().await;
    let found = run(
        r#"
        const texts = ["Once there was a king who had a daughter.", "The wolf came to the house.", [1, 2, 3, 4, 5, 6]];
        const progress = [];
        const fitted = await it.fit({ texts, ridge: 1e-2, held_out: 0.2, onProgress: ({ done }) => progress.push(done) });
        const bytes = await fitted.export();
        const opened = await it.lens({ file: new Blob([bytes]), source: "here", licence: "MIT" });
        const streamed = await it.lens({ kind: "affine", file: new Response(bytes).body });
        const maps = await Promise.all([fitted, opened, streamed].map((lens) => lens.map("h.3")));
        const same = maps.every((map) => String(map.weight) === String(maps[0].weight) && String(map.bias) === String(maps[0].bias));
        const text = "The king had a son.";
        const plain = await it.read(text);
        const under = await it.read(text, { lens: opened, references: ["alone"] });
        const difference = await it.compare(plain, under);
        const last = plain.n_tokens * (plain.taps.length - 1);
        opened.free();
        const codes = [];
        for (const call of [
          () => it.read(text, { lens: opened }),
          () => it.read(text, { lens: {} }),
          () => it.read(text, { references: ["both"] }),
          () => it.read(text, { lens: streamed, contributions: true }),
          () => under.attribute({ tap: "h.3", position: 1, tokens: [3] }),
          () => plain.recover(streamed),
          () => it.lens({ file: bytes, sha256: "0".repeat(64) }),
          () => it.lens({ file: bytes.slice(0, 999) }),
          () => it.lens({ file: bytes, kind: "tuned" }),
          () => it.lens({ kind: "affine" }),
          () => it.fit({ texts: "a text" }),
          () => it.fit({ texts, signal: AbortSignal.abort() }),
        ]) codes.push(await call().then(() => "none", (error) => error.code));
        const answer = {
          same,
          card: opened.__wbg_ptr === 0 && streamed.card,
          own: fitted.card,
          none: (await streamed.map("h.7")) === null,
          progress: progress.at(-1),
          alone: under.stat("kl_alone"),
          last: difference.kl.slice(last),
          first: difference.kl.slice(0, plain.n_tokens),
          codes: codes.join(" "),
        };
        [fitted, streamed, plain, under].forEach((one) => one.free());
        return answer;
        "#,
        &loupe,
    )
    .await;
    assert_eq!(get(&found, "same"), true);
    assert_eq!(get(&found, "none"), true);
    assert_eq!(get(&found, "progress"), 1.0);
    let expected = "bad-option bad-option bad-option bad-option bad-option bad-option corrupt truncated bad-option bad-option bad-option aborted";
    assert_eq!(get(&found, "codes").as_string().as_deref(), Some(expected));
    for card in [get(&found, "card"), get(&found, "own")] {
        assert_eq!(get(&card, "kind"), "fitted");
        assert_eq!(get(&card, "target"), "final");
        assert_eq!(get(&card, "normalised"), true);
        assert_eq!(Array::from(&get(&card, "taps")).length(), 8);
        let kl = get(&get(&get(&card, "held_out"), "h.6"), "kl");
        assert!(kl.as_f64().is_some_and(|kl| kl > 0.0));
    }
    let values = |name: &str| Float32Array::from(get(&found, name)).to_vec();
    assert!(values("last").iter().all(|&kl| kl == 0.0));
    assert!(values("first").iter().all(|&kl| kl > 0.0));
    assert!(values("alone").iter().all(|&kl| kl >= -1e-4));
}

#[wasm_bindgen_test]
async fn a_probe_recovers_tokens_and_a_corpus_is_read() {
    let loupe = open().await;
    let found = run(
        r#"
        const texts = ["Once there was a king who had a daughter.", "The wolf came to the house in the wood."];
        const probe = await it.fit({ texts, target: "input", held_out: 0 });
        const reading = await it.read(texts[0]);
        const { ids, rank } = await reading.recover(probe);
        const tokens = reading.tokens.map((token) => token.id);
        const kept = [...ids.slice(0, tokens.length)].filter((id, i) => id === tokens[i]).length / tokens.length;
        const refused = await it.read(texts[0], { lens: probe }).then(() => "none", (error) => error.code);
        const all = [...texts, "And the king said to his son that he should go."];
        const classes = new Uint8Array(it.model.vocab_size).fill(1);
        async function* slowly() { for (const text of all) { await 0; yield text; } }
        // As guard.js does it, which only the built engine has.
        async function* corpus(texts, { signal, ...options } = {}) {
          const reader = it.read_corpus(options);
          let before = reader.n_texts;
          for await (const text of texts) {
            if (before-- > 0) continue;
            reader.begin(text);
            while (await reader.next_window(signal)) yield { ...reader.part(), state: reader.state };
          }
        }
        const parts = [];
        for await (const part of corpus(slowly(), { window: 8, stride: 4, classes })) parts.push(part);
        const rest = [];
        const half = parts[2].state;
        for await (const part of corpus(all, { window: 8, stride: 4, classes, state: half })) rest.push(part);
        const stopped = [];
        for await (const part of corpus(all, { window: 8 })) { stopped.push(part); break; }
        const codes = [];
        for (const options of [{ window: 1 }, { stride: 0 }, { classes: new Uint8Array(3) }, { state: "{}" }, { lens: probe }, { signal: AbortSignal.abort() }])
          codes.push(await corpus(all, options).next().then(() => "none", (error) => error.code));
        probe.free();
        reading.free();
        return { kept, refused, rank, parts, rest: rest.at(-1), stopped: stopped.length, codes: codes.join(" ") };
        "#,
        &loupe,
    )
    .await;
    // The input is what it was fitted on.
    assert!(get(&found, "kept").as_f64().is_some_and(|kept| kept > 0.9));
    assert!(Float32Array::from(get(&found, "rank")).to_vec().iter().all(|&rank| rank >= 1.0));
    assert_eq!(get(&found, "refused"), "bad-option");
    assert_eq!(get(&found, "stopped"), 1.0);
    let expected = "bad-option bad-option bad-option bad-option bad-option aborted";
    assert_eq!(get(&found, "codes").as_string().as_deref(), Some(expected));
    let parts = Array::from(&get(&found, "parts"));
    let last = parts.get(parts.length() - 1);
    let number = |of: &JsValue, name: &str| get(of, name).as_f64().unwrap_or(f64::NAN);
    assert_eq!(number(&last, "windows"), f64::from(parts.length()));
    let rows = |of: &JsValue| Array::from(&get(of, "rows")).to_vec();
    let rest = get(&found, "rest");
    assert_eq!(number(&rest, "windows"), number(&last, "windows"));
    for (a, b) in rows(&last).iter().zip(rows(&rest)) {
        assert_eq!(number(a, "n"), number(&b, "n"));
        for name in ["loss", "kl", "entropy", "agreement", "settled"] {
            for end in ["mean", "low", "high"] {
                let (a, b) = (number(&get(a, name), end), number(&get(&b, name), end));
                assert!((a - b).abs() <= 1e-9 * a.abs(), "{name}: {a} {b}");
            }
        }
    }
    let classes = Array::from(&get(&last, "classes"));
    assert_eq!(classes.length(), 2);
    let of_class = Array::from(&classes.get(1)).get(0);
    assert_eq!(number(&of_class, "n"), number(&rows(&last)[0], "n"));
    let place = get(&last, "last");
    assert_eq!(number(&place, "text"), 2.0);
    assert!(number(&place, "loss") > 0.0);
}
