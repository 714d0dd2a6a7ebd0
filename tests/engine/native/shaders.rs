//! Reflects every WGSL file: its entry point, bindings, workgroup size, constants and the layout of `Params` are those
//! that Rust relies on.

use std::collections::BTreeSet;
use std::fs;

use loupe::device::Access;
use loupe::kernels::SOURCES;
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};

#[test]
fn shaders_agree_with_rust() {
    for source in SOURCES {
        let name = source.file;
        let module =
            naga::front::wgsl::parse_str(&source.text()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(module.entry_points.len(), 1, "{name}");
        assert_eq!(module.entry_points[0].name, "main", "{name}");
        let size = module.entry_points[0].workgroup_size;
        assert_eq!(size, source.workgroup, "{name}: workgroup size");
        for &(constant, value) in source.constants {
            assert_eq!(constant_of(&module, constant), Some(value as u32), "{name}: {constant}");
        }
        assert!(
            size.iter().product::<u32>() <= 256,
            "{name}: default limits allow 256 invocations"
        );

        let mut bindings: Vec<(u32, Option<Access>)> = Vec::new();
        for (_, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            assert_eq!(binding.group, 0, "{name}");
            let access = match variable.space {
                AddressSpace::Uniform => None,
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                    Some(Access::ReadWrite)
                }
                AddressSpace::Storage { .. } => Some(Access::Read),
                other => panic!("{name}: {other:?}"),
            };
            bindings.push((binding.binding, access));
        }
        bindings.sort_by_key(|b| b.0);
        let expected: Vec<_> = std::iter::once(None)
            .chain(source.bindings.iter().map(|&access| Some(access)))
            .zip(0u32..)
            .map(|(access, i)| (i, access))
            .collect();
        assert_eq!(bindings, expected, "{name}");
        assert!(source.bindings.len() <= 8, "{name}: default limits allow 8 storage buffers");
        assert_eq!(params(&module), rust_params(source.name), "{name}: Params");
        let memory: u32 = workgroup_bytes(&module);
        assert!(memory <= 16_384, "{name}: default limits allow 16,384 bytes, not {memory}");
    }
}

#[test]
fn every_file_is_in_the_table() {
    let listed: BTreeSet<String> = SOURCES.iter().map(|s| format!("{}.wgsl", s.file)).collect();
    let found: BTreeSet<String> = fs::read_dir("shaders")
        .expect("shaders/ exists")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|n| n.ends_with(".wgsl"))
        .collect();
    assert_eq!(listed, found);
}

/// Bytes of the variables that a workgroup shares.
fn workgroup_bytes(module: &naga::Module) -> u32 {
    let shared = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx())).sum()
}

/// The value of a `const NAME: u32` of the shader.
fn constant_of(module: &naga::Module, name: &str) -> Option<u32> {
    let (_, constant) = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(name))?;
    match module.global_expressions[constant.init] {
        naga::Expression::Literal(naga::Literal::U32(value)) => Some(value),
        _ => None,
    }
}

/// (name, "u32" or "f32", offset) of each field of the shader's Params.
fn params(module: &naga::Module) -> Vec<(String, String, u32)> {
    let is_params = |t: &naga::Type| t.name.as_deref() == Some("Params");
    let (_, params) = module.types.iter().find(|(_, t)| is_params(t)).expect("Params");
    let TypeInner::Struct { members, .. } = &params.inner else { panic!("Params is a struct") };
    let kind = |inner: &TypeInner| match inner {
        TypeInner::Scalar(s) if s.width == 4 && s.kind == ScalarKind::Uint => "u32",
        TypeInner::Scalar(s) if s.width == 4 && s.kind == ScalarKind::Float => "f32",
        other => panic!("Params holds scalars of 4 bytes, not {other:?}"),
    };
    let field = |m: &naga::StructMember| {
        let name = m.name.clone().expect("a name");
        (name, kind(&module.types[m.ty].inner).to_string(), m.offset)
    };
    members.iter().map(field).collect()
}

/// The same for the `#[repr(C)] struct Params` in the kernel's Rust file.
fn rust_params(kernel: &str) -> Vec<(String, String, u32)> {
    let path = format!("src/kernels/{kernel}.rs");
    let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path} is missing"));
    let (_, rest) = text.split_once("struct Params {").expect("struct Params");
    let (fields, _) = rest.split_once('}').expect("the end of Params");
    let pair = |line: &str| {
        let (name, kind) = line.trim().trim_end_matches(',').split_once(": ")?;
        Some((name.to_string(), kind.to_string()))
    };
    fields.lines().filter_map(pair).zip(0u32..).map(|((n, k), i)| (n, k, 4 * i)).collect()
}
