//! The check of a device: it passes on this machine's, and finds each kernel that is made wrong, and that one alone.

use std::cell::Cell;
use std::rc::Rc;

use crate::support::Noise;
use crate::support::golden::{TALES_CONFIG, TALES_WEIGHTS};
use loupe::device::{Cancel, Device};
use loupe::error::Result;
use loupe::kernels::{Forms, Precision, Tile, Unit};
use loupe::session::{Checked, LoadRequest, Session, Tuning};
use pollster::block_on;

/// A GPT-2 of two blocks with more tokens than one chunk of the vocabulary has.
fn wide() -> (String, Vec<u8>) {
    let (c, v) = (20u64, 5003u64);
    let config = format!(
        r#"{{"model_type":"gpt2","n_layer":2,"n_head":2,"n_embd":{c},"n_ctx":16,"n_positions":16,"vocab_size":{v}}}"#
    );
    let block = [
        ("ln_1.weight", vec![c]),
        ("ln_1.bias", vec![c]),
        ("attn.c_attn.weight", vec![c, 3 * c]),
        ("attn.c_attn.bias", vec![3 * c]),
        ("attn.c_proj.weight", vec![c, c]),
        ("attn.c_proj.bias", vec![c]),
        ("ln_2.weight", vec![c]),
        ("ln_2.bias", vec![c]),
        ("mlp.c_fc.weight", vec![c, 4 * c]),
        ("mlp.c_fc.bias", vec![4 * c]),
        ("mlp.c_proj.weight", vec![4 * c, c]),
        ("mlp.c_proj.bias", vec![c]),
    ];
    let mut tensors = vec![
        ("wte.weight".to_string(), vec![v, c]),
        ("wpe.weight".to_string(), vec![16, c]),
        ("ln_f.weight".to_string(), vec![c]),
        ("ln_f.bias".to_string(), vec![c]),
    ];
    for i in 0..2 {
        tensors.extend(block.iter().map(|(name, shape)| (format!("h.{i}.{name}"), shape.clone())));
    }
    let (mut header, mut data) = (Vec::new(), Vec::new());
    let mut noise = Noise::new(7);
    for (name, shape) in tensors {
        let start = data.len();
        let values = noise.values(shape.iter().product::<u64>() as usize);
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        header.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{}]}}"#,
            data.len()
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(data);
    (config, file)
}

