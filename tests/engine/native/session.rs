//! Tests bad input, exact counts and released memory, through the same calls that JavaScript makes.

use crate::support::golden::{Golden, TALES_CONFIG, TALES_TOKENIZER, TALES_WEIGHTS, halves};
use loupe::config::Config;
use loupe::device::{Backend, Cancel};
use loupe::error::{Error, Result};
use loupe::kernels::Precision;
use loupe::lens::{Norm, Options};
use loupe::reading::Statistic;
use loupe::session::{LoadRequest, Session};
use pollster::block_on;

async fn load(
    session: &Session,
    request: &LoadRequest<'_>,
    bytes: &[u8],
    piece: usize,
) -> Result<()> {
    let mut loading = session.load(request).await?;
    for piece in bytes.chunks(piece) {
        session.push(&mut loading, piece).await?;
    }
    loading.loader.end_file()?;
    session.install(loading).await.map(|_| ())
}

async fn tales() -> Session {
    let session = crate::support::session().await;
    let request = LoadRequest::new(TALES_CONFIG, Some(TALES_TOKENIZER));
    load(&session, &request, TALES_WEIGHTS, 1 << 20).await.expect("Tales loads");
    session
}

async fn read_ids(session: &Session, ids: &[u32], options: &Options) -> Result<Vec<f32>> {
    let lensed = session.read(ids, options, &Cancel::default(), |_, _, _| Ok(())).await?;
    Ok(lensed.reading.stats.concat())
}

fn code<V>(result: Result<V>) -> &'static str {
    result.map_or_else(|e| e.code(), |_| "fine")
}

/// The config of the smallest golden model with one field replaced.
fn bare_config(from: &str, to: &str) -> String {
    let config = Golden::bare().config;
    assert!(config.contains(from), "{from} is not in {config}");
    config.replace(from, to)
}

#[test]
fn every_split_of_the_bytes_loads_the_same_model() {
    block_on(async {
        let golden = Golden::untied();
        let session = crate::support::session().await;
        let request = LoadRequest::new(golden.config, None);
        let mut readings = Vec::new();
        for piece in [1, 3, 1000, 1 << 20] {
            load(&session, &request, golden.weights, piece).await.expect("it loads");
            let options = Options::default();
            readings.push(read_ids(&session, &golden.ids(), &options).await.expect("a reading"));
        }
        let bits = |r: &Vec<f32>| r.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(readings.iter().all(|r| bits(r) == bits(&readings[0])));
    });
}

#[test]
fn shards_load_as_one_model() {
    block_on(async {
        let golden = Golden::untied();
        let session = crate::support::session().await;
        let request = LoadRequest::new(golden.config, None);
        load(&session, &request, golden.weights, 1000).await.expect("it loads");
        let options = Options::default();
        let whole = read_ids(&session, &golden.ids(), &options).await.expect("a reading");
        let shards = halves(golden.weights);
        let two = LoadRequest { n_files: 2, ..LoadRequest::new(golden.config, None) };
        let mut loading = session.load(&two).await.expect("a load");
        for shard in &shards {
            session.push(&mut loading, shard).await.expect("a valid shard");
            loading.loader.end_file().expect("a whole shard");
        }
        session.install(loading).await.expect("a whole model");
        let sharded = read_ids(&session, &golden.ids(), &options).await.expect("a reading");
        let bits = |r: &[f32]| r.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&whole), bits(&sharded));
        let one = load(&session, &request, &shards[0], 1000).await;
        assert_eq!(code(one), "missing-tensor");
    });
}

