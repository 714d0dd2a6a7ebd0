//! Bytes of a lens file ─▶ maps on the device. Three layouts are known: what the package tuned_lens saves, what the Jacobian lens'
//! reference code saves, and Loupe's own.

use serde_json::Value;

use crate::checkpoint::{Digest, Event, Header, Reader, TensorInfo};
use crate::config::Config;
use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Matrix, Order, Packer, Precision, encode, pad4};

use super::maps::{self, Map, Maps};

/// Whose lens it is, and so what its file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `i.weight` and `i.bias` for each block i: what is added to the block's input.
    ///
    /// Source: Belrose et al. 2023, package tuned_lens.
    Tuned,
    /// `J`: for some blocks the mean Jacobian of the final stream by the block's output.
    Jacobian,
    /// `lens.<row>.weight` and `lens.<row>.bias`, as Loupe exports them.
    Affine,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Tuned, Kind::Jacobian, Kind::Affine];

    /// The name in options.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Tuned => "tuned",
            Kind::Jacobian => "jacobian",
            Kind::Affine => "affine",
        }
    }

    /// The kind of that name.
    ///
    /// Errors: `bad-option`.
    pub fn from_name(name: &str) -> Result<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let expected = "\"tuned\", \"jacobian\" or \"affine\"";
            Error::option("kind", expected, format!("\"{name}\""))
        })
    }
}

/// Metadata key under which an exported lens describes itself.
pub const METADATA: &str = "loupe.lens";

/// Most maps of a file.
const MAX_MAPS: usize = 1024;

/// What a tensor of the file is.
#[derive(Clone, Copy)]
struct Place {
    /// The map that it belongs to.
    map: usize,
    is_bias: bool,
}

/// A lens that was read from a file.
pub struct LensFile {
    /// What the file was.
    pub kind: Kind,
    /// The maps.
    pub maps: Maps,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Length of the file. Units: bytes.
    pub bytes: u64,
    /// How an exported lens describes itself.
    pub described: Option<Value>,
}

/// Takes the bytes of one file.
pub struct Intake {
    reader: Reader,
    expected: Option<Kind>,
    config: Option<Value>,
    digest: Digest,
    bytes: u64,
    open: Option<Open>,
}

/// A file whose header is known.
struct Open {
    kind: Kind,
    n_embd: usize,
    maps: Vec<Map>,
    /// By tensor of the header; `None` for one that is not part of the lens.
    places: Vec<Option<Place>>,
    described: Option<Value>,
    /// Names of the tensors that are still to come.
    missing: Vec<(usize, String)>,
    n_layer: Option<usize>,
    /// The tensor that comes in, and its numbers so far.
    coming: Option<(usize, Vec<u8>)>,
}

impl Intake {
    /// At the start of a file. `sha256` is its expected digest, `config` the text of the config.json beside a tuned lens.
    ///
    /// Errors: `bad-config`.
    pub fn new(kind: Option<Kind>, sha256: Option<&str>, config: Option<&str>) -> Result<Intake> {
        let parse = |text: &str| {
            let value: Value = serde_json::from_str(text)
                .map_err(|e| Error::config("the lens' config", "JSON", e))?;
            match value.get("lens_type").and_then(|v| v.as_str()) {
                None | Some("linear_tuned_lens") => Ok(value),
                Some(other) => Err(Error::config("lens_type", "\"linear_tuned_lens\"", other)),
            }
        };
        Ok(Intake {
            reader: Reader::new(sha256),
            expected: kind,
            config: config.map(parse).transpose()?,
            digest: Digest::default(),
            bytes: 0,
            open: None,
        })
    }

    /// Takes the next bytes. `model` is the config of the model in use, if there is one: a lens of another model is refused
    /// before anything is allocated.
    ///
    /// Errors: `bad-header`, `unsupported-model`, `bad-shape`, `bad-dtype`, `corrupt`, `missing-tensor`, `bad-option`,
    /// `bad-config`, `out-of-memory`.
    pub async fn push(
        &mut self,
        device: &Device,
        model: Option<&Config>,
        mut bytes: &[u8],
    ) -> Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        let Intake { reader, expected, config, open, .. } = self;
        loop {
            match reader.next(&mut bytes)? {
                None => return Ok(()),
                Some(Event::Header(header)) => {
                    let plan = Plan::of(header, *expected, config.as_ref())?;
                    if let Some(model) = model {
                        maps::check(plan.n_embd, plan.n_layer, plan.taps(), model)?;
                    }
                    plan.check_size()?;
                    let names = header.tensors.iter().map(|tensor| tensor.name.clone());
                    let names: Vec<String> = names.collect();
                    let make = || Ok(plan.open(device, names));
                    *open = Some(device.allocate("this lens", make).await?);
                }
                Some(Event::Data { index, tensor, bytes }) => {
                    let open = open.as_mut().ok_or_else(|| {
                        Error::BadHeader("elements come before their header".into())
                    })?;
                    open.take(device, index, tensor, bytes)?;
                }
            }
        }
    }

    /// The lens, once the file is complete.
    ///
    /// Errors: `truncated`, `corrupt`.
    pub fn finish(self) -> Result<LensFile> {
        let Intake { reader, digest, bytes, open, .. } = self;
        reader.finish()?;
        let Some(Open { kind, n_embd, maps, described, missing, n_layer, .. }) = open else {
            return Err(Error::NoEnd("its header"));
        };
        if let Some((_, name)) = missing.into_iter().next() {
            return Err(Error::MissingTensor(name));
        }
        let maps = Maps::new(n_embd, n_layer, maps);
        Ok(LensFile { kind, maps, sha256: digest.hex(), bytes, described })
    }
}