/// A session on a GPU whose kernel has been altered, with that model.
async fn session(
    precision: Precision,
    alteration: Option<[&'static str; 3]>,
    forms: Forms,
    (config, file): (&str, &[u8]),
) -> Result<Session> {
    let device = Device::gpu().await?;
    if let Some([name, from, to]) = alteration {
        device.alter(name, from, to);
    }
    let session = Session::new(device);
    session.set_tuning(Tuning::Given(forms));
    let request = LoadRequest { precision, ..LoadRequest::new(config, None) };
    let mut loading = session.load(&request).await?;
    session.push(&mut loading, file).await?;
    session.install(loading).await?;
    Ok(session)
}

fn checked(
    precision: Precision,
    alteration: Option<[&'static str; 3]>,
    forms: Forms,
    model: (&str, &[u8]),
) -> Result<Checked> {
    block_on(async {
        let session = session(precision, alteration, forms, model).await?;
        let before = session.device().allocated_bytes();
        let found = session.check(&Cancel::default()).await;
        assert_eq!(session.device().allocated_bytes(), before, "a check keeps no memory");
        found
    })
}

/// Of every kernel, a text of its WGSL and what makes it wrong.
const WRONG: [[&str; 3]; 26] = [
    ["embed", "params.scale * token", "1.01 * params.scale * token"],
    ["layer_norm", "fma(value, gain[c], bias[c])", "value * gain[c]"],
    ["matmul", "return fma(v.wwww, w3, c);", "return c;"],
    ["matmul", "] = value;\n} else {", "] = 1.01 * value;\n} else {"],
    ["matmul", "y2[params.other_row * params.y_stride + at] = value;", ""],
    ["attention", "let p = exp(score - largest);", "let p = exp(0.9 * (score - largest));"],
    ["subtract", "from_a - from_b", "from_a + from_b"],
    ["blend", "from_x, old)", "from_x, 1.01 * old)"],
    ["blend", "(channel >= vec4<u32>(params.first))", "(channel > vec4<u32>(params.first))"],
    ["gram", "sum3 +=", "sum3 -="],
    ["cross", "sum3 = fma(vec4<f32>(u.w), v, sum3);", "sum3 = fma(vec4<f32>(u.z), v, sum3);"],
    ["semi_nmf", "max(-here, vec4<f32>(0.0))", "max(here, vec4<f32>(0.0))"],
    [
        "gather_dot",
        "sum = fma(value[i], weight4(g)[component], sum);",
        "sum = fma(value[i], weight4(g)[0], sum);",
    ],
    ["lens_fold", "moment = fma(e, w, moment);", "moment = fma(e, w * 1.01, moment);"],
    ["lens_merge", "mass += e * lane_mass;", "mass += lane_mass;"],
    ["slope", "- probability(row, column)", "+ probability(row, column)"],
    ["divergence", "0.5 * (p + q) * mixed(t)", "0.5 * (p + q) * t"],
    ["lens_fold", "moves = moves || x.x > (*list)[10].x;", "moves = false;"],
    ["lens_fold", "p += q;", "p += 2.0 * q;"],
    ["lens_fold", "b = fma(q, vec2<f32>(w), b);", "b = fma(q, vec2<f32>(w), vec2<f32>(0.0));"],
    ["lens_fold", "best = f32(params.first_id + c);", "best = f32(c);"],
    ["lens_fold", "counts += above(", "counts += 2u * above("],
    ["lens_merge", "p += lane_p;", "p = lane_p;"],
    [
        "lens_fold",
        "vec2<f32>(z, f32(params.first_id + c))",
        "vec2<f32>(1.01 * z, f32(params.first_id + c))",
    ],
    ["lens_fold", "vec2<f32>(z, f32(params.first_id + c))", "vec2<f32>(z, f32(c))"],
    ["lens_merge", "heads[winner]++;", "heads[0]++;"],
];

#[test]
fn a_device_that_computes_as_the_cpu_does_passes() {
    let (config, file) = wide();
    for precision in [Precision::F16, Precision::F32] {
        for model in [(TALES_CONFIG, TALES_WEIGHTS), (&*config, &*file)] {
            let checked = checked(precision, None, Forms::PLAIN, model).expect("a check");
            assert!(checked.has_passed(), "{checked:?}");
            // Rounding is far below what is found to be wrong.
            assert!(checked.largest() < 2e-5, "{checked:?}");
            let names: Vec<_> = checked.findings.iter().map(|finding| finding.kernel).collect();
            for [name, ..] in WRONG {
                assert!(names.contains(&name), "{name} was not checked");
            }
            assert!(checked.findings.iter().all(|finding| finding.numbers >= 6), "{checked:?}");
        }
    }
}

#[test]
fn each_wrong_kernel_is_found_and_no_other_is_blamed() {
    let (config, file) = wide();
    for alteration in WRONG {
        let [name, from, _] = alteration;
        let source = loupe::kernels::SOURCES.iter().find(|source| source.name == name);
        assert!(source.is_some_and(|source| source.text().contains(from)), "{name} has no {from}");
        let model = (&*config, &*file);
        let checked =
            checked(Precision::F16, Some(alteration), Forms::PLAIN, model).expect("a check");
        assert!(!checked.has_passed(), "{name}: {checked:?}");
        for finding in &checked.findings {
            let is_wrong = finding.difference > 1e-3;
            assert_eq!(is_wrong, finding.kernel == name, "{name}: {checked:?}");
        }
    }
}

/// The CPU's kernel judges every form, whose grids are the same.
#[test]
fn each_form_passes_and_is_found_when_it_is_wrong() {
    let of = |kernel: &str| WRONG.iter().find(|[name, ..]| *name == kernel).copied();
    let tales = (TALES_CONFIG, TALES_WEIGHTS);
    for tile in Tile::ALL {
        let forms = Forms::all(tile, Unit::Workgroup);
        let right = checked(Precision::F16, None, forms, tales);
        assert!(right.as_ref().is_ok_and(Checked::has_passed), "{tile:?}: {right:?}");
        let found = checked(Precision::F16, of("matmul"), forms, tales);
        let found = found.expect("a check");
        let blamed = found.findings.iter().filter(|finding| finding.difference > 1e-3);
        assert_eq!(
            blamed.map(|finding| finding.kernel).collect::<Vec<_>>(),
            ["matmul"],
            "{tile:?}"
        );
    }
    for kernel in ["layer_norm", "attention"] {
        let forms = Forms::all(Tile::Register, Unit::Workgroup);
        let found = checked(Precision::F16, of(kernel), forms, tales).expect("a check");
        let blamed = found.findings.iter().filter(|finding| finding.difference > 1e-3);
        assert_eq!(blamed.map(|finding| finding.kernel).collect::<Vec<_>>(), [kernel]);
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
    block_on(async {
        let model = (TALES_CONFIG, TALES_WEIGHTS);
        let session = session(Precision::F16, None, Forms::PLAIN, model).await.expect("a session");
        let before = session.device().allocated_bytes();
        // In the middle, while dispatches are repeated.
        let n_asked = Rc::new(Cell::new(0));
        let asked = n_asked.clone();
        let cancel = Cancel::new(move || {
            asked.set(asked.get() + 1);
            asked.get() > 12
        });
        let cancelled = session.check(&cancel).await.map(|_| ());
        assert_eq!(cancelled.map_err(|e| e.code()), Err("aborted"));
        assert_eq!(n_asked.get(), 13);
        assert_eq!(session.device().allocated_bytes(), before);
        // And the device works on.
        assert!(session.check(&Cancel::default()).await.is_ok_and(|checked| checked.has_passed()));
    });
}
