//! Memory on the device that counts its bytes.

use std::cell::{Ref, RefCell, RefMut};
use std::ops::Range;
use std::rc::Rc;

use super::Allocated;

/// The unit of a tensor's memory on a CPU: 16 bytes, so that four floats are aligned.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(16))]
pub struct Word([u32; 4]);

/// Memory on a CPU, shared by the tensor and the commands that use it.
pub(super) type Words = Rc<RefCell<Vec<Word>>>;

/// Where a tensor's bytes are.
#[derive(Clone)]
pub(super) enum Memory {
    Gpu(wgpu::Buffer),
    Cpu(Words),
}

impl Memory {
    pub(super) fn buffer(&self) -> Option<&wgpu::Buffer> {
        match self {
            Memory::Gpu(buffer) => Some(buffer),
            Memory::Cpu(_) => None,
        }
    }

    pub(super) fn words(&self) -> Option<Ref<'_, Vec<Word>>> {
        match self {
            Memory::Gpu(_) => None,
            Memory::Cpu(words) => words.try_borrow().ok(),
        }
    }

    pub(super) fn words_mut(&self) -> Option<RefMut<'_, Vec<Word>>> {
        match self {
            Memory::Gpu(_) => None,
            Memory::Cpu(words) => words.try_borrow_mut().ok(),
        }
    }
}

/// A zero-initialised storage buffer. Rows of floats are padded to multiples of four (C4, V4).
pub struct Tensor {
    memory: Memory,
    bytes: u64,
    allocated: Rc<RefCell<Allocated>>,
}

impl Tensor {
    pub(super) fn new(memory: Memory, bytes: u64, allocated: &Rc<RefCell<Allocated>>) -> Tensor {
        let mut a = allocated.borrow_mut();
        a.now += bytes;
        a.peak = a.peak.max(a.now);
        Tensor { memory, bytes, allocated: allocated.clone() }
    }

    /// Size. Units: bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// A range of bytes of a tensor on a CPU; what lies beyond its end is left out.
    pub(super) fn read<V: bytemuck::Pod>(&self, range: Range<u64>) -> Vec<V> {
        let Some(words) = self.memory.words() else { return Vec::new() };
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let at = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
        bytes
            .get(at(range.start)..at(range.end))
            .map_or_else(Vec::new, bytemuck::pod_collect_to_vec)
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if let Memory::Gpu(buffer) = &self.memory {
            buffer.destroy();
        }
        self.allocated.borrow_mut().now -= self.bytes;
    }
}
