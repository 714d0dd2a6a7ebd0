//! Lenses other than the logit lens: opened from files or fitted here, with what is known of them, and exported.

use std::rc::{Rc, Weak};

use serde::Serialize;
use serde_json::{Map as Object, Value};

use crate::checkpoint::{Element, Header, TensorInfo};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::{Order, pad4};
use crate::lens::{Intake, LENS_METADATA, Map, Maps};

use super::{Session, fit::Target};

/// Maps with what is known of them.
pub struct OpenLens {
    /// The maps.
    pub maps: Rc<Maps>,
    /// What is known of them.
    pub card: Card,
}

/// What is known of a lens. An exported lens has it in its metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Card {
    /// `tuned`, `jacobian`, `affine`, or `fitted` for what was fitted here.
    pub kind: String,
    /// What a fit predicts: `final`, or `input` for a probe.
    pub target: Option<String>,
    /// Whether the maps predict the normalised final stream, so that ln_f adds gain and bias only.
    pub normalised: bool,
    /// Where it is from.
    pub source: Option<String>,
    /// Its licence.
    pub licence: Option<String>,
    /// SHA-256 of the file that it was opened from.
    pub sha256: Option<String>,
    /// Length of that file. Units: bytes.
    pub bytes: Option<u64>,
    /// C.
    pub n_embd: usize,
    /// L, where it is known.
    pub n_layer: Option<usize>,
    /// Rows that have a map, by depth; the others are read by the logit lens.
    pub taps: Vec<String>,
    /// Tokens that it was fitted on, and that were held out.
    pub n_tokens: Option<u64>,
    /// Tokens that were held out.
    pub n_held_out: Option<u64>,
    /// Passes of the refinement by the KL divergence.
    pub refined: usize,
    /// By row: the ridge, relative to the mean variance of the row's channels.
    pub ridge: Object<String, Value>,
    /// By row: how good it is on the tokens that were held out, as [`HeldOut::value`] writes it.
    pub held_out: Object<String, Value>,
}

/// How good a fit is on tokens that were held out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum HeldOut {
    /// Of a lens: mean KL(final ‖ row) in nats, and the share of positions at which both have the same top-1.
    Final { kl: f64, agreement: f64 },
    /// Of a probe: 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖², and the share of positions whose token has the embedding nearest to ŷ.
    Input { r2: f64, recovered: f64 },
}

impl HeldOut {
    /// What is to be small; NaN is as bad as can be.
    pub(super) fn loss(&self) -> f64 {
        let loss = match *self {
            HeldOut::Final { kl, .. } => kl,
            HeldOut::Input { r2, .. } => -r2,
        };
        if loss.is_nan() { f64::INFINITY } else { loss }
    }

    /// `{ kl, agreement }` or `{ r2, recovered }`.
    pub(super) fn value(&self) -> Value {
        let names = match *self {
            HeldOut::Final { kl, agreement } => [("kl", kl), ("agreement", agreement)],
            HeldOut::Input { r2, recovered } => [("r2", r2), ("recovered", recovered)],
        };
        let mut object = Object::new();
        for (name, value) in names {
            // JSON has no number for what is not finite.
            if value.is_finite() {
                object.insert(name.into(), value.into());
            }
        }
        object.into()
    }
}

/// What a card may say of its origin.
const KINDS: [&str; 4] = ["tuned", "jacobian", "affine", "fitted"];

impl Card {
    /// What an exported lens says of itself. It is for people to read, so what has another form is left out.
    fn of(value: &Value) -> Card {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_string);
        let number = |name: &str| value.get(name)?.as_u64();
        let object = |name: &str, is_good: &dyn Fn(&Value) -> bool| {
            let mut object = value.get(name)?.as_object().cloned()?;
            object.retain(|_, value| is_good(value));
            Some(object)
        };
        let are_scores = |value: &Value| {
            value.as_object().is_some_and(|scores| scores.values().all(Value::is_number))
        };
        Card {
            kind: text("kind").filter(|kind| KINDS.contains(&kind.as_str())).unwrap_or_default(),
            target: text("target").filter(|target| Target::from_name(target).is_ok()),
            normalised: value.get("normalised").and_then(Value::as_bool).unwrap_or(false),
            source: text("source"),
            licence: text("licence"),
            n_layer: number("n_layer").and_then(|n| usize::try_from(n).ok()),
            n_tokens: number("n_tokens"),
            n_held_out: number("n_held_out"),
            refined: number("refined").and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
            ridge: object("ridge", &Value::is_number).unwrap_or_default(),
            held_out: object("held_out", &are_scores).unwrap_or_default(),
            ..Card::default()
        }
    }
}

impl OpenLens {
    /// Whether it is a probe, which reconstructs the input and is no lens for readings.
    pub fn is_probe(&self) -> bool {
        self.card.target.as_deref() == Some("input")
    }

