//! Sends hostile bytes through the checkpoint reader: it does not panic, its memory is bounded by the bytes received,
//! and every split of the bytes gives the same tensors or the same error.
#![no_main]

#[allow(dead_code)] // the target uses only some of it
#[path = "../../src/checkpoint/mod.rs"]
mod checkpoint;
#[allow(dead_code)] // the target uses only some of it
#[path = "../../src/error.rs"]
mod error;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use checkpoint::{Event, Header, Reader};
use libfuzzer_sys::fuzz_target;

/// Counts the allocated bytes.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system's allocator; only numbers are kept in addition.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Largest memory per byte received: a header's shortest entry is 50 bytes of text and a few hundred in memory.
const PER_BYTE: usize = 64;
/// Memory that any reader may take. Units: bytes.
const BASE: usize = 64 << 10;

/// The result of reading a file: its header, the bytes of every tensor, and the error, if any.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    header: Option<Header>,
    data: Vec<(usize, Vec<u8>)>,
    error: Option<&'static str>,
}

fn read(bytes: &[u8], mut cut: impl FnMut() -> usize) -> Outcome {
    let mut out = Outcome::default();
    let mut reader = Reader::new(None);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(cut().clamp(1, rest.len()));
        rest = after;
        loop {
            match reader.next(&mut piece) {
                Ok(Some(Event::Header(header))) => out.header = Some(header.clone()),
                Ok(Some(Event::Data { index, bytes, .. })) => match out.data.last_mut() {
                    Some((i, all)) if *i == index => all.extend_from_slice(bytes),
                    _ => out.data.push((index, bytes.to_vec())),
                },
                Ok(None) => break,
                Err(error) => {
                    out.error = Some(error.code());
                    return out;
                }
            }
        }
    }
    out.error = reader.finish().err().map(|e| e.code());
    out
}

fuzz_target!(|input: &[u8]| {
    let Some((&mode, body)) = input.split_first() else { return };
    // Half of the inputs are prefixed with a correct length, so that the header's JSON is reached more often.
    let mut file = body.to_vec();
    if mode & 1 == 1 {
        let end = body.iter().rposition(|&b| b == b'}').map_or(body.len(), |i| i + 1);
        file = (end as u64).to_le_bytes().to_vec();
        file.extend_from_slice(body);
    }

    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let whole = read(&file, || usize::MAX);
    let taken = PEAK.load(Relaxed) - before;
    assert!(taken <= BASE + PER_BYTE * file.len(), "{taken} bytes for {}", file.len());

    assert_eq!(read(&file, || 1), whole, "byte by byte");
    let mut cuts = input.iter().cycle();
    let next = || usize::from(*cuts.next().unwrap_or(&1));
    assert_eq!(read(&file, next), whole, "cut by the input itself");

    if let Some(header) = &whole.header
        && header.tensors.iter().all(|t| t.element.is_ok())
    {
        let json = header.json().expect("a header that was read can be written");
        assert_eq!(
            Header::parse(&json).ok().as_ref(),
            Some(header),
            "read, written and read again"
        );
    }
});
