//! The atlas as JavaScript sees it.

use std::future::Future;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Function, Promise, Uint32Array};
use wasm_bindgen::prelude::*;

use crate::atlas::{self, By, ZeroLayerOptions};
use crate::error::{Error, Result};
use crate::gpu::Cancel;
use crate::lens::Norm;
use crate::session::{Loaded, Session};

use super::convert::{self, object, set};
use super::{Failure, cancel_by, promise};

/// What the weights of one model say by themselves.
#[wasm_bindgen(skip_typescript)]
pub struct Atlas {
    pub(super) session: Rc<Session>,
    pub(super) loaded: Rc<Loaded>,
}

/// How a call is watched and stopped.
struct Watch {
    cancel: Cancel,
    on_progress: Option<Function>,
}

/// The options that every call takes, besides its own.
const WATCH: [&str; 2] = ["signal", "onProgress"];

impl Watch {
    /// Errors: `bad-option`.
    fn parse(get: &impl Fn(&str) -> JsValue) -> Result<Watch> {
        Ok(Watch {
            cancel: cancel_by(convert::signal(&get("signal"))?),
            on_progress: convert::function("onProgress", &get("onProgress"))?,
        })
    }
}

/// Options with these names, and those of the watch.
///
/// Errors: `bad-option`.
fn options<'a>(
    value: &'a JsValue,
    own: &[&str],
) -> Result<(impl Fn(&str) -> JsValue + use<'a>, Watch)> {
    let get = convert::options(value, &[own, &WATCH].concat())?;
    let watch = Watch::parse(&get)?;
    Ok((get, watch))
}

/// A whole number from 0 on, or `otherwise` if there is none.
///
/// Errors: `bad-option`.
fn count(name: &str, value: &JsValue, otherwise: usize) -> Result<usize> {
    match convert::number(name, value)? {
        None => Ok(otherwise),
        Some(n) if n >= 0.0 && n.fract() == 0.0 => Ok(n as usize),
        Some(n) => Err(Error::BadOption(format!("{name} is {n}, expected a whole number"))),
    }
}

impl Atlas {
    /// Runs `work` when its turn comes.
    fn run<W, F>(&self, watch: Result<Watch>, work: W) -> Promise
    where
        W: FnOnce(Work) -> F + 'static,
        F: Future<Output = Result<JsValue>>,
    {
        let (session, loaded) = (self.session.clone(), self.loaded.clone());
        promise(async move {
            let watch = watch?;
            let turn_of = session.clone();
            let _turn = turn_of.turn().await;
            watch.cancel.check()?;
            session.gpu().check()?;
            work(Work { session, loaded, watch }).await.map_err(Failure::from)
        })
    }
}

/// What a call of the atlas holds on to.
struct Work {
    session: Rc<Session>,
    loaded: Rc<Loaded>,
    watch: Watch,
}

impl Work {
    fn report(&self, done: f64) {
        if let Some(callback) = &self.watch.on_progress {
            let event = object();
            set(&event, "done", done);
            // A page's own trouble with drawing a bar must not break the work.
            let _ = callback.call1(&JsValue::UNDEFINED, &event);
        }
    }
}

/// Opens an atlas over what a call holds on to.
macro_rules! open {
    ($work:ident as $atlas:ident) => {
        let report = |done| $work.report(done);
        let $atlas = atlas::Atlas {
            gpu: $work.session.gpu(),
            model: &$work.loaded.model,
            cancel: &$work.watch.cancel,
            on_progress: &report,
        };
    };
}

#[wasm_bindgen]
impl Atlas {
    /// Mean and standard deviation of every channel.
    #[wasm_bindgen(skip_typescript)]
    pub fn channels(&self, how: JsValue) -> Promise {
        self.run(options(&how, &[]).map(|o| o.1), async |work: Work| {
            open!(work as atlas);
            let found = atlas::channels(&atlas).await?;
            let out = object();
            set(&out, "wte_mean", floats(&found.wte_mean));
            set(&out, "wte_std", floats(&found.wte_std));
            set(&out, "wpe_mean", floats(&found.wpe_mean));
            set(&out, "wpe_std", floats(&found.wpe_std));
            Ok(out.into())
        })
    }

    /// Gains and biases of every LayerNorm.
    #[wasm_bindgen(skip_typescript)]
    pub fn gains(&self, how: JsValue) -> Promise {
        self.run(options(&how, &[]).map(|o| o.1), async |work: Work| {
            open!(work as atlas);
            let gains = atlas::gains(&atlas).await?;
            let gain = |g: &atlas::Gains| {
                let out = object();
                set(&out, "name", g.name.as_str());
                set(&out, "weight", floats(&g.weight));
                set(&out, "bias", floats(&g.bias));
                out
            };
            Ok(gains.iter().map(gain).collect::<Array>().into())
        })
    }