    /// The map of a row: y = x W + b for a row vector x; `None` for a row that is read by the logit lens.
    ///
    /// Shapes: W \[C, C\], row by row; b \[C\].
    /// Errors: `device-lost`, `out-of-memory`.
    pub async fn map(&self, device: &Device, tap: &str) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        match self.maps.map(tap) {
            Some(map) => values_of(device, map).await.map(Some),
            None => Ok(None),
        }
    }

    /// A safetensors file with all maps, which opens again as it is.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    pub async fn export(&self, device: &Device) -> Result<Vec<u8>> {
        let c = self.maps.n_embd() as u64;
        let mut header = Header::default();
        let mut at = 0;
        for map in self.maps.maps() {
            for (part, shape) in [("weight", vec![c, c]), ("bias", vec![c])] {
                let end = at + 4 * shape.iter().product::<u64>();
                let name = format!("lens.{}.{part}", map.tap);
                let element = Ok(Element::F32);
                header.tensors.push(TensorInfo { name, element, shape, start: at, end });
                at = end;
            }
        }
        let card = serde_json::to_string(&self.card).map_err(|e| Error::Lens(e.to_string()))?;
        header.metadata.insert(LENS_METADATA.into(), card.into());
        let mut json = header.json()?;
        json.resize(json.len().next_multiple_of(8), b' ');
        let mut out = Vec::new();
        let all = json.len() + usize::try_from(at).unwrap_or(usize::MAX - json.len() - 8) + 8;
        let no_room = |_| Error::OutOfMemory("this lens as a file".into());
        out.try_reserve_exact(all).map_err(no_room)?;
        out.extend_from_slice(&(json.len() as u64).to_le_bytes());
        out.extend_from_slice(&json);
        for map in self.maps.maps() {
            let (weight, bias) = values_of(device, map).await?;
            for values in [weight, bias] {
                out.extend_from_slice(bytemuck::cast_slice(&values));
            }
        }
        Ok(out)
    }
}

/// W and b of a map. Shapes: \[C, C\], row by row of inputs; \[C\].
async fn values_of(device: &Device, map: &Map) -> Result<(Vec<f32>, Vec<f32>)> {
    let c = map.weight.n_in;
    let bytes = map.weight.tensor.bytes();
    let packed = device.read_ranges::<u8>(&[(&map.weight.tensor, 0..bytes)]).await?;
    let rows = packed.first().map(|packed| map.weight.unpack(packed)).unwrap_or_default();
    let weight = match map.weight.order() {
        Order::Inputs => rows.chunks(pad4(c)).take(c).flat_map(|row| row[..c].to_vec()).collect(),
        Order::Outputs => {
            let mut weight = vec![0.0; c * c];
            for (out, row) in rows.chunks(c).take(c).enumerate() {
                row.iter().enumerate().for_each(|(k, &v)| weight[k * c + out] = v);
            }
            weight
        }
    };
    let bias = match &map.bias {
        None => vec![0.0; c],
        Some(bias) => {
            let read = device.read_ranges::<f32>(&[(bias, 0..4 * c as u64)]).await?;
            read.into_iter().next().unwrap_or_default()
        }
    };
    Ok((weight, bias))
}

impl Session {
    /// Takes the next bytes of a lens file; one of another model than that in use is refused.
    ///
    /// Errors: those of [`Intake::push`].
    pub async fn push_lens(&self, intake: &mut Intake, bytes: &[u8]) -> Result<()> {
        let loaded = self.loaded().ok();
        let config = loaded.as_ref().map(|loaded| &loaded.model.config);
        intake.push(&self.device, config, bytes).await
    }

    /// Keeps a lens in mind as long as somebody has it.
    pub fn share_lens(&self, lens: OpenLens) -> Rc<OpenLens> {
        let lens = Rc::new(lens);
        let mut lenses = self.lenses.borrow_mut();
        lenses.retain(|lens| lens.strong_count() > 0);
        lenses.push(Rc::downgrade(&lens));
        lens
    }

    /// A lens that somebody still has.
    pub fn lens(&self, key: u32) -> Option<Rc<OpenLens>> {
        let lenses = self.lenses.borrow();
        lenses.iter().filter_map(Weak::upgrade).find(|lens| lens.maps.key() == key)
    }

    /// The lens of a complete file.
    ///
    /// Errors: `truncated`, `corrupt`.
    pub fn finish_lens(&self, intake: Intake) -> Result<OpenLens> {
        let file = intake.finish()?;
        let card = file.described.as_ref().map(Card::of).unwrap_or_default();
        let maps = Rc::new(file.maps);
        let kind = if card.kind.is_empty() { file.kind.name().into() } else { card.kind.clone() };
        let card = Card {
            kind,
            sha256: Some(file.sha256),
            bytes: Some(file.bytes),
            n_embd: maps.n_embd(),
            n_layer: card.n_layer.or(maps.n_layer()),
            taps: maps.maps().iter().map(|map| map.tap.clone()).collect(),
            ..card
        };
        Ok(OpenLens { maps, card })
    }
}