/// What a header says, checked, before anything is allocated.
struct Plan {
    kind: Kind,
    n_embd: usize,
    n_layer: Option<usize>,
    /// Names of rows, and whether they have a bias, by depth.
    maps: Vec<(String, bool)>,
    places: Vec<Option<Place>>,
    described: Option<Value>,
    gives_stream: bool,
}

impl Plan {
    fn taps(&self) -> impl Iterator<Item = &str> {
        self.maps.iter().map(|(tap, _)| tap.as_str())
    }

    /// Errors: those of [`Intake::push`].
    fn of(header: &Header, expected: Option<Kind>, config: Option<&Value>) -> Result<Plan> {
        let kind = kind_of(header)?;
        if let Some(expected) = expected.filter(|&expected| expected != kind) {
            let got = format!("the file of a lens of kind \"{}\"", kind.name());
            return Err(Error::option("kind", format!("\"{}\"", expected.name()), got));
        }
        let mut maps: Vec<(usize, String, bool)> = Vec::new();
        let mut named = Vec::with_capacity(header.tensors.len());
        for tensor in &header.tensors {
            let part = part_of(kind, &tensor.name)?;
            named.push(part.clone());
            let Some((depth, tap, is_bias)) = part else { continue };
            let n_maps = maps.len();
            match maps.iter_mut().find(|(known, ..)| *known == depth) {
                Some((.., has_bias)) => *has_bias |= is_bias,
                None if n_maps < MAX_MAPS => {
                    // In the order of depth.
                    let at = maps.partition_point(|&(known, ..)| known < depth);
                    maps.insert(at, (depth, tap, is_bias));
                }
                None => return Err(Error::BadHeader(format!("more than {MAX_MAPS} maps"))),
            }
        }
        let place = |(depth, _, is_bias): (usize, String, bool)| {
            let map = maps.iter().position(|(known, ..)| *known == depth)?;
            Some(Place { map, is_bias })
        };
        let places: Vec<Option<Place>> =
            named.into_iter().map(|part| part.and_then(place)).collect();
        let weights = |map: usize| {
            let is_it = move |place: &Option<Place>| {
                place.is_some_and(|place| place.map == map && !place.is_bias)
            };
            places.iter().position(is_it)
        };
        for (map, (_, tap, has_bias)) in maps.iter().enumerate() {
            if weights(map).is_none() {
                return Err(Error::Lens(format!("the map of {tap} has a bias, but no weight")));
            }
            if kind == Kind::Tuned && !has_bias {
                return Err(Error::Lens(format!("the map of {tap} has no bias")));
            }
        }
        let first = weights(0).and_then(|index| header.tensors.get(index));
        let n_embd = first.and_then(|tensor| tensor.shape.last().copied()).unwrap_or(0);
        if !(1..=MAX_WIDTH).contains(&n_embd) {
            return Err(Error::Lens(format!("a width from 1 to {MAX_WIDTH} is expected")));
        }
        for (tensor, place) in header.tensors.iter().zip(&places) {
            let Some(place) = place else { continue };
            let expected = if place.is_bias { vec![n_embd] } else { vec![n_embd, n_embd] };
            if tensor.shape != expected {
                let (name, got) = (tensor.name.clone(), tensor.shape.clone());
                return Err(Error::BadShape { name, expected, got });
            }
            if let Err(element) = &tensor.element {
                let reason = format!("expected F32, F16 or BF16, got {element}");
                return Err(Error::BadDtype { name: tensor.name.clone(), reason });
            }
        }
        if let Some(wrong) = config.and_then(|c| c.get("d_model")).and_then(|n| n.as_u64())
            && wrong != n_embd
        {
            return Err(Error::config(
                "d_model",
                format!("{n_embd}, the width of the file"),
                wrong,
            ));
        }
        let described = header.said(METADATA);
        let described: Option<Value> = described.and_then(|text| serde_json::from_str(text).ok());
        let said = |name: &str| described.as_ref()?.get(name);
        // What ln_f does not normalise any more is said by the file itself.
        let gives_stream = !said("normalised").and_then(Value::as_bool).unwrap_or(false);
        let maps: Vec<(String, bool)> =
            maps.into_iter().map(|(_, tap, bias)| (tap, bias)).collect();
        let blocks = config.and_then(|c| c.get("num_hidden_layers")).and_then(|n| n.as_u64());
        let n_layer = blocks.and_then(|n| usize::try_from(n).ok());
        if kind == Kind::Tuned {
            let is_without_gap =
                maps.iter().enumerate().all(|(i, (tap, _))| *tap == tap_of_input(i));
            let n = n_layer.unwrap_or(maps.len());
            if !is_without_gap || n != maps.len() {
                let expected = format!("maps of {n} blocks, from 0 on");
                return Err(Error::Lens(format!("expected {expected}, got {} maps", maps.len())));
            }
        }
        let own = said("n_layer").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let n_layer = n_layer.or(own).or((kind == Kind::Tuned).then_some(maps.len()));
        let n_embd = usize::try_from(n_embd).unwrap_or(usize::MAX);
        Ok(Plan { kind, n_embd, n_layer, maps, places, described, gives_stream })
    }

