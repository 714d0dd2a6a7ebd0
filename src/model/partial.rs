//! A file with only some of a model's tensors: what the atlas can show of it, planned as headers come.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::checkpoint::{Header, TensorInfo};
use crate::config::{Config, Family, MAX_DIM, MAX_LAYERS, MAX_VOCAB};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Precision, Shard, pad4};

use super::filling::{Filling, short_name};
use super::plan::Plan;
use super::{Norm, Weights};

/// What there is of a model that is not whole.
pub struct Part {
    /// Whether there are token embeddings.
    pub has_wte: bool,
    /// Whether there are position embeddings.
    pub has_wpe: bool,
    /// Whether there is an unembedding: the token embeddings, unless a config says otherwise.
    pub has_unembed: bool,
    /// The LayerNorms, in the order of the pass.
    pub norms: Vec<PartNorm>,
    /// Whether a config says what the tensors do not.
    pub has_config: bool,
}

impl Part {
    /// The last LayerNorm, if all of it is there.
    fn ln_f(&self) -> Option<Norm> {
        let last = self.norms.last().filter(|norm| norm.name == "ln_f")?;
        Some(Norm { gain: last.gain.clone()?, bias: last.bias.clone()? })
    }

    pub(super) fn has_ln_f(&self) -> bool {
        self.ln_f().is_some()
    }
}

/// A LayerNorm, as far as it is there. Shapes: \[C4\] each.
#[derive(Clone, Default)]
pub struct PartNorm {
    /// `h.i.ln_1`, `h.i.ln_2` or `ln_f`, whatever the family calls them.
    pub name: String,
    /// Multiplies.
    pub gain: Option<Rc<Tensor>>,
    /// Is added.
    pub bias: Option<Rc<Tensor>>,
}

/// What a tensor is to the atlas.
enum Role {
    Wte,
    Wpe,
    Unembed,
    /// Its place in the pass: twice the block, and one more for ln_2; [`LN_F`] for the last.
    Norm {
        place: usize,
        is_gain: bool,
    },
}

const LN_F: usize = usize::MAX;

impl Role {
    /// By the names of every family.
    fn of(name: &str) -> Option<Role> {
        match name {
            "wte.weight" | "w.weight" => return Some(Role::Wte),
            "wpe.weight" => return Some(Role::Wpe),
            "lm_head.weight" => return Some(Role::Unembed),
            _ => {}
        }
        let (stem, part) = name.rsplit_once('.')?;
        let is_gain = match part {
            "weight" => true,
            "bias" => false,
            _ => return None,
        };
        if matches!(stem, "ln_f" | "layernorm") {
            return Some(Role::Norm { place: LN_F, is_gain });
        }
        let (digits, norm) = stem.strip_prefix("h.")?.split_once('.')?;
        let second = match norm {
            "ln_1" | "layernorm1" => 0,
            "ln_2" | "layernorm2" => 1,
            _ => return None,
        };
        let block: usize = digits.parse().ok()?;
        // One spelling for each block.
        let is_plain = block < MAX_LAYERS as usize && block.to_string() == digits;
        is_plain.then_some(Role::Norm { place: 2 * block + second, is_gain })
    }
}

/// What some files hold, as far as their headers have come.
pub(super) struct Partial {
    config: Config,
    has_config: bool,
    precision: Precision,
    shard_bytes: usize,
    wte: Option<Rc<Vec<Shard>>>,
    wpe: Option<Rc<Tensor>>,
    unembed: Option<Rc<Vec<Shard>>>,
    /// By their place in the pass.
    norms: BTreeMap<usize, PartNorm>,
    bytes: u64,
}

