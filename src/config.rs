//! `config.json` as Hugging Face writes it, checked: what a model is made of.

use serde::Deserialize;

use crate::error::{Error, Result};

/// The architecture a checkpoint follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// GPT-2 and its retrainings (DistilGPT2 and others with `model_type: "gpt2"`).
    Gpt2,
    /// GPT-Neo: some blocks attend locally, and q·k is not scaled.
    GptNeo,
    /// CTRL: sinusoidal positions, a bias on the logits.
    Ctrl,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 3] = [Family::Gpt2, Family::GptNeo, Family::Ctrl];

    /// The name in `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Gpt2 => "gpt2",
            Family::GptNeo => "gpt_neo",
            Family::Ctrl => "ctrl",
        }
    }

    /// How the names in `architectures` begin.
    fn class(self) -> &'static str {
        match self {
            Family::Gpt2 => "GPT2",
            Family::GptNeo => "GPTNeo",
            Family::Ctrl => "CTRL",
        }
    }

    /// The family by `model_type`; in old configs without it, by `architectures`; without either, by the fields
    /// that each family writes.
    ///
    /// Errors: `bad-config` if nothing tells it, `unsupported-model` for another family.
    fn of(raw: &Raw) -> Result<Family> {
        let names = Family::ALL.map(|f| format!("\"{}\"", f.name())).join(", ");
        if let Some(name) = raw.model_type.as_deref() {
            let found = Family::ALL.into_iter().find(|f| f.name() == name);
            return found.ok_or_else(|| {
                Error::UnsupportedModel(format!("model_type: expected {names}, got \"{name}\""))
            });
        }
        let class = raw.architectures.as_ref().and_then(|classes| classes.get(0)?.as_str());
        if let Some(class) = class {
            // "GPTNeoX…" is another family: what follows the name is the head, such as "LMHeadModel" or "ForCausalLM".
            let head = |f: &Family| class.strip_prefix(f.class()).unwrap_or_default();
            let is_it = |f: &Family| {
                ["LMHead", "Model", "For", "DoubleHeads"].iter().any(|h| head(f).starts_with(h))
            };
            return Family::ALL.into_iter().find(is_it).ok_or_else(|| {
                let classes = Family::ALL.map(|f| format!("{}…", f.class())).join(", ");
                Error::UnsupportedModel(format!(
                    "architectures: expected {classes}, got \"{class}\""
                ))
            });
        }
        match raw {
            Raw { dff: Some(_), .. } => Ok(Family::Ctrl),
            Raw { attention_types: Some(_), .. } | Raw { attention_layers: Some(_), .. } => {
                Ok(Family::GptNeo)
            }
            // GPT-1 has the same sizes, and this field for its activation.
            Raw { n_embd: Some(_), n_ctx: Some(_), afn: None, .. } => Ok(Family::Gpt2),
            _ => Err(Error::config("model_type", &names, "nothing")),
        }
    }
}

/// The function between the two matrices of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// GELU in the tanh form (`gelu_new`).
    Gelu = 1,
    /// max(x, 0).
    Relu = 2,
}

/// Sizes and switches of a model, in Hugging Face's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The architecture.
    pub family: Family,
    /// L: number of blocks.
    pub n_layer: usize,
    /// H: attention heads per block.
    pub n_head: usize,
    /// C: width of the residual stream.
    pub n_embd: usize,
    /// Width of the MLP, 4·C unless the config says otherwise.
    pub n_inner: usize,
    /// Number of positions.
    pub n_ctx: usize,
    /// V: tokens in the vocabulary.
    pub vocab_size: usize,
    /// ε of every LayerNorm.
    pub layer_norm_epsilon: f32,
    /// Whether q·k is divided by √D.
    pub scale_attn_weights: bool,
    /// Whether q·k of block i is divided by i + 1 as well.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether unembedding uses `wte` (true) or `lm_head.weight`.
    pub tie_word_embeddings: bool,
    /// The activation of every MLP.
    pub activation: Activation,
    /// Positions that a query of each block attends to, its own included; `None` for all up to it.
    /// Shapes: \[L\].
    pub windows: Vec<Option<usize>>,
}

