//! One kernel: its WGSL source with the order of its bindings, and what computes the same on a CPU.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use super::cpu::Work;
use super::{Device, RunsOn};

/// How a kernel uses a storage binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// What of an output is compared between devices, from the parameters, the index of the operand and its numbers; `None`
/// for all of it.
pub type Digest = fn(&[u8], usize, &[f32]) -> Option<Vec<f32>>;

/// The bytes of the weights that a piece of work needs; `None` for all of them.
pub type Part = fn(&Work<'_>) -> Option<Range<u64>>;

/// A kernel on a CPU.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The axis of the grid along which the work is cut into slabs. No two slabs write the same place.
    pub axis: usize,
    /// Computes a slab. It computes nothing where the operands are too short, which a shape check has refused before.
    pub run: fn(&mut Work<'_>),
    /// What of an output is compared between devices, where not all of it is the same.
    pub digest: Option<Digest>,
    /// Columns of an output, from the parameters and the index of the operand, where each has numbers of another kind.
    pub columns: Option<fn(&[u8], usize) -> usize>,
    /// The bytes of the weights, which are the second operand, that the work needs; `None` for all of them.
    pub part: Option<Part>,
}

impl Run {
    /// A kernel whose whole outputs are the same on every device, and of one kind.
    pub const fn new(axis: usize, run: fn(&mut Work<'_>)) -> Run {
        Run { axis, run, digest: None, columns: None, part: None }
    }
}

/// The WGSL of a kernel, and what Rust has to know of it. Binding 0 is always its `Params`, a uniform.
#[derive(Debug)]
pub struct Source {
    /// Name of the Rust function and of the CPU twin.
    pub name: &'static str,
    /// Name of the file in `shaders/`: the same, but for another kernel of the same function.
    pub file: &'static str,
    /// The text, in pieces. The kernel comes first, so that line numbers in errors are those of its file.
    pub wgsl: &'static [&'static str],
    /// Bindings 1, 2, … in order.
    pub bindings: &'static [Access],
    /// Invocations in a workgroup.
    pub workgroup: [u32; 3],
    /// Of the grid, what a workgroup computes: one place per invocation, unless an invocation computes a tile.
    pub covers: [u32; 3],
    /// Constants of the WGSL whose values Rust relies on.
    pub constants: &'static [(&'static str, usize)],
    /// The same on a CPU.
    pub cpu: Run,
}

impl Source {
    /// The whole text.
    pub fn text(&self) -> String {
        self.wgsl.concat()
    }
}

/// Before anything is measured.
const FIRST_RATE: f64 = 2e9;

/// A kernel as its device runs it.
#[derive(Clone)]
pub struct Kernel {
    /// On a GPU.
    pub(super) compiled: Option<(wgpu::ComputePipeline, wgpu::BindGroupLayout)>,
    pub(super) source: &'static Source,
    /// Floating-point operations per second of late on a CPU.
    pub(super) rate: Rc<Cell<f64>>,
}

impl Kernel {
    /// Compiles a source. An error is caught by the error scope around the call.
    pub fn new(device: &Device, source: &'static Source) -> Kernel {
        let compiled = match &device.runs_on {
            RunsOn::Gpu(gpu) => {
                let wgsl = match device.alteration.get() {
                    Some([name, from, to]) if name == source.name => {
                        source.text().replace(from, to).into()
                    }
                    _ => source.text().into(),
                };
                Some(compile(&gpu.device, source, wgsl))
            }
            RunsOn::Cpu(_) => None,
        };
        Kernel { compiled, source, rate: Rc::new(Cell::new(FIRST_RATE)) }
    }
}

fn compile(
    device: &wgpu::Device,
    source: &Source,
    wgsl: Cow<'_, str>,
) -> (wgpu::ComputePipeline, wgpu::BindGroupLayout) {
    let storage = source
        .bindings
        .iter()
        .map(|access| wgpu::BufferBindingType::Storage { read_only: *access == Access::Read });
    let entries: Vec<_> = std::iter::once(wgpu::BufferBindingType::Uniform)
        .chain(storage)
        .zip(0u32..)
        .map(|(ty, binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            // The parameters of all dispatches lie in one buffer.
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: binding == 0,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(source.name),
        entries: &entries,
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(source.name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(source.name),
        source: wgpu::ShaderSource::Wgsl(wgsl),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(source.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    (pipeline, layout)
}