#[test]
fn bad_readings_get_their_codes_and_leave_the_loupe_usable() {
    block_on(async {
        let session = tales().await;
        let fine = Options::default();
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options
        };
        assert_eq!(code(read_ids(&session, &[], &fine).await), "empty");
        assert_eq!(code(read_ids(&session, &[1; 257], &fine).await), "too-long");
        assert_eq!(code(read_ids(&session, &[4096], &fine).await), "bad-token");
        assert_eq!(code(read_ids(&session, &[1, u32::MAX], &fine).await), "bad-token");
        assert_eq!(code(read_ids(&session, &[1], &with(|o| o.top_k = 0)).await), "bad-option");
        assert_eq!(code(read_ids(&session, &[1], &with(|o| o.top_k = 21)).await), "bad-option");
        assert_eq!(
            code(read_ids(&session, &[1], &with(|o| o.track = vec![4096])).await),
            "bad-token"
        );
        assert_eq!(
            code(read_ids(&session, &[1], &with(|o| o.track = vec![1; 65])).await),
            "bad-option"
        );
        assert_eq!(code(Norm::from_name("final")), "bad-option");
        let cancelled = Cancel::new(|| true);
        let result = session.read(&[1], &fine, &cancelled, |_, _, _| Ok(())).await;
        assert_eq!(code(result.map(|_| ())), "aborted");
        let loaded = session.loaded().expect("a model");
        assert_eq!(loaded.vocabulary.token(4096).map_err(|e| e.code()), Err("bad-token"));
        let message = read_ids(&session, &[1; 300], &fine).await.map_err(|e| e.to_string());
        let message = message.expect_err("too long");
        assert!(message.contains("300") && message.contains("256"), "{message}");
        assert_eq!(code(read_ids(&session, &[1, 2, 3], &fine).await), "fine");
    });
}

#[test]
fn a_cancel_in_the_middle_stops_the_reading_and_releases_its_memory() {
    block_on(async {
        let golden = Golden::massive();
        let session = crate::support::session().await;
        let request = LoadRequest::new(golden.config, None);
        load(&session, &request, golden.weights, 1 << 20).await.expect("it loads");
        let before = session.device().allocated_bytes();
        let asked = std::rc::Rc::new(std::cell::Cell::new(0));
        let counter = asked.clone();
        let cancel = Cancel::new(move || {
            counter.set(counter.get() + 1);
            counter.get() > 6
        });
        let options = Options::default();
        let result = session.read(&golden.ids(), &options, &cancel, |_, _, _| Ok(())).await;
        assert_eq!(code(result.map(|_| ())), "aborted");
        assert_eq!(session.device().allocated_bytes(), before);
        assert_eq!(code(read_ids(&session, &golden.ids(), &options).await), "fine");
    });
}

#[test]
fn blocks_arrive_in_order_and_are_the_columns_of_the_whole() {
    block_on(async {
        let golden = Golden::massive();
        let session = crate::support::session().await;
        let request = LoadRequest::new(golden.config, None);
        load(&session, &request, golden.weights, 1 << 20).await.expect("it loads");
        let mut blocks = Vec::new();
        let on_block = |start: usize, end: usize, reading: &loupe::reading::Reading| {
            blocks.push((start, end, reading.slice(start, end)));
            Ok(())
        };
        let options = Options::default();
        let lensed = session.read(&golden.ids(), &options, &Cancel::default(), on_block).await;
        let whole = &lensed.map_err(|e| e.to_string()).expect("a reading").reading;
        assert_eq!(blocks.iter().map(|b| (b.0, b.1)).collect::<Vec<_>>(), [(0, 35), (35, 70)]);
        for (start, end, block) in &blocks {
            let cut = whole.slice(*start, *end);
            assert_eq!(block.top_ids, cut.top_ids);
            assert_eq!(block.stat(Statistic::KlFinal), cut.stat(Statistic::KlFinal));
        }
        let stop = |_: usize, _: usize, _: &loupe::reading::Reading| Err(Error::Aborted);
        let result = session.read(&golden.ids(), &options, &Cancel::default(), stop).await;
        assert_eq!(code(result.map(|_| ())), "aborted");
    });
}

