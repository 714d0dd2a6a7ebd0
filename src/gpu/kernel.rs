//! One compute pipeline and the order of its bindings.

use super::Gpu;
use super::sources::{Access, Source};

/// A compiled kernel: binding 0 is its `Params`, the rest follow [`Source::bindings`].
pub struct Kernel {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) source: &'static Source,
}

impl Kernel {
    /// Compiles a source. A refusal lands in the error scope around the call.
    pub fn new(gpu: &Gpu, source: &'static Source) -> Kernel {
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
                ty: wgpu::BindingType::Buffer {
                    ty,
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(source.name),
            entries: &entries,
        });
        let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(source.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(source.name),
            source: wgpu::ShaderSource::Wgsl(source.wgsl.into()),
        });
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(source.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        Kernel { pipeline, layout, source }
    }
}
