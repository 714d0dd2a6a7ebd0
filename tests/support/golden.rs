//! Reads the files that tests/golden/make.py writes.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

/// One case: a model, and the results of transformers for a text.
pub struct Golden {
    pub name: &'static str,
    pub config: &'static str,
    pub weights: &'static [u8],
    pub tokenizer: Option<&'static str>,
    expected: SafeTensors<'static>,
    info: Value,
}

/// The files of lenses for a model.
pub struct LensFiles {
    pub tuned: &'static [u8],
    pub config: &'static str,
    pub jacobian: &'static [u8],
}

macro_rules! golden {
    ($name:literal) => {
        Golden::new(
            $name,
            include_str!(concat!("../golden/", $name, "/config.json")),
            include_bytes!(concat!("../golden/", $name, "/model.safetensors")),
            None,
            include_bytes!(concat!("../golden/", $name, "/expected.safetensors")),
        )
    };
}

macro_rules! tales {
    ($name:literal) => {
        Golden::new(
            $name,
            TALES_CONFIG,
            TALES_WEIGHTS,
            Some(TALES_TOKENIZER),
            include_bytes!(concat!("../golden/", $name, "/expected.safetensors")),
        )
    };
}

pub const TALES_CONFIG: &str = include_str!("../../www/public/models/tales/config.json");
pub const TALES_TOKENIZER: &str = include_str!("../../www/public/models/tales/tokenizer.json");
pub const TALES_WEIGHTS: &[u8] = include_bytes!("../../www/public/models/tales/model.safetensors");

impl Golden {
    fn new(
        name: &'static str,
        config: &'static str,
        weights: &'static [u8],
        tokenizer: Option<&'static str>,
        expected: &'static [u8],
    ) -> Golden {
        let header = u64::from_le_bytes(expected[..8].try_into().expect("8 bytes")) as usize;
        let header: Value = serde_json::from_slice(&expected[8..8 + header]).expect("a header");
        let info = header["__metadata__"]["info"].as_str().expect("info");
        Golden {
            name,
            config,
            weights,
            tokenizer,
            expected: SafeTensors::deserialize(expected).expect("a golden file"),
            info: serde_json::from_str(info).expect("info"),
        }
    }

    pub fn massive() -> Golden {
        golden!("massive")
    }

    pub fn untied() -> Golden {
        golden!("untied")
    }

    pub fn tall() -> Golden {
        golden!("tall")
    }

    pub fn bare() -> Golden {
        golden!("bare")
    }

    pub fn gpt2_halves() -> Golden {
        golden!("gpt2_halves")
    }

    pub fn neo() -> Golden {
        golden!("neo")
    }

    pub fn ctrl() -> Golden {
        golden!("ctrl")
    }

    pub fn tales() -> [Golden; 3] {
        [tales!("tales_story"), tales!("tales_copy"), tales!("tales_bytes")]
    }

