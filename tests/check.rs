//! The check of a device: it passes on this machine's, and finds each kernel that is made wrong, and that one alone.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

mod support;

use loupe::device::{Cancel, Device};
use loupe::error::Result;
use loupe::kernels::Precision;
use loupe::session::{Checked, LoadRequest, Session};
use pollster::block_on;
use support::golden::{TALES_CONFIG, TALES_WEIGHTS};

/// A check of *Tales* on a GPU whose kernel has been altered.
fn checked(precision: Precision, alteration: Option<[&'static str; 3]>) -> Result<Checked> {
    block_on(async {
        let device = Device::gpu().await?;
        if let Some([name, from, to]) = alteration {
            device.alter(name, from, to);
        }
        let session = Session::new(device);
        let request = LoadRequest { precision, ..LoadRequest::new(TALES_CONFIG, None) };
        let mut loading = session.load(&request).await?;
        session.push(&mut loading, TALES_WEIGHTS).await?;
        session.install(loading).await?;
        let before = session.device().allocated_bytes();
        let found = session.check(&Cancel::default()).await;
        assert_eq!(session.device().allocated_bytes(), before, "a check keeps no memory");
        found
    })
}

/// Of every kernel, a text of its WGSL and what makes it wrong.
const WRONG: [[&str; 3]; 12] = [
    ["embed", "params.scale * token", "1.01 * params.scale * token"],
    ["layer_norm", "fma(value, gain[c], bias[c])", "value * gain[c]"],
    ["matmul", "return fma(v.wwww, w3, c);", "return c;"],
    ["attention", "let p = exp(score - largest);", "let p = exp(0.9 * (score - largest));"],
    ["subtract", "from_a - from_b", "from_a + from_b"],
    ["gram", "sum3 +=", "sum3 -="],
    [
        "gather_dot",
        "sum = fma(value[i], weight4(g)[component], sum);",
        "sum = fma(value[i], weight4(g)[0], sum);",
    ],
    ["lens_fold", "moment = fma(e, w, moment);", "moment = fma(e, w * 1.01, moment);"],
    ["lens_merge", "mass += e * lane_mass;", "mass += lane_mass;"],
    ["divergence", "0.5 * (p + q) * mixed(t)", "0.5 * (p + q) * t"],
    ["top_k", "i > 0u && z > list[i - 1u].x", "i > k && z > list[i - 1u].x"],
    ["top_k_merge", "if (heads[lane] < params.k) {", "if (heads[lane] < params.k && lane != 7u) {"],
];

#[test]
fn a_device_that_computes_as_the_cpu_does_passes() {
    for precision in [Precision::F16, Precision::F32] {
        let checked = checked(precision, None).expect("a check");
        assert!(checked.has_passed(), "{checked:?}");
        // Rounding is far below what is found to be wrong.
        assert!(checked.largest() < 2e-5, "{checked:?}");
        let names: Vec<_> = checked.findings.iter().map(|finding| finding.kernel).collect();
        for [name, ..] in WRONG {
            assert!(names.contains(&name), "{name} was not checked");
        }
        assert!(checked.findings.iter().all(|finding| finding.numbers > 10), "{checked:?}");
    }
}

#[test]
fn each_wrong_kernel_is_found_and_no_other_is_blamed() {
    for alteration in WRONG {
        let [name, from, _] = alteration;
        let source = loupe::kernels::SOURCES.iter().find(|source| source.name == name);
        assert!(source.is_some_and(|source| source.wgsl.contains(from)), "{name} has no {from}");
        let checked = checked(Precision::F16, Some(alteration)).expect("a check");
        assert!(!checked.has_passed(), "{name}: {checked:?}");
        for finding in &checked.findings {
            let is_wrong = finding.difference > 1e-3;
            assert_eq!(is_wrong, finding.kernel == name, "{name}: {checked:?}");
        }
    }
}

#[test]
fn a_cancelled_check_ends_and_a_cpu_has_nothing_to_be_compared_with() {
    block_on(async {
        let session = Session::new(Device::cpu(Box::new(|| Box::pin(std::future::ready(())))));
        let refused = session.check(&Cancel::default()).await.map(|_| ());
        assert_eq!(refused.map_err(|e| e.code()), Err("not-found"));
        let mut loading =
            session.load(&LoadRequest::new(TALES_CONFIG, None)).await.expect("a load");
        session.push(&mut loading, TALES_WEIGHTS).await.expect("bytes");
        session.install(loading).await.expect("a model");
        let checked = session.check(&Cancel::default()).await.expect("a check");
        assert!(checked.findings.is_empty() && checked.has_passed());
    });
    let cancelled = block_on(async {
        let session = Session::new(Device::gpu().await.expect("a WebGPU adapter"));
        let mut loading =
            session.load(&LoadRequest::new(TALES_CONFIG, None)).await.expect("a load");
        session.push(&mut loading, TALES_WEIGHTS).await.expect("bytes");
        session.install(loading).await.expect("a model");
        session.check(&Cancel::new(|| true)).await.map(|_| ())
    });
    assert_eq!(cancelled.map_err(|e| e.code()), Err("aborted"));
}