#[test]
fn bad_configs_are_rejected_with_their_codes() {
    let parse = |text: &str| code(Config::parse(text));
    assert_eq!(parse(""), "bad-config");
    assert_eq!(parse("{}"), "bad-config");
    assert_eq!(parse("[1]"), "bad-config");
    assert_eq!(parse(Golden::bare().config), "fine");
    let change = |from: &str, to: &str| code(Config::parse(&bare_config(from, to)));
    assert_eq!(change("\"gpt2\"", "\"llama\""), "unsupported-model");
    assert_eq!(change("gelu_new", "swish"), "unsupported-model");
    assert_eq!(change("\"n_layer\": 1", "\"n_layer\": 0"), "bad-config");
    assert_eq!(change("\"n_layer\": 1", "\"n_layer\": -1"), "bad-config");
    assert_eq!(change("\"n_layer\": 1,", ""), "bad-config");
    assert_eq!(change("\"n_head\": 1", "\"n_head\": 4"), "bad-config");
    // 1e-60 is zero in single precision, in which the kernels add it.
    assert_eq!(change("1e-05", "1e-60"), "bad-config");
    assert_eq!(change("\"vocab_size\": 23", "\"vocab_size\": 1e30"), "bad-config");
    assert_eq!(change("\"n_embd\": 6", "\"n_embd\": 4294967295"), "bad-config");
    assert_eq!(
        change("\"n_layer\": 1", "\"add_cross_attention\": true, \"n_layer\": 1"),
        "unsupported-model"
    );
}