    /// The cases of tests/golden/compare.py.
    pub fn comparisons() -> [Golden; 5] {
        macro_rules! against {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected = include_bytes!(concat!("../golden/compare/", $name, ".safetensors"));
                Golden::new(name, config, weights, tokenizer, expected)
            }};
        }
        let [tales, ..] = Golden::tales();
        [
            against!("tales", tales),
            against!("massive", Golden::massive()),
            against!("tall", Golden::tall()),
            against!("gpt2_halves", Golden::gpt2_halves()),
            against!("ctrl", Golden::ctrl()),
        ]
    }

    /// The cases of tests/golden/edits.py.
    pub fn edits() -> [Golden; 3] {
        macro_rules! edited {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected = include_bytes!(concat!("../golden/edits/", $name, ".safetensors"));
                Golden::new(name, config, weights, tokenizer, expected)
            }};
        }
        [
            edited!("gpt2_halves", Golden::gpt2_halves()),
            edited!("neo", Golden::neo()),
            edited!("ctrl", Golden::ctrl()),
        ]
    }

    /// The cases of tests/golden/sweeps.py.
    pub fn sweeps() -> [Golden; 3] {
        macro_rules! swept {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected = include_bytes!(concat!("../golden/sweeps/", $name, ".safetensors"));
                Golden::new(name, config, weights, tokenizer, expected)
            }};
        }
        [
            swept!("gpt2_halves", Golden::gpt2_halves()),
            swept!("neo", Golden::neo()),
            swept!("ctrl", Golden::ctrl()),
        ]
    }

    /// The cases of tests/golden/attribution.py.
    pub fn sets() -> [Golden; 3] {
        macro_rules! summed {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected = include_bytes!(concat!("../golden/sets/", $name, ".safetensors"));
                Golden::new(name, config, weights, tokenizer, expected)
            }};
        }
        [
            summed!("gpt2_halves", Golden::gpt2_halves()),
            summed!("neo", Golden::neo()),
            summed!("ctrl", Golden::ctrl()),
        ]
    }

    /// The cases of tests/golden/lenses.py, each with the files of its tuned and its Jacobian lens.
    pub fn lenses() -> [(Golden, LensFiles); 3] {
        macro_rules! with_lenses {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected = include_bytes!(concat!("../golden/lenses/", $name, ".safetensors"));
                let files = LensFiles {
                    tuned: include_bytes!(concat!("../golden/lenses/", $name, "_tuned.pt")),
                    config: include_str!(concat!("../golden/lenses/", $name, "_tuned.json")),
                    jacobian: include_bytes!(concat!("../golden/lenses/", $name, "_jacobian.pt")),
                };
                (Golden::new(name, config, weights, tokenizer, expected), files)
            }};
        }
        [
            with_lenses!("gpt2_halves", Golden::gpt2_halves()),
            with_lenses!("neo", Golden::neo()),
            with_lenses!("ctrl", Golden::ctrl()),
        ]
    }

    /// The fits of tests/golden/lenses.py.
    pub fn fits() -> [Golden; 2] {
        macro_rules! fitted {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected =
                    include_bytes!(concat!("../golden/lenses/fit_", $name, ".safetensors"));
                Golden::new(name, config, weights, tokenizer, expected)
            }};
        }
        let [tales, ..] = Golden::tales();
        [fitted!("gpt2_halves", Golden::gpt2_halves()), fitted!("tales", tales)]
    }

    /// The corpus of tests/golden/corpus.py.
    pub fn corpus() -> Golden {
        let [Golden { name, config, weights, tokenizer, .. }, ..] = Golden::tales();
        let expected = include_bytes!("../golden/corpus/tales.safetensors");
        Golden::new(name, config, weights, tokenizer, expected)
    }

    /// The texts of a fit or a corpus.
    pub fn texts(&self) -> Vec<Vec<u32>> {
        serde_json::from_value(self.info["texts"].clone()).expect("texts")
    }

    /// The cases of tests/golden/memory.py.
    pub fn memory() -> [Golden; 3] {
        macro_rules! remembered {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected = include_bytes!(concat!("../golden/memory/", $name, ".safetensors"));
                Golden::new(name, config, weights, tokenizer, expected)
            }};
        }
        [
            remembered!("gpt2_halves", Golden::gpt2_halves()),
            remembered!("neo", Golden::neo()),
            remembered!("ctrl", Golden::ctrl()),
        ]
    }

    /// The same models with what attribution must say.
    pub fn attribution() -> [Golden; 3] {
        macro_rules! attributed {
            ($name:literal, $case:expr) => {{
                let Golden { name, config, weights, tokenizer, .. } = $case;
                let expected =
                    include_bytes!(concat!("../golden/attribution/", $name, ".safetensors"));
                Golden::new(name, config, weights, tokenizer, expected)
            }};
        }
        [
            attributed!("gpt2_halves", Golden::gpt2_halves()),
            attributed!("neo", Golden::neo()),
            attributed!("ctrl", Golden::ctrl()),
        ]
    }

    /// An entry of the metadata.
    pub fn info(&self, name: &str) -> &Value {
        &self.info[name]
    }

    /// A whole number of the case.
    pub fn number(&self, name: &str) -> usize {
        self.info[name].as_u64().expect("a number") as usize
    }

    /// Positions of the metric of a sweep.
    pub fn positions(&self) -> Vec<usize> {
        serde_json::from_value(self.info["positions"].clone()).expect("positions")
    }

    /// The metric of the clean and the corrupt run.
    pub fn metric(&self, position: usize) -> [f32; 2] {
        serde_json::from_value(self.info["m"][position.to_string()].clone()).expect("two metrics")
    }

    /// The error of transformers itself in float32, of an array.
    pub fn off_of(&self, key: &str) -> f64 {
        self.info["off"][key].as_f64().expect("a number")
    }

    /// The edited runs, by name.
    pub fn cases(&self) -> &Map<String, Value> {
        self.info["cases"].as_object().expect("cases")
    }

    /// Whether there is such an array.
    pub fn has(&self, key: &str) -> bool {
        self.expected.tensor(key).is_ok()
    }

    /// The ids of the second text of a comparison.
    pub fn other_ids(&self) -> Vec<u32> {
        self.list("other")
    }

    /// The pairs of positions of a comparison.
    pub fn columns(&self) -> Vec<(usize, usize)> {
        serde_json::from_value(self.info["columns"].clone()).expect("columns")
    }

    pub fn text(&self) -> Option<&str> {
        self.info["text"].as_str()
    }

    pub fn ids(&self) -> Vec<u32> {
        self.list("ids")
    }

    pub fn track(&self) -> Vec<u32> {
        self.list("track")
    }

    pub fn k(&self) -> usize {
        self.info["k"].as_u64().expect("k") as usize
    }

    /// Keys of the views: precision/rows/decoder/norm.
    pub fn views(&self) -> Vec<String> {
        self.info["off"].as_object().expect("off").keys().cloned().collect()
    }

    /// Names of the rows under "rows/decoder".
    pub fn rows(&self, view: &str) -> Vec<String> {
        serde_json::from_value(self.info["rows"][view].clone()).expect("rows")
    }

    pub fn precisions(&self) -> Vec<String> {
        serde_json::from_value(self.info["precisions"].clone()).expect("precisions")
    }

    /// The error of transformers itself in float32.
    pub fn off(&self, key: &str, statistic: &str) -> f64 {
        let off: HashMap<String, f64> =
            serde_json::from_value(self.info["off"][key].clone()).expect("off");
        off[statistic]
    }

    /// One array as f32.
    pub fn values(&self, key: &str) -> Vec<f32> {
        let view = self.expected.tensor(key).unwrap_or_else(|_| panic!("{}: {key}", self.name));
        let words = view.data().chunks_exact(4).map(|b| b.try_into().expect("4 bytes"));
        match view.dtype() {
            Dtype::F32 => words.map(f32::from_le_bytes).collect(),
            Dtype::I32 => words.map(|b| i32::from_le_bytes(b) as f32).collect(),
            other => panic!("{key} is {other:?}"),
        }
    }

    fn list(&self, name: &str) -> Vec<u32> {
        serde_json::from_value(self.info[name].clone()).expect("a list")
    }
}

