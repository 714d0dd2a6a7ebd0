//! A buffer on the device that counts its bytes.

use std::sync::{Arc, Mutex};

use super::Allocated;

/// A zero-initialised storage buffer. Rows of floats are padded to multiples of four (C4, V4).
pub struct Tensor {
    buffer: wgpu::Buffer,
    bytes: u64,
    allocated: Arc<Mutex<Allocated>>,
}

impl Tensor {
    pub(super) fn new(
        device: &wgpu::Device,
        allocated: &Arc<Mutex<Allocated>>,
        label: &str,
        bytes: u64,
    ) -> Tensor {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        Tensor::with_usage(device, allocated, label, bytes, usage)
    }

    /// The buffer that a readback is copied into and mapped from.
    pub(super) fn staging(
        device: &wgpu::Device,
        allocated: &Arc<Mutex<Allocated>>,
        bytes: u64,
    ) -> Tensor {
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        Tensor::with_usage(device, allocated, "readback", bytes, usage)
    }

    fn with_usage(
        device: &wgpu::Device,
        allocated: &Arc<Mutex<Allocated>>,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Tensor {
        let bytes = bytes.next_multiple_of(16).max(16);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: false,
        });
        if let Ok(mut a) = allocated.lock() {
            a.now += bytes;
            a.peak = a.peak.max(a.now);
        }
        Tensor { buffer, bytes, allocated: allocated.clone() }
    }

    /// Size. Units: bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        self.buffer.destroy();
        if let Ok(mut a) = self.allocated.lock() {
            a.now -= self.bytes;
        }
    }
}
