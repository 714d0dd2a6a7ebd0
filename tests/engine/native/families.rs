//! Tests which configs and decoders are rejected, the exact costs of rows, and CTRL's real vocabulary size.

use crate::support::Noise;
use crate::support::golden::{Golden, TALES_CONFIG, TALES_WEIGHTS, halves};
use loupe::config::{Activation, Config, Family};
use loupe::device::Cancel;
use loupe::error::Result;
use loupe::kernels::Precision;
use loupe::lens::{Depth, Norm, Options};
use loupe::reading::Statistic;
use loupe::reference::{Columns, Sums};
use loupe::session::{Lensed, LoadRequest, Session};
use pollster::block_on;
use serde_json::{Map, json};
use std::rc::Rc;

async fn load(session: &Session, request: &LoadRequest<'_>, file: &[u8]) -> Result<()> {
    let mut loading = session.load(request).await?;
    session.push(&mut loading, file).await?;
    loading.loader.end_file()?;
    session.install(loading).await.map(|_| ())
}

async fn read(session: &Session, ids: &[u32], options: &Options) -> Result<Rc<Lensed>> {
    session.read(ids, options, &Cancel::default(), |_, _, _| Ok(())).await
}

fn with_decoder(parts: &[&str]) -> Options {
    Options { decoder: parts.iter().map(|p| p.to_string()).collect(), ..Options::default() }
}