#[test]
fn bad_files_are_rejected_and_the_model_in_use_stays() {
    block_on(async {
        let session = tales().await;
        let before = session.device().allocated_bytes();
        // The session keeps the kernels' three placeholders for absent operands.
        let tales = session.loaded().expect("a model").model.weight_bytes;
        let kernels = before - tales;
        assert_eq!(kernels, 48);
        let golden = Golden::bare();
        let attempt = async |config: &str, bytes: &[u8]| {
            code(load(&session, &LoadRequest::new(config, None), bytes, 1000).await)
        };
        let whole = golden.weights;
        assert_eq!(attempt(golden.config, &whole[..whole.len() - 1]).await, "truncated");
        assert_eq!(attempt(golden.config, &whole[..5]).await, "truncated");
        assert_eq!(attempt(golden.config, b"<html>404</html>").await, "bad-header");
        assert_eq!(attempt(golden.config, TALES_WEIGHTS).await, "bad-shape");
        let deeper = bare_config("\"n_layer\": 1", "\"n_layer\": 2");
        assert_eq!(attempt(&deeper, whole).await, "missing-tensor");
        let untied = bare_config("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
        assert_eq!(attempt(&untied, whole).await, "missing-tensor");
        assert_eq!(attempt("{", whole).await, "bad-config");
        let mut request = LoadRequest::new(golden.config, Some("{\"model\": 3}"));
        assert_eq!(code(load(&session, &request, whole, 1000).await), "bad-tokenizer");
        assert_eq!(session.device().allocated_bytes(), before, "a failed load releases its memory");
        assert_eq!(session.loaded().expect("a model").model.config.vocab_size, 4096);

        request.tokenizer = None;
        load(&session, &request, whole, 1000).await.expect("it loads");
        let loaded = session.loaded().expect("a model");
        assert_eq!(code(loaded.vocabulary.encode("text")), "no-tokenizer");
        assert_eq!(loaded.vocabulary.token(3).map(|t| t.shown).ok().as_deref(), Some("#3"));
        assert_eq!(
            session.device().allocated_bytes(),
            kernels + loaded.model.weight_bytes,
            "Tales was released"
        );
        drop(loaded);
        read_ids(&session, &[1], &Options::default()).await.expect("a reading");
        load(&session, &request, whole, 1000).await.expect("it loads again");
        let loaded = session.loaded().expect("a model");
        assert_eq!(
            session.device().allocated_bytes(),
            kernels + loaded.model.weight_bytes,
            "and so was its last reading"
        );
    });
}

/// One value of a matrix in the file is set to a number that an f16, or any model, cannot hold.
#[test]
fn values_that_do_not_fit_are_rejected_and_their_tensor_is_named() {
    block_on(async {
        let golden = Golden::massive();
        let session = crate::support::session().await;
        let header = u64::from_le_bytes(golden.weights[..8].try_into().expect("8 bytes"));
        let json: serde_json::Value =
            serde_json::from_slice(&golden.weights[8..8 + header as usize]).expect("JSON");
        let name = "transformer.h.1.mlp.c_fc.weight";
        let start = json[name]["data_offsets"][0].as_u64().expect("an offset");
        let at = (8 + header + start) as usize;
        for (value, precision, expected) in [
            (1e6f32, Precision::F16, "bad-dtype"),
            (1e6, Precision::F32, "fine"),
            (f32::NAN, Precision::F32, "corrupt"),
            (f32::INFINITY, Precision::F16, "corrupt"),
        ] {
            let mut bytes = golden.weights.to_vec();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let mut request = LoadRequest::new(golden.config, None);
            request.precision = precision;
            let result = load(&session, &request, &bytes, 1 << 16).await;
            if let Err(e) = &result {
                assert!(e.to_string().contains("h.1.mlp.c_fc.weight"), "{e}");
            }
            assert_eq!(code(result), expected, "{value} as {precision:?}");
        }
    });
}

/// Sizes that no binding can hold are rejected before anything is downloaded.
#[test]
fn a_model_beyond_the_limits_is_rejected_by_its_size() {
    block_on(async {
        let session = crate::support::session().await;
        let config = |n_embd: usize, n_ctx: usize| {
            format!(
                r#"{{"model_type":"gpt2","n_layer":1,"n_head":1,"n_embd":{n_embd},"n_positions":{n_ctx},"vocab_size":5}}"#
            )
        };
        for text in [config(8192, 8), config(32768, 8), config(65536, 8), config(600, 60000)] {
            let result = session.load(&LoadRequest::new(&text, None)).await;
            assert_eq!(code(result.map(|_| ())), "unsupported-model", "{text}");
        }
        assert!(session.device().peak_bytes() < 1 << 20, "nothing was allocated for them");
    });
}

#[test]
fn every_call_after_a_loss_reports_it() {
    block_on(async {
        let session = tales().await;
        session.device().destroy();
        assert_eq!(code(session.device().check()), "device-lost", "the device reports it");
        let result = read_ids(&session, &[1, 2], &Options::default()).await;
        assert_eq!(code(result), "device-lost");
        let request = LoadRequest::new(TALES_CONFIG, None);
        assert_eq!(code(load(&session, &request, TALES_WEIGHTS, 1 << 20).await), "device-lost");
    });
}

#[test]
fn a_loss_during_a_reading_and_during_a_load_is_reported() {
    block_on(async {
        let golden = Golden::massive();
        let session = crate::support::session().await;
        let request = LoadRequest::new(golden.config, None);
        load(&session, &request, golden.weights, 1 << 20).await.expect("it loads");
        // The device is lost after the first block of 64 positions.
        let lose = |_: usize, _: usize, _: &loupe::reading::Reading| {
            session.device().destroy();
            Ok(())
        };
        let options = Options::default();
        let result = session.read(&golden.ids(), &options, &Cancel::default(), lose).await;
        assert_eq!(code(result.map(|_| ())), "device-lost");

        let session = crate::support::session().await;
        let mut loading = session.load(&request).await.expect("a load");
        let (first, rest) = golden.weights.split_at(golden.weights.len() / 2);
        session.push(&mut loading, first).await.expect("the first half");
        session.device().destroy();
        let rest = async {
            session.push(&mut loading, rest).await?;
            loading.loader.end_file()?;
            session.install(loading).await.map(|_| ())
        };
        assert_eq!(code(rest.await), "device-lost");
    });
}

/// A command that the device refuses fails the call that issued it, once, and no other call.
#[test]
fn a_refusal_belongs_to_its_call() {
    block_on(async {
        let session = tales().await;
        let request = LoadRequest::new(TALES_CONFIG, Some(TALES_TOKENIZER));
        let mut loading = session.load(&request).await.expect("a load");
        let (first, rest) = TALES_WEIGHTS.split_at(TALES_WEIGHTS.len() / 2);
        session.push(&mut loading, first).await.expect("the first half");

        let device = session.device();
        let (from, to) = (device.tensor("from", 16), device.tensor("to", 16));
        let cancel = Cancel::default();
        let mut rec = device.record("a copy", &cancel);
        rec.copy(&from, 0, &to, 0, 64);
        let error = rec.finish().await.expect_err("64 of 16 bytes");
        assert_eq!(error.code(), "gpu-refused");
        assert!(error.to_string().contains("a copy"), "{error}");
        let made = device.allocate("a giant", || Ok(device.tensor("a giant", 1 << 50))).await;
        assert!(["gpu-refused", "out-of-memory"].contains(&code(made)));

        session.push(&mut loading, rest).await.expect("the load continues");
        loading.loader.end_file().expect("a whole file");
        session.install(loading).await.expect("a whole model");
        assert_eq!(code(read_ids(&session, &[1, 2], &Options::default()).await), "fine");
    });
}

/// A reading keeps its statistics and its stream, not the weights of the model it was made with.
#[test]
fn a_reading_holds_no_weights() {
    block_on(async {
        let session = tales().await;
        let ids = [1, 2, 3];
        let (options, cancel) = (Options::default(), Cancel::default());
        let read = session.read(&ids, &options, &cancel, |_, _, _| Ok(()));
        let reading = read.await.expect("a reading");
        let atlas_weights = std::rc::Rc::downgrade(&session.loaded().expect("a model"));
        let trace = session.trace(&reading, &[5], loupe::lens::Line::Position(1), &cancel);
        assert_eq!(trace.await.expect("a trace").len(), 1);
        let golden = Golden::bare();
        let request = LoadRequest::new(golden.config, None);
        load(&session, &request, golden.weights, 1 << 20).await.expect("it loads");
        assert!(atlas_weights.upgrade().is_none(), "nothing holds the old model");
        let weights = session.loaded().expect("a model").model.weight_bytes;
        // 9 taps and 16 caches of 3 rows of 192 floats, and the ids; 48 bytes of the kernels.
        let stream = 25 * 3 * 192 * 4 + 16;
        assert_eq!(session.device().allocated_bytes(), weights + stream + 48);
        let trace = session.trace(&reading, &[5], loupe::lens::Line::Position(1), &cancel);
        assert_eq!(code(trace.await), "not-found");
        assert_eq!(reading.reading.n_tokens(), 3);
        drop(reading);
        assert_eq!(session.device().allocated_bytes(), weights + 48);
    });
}

/// A config that asks for more than the file can hold is rejected before anything is allocated for it.
#[test]
fn a_config_cannot_ask_for_more_than_its_file_holds() {
    block_on(async {
        let session = crate::support::session().await;
        let golden = Golden::bare();
        let giant = r#"{"model_type":"gpt2","n_layer":1,"n_head":1,"n_embd":4096,"n_positions":8,"vocab_size":16777216}"#;
        session.device().reset_peak();
        let result = load(&session, &LoadRequest::new(giant, None), golden.weights, 1000).await;
        let message = result.as_ref().err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(code(result), "missing-tensor");
        assert!(message.contains("too short"), "{message}");
        assert!(session.device().peak_bytes() < 1 << 20, "{} bytes", session.device().peak_bytes());
        // The same applies to shards, according to the length that the caller knows.
        let shards =
            LoadRequest { n_files: 2, total_bytes: Some(1 << 20), ..LoadRequest::new(giant, None) };
        let mut loading = session.load(&shards).await.expect("a load");
        let result = session.push(&mut loading, golden.weights).await;
        assert_eq!(code(result), "missing-tensor");
        assert!(session.device().peak_bytes() < 1 << 20);
        // A header that announces far more than there is, with and without a config.
        for partial in [false, true] {
            let request = LoadRequest::new(golden.config, None);
            let request = LoadRequest {
                partial,
                total_bytes: Some(golden.weights.len() as u64 / 4),
                ..request
            };
            let mut loading = session.load(&request).await.expect("a load");
            let result = session.push(&mut loading, golden.weights).await;
            assert_eq!(code(result), "truncated");
        }
    });
}

/// All 64 tracked tokens are compared with the top-k of the same reading and with a trace of the same tokens.
#[test]
fn sixty_four_tracked_tokens_are_right_and_cost_no_dispatch() {
    block_on(async {
        let session = tales().await;
        let ids: Vec<u32> = (300..320).collect();
        let track: Vec<u32> = (0..64).map(|i| i * 61 + 7).collect();
        let cost = async |options: &Options| {
            read_ids(&session, &[5], &Options::default()).await.expect("another text");
            let before = session.device().counters().dispatches;
            let read = session.read(&ids, options, &Cancel::default(), |_, _, _| Ok(())).await;
            (read.expect("a reading"), session.device().counters().dispatches - before)
        };
        let (_, without) = cost(&Options::default()).await;
        let options = Options { track: track.clone(), top_k: 20, ..Options::default() };
        let (lensed, with) = cost(&options).await;
        assert_eq!(with, without);
        let reading = &lensed.reading;
        let (n, t) = (reading.taps.len(), reading.n_tokens());
        for position in [0, t - 1] {
            let line = loupe::lens::Line::Position(position);
            let traced = session.trace(&lensed, &track, line, &Cancel::default()).await;
            for (traced, tracked) in traced.expect("a trace").iter().zip(&reading.tracked) {
                assert_eq!(traced.id, tracked.id);
                for tap in 0..n {
                    let cell = tap * t + position;
                    assert_eq!(traced.logit[tap].to_bits(), tracked.logit[cell].to_bits());
                    assert_eq!(traced.rank[tap], tracked.rank[cell]);
                }
            }
        }
        let mut n_listed = 0;
        for cell in 0..n * t {
            let (top, logits) =
                (&reading.top_ids[cell * 20..][..20], &reading.top_logits[cell * 20..]);
            for tracked in &reading.tracked {
                let place = top.iter().position(|&id| id == tracked.id);
                match place {
                    Some(place) => {
                        n_listed += 1;
                        assert_eq!(tracked.rank[cell], (place + 1) as f32);
                        assert_eq!(tracked.logit[cell], logits[place]);
                    }
                    None => assert!(tracked.rank[cell] > 20.0),
                }
            }
        }
        assert!(n_listed > 20, "{n_listed} tracked tokens are among the top 20");
    });
}

/// Every option's message names the option, what was expected and what was given.
#[test]
fn messages_of_options_have_one_form() {
    block_on(async {
        let session = tales().await;
        let with = |change: &dyn Fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options
        };
        let decoder = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        for options in [
            with(&|o| o.top_k = 0),
            with(&|o| o.track = vec![1; 65]),
            with(&|o| o.decoder = decoder(&["h.9"])),
            with(&|o| o.decoder = decoder(&["h.7", "h.6"])),
            with(&|o| {
                o.decoder = decoder(&["h.7"]);
                o.depth = loupe::lens::Depth::Contributions;
            }),
        ] {
            let error = read_ids(&session, &[1], &options).await.expect_err("a bad option");
            has_form(&error);
        }
        has_form(&Norm::from_name("final").expect_err("no norm"));
        let (options, cancel) = (Options::default(), Cancel::default());
        let read = session.read(&[1], &options, &cancel, |_, _, _| Ok(()));
        let reading = read.await.expect("a reading");
        let line = loupe::lens::Line::Tap(9);
        let trace = session.trace(&reading, &[1], line, &cancel).await;
        has_form(&trace.expect_err("no such row"));
    });
}

