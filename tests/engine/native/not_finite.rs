//! Tests rows whose logits are not finite: no statistic of them is a number, and the reading lists them.

use crate::support::golden::Golden;
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::lens::{Line, Options};
use loupe::reading::{NO_TOKEN, Reading, Statistic};
use loupe::reference;
use loupe::session::{LoadRequest, Session};
use safetensors::SafeTensors;

device_tests! {
    an_overflow_in_a_block_gives_no_statistics
    large_but_finite_activations_are_read_correctly
}

/// The golden model with massive activations, in which one number of some tensors is replaced.
fn weights_with(changes: &[(&str, usize, f32)]) -> Vec<u8> {
    let golden = Golden::massive();
    let head = u64::from_le_bytes(golden.weights[..8].try_into().expect("8 bytes")) as usize;
    let json: serde_json::Value =
        serde_json::from_slice(&golden.weights[8..8 + head]).expect("JSON");
    let mut bytes = golden.weights.to_vec();
    for (name, index, value) in changes {
        let start = json[name]["data_offsets"][0].as_u64().expect("an offset") as usize;
        let at = 8 + head + start + 4 * index;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

async fn load(session: &Session, weights: &[u8]) {
    let golden = Golden::massive();
    let precision = Precision::F32;
    let request = LoadRequest { precision, ..LoadRequest::new(golden.config, None) };
    let mut loading = session.load(&request).await.expect("a load");
    session.push(&mut loading, weights).await.expect("a valid file");
    loading.loader.end_file().expect("a whole file");
    session.install(loading).await.expect("a whole model");
}

/// Every statistic of a cell. Where the logits are not finite, ranks are 0 and all others are NaN.
fn cell(reading: &Reading, tap: usize, position: usize) -> Vec<(Statistic, f32)> {
    let at = tap * reading.n_tokens() + position;
    Statistic::ALL.iter().map(|&s| (s, reading.stat(s)[at])).collect()
}

fn is_rank(statistic: Statistic) -> bool {
    matches!(statistic, Statistic::RankFinal | Statistic::RankInput | Statistic::RankNext)
}

/// A value is so large that the products of an MLP overflow: from that block on, rows are not finite.
async fn an_overflow_in_a_block_gives_no_statistics() {
    let session = crate::support::session().await;
    let changes = [
        ("transformer.h.1.mlp.c_fc.weight", 0, 1e30),
        ("transformer.h.1.mlp.c_proj.weight", 0, 3e38),
    ];
    load(&session, &weights_with(&changes)).await;
    let ids = Golden::massive().ids();
    let options = Options { track: vec![1, 2], top_k: 3, ..Options::default() };
    let read = session.read(&ids, &options, &Cancel::default(), |_, _, _| Ok(())).await;
    let lensed = read.expect("a reading");
    let reading = &lensed.reading;
    let (n, t) = (reading.taps.len(), reading.n_tokens());
    assert!(!reading.not_finite.is_empty(), "1e68 overflows somewhere");
    assert!(reading.not_finite.is_sorted());
    let first_bad = reading.taps.iter().position(|tap| tap == "h.1").expect("the block");
    assert!(reading.not_finite.iter().all(|cell| cell.tap >= first_bad));
    let is_bad = |tap: usize, position: usize| {
        reading.not_finite.iter().any(|c| (c.tap, c.position) == (tap, position))
    };
    let mut n_fine = 0;
    for position in 0..t {
        for tap in 0..n {
            let at = tap * t + position;
            if is_bad(tap, position) {
                for (statistic, value) in cell(reading, tap, position) {
                    match is_rank(statistic) {
                        true => assert_eq!(value, 0.0, "{statistic:?}"),
                        false => assert!(value.is_nan(), "{statistic:?} is {value}"),
                    }
                }
                for track in &reading.tracked {
                    assert!(track.logit[at].is_nan() && track.logprob[at].is_nan());
                    assert_eq!(track.rank[at], 0.0);
                }
                assert!(reading.top_ids[at * 3..][..3].iter().all(|&id| id == NO_TOKEN));
                assert!(reading.top_logits[at * 3..][..3].iter().all(|z| z.is_nan()));
            } else {
                n_fine += 1;
                let stat = |s: Statistic| reading.stat(s)[at];
                assert!(stat(Statistic::Entropy).is_finite());
                assert!(stat(Statistic::RankInput) >= 1.0);
                assert!(stat(Statistic::KlInput).is_finite());
                // Without a final distribution nothing can be compared with it.
                if is_bad(n - 1, position) {
                    assert!(stat(Statistic::KlFinal).is_nan());
                    assert!(stat(Statistic::KlFinalReverse).is_nan());
                    assert!(stat(Statistic::ProbFinal).is_nan());
                    assert_eq!(stat(Statistic::RankFinal), 0.0);
                }
            }
        }
    }
    assert!(n_fine >= first_bad * t, "the rows before the block are unchanged");
    let traced = session.trace(&lensed, &[1], Line::Tap(n - 1), &Cancel::default()).await;
    let traced = &traced.expect("a trace")[0];
    for position in 0..t {
        assert_eq!(traced.logit[position].is_nan(), is_bad(n - 1, position));
        assert_eq!(traced.rank[position] == 0.0, is_bad(n - 1, position));
    }

    // The columns that the next text reuses, and a block, list the same cells.
    let mut longer = ids.clone();
    longer.truncate(t - 1);
    longer.push(ids[0]);
    let read = session.read(&longer, &options, &Cancel::default(), |_, _, _| Ok(())).await;
    let again = read.expect("a reading");
    let kept = |reading: &Reading| {
        let cells = reading.not_finite.iter().filter(|c| c.position < t - 1);
        cells.copied().collect::<Vec<_>>()
    };
    assert_eq!(kept(&again.reading), kept(reading));
    let block = reading.slice(t - 2, t);
    let cells = reading.not_finite.iter().filter(|c| c.position >= t - 2).count();
    assert_eq!(block.not_finite.len(), cells);
    assert!(block.not_finite.iter().all(|c| c.position < 2));
}

/// The squares of activations of 1e30 overflow: the norm must not turn them into the bias alone.
async fn large_but_finite_activations_are_read_correctly() {
    let session = crate::support::session().await;
    // One channel of the first position is 1e30 before any block.
    let bytes = weights_with(&[("transformer.wpe.weight", 5, 1e30)]);
    load(&session, &bytes).await;
    let ids = Golden::massive().ids();
    let options = Options::default();
    let read = session.read(&ids[..3], &options, &Cancel::default(), |_, _, _| Ok(())).await;
    let reading = &read.expect("a reading").reading;
    assert_eq!(reading.not_finite, []);

    // The input row of that position is computed in f64.
    let config = &session.loaded().expect("a model").model.config;
    let (c, epsilon) = (config.n_embd, config.layer_norm_epsilon);
    let file = SafeTensors::deserialize(&bytes).expect("a golden file");
    let tensor = |name: &str| -> Vec<f32> {
        let tensor = file.tensor(&format!("transformer.{name}")).expect("a tensor");
        tensor.data().chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let (wte, wpe) = (tensor("wte.weight"), tensor("wpe.weight"));
    let (gain, bias) = (tensor("ln_f.weight"), tensor("ln_f.bias"));
    let id = ids[0] as usize;
    let x: Vec<f32> = wte[id * c..][..c].iter().zip(&wpe).map(|(a, b)| a + b).collect();
    let row = reference::layer_norm::<f64>(&x, c, Some((&gain, &bias)), Some(epsilon));
    let dot = |w: &[f32]| w.iter().zip(&row).map(|(&w, x)| f64::from(w) * x).sum::<f64>();
    let logits: Vec<f64> = wte.chunks(c).map(dot).collect();
    let most = logits.iter().copied().fold(f64::MIN, f64::max);
    let mass: f64 = logits.iter().map(|z| (z - most).exp()).sum();
    let expected = most + mass.ln();
    let got = f64::from(reading.stat(Statistic::LogSumExp)[0]);
    assert!((got - expected).abs() < 1e-4, "{got}, expected {expected}");
    let top = f64::from(reading.top_logits[0]);
    assert!((top - most).abs() < 1e-4, "{top}, expected {most}");
}