#[test]
fn configs_of_every_family_are_read_or_rejected_by_name() {
    let neo = Golden::neo().config;
    let config = Config::parse(neo).expect("GPT-Neo");
    assert_eq!((config.family, config.n_inner, config.n_ctx), (Family::GptNeo, 50, 70));
    assert_eq!(config.windows, [None, Some(3), Some(3)]);
    assert_eq!(config.attention_scale(1), 1.0);
    let config = Config::parse(Golden::ctrl().config).expect("CTRL");
    assert_eq!((config.family, config.n_inner), (Family::Ctrl, 44));
    assert_eq!(config.activation, Activation::Relu);

    // `attention_layers` gives the same information block by block.
    let mut json: serde_json::Value = serde_json::from_str(neo).expect("JSON");
    json.as_object_mut().expect("an object").remove("attention_types");
    let code = |json: &serde_json::Value| {
        Config::parse(&json.to_string()).map_or_else(|e| e.code(), |_| "fine")
    };
    assert_eq!(code(&json), "bad-config", "the local blocks are not given");
    json["attention_layers"] = json!(["local", "global", "local"]);
    let config = Config::parse(&json.to_string()).expect("GPT-Neo");
    assert_eq!(config.windows, [Some(3), None, Some(3)]);
    json["attention_layers"] = json!(["local", "global"]);
    assert_eq!(code(&json), "bad-config", "two of three blocks");
    json["attention_layers"] = json!(["local", "sparse", "local"]);
    assert_eq!(code(&json), "unsupported-model");
    json["attention_layers"] = json!(["local", "local", "local"]);
    // A claim of more blocks than there are costs nothing, however large it is.
    json.as_object_mut().expect("an object").remove("attention_layers");
    for types in [json!([[["local"], u64::MAX]]), json!([[[], u64::MAX]])] {
        json["attention_types"] = types;
        assert_eq!(code(&json), "bad-config");
    }
    json["attention_types"] = json!([[["local"], 3]]);
    json["window_size"] = json!(0);
    assert_eq!(code(&json), "bad-config");
    let unknown = Config::parse(r#"{"model_type": "gpt_j"}"#).expect_err("another family");
    assert_eq!(unknown.code(), "unsupported-model");
    for name in ["gpt_j", "gpt2", "gpt_neo", "ctrl"] {
        assert!(unknown.to_string().contains(name), "{unknown}");
    }
}

#[test]
fn old_configs_tell_their_family_by_their_class_or_their_fields() {
    let sizes = json!({"n_layer": 1, "n_head": 1, "n_embd": 4, "n_positions": 9, "vocab_size": 5});
    let with = |more: serde_json::Value| {
        let mut json = sizes.clone();
        let fields = json.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        let config = Config::parse(&json.to_string());
        config.map(|config| (config.family, config.n_ctx)).map_err(|error| error.code())
    };
    let class = |name: &str| {
        let window = json!({"architectures": [name], "attention_types": [[["global"], 1]]});
        with(window).map(|(family, _)| family)
    };
    assert_eq!(class("GPT2LMHeadModel"), Ok(Family::Gpt2));
    assert_eq!(class("GPT2DoubleHeadsModel"), Ok(Family::Gpt2));
    assert_eq!(class("GPT2Model"), Ok(Family::Gpt2));
    assert_eq!(class("GPTNeoForCausalLM"), Ok(Family::GptNeo));
    assert_eq!(class("CTRLLMHeadModel"), Ok(Family::Ctrl));
    for other in ["GPTNeoXForCausalLM", "OpenAIGPTLMHeadModel", "GPTJForCausalLM", "GPT2", ""] {
        assert_eq!(class(other), Err("unsupported-model"), "{other}");
    }
    // Without a class.
    assert_eq!(with(json!({"dff": 8})), Ok((Family::Ctrl, 9)));
    let neo = with(json!({"attention_layers": ["local"]}));
    assert_eq!(neo, Ok((Family::GptNeo, 9)));
    assert_eq!(with(json!({"n_ctx": 9})), Ok((Family::Gpt2, 9)));
    assert_eq!(with(json!({"n_ctx": 9, "afn": "gelu"})), Err("bad-config"), "GPT-1");
    assert_eq!(with(json!({})), Err("bad-config"));
    assert_eq!(
        with(json!({"model_type": "gpt2", "architectures": ["Other"]})),
        Ok((Family::Gpt2, 9))
    );

    // CTRL's positions are computed: a config states more than fit a table, or than it was trained on.
    let positions = |n: u64, n_ctx: Option<u64>| {
        let config = json!({"dff": 8, "n_positions": n, "n_ctx": n_ctx});
        with(config).expect("CTRL").1
    };
    assert_eq!(positions(50_000, Some(512)), 512);
    assert_eq!(positions(256, Some(512)), 256);
    assert_eq!(positions(50_000, None), 1024);
    let other = json!({"dff": 8, "n_positions": null, "n_ctx": 50_000});
    assert_eq!(with(other), Ok((Family::Ctrl, 1024)));
    let gpt2 = with(json!({"model_type": "gpt2", "n_positions": 50_000, "n_ctx": 512}));
    assert_eq!(gpt2, Ok((Family::Gpt2, 50_000)), "learned positions are all there");
}

#[test]
fn a_missing_tensor_of_each_family_is_named_and_extra_ones_are_listed() {
    block_on(async {
        let (neo, ctrl) = (Golden::neo(), Golden::ctrl());
        let missing = [(neo, "h.0.attn.attention.out_proj.bias"), (ctrl, "h.0.ffn.0.bias")];
        for (golden, name) in missing {
            let session = crate::support::session().await;
            let request = LoadRequest::new(golden.config, None);
            let [half, _] = halves(golden.weights);
            let error = load(&session, &request, &half).await.expect_err("half a file");
            assert_eq!(error.code(), "missing-tensor");
            assert!(error.to_string().contains(&format!("the tensor {name}.")), "{error}");
            // The whole file loads with an unknown tensor and a known mask.
            let file = with_extra(golden.weights);
            load(&session, &request, &file).await.expect("it loads");
            let loaded = session.loaded().expect("a model");
            assert_eq!(loaded.model.extra_tensors, ["transformer.something.else"]);
        }
    });
}

/// A file with an unknown tensor at its end and, for GPT-Neo, a mask.
fn with_extra(file: &[u8]) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let mut header: Map<String, serde_json::Value> =
        serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let n = file.len() - 8 - length;
    let extra = json!({"dtype": "U8", "shape": [4], "data_offsets": [n, n + 4]});
    let mask = json!({"dtype": "U8", "shape": [4], "data_offsets": [n + 4, n + 8]});
    header.insert("transformer.something.else".into(), extra);
    let is_neo = header.keys().any(|k| k.contains("attn.attention"));
    if is_neo {
        header.insert("transformer.h.0.attn.attention.bias".into(), mask);
    }
    let header = serde_json::to_vec(&header).expect("JSON");
    let tail = if is_neo { [0; 8].to_vec() } else { [0; 4].to_vec() };
    [&(header.len() as u64).to_le_bytes()[..], &header, &file[8 + length..], &tail].concat()
}