fn has_form(error: &Error) {
    assert_eq!(error.code(), "bad-option", "{error}");
    let message = error.to_string();
    let (name, rest) = message.split_once(": expected ").expect("a name and what was expected");
    let (expected, got) = rest.split_once(", got ").expect("what was given");
    assert!(!name.is_empty() && !name.contains(' '), "{message}");
    assert!(!expected.is_empty() && got.len() > 1 && got.ends_with('.'), "{message}");
}

#[test]
fn reading_before_loading_is_an_error() {
    block_on(async {
        let session = crate::support::session().await;
        assert_eq!(code(read_ids(&session, &[1], &Options::default()).await), "not-found");
    });
}

/// The kernels are compiled while the model comes in: a refusal ends the load at the first bytes after the device's answer,
/// or at its end, and nothing of it is kept for the next one.
#[test]
fn a_kernel_that_is_refused_ends_the_load() {
    block_on(async {
        let session = crate::support::session().await;
        if session.device().backend() == Backend::Cpu {
            return;
        }
        session.device().alter("lens_fold", "var top = m;", "var top = no_such_name;");
        let request = LoadRequest::new(TALES_CONFIG, None);
        for _ in 0..2 {
            let mut loading = session.load(&request).await.expect("a load begins");
            let pushed = session.push(&mut loading, &TALES_WEIGHTS[..1000]).await;
            assert_eq!(code(pushed), "gpu-refused");
        }
        let loading = session.load(&request).await.expect("a load begins");
        assert_eq!(code(session.install(loading).await.map(|_| ())), "gpu-refused");
        session.device().alter("lens_fold", "", "");
        load(&session, &request, TALES_WEIGHTS, 1 << 20).await.expect("whole kernels");
    });
}

