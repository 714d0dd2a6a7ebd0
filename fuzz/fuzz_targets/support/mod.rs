//! Shared by the targets that read files of weights: memory is counted, and a file is read in any pieces.

#[path = "../../../tests/support/counting.rs"]
mod counting;

use super::checkpoint::{Directory, Event, Header, Reader};
use counting::peak_of;

/// Memory that any reader may take. Units: bytes.
const BASE: usize = 64 << 10;

/// The result of reading a file: its header, the bytes of every tensor, and the error, if any.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub header: Option<Header>,
    pub data: Vec<(usize, Vec<u8>)>,
    pub error: Option<&'static str>,
}

fn read_in(bytes: &[u8], directory: Option<&Directory>, mut cut: impl FnMut() -> usize) -> Outcome {
    let mut out = Outcome::default();
    let mut reader = Reader::new(None);
    if let Some(error) =
        directory.and_then(|directory| reader.set_directory(directory.clone()).err())
    {
        out.error = Some(error.code());
        return out;
    }
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

/// Reads a file whole, byte by byte, and cut by the input itself: each gives the same, and the first takes at
/// most `per_byte` bytes of memory for every byte of the file, and a constant.
pub fn read_in_all_ways(
    file: &[u8],
    directory: Option<&Directory>,
    input: &[u8],
    per_byte: usize,
) -> Outcome {
    let (taken, whole) = peak_of(|| read_in(file, directory, || usize::MAX));
    assert!(taken <= BASE + per_byte * file.len(), "{taken} bytes for {}", file.len());

    assert_eq!(read_in(file, directory, || 1), whole, "byte by byte");
    let mut cuts = input.iter().cycle();
    let next = || usize::from(*cuts.next().unwrap_or(&1));
    assert_eq!(read_in(file, directory, next), whole, "cut by the input itself");
    whole
}
