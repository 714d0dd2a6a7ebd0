//! The device of a choice, and its description: the browser's own of an adapter, of which wgpu keeps only a part.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::device::{Backend, Device};
use crate::error::{Error, Result};

use super::hand_back::hand_back;
use super::options::DeviceChoice;
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

/// Opens the device of a choice. The description is `{ backend, why, vendor, architecture, device, description, fallback,
/// limits }`; `why` says why it is the CPU.
///
/// Errors: `no-webgpu`, `no-adapter`, for a GPU that was asked for.
pub(super) async fn open(choice: DeviceChoice) -> Result<(Device, JsValue)> {
    let why = match choice {
        DeviceChoice::Cpu => "it was asked for".to_string(),
        DeviceChoice::Gpu => return gpu(describe().await?.0).await,
        DeviceChoice::Auto => match describe().await {
            Ok((adapter, false)) => match gpu(adapter).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error.to_string(),
            },
            Ok((_, true)) => "the only graphics adapter is one in software".to_string(),
            Err(error) => error.to_string(),
        },
    };
    let out = object();
    set(&out, "backend", Backend::Cpu.name());
    set(&out, "why", why.trim_end_matches('.'));
    for name in DESCRIPTIONS {
        set(&out, name, "");
    }
    set(&out, "fallback", false);
    set(&out, "limits", object());
    Ok((Device::cpu(hand_back()), out.into()))
}

async fn gpu(adapter: JsValue) -> Result<(Device, JsValue)> {
    Ok((Device::gpu().await?, adapter))
}

/// Whether a description is one of an adapter in software.
pub(super) fn is_fallback(adapter: &JsValue) -> bool {
    Reflect::get(adapter, &"fallback".into()).is_ok_and(|value| value.is_truthy())
}

/// Whether it is Chromium's adapter in software.
pub(super) fn is_swiftshader(adapter: &JsValue) -> bool {
    let name = Reflect::get(adapter, &"architecture".into()).unwrap_or_default();
    name.as_string().is_some_and(|name| name == "swiftshader")
}

/// What a browser says of an adapter in words.
const DESCRIPTIONS: [&str; 4] = ["vendor", "architecture", "device", "description"];

/// The adapter's description, and whether it is one in software.
///
/// Errors: `no-webgpu`, `no-adapter`.
async fn describe() -> Result<(JsValue, bool)> {
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
    set(&out, "backend", Backend::WebGpu.name());
    set(&out, "why", "");
    for name in DESCRIPTIONS {
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
    Ok((out.into(), fallback))
}