/// The fields of the file. All are optional, so that an error can name the one that is missing.
#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    architectures: Option<serde_json::Value>,
    afn: Option<serde::de::IgnoredAny>,
    n_layer: Option<u64>,
    num_layers: Option<u64>,
    n_head: Option<u64>,
    num_heads: Option<u64>,
    n_embd: Option<u64>,
    hidden_size: Option<u64>,
    n_inner: Option<u64>,
    intermediate_size: Option<u64>,
    dff: Option<u64>,
    n_positions: Option<u64>,
    n_ctx: Option<u64>,
    max_position_embeddings: Option<u64>,
    vocab_size: Option<u64>,
    layer_norm_epsilon: Option<f64>,
    activation_function: Option<String>,
    scale_attn_weights: Option<bool>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
    add_cross_attention: Option<bool>,
    tie_word_embeddings: Option<bool>,
    attention_types: Option<Vec<(Vec<String>, u64)>>,
    attention_layers: Option<Vec<String>>,
    window_size: Option<u64>,
}

/// Largest accepted dimension, except for the vocabulary: far above any model, far below overflow.
pub(crate) const MAX_DIM: u64 = 1 << 16;
/// Largest number of positions of a CTRL that are used; it was trained on 256 and 512.
const MAX_CTRL_POSITIONS: u64 = 1024;
/// Largest accepted number of blocks.
pub(crate) const MAX_LAYERS: u64 = 1024;
/// Token ids travel as f32 through the lens kernels: exact up to 2²⁴.
pub(crate) const MAX_VOCAB: u64 = 1 << 24;

impl Config {
    /// Reads and checks the text of a `config.json`.
    ///
    /// Errors: `bad-config` (not JSON, a size missing, zero, or inconsistent),
    /// `unsupported-model` (another architecture, or a switch that Loupe does not honour).
    /// Source: `GPT2Config`, `GPTNeoConfig` and `CTRLConfig` of Hugging Face transformers, whose
    /// defaults apply where a switch is absent.
    pub fn parse(text: &str) -> Result<Config> {
        let raw: Raw = serde_json::from_str(text)
            .map_err(|e| Error::config("the file", "a JSON object with a model's sizes", e))?;
        let family = Family::of(&raw)?;
        let n_layer = size("n_layer", raw.n_layer.or(raw.num_layers), MAX_LAYERS)?;
        let n_embd = size("n_embd", raw.n_embd.or(raw.hidden_size), MAX_DIM)?;
        let n_head = size("n_head", raw.n_head.or(raw.num_heads), MAX_DIM)?;
        if n_embd % n_head != 0 {
            let expected = format!("a multiple of n_head ({n_head})");
            return Err(Error::config("n_embd", expected, n_embd));
        }
        let positions = raw.n_positions.or(raw.max_position_embeddings).or(raw.n_ctx);
        let positions = match family {
            // They are computed, not learned, and a config may state far more of them than the text that the
            // model was trained to read at once.
            Family::Ctrl => {
                positions.map(|n| n.min(raw.n_ctx.unwrap_or(n)).min(MAX_CTRL_POSITIONS))
            }
            Family::Gpt2 | Family::GptNeo => positions,
        };
        let n_inner = match raw.n_inner.or(raw.intermediate_size).or(raw.dff) {
            Some(n) => size("n_inner", Some(n), 4 * MAX_DIM)?,
            None => 4 * n_embd,
        };
        let is_ctrl = family == Family::Ctrl;
        let epsilon = raw.layer_norm_epsilon.unwrap_or(if is_ctrl { 1e-6 } else { 1e-5 });
        // Kernels add it in single precision, in which a smaller number would be zero.
        if !(1e-36..1.0).contains(&epsilon) {
            let expected = "a number from 1e-36 to below 1";
            return Err(Error::config("layer_norm_epsilon", expected, epsilon));
        }
        if raw.add_cross_attention == Some(true) {
            let problem = "add_cross_attention: expected false, got true";
            return Err(Error::UnsupportedModel(problem.into()));
        }
        Ok(Config {
            family,
            n_layer,
            n_head,
            n_embd,
            n_inner,
            n_ctx: size("n_positions", positions, MAX_DIM)?,
            vocab_size: size("vocab_size", raw.vocab_size, MAX_VOCAB)?,
            layer_norm_epsilon: single(epsilon),
            scale_attn_weights: match family {
                Family::Gpt2 => raw.scale_attn_weights.unwrap_or(true),
                Family::GptNeo => false,
                Family::Ctrl => true,
            },
            scale_attn_by_inverse_layer_idx: family == Family::Gpt2
                && raw.scale_attn_by_inverse_layer_idx.unwrap_or(false),
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(true),
            activation: activation(family, raw.activation_function.as_deref())?,
            windows: match family {
                Family::GptNeo => windows(&raw, n_layer)?,
                Family::Gpt2 | Family::Ctrl => vec![None; n_layer],
            },
        })
    }