    /// Errors: `unsupported-model` for more numbers than any published lens has.
    fn check_size(&self) -> Result<()> {
        let bytes = 4 * self.maps.len() as u64 * (self.n_embd as u64).pow(2);
        match bytes <= MAX_BYTES {
            true => Ok(()),
            false => Err(Error::Lens(format!(
                "its maps would take {bytes} bytes, at most {MAX_BYTES} are read"
            ))),
        }
    }

    fn open(self, device: &Device, names: Vec<String>) -> Open {
        let Plan { kind, n_embd, n_layer, maps, places, described, gives_stream } = self;
        let order = if kind == Kind::Affine { Order::Inputs } else { Order::Outputs };
        let map = |(tap, has_bias): (String, bool)| Map {
            weight: Matrix::new(device, "lens", n_embd, [n_embd, 1], Precision::F32, order),
            bias: has_bias.then(|| device.tensor("lens bias", 4 * pad4(n_embd) as u64)),
            tap,
            gives_stream,
        };
        let maps = maps.into_iter().map(map).collect();
        let is_part =
            |(index, _): &(usize, String)| places.get(*index).is_some_and(Option::is_some);
        let missing = names.into_iter().enumerate().filter(is_part).collect();
        Open { kind, n_embd, maps, places, described, missing, n_layer, coming: None }
    }
}

/// Widest lens that is read.
const MAX_WIDTH: u64 = 8192;
/// Largest maps of a lens together. GPT-2 XL's take 492 MB. Units: bytes.
const MAX_BYTES: u64 = 2 << 30;

/// The row that is the input of block i.
fn tap_of_input(block: usize) -> String {
    match block.checked_sub(1) {
        None => "input".into(),
        Some(before) => format!("h.{before}"),
    }
}

/// What the names of the tensors say.
///
/// Errors: `unsupported-model`.
fn kind_of(header: &Header) -> Result<Kind> {
    let has = |is_it: fn(&str) -> bool| header.tensors.iter().any(|t| is_it(&t.name));
    if has(|name| name.starts_with("lens.")) {
        return Ok(Kind::Affine);
    }
    if has(|name| name.starts_with("J.")) {
        return Ok(Kind::Jacobian);
    }
    if has(|name| name.starts_with("jacobian_sum")) {
        let what = "the checkpoint of a fit (jacobian_sum); the finished lens has its means as J";
        return Err(Error::Lens(what.into()));
    }
    if has(|name| name.strip_suffix(".weight").is_some_and(|i| i.parse::<u32>().is_ok())) {
        return Ok(Kind::Tuned);
    }
    let is_old = |name: &str| {
        let parts = ["unembedding.", "layer_translators.", "input_translator."];
        parts.iter().any(|part| name.starts_with(part))
    };
    if has(is_old) {
        let what = "a tuned lens of an old version, which carries the model's unembedding as well (183 MB instead of 28 for GPT-2); use the newer file";
        return Err(Error::Lens(what.into()));
    }
    let expected =
        "expected i.weight and i.bias of a tuned lens, J of a Jacobian lens, or lens.* of Loupe";
    let names: Vec<&str> = header.tensors.iter().take(3).map(|t| t.name.as_str()).collect();
    Err(Error::Lens(format!("{expected}; got {}", names.join(", "))))
}

