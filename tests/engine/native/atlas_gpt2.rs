//! Tests the atlas natively with GPT-2's own weights, as far as they are available, and at GPT-2's size.

use std::fs;

use crate::support::atlas::{partial_request, quiet};
use crate::support::skip;
use loupe::atlas::{self, Gains, TokenRow, ZeroLayerOptions};
use loupe::kernels::Precision;
use loupe::lens::Norm;
use pollster::block_on;
use serde_json::json;

/// GPT-2 small's position embedding and LayerNorms, which are not ours to redistribute.
const REAL: &str = "../shared/gpt2-small/positions-and-norms.safetensors";

/// The middle of the largest gap between consecutive sorted values, and how many values lie above it.
fn largest_gap(values: &[f32]) -> (f64, usize) {
    let mut sorted: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    sorted.sort_by(f64::total_cmp);
    let steps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
    let (at, _) = steps.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("some values");
    ((sorted[at] + sorted[at + 1]) / 2.0, sorted.len() - at - 1)
}

#[test]
fn gpt2_small_agrees_with_the_study() {
    let Ok(file) = fs::read(REAL) else { return skip(&format!("{REAL} is missing")) };
    block_on(async {
        let session = crate::support::session().await;
        let mut loading = session.load(&partial_request(Precision::F16)).await.expect("a load");
        // The file arrives in pieces, as in a download.
        for piece in file.chunks(100_003) {
            session.push(&mut loading, piece).await.expect("a valid file");
        }
        loading.loader.end_file().expect("a whole file");
        session.install(loading).await.expect("a partial model");
        let (loaded, watch) = (session.loaded().expect("a model"), quiet());
        let atlas = watch.over(&session, &loaded);
        let gains = atlas::gains(&atlas).await.expect("gains");
        assert_eq!(gains.len(), 25);
        let of = |name: String| gains.iter().find(|g| g.name == name).expect("a LayerNorm");
        let peak = |gains: &Gains| {
            let by_size = |a: &(usize, &f32), b: &(usize, &f32)| a.1.abs().total_cmp(&b.1.abs());
            gains.weight.iter().enumerate().max_by(by_size).map(|(channel, _)| channel)
        };
        for block in 2..=10 {
            assert_eq!(peak(of(format!("h.{block}.ln_2"))), Some(138), "block {block}");
        }
        let channels = atlas::channels(&atlas).await.expect("channels");
        assert_eq!((channels.wte_std.len(), channels.wpe_std.len()), (0, 768));
        let logs: Vec<f32> = channels.wpe_std.iter().map(|std| std.log10()).collect();
        let (middle, above) = largest_gap(&logs);
        assert!((-1.25..-1.15).contains(&middle), "the gap is at {middle}");
        assert_eq!(above, 69);
        // The position embedding is stored as it is: no number of the file is rounded.
        let wpe = atlas::positions(&atlas).await.expect("positions");
        let tensors = safetensors::SafeTensors::deserialize(&file).expect("the file");
        let name = tensors.names().into_iter().find(|name| name.ends_with("wpe.weight"));
        let exact = tensors.tensor(name.expect("wpe")).expect("wpe");
        assert_eq!(exact.data(), bytemuck::cast_slice::<f32, u8>(&wpe));
    });
}

/// The atlas of a random embedding of GPT-2 small's size takes less than 100 MB of GPU memory beyond the weights.
#[test]
fn the_atlas_takes_little_memory_at_the_size_of_gpt2() {
    const V: usize = 50_257;
    const C: usize = 768;
    block_on(async {
        let session = crate::support::session().await;
        let header = json!({ "wte.weight": {
            "dtype": "F16", "shape": [V, C], "data_offsets": [0, 2 * V * C],
        } });
        let header = serde_json::to_vec(&header).expect("JSON");
        let mut loading = session.load(&partial_request(Precision::F16)).await.expect("a load");
        let mut push = async |bytes: &[u8]| {
            session.push(&mut loading, bytes).await.expect("a valid file");
        };
        push(&(header.len() as u64).to_le_bytes()).await;
        push(&header).await;
        // 16 random bits, except for the exponents: the magnitudes are between 2⁻¹¹ and 2⁻⁷.
        let mut seed = 1u32;
        for _ in 0..V {
            let row: Vec<u8> = (0..C)
                .flat_map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let bits = (seed >> 16) as u16;
                    (bits & 0x8FFF | 0x1000).to_le_bytes()
                })
                .collect();
            push(&row).await;
        }
        loading.loader.end_file().expect("a whole file");
        session.install(loading).await.expect("a partial model");
        let (loaded, watch) = (session.loaded().expect("a model"), quiet());
        let atlas = watch.over(&session, &loaded);
        session.device().reset_peak();
        atlas::channels(&atlas).await.expect("channels");
        atlas::norms(&atlas).await.expect("norms");
        let ids: Vec<u32> = (0..4096).map(|i| i * 12).collect();
        atlas::rows_of(&atlas, &ids).await.expect("rows");
        atlas::correlations(&atlas, 138, None).await.expect("correlations");
        let row = TokenRow { norm: Norm::Plain, position: None };
        let found = atlas::zero_layer(&atlas, ZeroLayerOptions { row, step: 200 }).await;
        assert_eq!(found.expect("a sample").argmax.len(), V.div_ceil(200));
        let taken = session.device().peak_bytes() - loaded.model.weight_bytes;
        println!("above the weights at V = {V}, C = {C}: {:.1} MB", taken as f64 / 1e6);
        assert!(taken < 100_000_000, "{taken} bytes");
    });
}
