//! Sends hostile bytes through the checkpoint reader: it does not panic, its memory is bounded by the bytes received,
//! and every split of the bytes gives the same tensors or the same error.
#![no_main]

#[allow(dead_code)] // the target uses only some of it
#[path = "../../src/checkpoint/mod.rs"]
mod checkpoint;
#[allow(dead_code)] // the target uses only some of it
#[path = "../../src/error.rs"]
mod error;

mod support;

use checkpoint::Header;
use libfuzzer_sys::fuzz_target;
use support::read_in_all_ways;

/// Largest memory per byte received: a header's shortest entry is 50 bytes of text and a few hundred in memory.
const PER_BYTE: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, body)) = input.split_first() else { return };
    // Half of the inputs are prefixed with a correct length, so that the header's JSON is reached more often.
    let mut file = body.to_vec();
    if mode & 1 == 1 {
        let end = body.iter().rposition(|&b| b == b'}').map_or(body.len(), |i| i + 1);
        file = (end as u64).to_le_bytes().to_vec();
        file.extend_from_slice(body);
    }

    // A target of its own reads what begins like a file of PyTorch.
    if file.starts_with(b"PK\x03\x04") || file.first() == Some(&0x80) {
        return;
    }
    let whole = read_in_all_ways(&file, None, input, PER_BYTE);
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