    /// The config of a partial model without a `config.json`: each size is 0 until a tensor gives it.
    pub(crate) fn unknown() -> Config {
        Config {
            family: Family::Gpt2,
            n_layer: 0,
            n_head: 0,
            n_embd: 0,
            n_inner: 0,
            n_ctx: 0,
            vocab_size: 0,
            layer_norm_epsilon: 1e-5,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            tie_word_embeddings: true,
            activation: Activation::Gelu,
            windows: Vec::new(),
        }
    }

    /// The factor on token embeddings.
    pub fn embedding_scale(&self) -> f32 {
        match self.family {
            Family::Gpt2 | Family::GptNeo => 1.0,
            Family::Ctrl => single((self.n_embd as f64).sqrt()),
        }
    }

    /// D: width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// The factor on q·k in block `layer`.
    pub fn attention_scale(&self, layer: usize) -> f32 {
        let mut scale = 1.0;
        if self.scale_attn_weights {
            scale /= (self.head_dim() as f64).sqrt();
        }
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f64;
        }
        single(scale)
    }

    /// Number of parameters that the forward pass uses.
    pub fn parameters(&self) -> u64 {
        let (c, inner) = (self.n_embd as u64, self.n_inner as u64);
        let projections = if self.family == Family::GptNeo { 1 } else { 4 };
        let vectors = projections * c + inner + c + 4 * c;
        let outside = match self.family {
            Family::Gpt2 | Family::GptNeo => self.n_ctx as u64 * c,
            Family::Ctrl => self.vocab_size as u64,
        };
        self.matrix_values() + outside + self.n_layer as u64 * vectors + 2 * c
    }

    /// Number of parameters in matrices, which may be stored in f16.
    pub fn matrix_values(&self) -> u64 {
        let (c, inner) = (self.n_embd as u64, self.n_inner as u64);
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        let block = 4 * c * c + 2 * c * inner;
        embeddings * self.vocab_size as u64 * c + self.n_layer as u64 * block
    }
}

/// A number in the precision of the kernels.
#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
pub(crate) fn single(value: f64) -> f32 {
    value as f32
}

/// Errors: `unsupported-model`.
fn activation(family: Family, name: Option<&str>) -> Result<Activation> {
    match (family, name) {
        (Family::Ctrl, _) => Ok(Activation::Relu),
        (_, None | Some("gelu_new" | "gelu_pytorch_tanh")) => Ok(Activation::Gelu),
        (_, Some("relu")) => Ok(Activation::Relu),
        (_, Some(other)) => Err(Error::UnsupportedModel(format!(
            "activation_function: expected \"gelu_new\" or \"relu\", got \"{other}\""
        ))),
    }
}

/// The attention window of each block of a GPT-Neo, from `attention_layers` or its short form `attention_types`.
///
/// Errors: `bad-config`, `unsupported-model`.
fn windows(raw: &Raw, n_layer: usize) -> Result<Vec<Option<usize>>> {
    let window = size("window_size", raw.window_size.or(Some(256)), MAX_DIM)?;
    // At most one more than a valid list has: a file may claim any number.
    let most = n_layer + 1;
    let kinds: Vec<&str> = match (&raw.attention_layers, &raw.attention_types) {
        (Some(layers), _) => layers.iter().take(most).map(String::as_str).collect(),
        (None, Some(types)) => types
            .iter()
            .flat_map(|(kinds, n)| {
                let n = kinds.len().saturating_mul(usize::try_from(*n).unwrap_or(most).min(most));
                kinds.iter().cycle().take(n)
            })
            .take(most)
            .map(String::as_str)
            .collect(),
        (None, None) => {
            return Err(Error::config(
                "attention_types",
                "a list of kinds of attention",
                "nothing",
            ));
        }
    };
    if kinds.len() != n_layer {
        let got = if kinds.len() > n_layer { "more".into() } else { kinds.len().to_string() };
        return Err(Error::config("attention_types", format!("{n_layer} blocks"), got));
    }
    let kind = |name: &&str| match *name {
        "global" => Ok(None),
        "local" => Ok(Some(window)),
        other => Err(Error::UnsupportedModel(format!(
            "attention_types: expected \"global\" or \"local\", got \"{other}\""
        ))),
    };
    kinds.iter().map(kind).collect()
}

fn size(name: &str, value: Option<u64>, most: u64) -> Result<usize> {
    let expected = || format!("1 to {most}");
    let n = value.ok_or_else(|| Error::config(name, expected(), "nothing"))?;
    let fits = usize::try_from(n).ok().filter(|_| (1..=most).contains(&n));
    fits.ok_or_else(|| Error::config(name, expected(), n))
}