impl Partial {
    pub(super) fn new(config: Option<Config>, precision: Precision, shard_bytes: usize) -> Partial {
        Partial {
            has_config: config.is_some(),
            config: config.unwrap_or_else(Config::unknown),
            precision,
            shard_bytes,
            wte: None,
            wpe: None,
            unembed: None,
            norms: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes room for what the header of one file announces.
    ///
    /// Errors: `bad-header` where the tensors do not agree, `bad-shape` where they and the config
    /// do not, `unsupported-model` for one too large for a binding, `out-of-memory`.
    pub(super) async fn plan(
        &mut self,
        gpu: &Gpu,
        header: &Header,
        filling: &mut Filling,
    ) -> Result<()> {
        let is_wanted = |role: &Role| match role {
            Role::Unembed => self.has_config && !self.config.tie_word_embeddings,
            Role::Wte | Role::Wpe | Role::Norm { .. } => true,
        };
        let tensors: Vec<(Role, &TensorInfo)> = header
            .tensors
            .iter()
            .filter_map(|tensor| Some((Role::of(short_name(&tensor.name))?, tensor)))
            .filter(|(role, _)| is_wanted(role))
            .collect();
        for (role, tensor) in &tensors {
            self.fit(gpu, role, tensor)?;
        }
        let bias = header.tensors.iter().map(|tensor| short_name(&tensor.name));
        let bias = bias.into_iter().find(|&name| name == "lm_head.bias");
        let allocate = || {
            let mut plan = Plan::new(gpu, self.precision, self.shard_bytes);
            for (role, tensor) in &tensors {
                self.place(&mut plan, role, short_name(&tensor.name), bias)?;
            }
            self.bytes += plan.bytes();
            Ok(plan.parts)
        };
        let parts = gpu.allocate("the tensors of the file", allocate).await?;
        filling.want(parts);
        Ok(())
    }

    /// Holds a shape against the config, which it completes where there is none.
    fn fit(&mut self, gpu: &Gpu, role: &Role, tensor: &TensorInfo) -> Result<()> {
        let (name, shape) = (&tensor.name, &tensor.shape[..]);
        let Config { n_embd, n_ctx, vocab_size, n_layer, .. } = self.config;
        // Each side: what is known of it, 0 for nothing, and how long it may be.
        let width = (n_embd as u64, MAX_DIM);
        let expected = match role {
            Role::Norm { .. } => vec![width],
            Role::Wte | Role::Unembed => vec![(vocab_size as u64, MAX_VOCAB), width],
            Role::Wpe => vec![(n_ctx as u64, MAX_DIM), width],
        };
        let fits = |(&size, &(known, most)): (&u64, &(u64, u64))| {
            (1..=most).contains(&size) && (known == 0 || known == size)
        };
        if shape.len() != expected.len() || !shape.iter().zip(&expected).all(fits) {
            if self.has_config {
                let expected = expected.into_iter().map(|(known, _)| known).collect();
                return Err(Error::BadShape {
                    name: name.clone(),
                    expected,
                    found: shape.to_vec(),
                });
            }
            return Err(Error::BadHeader(format!(
                "{name} has shape {shape:?}, which does not go with the tensors before it"
            )));
        }
        let size = |side: usize| shape[side] as usize;
        let config = &mut self.config;
        match *role {
            Role::Wte | Role::Unembed => (config.vocab_size, config.n_embd) = (size(0), size(1)),
            Role::Wpe => (config.n_ctx, config.n_embd) = (size(0), size(1)),
            Role::Norm { place, .. } => {
                config.n_embd = size(0);
                if place != LN_F && place / 2 >= n_layer {
                    if self.has_config {
                        let block = place / 2;
                        return Err(Error::BadHeader(format!(
                            "it has a block {block}, and the config only {n_layer} of them"
                        )));
                    }
                    config.n_layer = place / 2 + 1;
                }
            }
        }
        let c = pad4(config.n_embd) as u64;
        gpu.check_binding("a square of its channels", 4 * c * c)?;
        gpu.check_binding("the position embedding", 4 * config.n_ctx as u64 * c)
    }

    /// Errors: `bad-header` for a second tensor of one role.
    fn place(
        &mut self,
        plan: &mut Plan<'_>,
        role: &Role,
        name: &str,
        bias: Option<&str>,
    ) -> Result<()> {
        let Config { n_embd, n_ctx, vocab_size, tie_word_embeddings: is_tied, .. } = self.config;
        let is_first = match *role {
            Role::Wte => {
                if name == "w.weight" && !self.has_config {
                    (self.config.family, self.config.layer_norm_epsilon) = (Family::Ctrl, 1e-6);
                }
                let bias = bias.filter(|_| is_tied);
                self.wte.replace(plan.embedding(name, vocab_size, n_embd, bias)).is_none()
            }
            Role::Unembed => {
                self.unembed.replace(plan.embedding(name, vocab_size, n_embd, bias)).is_none()
            }
            Role::Wpe => self.wpe.replace(plan.table(name, n_ctx, n_embd)).is_none(),
            Role::Norm { place, is_gain } => {
                let norm = self.norms.entry(place).or_default();
                norm.name = match place {
                    LN_F => "ln_f".into(),
                    _ => format!("h.{}.ln_{}", place / 2, place % 2 + 1),
                };
                let slot = if is_gain { &mut norm.gain } else { &mut norm.bias };
                slot.replace(plan.vector(name, n_embd)).is_none()
            }
        };
        match is_first {
            true => Ok(()),
            false => Err(Error::BadHeader(format!("{name} is there under another name as well"))),
        }
    }

    /// What has come, as a model without blocks.
    ///
    /// Errors: `missing-tensor` if there is nothing that the atlas could show.
    pub(super) fn finish(self, gpu: &Gpu) -> Result<Found> {
        let Partial { config, has_config, wte, wpe, .. } = self;
        let unembed = if config.tie_word_embeddings { wte.clone() } else { self.unembed };
        let part = Part {
            has_wte: wte.is_some(),
            has_wpe: wpe.is_some(),
            has_unembed: unembed.is_some(),
            norms: self.norms.into_values().collect(),
            has_config,
        };
        if !part.has_wte && !part.has_wpe && part.norms.is_empty() {
            let all = "wte.weight, wpe.weight and every LayerNorm";
            return Err(Error::MissingTensor(all.into()));
        }
        let absent = || Rc::new(gpu.tensor("absent", 16));
        let weights = Weights {
            wte_scale: config.embedding_scale(),
            wpe: wpe.unwrap_or_else(absent),
            blocks: Vec::new(),
            ln_f: part.ln_f().unwrap_or_else(|| Norm { gain: absent(), bias: absent() }),
            unembed: unembed.unwrap_or_default(),
            wte: wte.unwrap_or_default(),
        };
        Ok(Found { config, weights, part, bytes: self.bytes })
    }
}

/// What a partial load has brought.
pub(super) struct Found {
    pub(super) config: Config,
    pub(super) weights: Weights,
    pub(super) part: Part,
    pub(super) bytes: u64,
}
