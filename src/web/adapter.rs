//! The browser's description of the adapter, of which wgpu keeps only a part.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::{Error, Result};

use super::results::{object, set};

/// Some limits of the adapter, for information. The device is opened with WebGPU's default limits, and those
/// decide which models fit.
const LIMITS: [&str; 6] = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupsPerDimension",
];

/// `{ vendor, architecture, device, description, fallback, limits }`.
///
/// Errors: `no-webgpu`, `no-adapter`.
pub(super) async fn describe() -> Result<JsValue> {
    let get = |of: &JsValue, name: &str| Reflect::get(of, &name.into()).unwrap_or_default();
    let gpu = get(&get(&js_sys::global(), "navigator"), "gpu");
    if gpu.is_falsy() {
        let secure = get(&js_sys::global(), "isSecureContext").is_truthy();
        let why = if secure { "navigator.gpu is missing" } else { "the page is not secure" };
        return Err(Error::NoWebGpu(why.into()));
    }
    let options = object();
    set(&options, "powerPreference", "high-performance");
    let request: Function = get(&gpu, "requestAdapter")
        .dyn_into()
        .map_err(|_| Error::NoWebGpu("navigator.gpu has no requestAdapter".into()))?;
    let refused = |e: JsValue| Error::NoAdapter(format!("{e:?}"));
    let asked: Promise = request.call1(&gpu, &options).map_err(refused)?.unchecked_into();
    let adapter = JsFuture::from(asked).await.map_err(refused)?;
    if adapter.is_falsy() {
        return Err(Error::NoAdapter("the browser offers none".into()));
    }
    let info = get(&adapter, "info");
    let out = object();
    for name in ["vendor", "architecture", "device", "description"] {
        set(&out, name, get(&info, name).as_string().unwrap_or_default());
    }
    // The property moved from the adapter to its info.
    let fallback = [&info, &adapter].iter().any(|o| get(o, "isFallbackAdapter").is_truthy());
    set(&out, "fallback", fallback);
    let (limits, from) = (object(), get(&adapter, "limits"));
    for name in LIMITS {
        set(&limits, name, get(&from, name));
    }
    set(&out, "limits", limits);
    Ok(out.into())
}