/// The largest error; NaN where NaN is expected.
pub fn compare_values(what: &str, got: &[f32], exact: &[f32], tolerance: f64) -> f64 {
    assert_eq!(got.len(), exact.len(), "{what}");
    let mut worst = 0.0;
    for (i, (&g, &e)) in got.iter().zip(exact).enumerate() {
        if e.is_nan() {
            assert!(g.is_nan(), "{what} [{i}]: {g}, expected NaN");
            continue;
        }
        let error = f64::from(g - e).abs();
        assert!(error <= tolerance, "{what} [{i}]: {g}, expected {e} ± {tolerance:e}");
        worst = f64::max(worst, error);
    }
    worst
}

/// Ranks between those of a slightly larger and a slightly smaller logit.
pub fn compare_ranks(what: &str, got: &[f32], [low, high]: &[Vec<f32>; 2]) {
    assert_eq!(got.len(), low.len(), "{what}");
    for (i, &g) in got.iter().enumerate() {
        assert!(low[i] <= g && g <= high[i], "{what} [{i}]: {g}, not in {} to {}", low[i], high[i]);
    }
}

/// Splits the tensors of a file into two files, alternately.
pub fn halves(file: &[u8]) -> [Vec<u8>; 2] {
    [0, 1].map(|half| part(file, |i, _| i % 2 == half))
}

/// A file with those tensors of another for which `is_wanted(index, name)` is true.
pub fn part(file: &[u8], is_wanted: impl Fn(usize, &str) -> bool) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let header: Map<String, Value> =
        serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let tensors: Vec<_> = header.iter().filter(|(name, _)| *name != "__metadata__").collect();
    let (mut entries, mut data) = (Map::new(), Vec::new());
    let wanted = tensors.iter().enumerate().filter(|(i, (name, _))| is_wanted(*i, name));
    for (_, (name, tensor)) in wanted {
        let at = |i: usize| tensor["data_offsets"][i].as_u64().expect("an offset") as usize;
        let start = data.len();
        data.extend_from_slice(&file[8 + length + at(0)..8 + length + at(1)]);
        let mut tensor = (*tensor).clone();
        tensor["data_offsets"] = json!([start, data.len()]);
        entries.insert((*name).clone(), tensor);
    }
    let header = serde_json::to_vec(&entries).expect("JSON");
    [&(header.len() as u64).to_le_bytes()[..], &header[..], &data[..]].concat()
}