    /// Length of every token's embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn norms(&self, how: JsValue) -> Promise {
        self.run(options(&how, &[]).map(|o| o.1), async |work: Work| {
            open!(work as atlas);
            Ok(floats(&atlas::norms(&atlas).await?).into())
        })
    }

    /// One channel of every token's embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn channel(&self, channel: JsValue, how: JsValue) -> Promise {
        let parsed = options(&how, &[]).map(|o| o.1);
        let channel = index("channel", &channel);
        self.run(parsed, async |work: Work| {
            open!(work as atlas);
            Ok(floats(&atlas::channel(&atlas, channel?).await?).into())
        })
    }

    /// Singular values and the first directions.
    #[wasm_bindgen(skip_typescript)]
    pub fn spectrum(&self, n: JsValue, how: JsValue) -> Promise {
        let parsed = options(&how, &[]).map(|o| o.1);
        let n = index("n", &n);
        self.run(parsed, async |work: Work| {
            open!(work as atlas);
            let found = atlas::spectrum(&atlas, n?).await?;
            let out = object();
            set(&out, "singular_values", floats(&found.singular_values));
            set(&out, "directions", floats(&found.directions));
            set(&out, "tokens", floats(&found.tokens));
            set(&out, "cosine_with_mean", floats(&found.cosine_with_mean));
            Ok(out.into())
        })
    }

    /// How far a channel, the length, the first direction and the id agree.
    #[wasm_bindgen(skip_typescript)]
    pub fn correlations(&self, how: JsValue) -> Promise {
        let parsed = options(&how, &["channel"])
            .and_then(|(get, watch)| Ok((index("channel", &get("channel"))?, watch)));
        let (channel, watch) = parsed.map_or_else(|e| (0, Err(e)), |(c, w)| (c, Ok(w)));
        self.run(watch, async move |work: Work| {
            open!(work as atlas);
            let found = atlas::correlations(&atlas, channel).await?;
            let table =
                |values: &[f64]| values.iter().map(|&v| JsValue::from(v)).collect::<Array>();
            let names = found.names.iter().map(|n| JsValue::from(n.as_str()));
            let out = object();
            set(&out, "names", names.collect::<Array>());
            set(&out, "pearson", table(&found.pearson));
            set(&out, "spearman", table(&found.spearman));
            Ok(out.into())
        })
    }

    /// What each token is followed by without any block.
    #[wasm_bindgen(skip_typescript)]
    pub fn zero_layer(&self, how: JsValue) -> Promise {
        let parsed = options(&how, &["norm", "position", "step"]).and_then(|(get, watch)| {
            let norm = convert::string("norm", &get("norm"))?;
            let position = get("position");
            let options = ZeroLayerOptions {
                norm: norm.map_or(Ok(Norm::None), |name| Norm::from_name(&name))?,
                position: match position.is_undefined() || position.is_null() {
                    true => None,
                    false => Some(index("position", &position)?),
                },
                step: count("step", &get("step"), 1)?,
            };
            Ok((options, watch))
        });
        let (options, watch) = parsed.map_or_else(
            |e| (ZeroLayerOptions { norm: Norm::None, position: None, step: 1 }, Err(e)),
            |(o, w)| (o, Ok(w)),
        );
        self.run(watch, async move |work: Work| {
            open!(work as atlas);
            let found = atlas::zero_layer(&atlas, options).await?;
            let out = object();
            set(&out, "argmax", Uint32Array::from(&found.argmax[..]));
            set(&out, "logit", floats(&found.logit));
            set(&out, "self_logit", floats(&found.self_logit));
            Ok(out.into())
        })
    }

    /// The tokens nearest to one.
    #[wasm_bindgen(skip_typescript)]
    pub fn neighbours(&self, id: f64, how: JsValue) -> Promise {
        let parsed = options(&how, &["k", "by"]).and_then(|(get, watch)| {
            let by = match convert::string("by", &get("by"))?.as_deref() {
                None | Some("cosine") => By::Cosine,
                Some("dot") => By::Dot,
                Some(other) => {
                    return Err(Error::BadOption(format!(
                        "by is \"{other}\", expected \"cosine\" or \"dot\""
                    )));
                }
            };
            Ok((convert::id(id)?, count("k", &get("k"), 20)?, by, watch))
        });
        let (id, k, by, watch) = parsed
            .map_or_else(|e| (0, 0, By::Dot, Err(e)), |(id, k, by, watch)| (id, k, by, Ok(watch)));
        self.run(watch, async move |work: Work| {
            open!(work as atlas);
            let found = atlas::neighbours(&atlas, id, k, by).await?;
            let out = object();
            set(&out, "ids", Uint32Array::from(&found.ids[..]));
            set(&out, "values", floats(&found.values));
            Ok(out.into())
        })
    }
}

fn floats(values: &[f32]) -> Float32Array {
    Float32Array::from(values)
}

/// A whole number from 0 on.
///
/// Errors: `bad-option`.
fn index(name: &str, value: &JsValue) -> Result<usize> {
    match value.as_f64() {
        Some(n) if n >= 0.0 && n.fract() == 0.0 => Ok(n as usize),
        _ => Err(Error::BadOption(format!("{name} is {value:?}, expected a whole number"))),
    }
}