/// Depth and name of the row that a tensor belongs to, and whether it is the bias; `None` for one that is no part of the lens.
///
/// Errors: `unsupported-model`.
fn part_of(kind: Kind, name: &str) -> Result<Option<(usize, String, bool)>> {
    // As it is written: 01 would be another row.
    let is_plain = |text: &str| text == "0" || !text.starts_with(['0', '+']);
    let number =
        |text: &str| text.parse::<usize>().ok().filter(|&n| n < MAX_MAPS && is_plain(text));
    let unknown = || Err(Error::Lens(format!("the tensor {name} is no part of a lens")));
    let split = |name: &str| {
        let (front, is_bias) = match name.strip_suffix(".weight") {
            Some(front) => (front, false),
            None => (name.strip_suffix(".bias")?, true),
        };
        Some((front.to_string(), is_bias))
    };
    match kind {
        Kind::Tuned => {
            let Some((i, is_bias)) = split(name).and_then(|(i, b)| Some((number(&i)?, b))) else {
                return unknown();
            };
            Ok(Some((i, tap_of_input(i), is_bias)))
        }
        Kind::Jacobian => match name.strip_prefix("J.").and_then(number) {
            Some(l) => Ok(Some((l + 1, format!("h.{l}"), false))),
            None => Ok(None),
        },
        Kind::Affine => {
            let Some((tap, is_bias)) = name.strip_prefix("lens.").and_then(split) else {
                return unknown();
            };
            let depth = match tap.strip_prefix("h.") {
                Some(block) => number(block).map(|block| block + 1),
                None => (tap == "input").then_some(0),
            };
            match depth {
                Some(depth) => Ok(Some((depth, tap, is_bias))),
                None => unknown(),
            }
        }
    }
}

impl Open {
    /// Takes bytes of a tensor; a whole one goes to the device.
    fn take(
        &mut self,
        device: &Device,
        index: usize,
        tensor: &TensorInfo,
        bytes: &[u8],
    ) -> Result<()> {
        let Some(Some(place)) = self.places.get(index).copied() else { return Ok(()) };
        let (coming, buffer) = self.coming.get_or_insert_with(|| (index, Vec::new()));
        if *coming != index {
            (*coming, *buffer) = (index, Vec::new());
        }
        buffer.extend_from_slice(bytes);
        if (buffer.len() as u64) < tensor.end - tensor.start {
            return Ok(());
        }
        let bytes = self.coming.take().map(|(_, bytes)| bytes).unwrap_or_default();
        self.missing.retain(|(waiting, _)| *waiting != index);
        let Ok(element) = tensor.element else { return Ok(()) };
        let mut values = Vec::new();
        element.decode(&bytes, &mut values);
        drop(bytes);
        let (kind, n_embd) = (self.kind, self.n_embd);
        let Some(map) = self.maps.get_mut(place.map) else { return Ok(()) };
        if place.is_bias {
            let mut packed = Vec::new();
            values.resize(pad4(n_embd), 0.0);
            encode(&tensor.name, Precision::F32, &values, &mut packed)?;
            if let Some(bias) = &map.bias {
                device.write(bias, 0, &packed);
            }
            return Ok(());
        }
        if kind == Kind::Tuned {
            // x + W x is one map.
            values.iter_mut().step_by(n_embd + 1).for_each(|v| *v += 1.0);
        }
        write_matrix(device, &map.weight, &tensor.name, &values)
    }
}

/// Writes all rows of a matrix, in the order of its file. Shapes: \[C, C\].
///
/// Errors: `corrupt` for what is not finite.
pub(super) fn write_matrix(
    device: &Device,
    matrix: &Matrix,
    name: &str,
    values: &[f32],
) -> Result<()> {
    let mut packer = Packer::new();
    for row in values.chunks_exact(matrix.n_in.max(1)) {
        let mut packed = Vec::with_capacity(4 * row.len());
        encode(name, Precision::F32, row, &mut packed)?;
        packer.row(device, matrix, &packed);
    }
    Ok(())
}

impl Maps {
    /// Maps with the values that were fitted. Shapes: weight \[C, C\], row by row of inputs; bias \[C\].
    ///
    /// Errors: `corrupt` for what is not finite, `out-of-memory`.
    pub async fn fitted(
        device: &Device,
        n_embd: usize,
        n_layer: usize,
        gives_stream: bool,
        maps: Vec<(String, Vec<f32>, Vec<f32>)>,
    ) -> Result<Maps> {
        let make = || {
            let map = |(tap, weight, mut bias): (String, Vec<f32>, Vec<f32>)| {
                let matrix = Matrix::inputs(device, "lens", n_embd, n_embd, Precision::F32);
                write_matrix(device, &matrix, &tap, &weight)?;
                bias.resize(pad4(n_embd), 0.0);
                let bias: Tensor = device.upload("lens bias", &bias);
                Ok(Map { tap, weight: matrix, bias: Some(bias), gives_stream })
            };
            maps.into_iter().map(map).collect::<Result<Vec<_>>>()
        };
        let maps = device.allocate("this lens", make).await?;
        Ok(Maps::new(n_embd, Some(n_layer), maps))
    }
}