/// Exact costs of one reading of Tales at T = 20; a change here is a change of the design.
#[test]
fn dispatches_and_bytes_of_one_reading() {
    block_on(async {
        let session = tales().await;
        let weights = session.device().allocated_bytes();
        let options = Options::default();
        let cost = async |ids: &[u32]| {
            let before = session.device().counters();
            read_ids(&session, ids, &options).await.expect("a reading");
            let after = session.device().counters();
            (after.dispatches - before.dispatches, after.read_bytes - before.read_bytes)
        };
        // 9 taps × (11 sums + 3 counts + 3 target logits + 10 pairs) × 4 bytes.
        let column = 9 * (11 + 3 + 3 + 20) * 4;
        // 1 embed; 8 blocks of 7; ln_f of 5 taps and of 4; matmul, fold and merge for the references; gather-dot;
        // the rows whose logits are kept: fold; the 140 others over one chunk: matmul, fold; a merge of all.
        let dispatches = 1 + 8 * 7 + 2 + 3 + 1 + 1 + 2 + 1;
        let mut ids: Vec<u32> = (100..120).collect();
        assert_eq!(cost(&ids).await, (dispatches, 20 * column));
        // The goal of the design is 40 MB above the weights for 64 tokens.
        let long: Vec<u32> = (200..264).collect();
        cost(&long).await;
        assert!(session.device().peak_bytes() - weights < 40_000_000);
        cost(&ids).await;
        // The session keeps one stream to start the next reading from: 9 taps, 8 keys, 8 values
        // of 20 rows of 192 floats, and the ids.
        let kept = session.device().allocated_bytes() - weights;
        assert_eq!(kept, 25 * 20 * 192 * 4 + 80);
        // One more token costs one more column, and the one before it, whose true next token is new. Of so few rows all
        // logits are kept, and the unembedding is read once.
        ids.push(7);
        assert_eq!(cost(&ids).await, (dispatches - 2, 2 * column));
        // Further blocks of positions need no bind group of their own.
        let groups = async |n: u32| {
            let before = session.device().counters();
            let ids: Vec<u32> = (n..2 * n).collect();
            read_ids(&session, &ids, &options).await.expect("a reading");
            let after = session.device().counters();
            (after.bind_groups - before.bind_groups, after.dispatches - before.dispatches)
        };
        let (made, dispatched) = groups(64).await;
        assert_eq!((made, dispatched), (dispatches, dispatches));
        let (made_for_four, dispatched_for_four) = groups(256).await;
        assert_eq!((made_for_four, dispatched_for_four), (made, 4 * dispatched));
        cost(&ids[..20]).await;
        cost(&ids).await;
        // A text with another first token reuses nothing.
        ids[0] = 1;
        assert_eq!(cost(&ids).await, (dispatches, 21 * column));
        let kept_then = session.device().allocated_bytes() - weights;
        assert_eq!(kept_then, 25 * 21 * 192 * 4 + 96, "only the last stream is kept");
    });
}
