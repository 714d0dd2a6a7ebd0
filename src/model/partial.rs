//! A file with only some of a model's tensors: what the atlas can show of it, planned as headers come.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use crate::checkpoint::{Header, TensorInfo};
use crate::config::{Config, Family, MAX_DIM, MAX_VOCAB};
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
    /// The LayerNorms, in the order of the pass.
    pub norms: Vec<PartNorm>,
    /// Blocks that some LayerNorm speaks of.
    pub n_layer: usize,
    /// Whether a config says what the tensors do not.
    pub has_config: bool,
}

impl Part {
    pub(super) fn has_ln_f(&self) -> bool {
        let has = |norm: &PartNorm| norm.name == "ln_f" && norm.gain.is_some();
        self.norms.iter().any(|norm| has(norm) && norm.bias.is_some())
    }
}

/// A LayerNorm, as far as it is there. Shapes: \[C4\] each.
#[derive(Clone)]
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
        let (block, norm) = stem.strip_prefix("h.")?.split_once('.')?;
        let second = match norm {
            "ln_1" | "layernorm1" => 0,
            "ln_2" | "layernorm2" => 1,
            _ => return None,
        };
        let block: u16 = block.parse().ok()?;
        Some(Role::Norm { place: 2 * usize::from(block) + second, is_gain })
    }
}

/// A norm by the names of its tensors in the file.
#[derive(Default)]
struct Planned {
    gain: Option<(String, Rc<Tensor>)>,
    bias: Option<(String, Rc<Tensor>)>,
}

/// What some files hold, as far as their headers have come.
pub(super) struct Partial {
    config: Config,
    has_config: bool,
    precision: Precision,
    shard_bytes: usize,
    wte: Option<(String, Rc<Vec<Shard>>)>,
    wpe: Option<(String, Rc<Tensor>)>,
    norms: BTreeMap<usize, Planned>,
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
        let tensors: Vec<(Role, &TensorInfo)> = header
            .tensors
            .iter()
            .filter_map(|tensor| Some((Role::of(short_name(&tensor.name))?, tensor)))
            .collect();
        for (role, tensor) in &tensors {
            self.fit(gpu, role, tensor)?;
        }
        let allocate = || {
            let mut plan = Plan::new(gpu, self.precision, self.shard_bytes);
            for (role, tensor) in &tensors {
                self.place(&mut plan, role, short_name(&tensor.name));
            }
            self.bytes += plan.bytes();
            Ok(plan.parts)
        };
        let parts = gpu.allocate("the tensors of the file", allocate).await?;
        filling.expect(parts);
        Ok(())
    }

    /// Holds a shape against the config, which it completes where there is none.
    fn fit(&mut self, gpu: &Gpu, role: &Role, tensor: &TensorInfo) -> Result<()> {
        let config = &mut self.config;
        let (rows, width) = match (role, &tensor.shape[..]) {
            (Role::Norm { .. }, &[width]) => (None, width),
            (Role::Wte, &[rows, width]) => (Some((&mut config.vocab_size, MAX_VOCAB, rows)), width),
            (Role::Wpe, &[rows, width]) => (Some((&mut config.n_ctx, MAX_DIM, rows)), width),
            _ => {
                let found = &tensor.shape;
                return Err(Error::BadHeader(format!("{} has shape {found:?}", tensor.name)));
            }
        };
        let sizes = rows.into_iter().chain([(&mut config.n_embd, MAX_DIM, width)]);
        for (known, most, size) in sizes {
            if *known == 0 && (1..=most).contains(&size) {
                *known = size as usize;
            }
            if *known as u64 != size {
                return Err(Error::BadHeader(format!(
                    "{} has a side of {size} where {known} was expected",
                    tensor.name
                )));
            }
        }
        let bytes = (config.n_ctx * pad4(config.n_embd) * 4) as u64;
        gpu.check_binding("the position embedding", bytes)
    }

    fn place(&mut self, plan: &mut Plan<'_>, role: &Role, name: &str) {
        let Config { n_embd, n_ctx, vocab_size, .. } = self.config;
        match *role {
            Role::Wte => {
                if name == "w.weight" && !self.has_config {
                    (self.config.family, self.config.layer_norm_epsilon) = (Family::Ctrl, 1e-6);
                }
                self.wte = Some((name.into(), plan.embedding(name, vocab_size, n_embd, None)));
            }
            Role::Wpe => self.wpe = Some((name.into(), plan.table(name, n_ctx, n_embd))),
            Role::Norm { place, is_gain } => {
                let norm = self.norms.entry(place).or_default();
                let slot = if is_gain { &mut norm.gain } else { &mut norm.bias };
                *slot = Some((name.into(), plan.vector(name, n_embd)));
            }
        }
    }

    /// What has come, as a model without blocks.
    ///
    /// Errors: `missing-tensor` if there is nothing that the atlas could show.
    pub(super) fn finish(self, gpu: &Gpu, complete: &HashSet<String>) -> Result<Found> {
        fn whole<V>(found: Option<(String, V)>, complete: &HashSet<String>) -> Option<V> {
            found.filter(|(name, _)| complete.contains(name)).map(|(_, value)| value)
        }
        let wte = whole(self.wte, complete);
        let wpe = whole(self.wpe, complete);
        let mut norms: Vec<PartNorm> = Vec::new();
        let mut n_layer = 0;
        for (place, norm) in self.norms {
            let (gain, bias) = (whole(norm.gain, complete), whole(norm.bias, complete));
            let name = match place {
                LN_F => "ln_f".into(),
                _ => {
                    n_layer = n_layer.max(place / 2 + 1);
                    format!("h.{}.ln_{}", place / 2, place % 2 + 1)
                }
            };
            if gain.is_some() || bias.is_some() {
                norms.push(PartNorm { name, gain, bias });
            }
        }
        let part = Part {
            has_wte: wte.is_some(),
            has_wpe: wpe.is_some(),
            norms,
            n_layer,
            has_config: self.has_config,
        };
        if !part.has_wte && !part.has_wpe && part.norms.is_empty() {
            return Err(Error::MissingTensor(
                "wte.weight, and wpe.weight and every LayerNorm".into(),
            ));
        }
        let absent = || Rc::new(gpu.tensor("absent", 16));
        let ln_f = part.norms.last().filter(|_| part.has_ln_f());
        let ln_f = match ln_f.and_then(|norm| norm.gain.clone().zip(norm.bias.clone())) {
            Some((gain, bias)) => Norm { gain, bias },
            None => Norm { gain: absent(), bias: absent() },
        };
        let wte = wte.unwrap_or_default();
        let weights = Weights {
            wte_scale: self.config.embedding_scale(),
            wpe: wpe.unwrap_or_else(absent),
            blocks: Vec::new(),
            ln_f,
            unembed: wte.clone(),
            wte,
        };
        Ok(Found { config: self.config, weights, part, bytes: self.bytes })
    }
}

/// What a partial load has brought.
pub(super) struct Found {
    pub(super) config: Config,
    pub(super) weights: Weights,
    pub(super) part: Part,
    pub(super) bytes: u64,
}