#[test]
fn decoders_that_do_not_exist_or_are_out_of_order_are_rejected() {
    block_on(async {
        let session = crate::support::session().await;
        load(&session, &LoadRequest::new(TALES_CONFIG, None), TALES_WEIGHTS).await.expect("Tales");
        let bad: [&[&str]; 12] = [
            &["h.8"],
            &["h.-1"],
            &["h.07"],
            &["h.+7"],
            &["h.7.ln_2"],
            &["h.7.attn.x"],
            &["ln_f"],
            &[""],
            &["h.7", "h.6"],
            &["h.7", "h.7"],
            &["h.7.mlp", "h.7.attn"],
            &["h.7", "h.7.mlp"],
        ];
        for parts in bad {
            let result = read(&session, &[1, 2], &with_decoder(parts)).await;
            assert_eq!(result.err().map(|e| e.code()), Some("bad-option"), "{parts:?}");
        }
        let mut options = with_decoder(&["h.7"]);
        options.depth = Depth::Contributions;
        let result = read(&session, &[1, 2], &options).await;
        assert_eq!(result.err().map(|e| e.code()), Some("bad-option"));
        let all: Vec<String> = (0..8).map(|i| format!("h.{i}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let lensed = read(&session, &[1, 2, 3], &with_decoder(&all)).await.expect("a reading");
        assert_eq!(lensed.reading.taps, ["input"]);
        assert!(lensed.reading.final_is_model, "the whole model is the decoder");
    });
}

#[test]
fn a_borrowed_last_block_gives_the_models_own_output_and_sees_only_the_past() {
    block_on(async {
        let session = crate::support::session().await;
        load(&session, &LoadRequest::new(TALES_CONFIG, None), TALES_WEIGHTS).await.expect("Tales");
        let ids: Vec<u32> = (0..70).map(|i| 100 + i * 31 % 3000).collect();
        let plain = read(&session, &ids, &Options::default()).await.expect("a reading");
        let options = with_decoder(&["h.7"]);
        let borrowed = read(&session, &ids, &options).await.expect("a reading");
        let (plain, t) = (&plain.reading, ids.len());
        let (k, last) = (plain.top_k, plain.taps.len() - 1);
        let reading = &borrowed.reading;
        assert_eq!(reading.taps.len(), last, "h.7 belongs to the decoder");
        let same = |from: usize, to: usize| {
            let logits = &plain.top_logits[from * t * k..][..t * k];
            assert_eq!(logits, &reading.top_logits[to * t * k..][..t * k]);
        };
        same(last, last - 1);
        // Another last token changes nothing before it, in any row, not even beyond the first block of positions.
        let mut edited = ids.clone();
        edited[69] = 7;
        let after = read(&session, &edited, &options).await.expect("a reading");
        for tap in 0..last {
            let cells = tap * t * k..(tap * t + t - 1) * k;
            assert_eq!(
                reading.top_logits[cells.clone()],
                after.reading.top_logits[cells],
                "row {tap}"
            );
        }
    });
}

/// With an extended decoder an appended token costs its own column and that before it, and an edit what lies to its
/// right; the bits are those of a reading from the start.
#[test]
fn an_extended_decoder_starts_from_the_last_reading() {
    block_on(async {
        let sessions = [crate::support::session().await, crate::support::session().await];
        for session in &sessions {
            let request = LoadRequest::new(TALES_CONFIG, None);
            load(session, &request, TALES_WEIGHTS).await.expect("Tales");
        }
        let [session, fresh] = &sessions;
        let ids: Vec<u32> = (100..170).collect();
        for decoder in [&["h.7"][..], &["h.5.attn", "h.6", "h.7.mlp"]] {
            let options = with_decoder(decoder);
            let read_of = async |ids: &[u32]| {
                let before = session.device().counters().read_bytes;
                let lensed = read(session, ids, &options).await.expect("a reading");
                let bytes = session.device().counters().read_bytes - before;
                // Another text in between, so that this one is read from the start.
                read(fresh, &[7, 8], &options).await.expect("another text");
                let from_start = read(fresh, ids, &options).await.expect("a reading");
                let bits = |reading: &loupe::reading::Reading| -> Vec<u32> {
                    let numbers = reading.stats.iter().flatten().chain(&reading.top_logits);
                    numbers.map(|v| v.to_bits()).chain(reading.top_ids.iter().copied()).collect()
                };
                assert!(bits(&lensed.reading) == bits(&from_start.reading), "{decoder:?}");
                bytes / (lensed.reading.taps.len() as u64 * (11 + 3 + 3 + 20) * 4)
            };
            assert_eq!(read_of(&ids).await, 70);
            let mut longer = ids.clone();
            longer.push(9);
            assert_eq!(read_of(&longer).await, 2, "columns of an appended token");
            let mut edited = longer.clone();
            edited[60] = 3;
            assert_eq!(read_of(&edited).await, 12, "columns from the one before the edit on");
            assert_eq!(read_of(&edited[..30]).await, 1, "a shorter text");
        }
    });
}

#[test]
fn dispatches_of_halves_and_of_a_borrowed_block() {
    block_on(async {
        let session = crate::support::session().await;
        load(&session, &LoadRequest::new(TALES_CONFIG, None), TALES_WEIGHTS).await.expect("Tales");
        let ids: Vec<u32> = (100..120).collect();
        let cost = async |options: &Options| {
            let first = [7, 8];
            read(&session, &first, &Options::default()).await.expect("another text");
            let before = session.device().counters();
            read(&session, &ids, options).await.expect("a reading");
            let after = session.device().counters();
            (after.dispatches - before.dispatches, after.read_bytes - before.read_bytes)
        };
        let blocks = cost(&Options::default()).await;
        let cell = (11 + 3 + 3 + 20) * 4;
        // The norms of 17 rows are four dispatches, five rows in each, those of nine are two; all rows are folded together.
        let halves = Options { depth: Depth::Halves, ..Options::default() };
        assert_eq!(cost(&halves).await, (blocks.0 + 2, 17 * 20 * cell));
        // Each contribution is a difference before its norm, and normed by itself; the final row is decoded as well.
        let parts = Options { depth: Depth::Contributions, ..Options::default() };
        assert_eq!(cost(&parts).await, (blocks.0 + 18 - 2 + 16, 18 * 20 * cell));
        // Eight rows run through a block of seven dispatches.
        let borrowed = with_decoder(&["h.7"]);
        assert_eq!(cost(&borrowed).await, (blocks.0 + 8 * 7, 8 * 20 * cell));
    });
}

/// A one-block CTRL of random numbers: its config, its file, its `wte` and its biases of the logits.
fn random_ctrl(vocab_size: usize, c: usize, dff: usize) -> (String, Vec<u8>, Vec<f32>, Vec<f32>) {
    let config = format!(
        r#"{{"model_type":"ctrl","n_layer":1,"n_head":2,"n_embd":{c},"dff":{dff},"n_positions":8,"vocab_size":{vocab_size}}}"#
    );
    let mut noise = Noise::new(246_534);
    let (mut header, mut data) = (Map::new(), Vec::new());
    let mut add = |name: &str, shape: &[usize], scale: f32, mean: f32| {
        let n = shape.iter().product();
        let values: Vec<f32> = noise.values(n).iter().map(|v| mean + scale * v).collect();
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let info = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header
            .insert(format!("transformer.{name}").replace("transformer.lm_head", "lm_head"), info);
        values
    };
    let wte = add("w.weight", &[vocab_size, c], 1.0, 0.0);
    let bias = add("lm_head.bias", &[vocab_size], 2.0, 0.0);
    for part in ["Wq", "Wk", "Wv", "dense"] {
        add(&format!("h.0.multi_head_attention.{part}.weight"), &[c, c], 0.5, 0.0);
        add(&format!("h.0.multi_head_attention.{part}.bias"), &[c], 0.5, 0.0);
    }
    for (part, n_out, n_in) in [("0", dff, c), ("2", c, dff)] {
        add(&format!("h.0.ffn.{part}.weight"), &[n_out, n_in], 0.5, 0.0);
        add(&format!("h.0.ffn.{part}.bias"), &[n_out], 0.5, 0.0);
    }
    for norm in ["h.0.layernorm1", "h.0.layernorm2", "layernorm"] {
        add(&format!("{norm}.weight"), &[c], 0.5, 1.0);
        add(&format!("{norm}.bias"), &[c], 0.5, 0.0);
    }
    let header = serde_json::to_vec(&header).expect("JSON");
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    (config, file, wte, bias)
}

/// The embedding of 246,534 tokens is in shards of 1 MiB. The input row, which has a closed form, is compared with
/// sums over the whole vocabulary in f64.
#[test]
fn ctrl_vocabulary_in_several_shards() {
    let (vocab_size, c) = (246_534, 8);
    let (config, file, wte, bias) = random_ctrl(vocab_size, c, 12);
    block_on(async {
        let session = crate::support::session().await;
        let request = LoadRequest {
            precision: Precision::F32,
            shard_bytes: 1 << 20,
            ..LoadRequest::new(&config, None)
        };
        load(&session, &request, &file).await.expect("it loads");
        let loaded = session.loaded().expect("a model");
        assert_eq!(loaded.model.wte().map(<[_]>::len), Ok(8), "246,534 rows of 32 bytes");
        let ids = [0, 123_456, 246_533];
        let options =
            Options { norm: Norm::None, track: vec![246_532, 32_768], ..Options::default() };
        let lensed = read(&session, &ids, &options).await.expect("a reading");
        let reading = &lensed.reading;
        assert_eq!(reading.taps, ["input", "h.0"]);
        let all: Vec<u32> = (0..vocab_size as u32).collect();
        let mut n_exact = 0;
        for (t, &id) in ids.iter().enumerate() {
            let row: Vec<f64> = (0..c)
                .map(|i| {
                    let (half, j) = (c / 2, i % (c / 2));
                    let angle = t as f64 / 10000f64.powf(2.0 * j as f64 / c as f64);
                    let position = if i < half { angle.sin() } else { angle.cos() };
                    (c as f64).sqrt() * f64::from(wte[id as usize * c + i]) + position
                })
                .collect();
            let dot = |v: usize| {
                let entry = &wte[v * c..][..c];
                row.iter().zip(entry).map(|(x, &w)| x * f64::from(w)).sum::<f64>()
            };
            let logits: Vec<f32> =
                (0..vocab_size).map(|v| (dot(v) + f64::from(bias[v])) as f32).collect();
            let none = [&logits[..]; 2];
            let columns = Columns { ids: &all, logits: &logits, references: none };
            let sums = Sums::<f64>::of(columns, None).moments();
            let close = |what: &str, got: f32, expected: f64| {
                let off = (f64::from(got) - expected).abs();
                assert!(off < 1e-4, "{what} at {t}: {got}, expected {expected}");
            };
            let stat = |s: Statistic| reading.stat(s)[t];
            close("logsumexp", stat(Statistic::LogSumExp), sums.logsumexp());
            close("entropy", stat(Statistic::Entropy), sums.entropy());
            let logit = logits[id as usize];
            close("logprob_input", stat(Statistic::LogprobInput), sums.logprob(logit.into()));
            assert_eq!(reading.top_ids[t * options.top_k], sums.best);
            close("top logit", reading.top_logits[t * options.top_k], sums.m);
            for track in &reading.tracked {
                let logit = logits[track.id as usize];
                close("tracked logit", track.logit[t], logit.into());
                // Only tokens whose logits differ by a rounding error may swap ranks.
                let above = |limit: f32| logits.iter().filter(|&&z| z > limit).count();
                let (best, worst) = (1 + above(logit + 4e-6), above(logit - 4e-6));
                let got = track.rank[t] as usize;
                assert!((best..=worst).contains(&got), "{got}, expected {best} to {worst}");
                n_exact += usize::from(best == worst);
            }
        }
        let n = ids.len() * reading.tracked.len();
        assert!(2 * n_exact > n, "{n_exact} of {n} ranks are exact");
    });
}
