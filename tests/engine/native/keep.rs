//! Tests the copy that is kept while a model loads: it is standard and verified, and resumes after any interruption.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::golden::{Golden, halves};
use loupe::checkpoint::{Event, PartialCopy, Reader, Store, StoreError};
use loupe::device::Cancel;
use loupe::error::{Error, Result};
use loupe::kernels::{Precision, encode};
use loupe::lens::Options;
use loupe::model::{CopyOutcome, RestoreWatch};
use loupe::session::{LoadRequest, Session};
use pollster::block_on;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest as _, Sha256};

/// A store in memory with a limited capacity.
#[derive(Clone)]
struct Memory {
    bytes: Rc<RefCell<Vec<u8>>>,
    capacity: usize,
}

impl Memory {
    fn new() -> Memory {
        Memory { bytes: Rc::default(), capacity: usize::MAX }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }
}

impl Store for Memory {
    fn size(&mut self) -> std::result::Result<u64, StoreError> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> std::result::Result<usize, StoreError> {
        let bytes = self.bytes.borrow();
        let rest = bytes.get(at as usize..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write(&mut self, at: u64, new: &[u8]) -> std::result::Result<(), StoreError> {
        let (at, mut bytes) = (at as usize, self.bytes.borrow_mut());
        if at + new.len() > self.capacity {
            let (name, message) = ("QuotaExceededError".into(), "the disk is full".into());
            return Err(StoreError { name, message });
        }
        let length = bytes.len().max(at + new.len());
        bytes.resize(length, 0);
        bytes[at..at + new.len()].copy_from_slice(new);
        Ok(())
    }

    fn truncate(&mut self, n: u64) -> std::result::Result<(), StoreError> {
        self.bytes.borrow_mut().resize(n as usize, 0);
        Ok(())
    }

    fn flush(&mut self) -> std::result::Result<(), StoreError> {
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether a copy was made of these files, according to their digests or else to their headers.
fn is_of(copy: &PartialCopy, files: &[Vec<u8>], digests: bool) -> bool {
    let known: Vec<_> = files.iter().map(|file| digests.then(|| sha256(file))).collect();
    let known: Vec<_> = known.iter().map(Option::as_deref).collect();
    let same_header = |&i: &usize| {
        let mut reader = Reader::new(None);
        let Ok(Some(Event::Header(_))) = reader.next(&mut &files[i][..]) else { return false };
        reader.id().is_some_and(|id| id.is_same(&copy.sources[i]))
    };
    copy.compare(&known).is_some_and(|undecided| undecided.iter().all(same_header))
}

/// Loads files as the page does and keeps a copy in `store`; the connection is lost after `cut` bytes. Returns how many
/// bytes of the files were requested, and the result.
async fn load(
    session: &Session,
    request: &LoadRequest<'_>,
    files: &[Vec<u8>],
    digests: bool,
    store: &Memory,
    cut: usize,
) -> (usize, Result<CopyOutcome>) {
    let request = LoadRequest { n_files: files.len(), ..*request };
    let mut loading = session.load(&request).await.expect("a load");
    let mut asked = 0;
    let filled = async {
        let cancel = Cancel::default();
        let watch = RestoreWatch { cancel: &cancel, on_progress: &|_| {} };
        let copy = PartialCopy::find(&mut store.clone()).filter(|copy| is_of(copy, files, digests));
        let start = session.keep(&mut loading, Box::new(store.clone()), copy, &watch).await?;
        for (index, file) in files.iter().enumerate().skip(start.file) {
            let digest = digests.then(|| sha256(file));
            loading.loader.begin_file(index, digest.as_deref());
            let mut from = 0;
            if index == start.file && start.offset > 0 {
                let has_header = session.push_header(&mut loading, &mut &file[..]).await?;
                assert!(has_header, "the header is complete");
                from = start.offset as usize;
                if !loading.loader.resume_at(&start)? {
                    loading.loader.end_file()?;
                    continue;
                }
            }
            for piece in file[from..].chunks(997) {
                asked += piece.len();
                if asked > cut {
                    return Err(Error::Network("the connection was reset".into()));
                }
                session.push(&mut loading, piece).await?;
            }
            loading.loader.end_file()?;
        }
        Ok(())
    };
    if let Err(error) = filled.await {
        match error {
            Error::Network(_) => loading.loader.save(),
            _ => loading.loader.discard(),
        }
        return (asked, Err(error));
    }
    (asked, session.install(loading).await.map(|(_, outcome)| outcome))
}

/// The exact numbers of a tensor.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F32 => {
            bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Dtype::BF16 => bytes.chunks(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect(),
        other => panic!("the golden file has {other:?}"),
    }
}

/// A small bfloat16 model with an untied head, and a session.
async fn untied() -> (Golden, Session) {
    (Golden::untied(), crate::support::session().await)
}

async fn bits(session: &Session, ids: &[u32]) -> Vec<u32> {
    let lensed = session.read(ids, &Options::default(), &Cancel::default(), |_, _, _| Ok(())).await;
    let reading = &lensed.expect("a reading").reading;
    reading.stats.concat().iter().map(|v| v.to_bits()).collect()
}

fn request(golden: &Golden, precision: Precision) -> LoadRequest<'_> {
    LoadRequest { precision, ..LoadRequest::new(golden.config, None) }
}

#[test]
fn a_copy_is_a_standard_file_that_loads_as_the_same_model() {
    block_on(async {
        let (golden, session) = untied().await;
        let source = SafeTensors::deserialize(golden.weights).expect("a golden file");
        for precision in [Precision::F16, Precision::F32] {
            let (request, store) = (request(&golden, precision), Memory::new());
            let files = [golden.weights.to_vec()];
            let (_, outcome) = load(&session, &request, &files, true, &store, usize::MAX).await;
            let outcome = outcome.expect("it loads");
            let whole = bits(&session, &golden.ids()).await;
            let kept = outcome.kept.expect("a kept copy");
            assert_eq!(outcome.error, None);

            // The format's own crate reads the same tensors, matrices in f16 and all else in f32.
            let bytes = store.bytes();
            assert_eq!(kept.bytes, bytes.len() as u64);
            let file = SafeTensors::deserialize(&bytes).expect("a standard file");
            let (head, _) = SafeTensors::read_metadata(&bytes).expect("a header");
            assert_eq!(kept.sha256, sha256(&bytes[8 + head..]));
            assert!(file.names().contains(&"wte.weight"), "{:?}", file.names());
            for name in file.names() {
                let tensor = file.tensor(name).expect("it is listed");
                let original = source
                    .tensor(name)
                    .or_else(|_| source.tensor(&format!("transformer.{name}")))
                    .expect("the source has it");
                assert_eq!(tensor.shape(), original.shape(), "{name}");
                let values = numbers(original.dtype(), original.data());
                let is_matrix = original.shape().len() == 2 && name != "wpe.weight";
                let expected: Vec<u8> = match precision {
                    Precision::F16 if is_matrix => {
                        values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
                    }
                    _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                };
                assert!(tensor.data() == expected, "{name}");
            }

            // The same reader loads the copy with the same bits, and detects a damaged byte.
            let none = Memory::new();
            load(&session, &request, std::slice::from_ref(&bytes), false, &none, usize::MAX)
                .await
                .1
                .expect("it loads");
            assert_eq!(bits(&session, &golden.ids()).await, whole);
            // A copy of a copy has the same data; its header names another source.
            let again = none.bytes();
            let (other_head, _) = SafeTensors::read_metadata(&again).expect("a header");
            assert!(again[8 + other_head..] == bytes[8 + head..]);
            let none = Memory::new();
            let mut damaged = bytes;
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            let (_, result) = load(&session, &request, &[damaged], false, &none, usize::MAX).await;
            assert_eq!(result.map_err(|e| e.code()), Err("corrupt"));
            assert!(none.bytes().is_empty(), "no copy of it is kept");
        }
    });
}

#[test]
fn a_load_resumes_after_an_interruption_anywhere() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        for files in [vec![golden.weights.to_vec()], halves(golden.weights).to_vec()] {
            let total: usize = files.iter().map(Vec::len).sum();
            let whole = Memory::new();
            load(&session, &request, &files, true, &whole, usize::MAX).await.1.expect("it loads");
            let expected = bits(&session, &golden.ids()).await;
            for tenth in 0..=9 {
                let (cut, store) = (total * tenth / 10, Memory::new());
                let (_, result) = load(&session, &request, &files, true, &store, cut).await;
                assert_eq!(result.map_err(|e| e.code()), Err("network"));
                let (asked, outcome) =
                    load(&session, &request, &files, true, &store, usize::MAX).await;
                assert!(outcome.expect("it loads").kept.is_some());
                assert_eq!(store.bytes(), whole.bytes(), "stopped after {cut} of {total} bytes");
                assert_eq!(bits(&session, &golden.ids()).await, expected);
                assert!(asked + cut <= total + total / 3, "{asked} requested after {cut}");
            }
        }
    });
}

macro_rules! torch {
    ($name:literal) => {
        include_bytes!(concat!("../../golden/torch/", $name)).to_vec()
    };
}

/// The tensors of a copy: name, element type and bytes.
fn tensors(copy: &Memory) -> Vec<(String, Dtype, Vec<u8>)> {
    let bytes = copy.bytes();
    let file = SafeTensors::deserialize(&bytes).expect("a standard file");
    let mut tensors: Vec<_> =
        file.iter().map(|(name, t)| (name.to_string(), t.dtype(), t.data().to_vec())).collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

/// What torch.save wrote is the same model as the safetensors file beside it, bit by bit, and resumes like it.
#[test]
fn files_of_pytorch_give_the_same_bits_and_resume_after_an_interruption_anywhere() {
    block_on(async {
        let session = crate::support::session().await;
        let shards = vec![torch!("neo-00001-of-00002.bin"), torch!("neo-00002-of-00002.bin")];
        for (golden, files) in [
            (Golden::ctrl(), vec![torch!("ctrl.bin")]),
            (Golden::ctrl(), vec![torch!("ctrl_zip.bin")]),
            (Golden::untied(), vec![torch!("untied.bin")]),
            (Golden::untied(), vec![torch!("untied_old.bin")]),
            (Golden::neo(), shards),
            (Golden::bare(), vec![torch!("bare_half.bin")]),
            (Golden::bare(), vec![torch!("bare_nested.bin")]),
        ] {
            let total: usize = files.iter().map(Vec::len).sum();
            for precision in [Precision::F16, Precision::F32] {
                let request = request(&golden, precision);
                let (original, whole) = (Memory::new(), Memory::new());
                let source = [golden.weights.to_vec()];
                let loaded = load(&session, &request, &source, true, &original, usize::MAX).await;
                loaded.1.expect("it loads");
                let expected = bits(&session, &golden.ids()).await;
                let loaded = load(&session, &request, &files, true, &whole, usize::MAX).await;
                assert!(loaded.1.expect("it loads").kept.is_some());
                assert_eq!(bits(&session, &golden.ids()).await, expected, "{}", golden.name);
                assert!(tensors(&whole) == tensors(&original), "{}: the copies", golden.name);
                for third in 0..3 {
                    let (cut, store) = (total * third / 3 + total / 10, Memory::new());
                    let digests = third != 1;
                    let (_, result) = load(&session, &request, &files, digests, &store, cut).await;
                    assert_eq!(result.map_err(|e| e.code()), Err("network"));
                    let again = load(&session, &request, &files, digests, &store, usize::MAX);
                    let (asked, outcome) = again.await;
                    assert!(outcome.expect("it loads").kept.is_some());
                    assert!(tensors(&store) == tensors(&original), "stopped after {cut}");
                    assert_eq!(bits(&session, &golden.ids()).await, expected);
                    assert!(asked + cut <= total + total / 3, "{asked} requested after {cut}");
                }
            }
        }
    });
}

/// A tab may close after the last byte and before the page has recorded it.
#[test]
fn a_finished_copy_that_was_not_recorded_is_used_as_it_is() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let files = [golden.weights.to_vec()];
        let store = Memory::new();
        let first = load(&session, &request, &files, true, &store, usize::MAX).await.1;
        let (bytes, expected) = (store.bytes(), bits(&session, &golden.ids()).await);
        let (asked, again) = load(&session, &request, &files, true, &store, usize::MAX).await;
        assert_eq!(asked, 0, "nothing is downloaded again");
        assert_eq!(again.expect("it loads"), first.expect("it loaded"));
        assert_eq!(store.bytes(), bytes);
        assert_eq!(bits(&session, &golden.ids()).await, expected);
    });
}

/// Two fine-tunes have one shape and share a handle: the copy of the first must never be used for the second or mixed
/// with it, whether the digests of the files are known or not.
#[test]
fn a_copy_of_other_files_is_not_used() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let first = [golden.weights.to_vec()];
        let mut other = golden.weights.to_vec();
        // One number of the first tensor's data differs; header and length are the same.
        let head = 8 + u64::from_le_bytes(other[..8].try_into().expect("8 bytes")) as usize;
        other[head + 40] ^= 0x20;
        let second = [other];
        let expected = {
            let whole = Memory::new();
            load(&session, &request, &second, true, &whole, usize::MAX).await.1.expect("it loads");
            bits(&session, &golden.ids()).await
        };
        let total = golden.weights.len();
        for cut in [total / 2, usize::MAX] {
            let store = Memory::new();
            let _ = load(&session, &request, &first, true, &store, cut).await;
            assert!(!store.bytes().is_empty());
            let (asked, copy) = load(&session, &request, &second, true, &store, usize::MAX).await;
            assert!(copy.expect("it loads").kept.is_some());
            assert_eq!(asked, total, "from the start, after {cut} bytes of another file");
            assert_eq!(bits(&session, &golden.ids()).await, expected);
        }

        // Without digests, the headers decide: another name in the metadata means another file.
        let longer = with_metadata(golden.weights);
        for cut in [total / 2, usize::MAX] {
            let store = Memory::new();
            let _ = load(&session, &request, &first, false, &store, cut).await;
            let files = [longer.clone()];
            let (asked, copy) = load(&session, &request, &files, false, &store, usize::MAX).await;
            assert!(copy.expect("it loads").kept.is_some());
            assert_eq!(asked, longer.len(), "from the start, after {cut} bytes of another file");
            // The same file is not requested again.
            let (asked, copy) = load(&session, &request, &files, false, &store, usize::MAX).await;
            assert!(copy.expect("it loads").kept.is_some());
            assert_eq!(asked, 0);
            // Who knows a digest does not get a copy that was made without one.
            let (asked, copy) = load(&session, &request, &files, true, &store, usize::MAX).await;
            assert!(copy.expect("it loads").kept.is_some());
            assert_eq!(asked, longer.len());
        }
    });
}

/// The same tensors after a header with one more entry of metadata.
fn with_metadata(file: &[u8]) -> Vec<u8> {
    let n = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..8 + n]).expect("JSON");
    header["__metadata__"] = serde_json::json!({ "format": "pt", "name": "another fine-tune" });
    let json = header.to_string();
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &file[8 + n..]].concat()
}

/// The header of a kept file may have numbers that overflow when they are added.
#[test]
fn a_copy_with_a_position_beyond_any_file_is_ignored() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let files = [golden.weights.to_vec()];
        let store = Memory::new();
        let _ = load(&session, &request, &files, true, &store, golden.weights.len() / 2).await;
        let bytes = store.bytes();
        let n = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + n]).expect("JSON");
        assert!(PartialCopy::find(&mut store.clone()).is_some());
        let max = u64::MAX;
        header["__metadata__"]["loupe.next"] = format!("0 {max} {max} -").into();
        let mut json = header.to_string();
        json.push_str(&" ".repeat(n - json.len()));
        store.bytes.borrow_mut()[8..8 + n].copy_from_slice(json.as_bytes());
        assert!(PartialCopy::find(&mut store.clone()).is_none());
        let (asked, copy) = load(&session, &request, &files, true, &store, usize::MAX).await;
        assert!(copy.expect("it loads").kept.is_some());
        assert_eq!(asked, golden.weights.len(), "from the start");
    });
}

#[test]
fn a_partial_copy_in_another_precision_is_not_resumed() {
    block_on(async {
        let (golden, session) = untied().await;
        let files = [golden.weights.to_vec()];
        let (f16, f32) = (request(&golden, Precision::F16), request(&golden, Precision::F32));
        let store = Memory::new();
        let half = golden.weights.len() * 3 / 4;
        let _ = load(&session, &f16, &files, true, &store, half).await;
        assert!(!store.bytes().is_empty());
        let (asked, outcome) = load(&session, &f32, &files, true, &store, usize::MAX).await;
        assert!(outcome.expect("it loads").kept.is_some());
        assert_eq!(asked, golden.weights.len(), "from the start");
        let bytes = store.bytes();
        let file = SafeTensors::deserialize(&bytes).expect("a standard file");
        assert!(file.tensors().iter().all(|(_, tensor)| tensor.dtype() == Dtype::F32));
    });
}

#[test]
fn a_cancel_stops_the_restoring_of_a_partial_copy_and_leaves_it_unchanged() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let files = [golden.weights.to_vec()];
        let store = Memory::new();
        let _ = load(&session, &request, &files, true, &store, golden.weights.len() / 2).await;
        let partial = store.bytes();
        let mut loading = session.load(&request).await.expect("a load");
        let cancel = Cancel::new(|| true);
        let watch = RestoreWatch { cancel: &cancel, on_progress: &|_| {} };
        let copy = PartialCopy::find(&mut store.clone());
        assert!(copy.is_some());
        let taken = session.keep(&mut loading, Box::new(store.clone()), copy, &watch).await;
        assert_eq!(taken.map(|_| ()).map_err(|e| e.code()), Err("aborted"));
        loading.loader.save();
        assert_eq!(store.bytes(), partial);
    });
}

#[test]
fn a_partial_copy_that_is_damaged_or_of_another_model_is_not_resumed() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let files = [golden.weights.to_vec()];
        let whole = Memory::new();
        load(&session, &request, &files, true, &whole, usize::MAX).await.1.expect("it loads");
        let store = Memory::new();
        let half = golden.weights.len() / 2;
        let _ = load(&session, &request, &files, true, &store, half).await;
        let partial = store.bytes();
        let head = 8 + u64::from_le_bytes(partial[..8].try_into().expect("8 bytes")) as usize;
        for damage in [0, 9, head, head + 100] {
            store.bytes.replace(partial.clone());
            store.bytes.borrow_mut()[damage] ^= 0x10;
            let (asked, outcome) = load(&session, &request, &files, true, &store, usize::MAX).await;
            assert!(outcome.expect("it loads").kept.is_some());
            assert_eq!(asked, golden.weights.len(), "damage at {damage}: from the start");
            assert_eq!(store.bytes(), whole.bytes());
        }
        // Valid digests over what no load of this model keeps: a number that is not finite, and another shape.
        let forged = |data: &dyn Fn(&mut [u8]), shape: bool| {
            let mut bytes = partial.clone();
            let text = std::str::from_utf8(&bytes[8..head]).expect("UTF-8").trim_end().to_string();
            let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let entries = json.as_object().expect("a header").iter();
            let last = entries.filter_map(|(_, entry)| entry["data_offsets"][1].as_u64()).max();
            let end = head + last.expect("a tensor") as usize;
            data(&mut bytes[head..end]);
            json["__metadata__"]["loupe.sha256"] = sha256(&bytes[head..end]).into();
            let is_tensor = |entry: &&mut serde_json::Value| entry.get("shape").is_some();
            if shape
                && let Some(first) =
                    json.as_object_mut().expect("a header").values_mut().find(is_tensor)
            {
                let n: u64 = first["shape"]
                    .as_array()
                    .expect("sizes")
                    .iter()
                    .filter_map(|n| n.as_u64())
                    .product();
                first["shape"] = serde_json::json!([1, n]);
            }
            let text = format!("{:width$}", json.to_string(), width = head - 8);
            bytes[8..head].copy_from_slice(text.as_bytes());
            bytes
        };
        let nan = |data: &mut [u8]| data[..4].copy_from_slice(&[0xff; 4]);
        for bytes in [forged(&nan, false), forged(&|_| (), true)] {
            store.bytes.replace(bytes);
            let (asked, outcome) = load(&session, &request, &files, true, &store, usize::MAX).await;
            assert!(outcome.expect("it loads").kept.is_some());
            assert_eq!(asked, golden.weights.len(), "from the start");
            assert_eq!(store.bytes(), whole.bytes());
        }
        let other = Golden::massive();
        store.bytes.replace(partial);
        let files = [other.weights.to_vec()];
        let request = self::request(&other, Precision::F16);
        let (asked, outcome) = load(&session, &request, &files, true, &store, usize::MAX).await;
        assert!(outcome.expect("it loads").kept.is_some());
        assert_eq!(asked, other.weights.len());
    });
}

#[test]
fn a_source_is_verified_against_its_digest_across_an_interruption() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let good = golden.weights.to_vec();
        let mut bad = good.clone();
        let early = good.len() / 4;
        bad[early] ^= 1;
        // The first half arrives damaged, which is not detected yet; the rest is intact.
        let store = Memory::new();
        let mut loading = session.load(&request).await.expect("a load");
        let half = good.len() / 2;
        let watch = RestoreWatch { cancel: &Cancel::default(), on_progress: &|_| {} };
        let keep = session.keep(&mut loading, Box::new(store.clone()), None, &watch);
        keep.await.expect("a start");
        loading.loader.begin_file(0, Some(&sha256(&good)));
        session.push(&mut loading, &bad[..half]).await.expect("damage that is not detected yet");
        loading.loader.save();
        drop(loading);
        assert!(!store.bytes().is_empty());
        let (_, result) =
            load(&session, &request, std::slice::from_ref(&good), true, &store, usize::MAX).await;
        assert_eq!(result.map_err(|e| e.code()), Err("corrupt"));
        assert!(store.bytes().is_empty(), "a copy that cannot be trusted is discarded");
    });
}

#[test]
fn a_store_that_fails_does_not_fail_the_load() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let files = [golden.weights.to_vec()];
        let whole = Memory::new();
        load(&session, &request, &files, true, &whole, usize::MAX).await.1.expect("it loads");
        let expected = bits(&session, &golden.ids()).await;
        let size = whole.bytes().len();
        for capacity in [0, size / 2, size - 1] {
            let store = Memory { capacity, ..Memory::new() };
            let (_, outcome) = load(&session, &request, &files, true, &store, usize::MAX).await;
            let outcome = outcome.expect("it loads");
            assert_eq!(outcome.kept, None);
            let failure = outcome.error.expect("a reason");
            assert_eq!(
                (&*failure.name, &*failure.message),
                ("QuotaExceededError", "the disk is full")
            );
            assert!(store.bytes().is_empty(), "a copy that can never be whole takes no space");
            assert_eq!(bits(&session, &golden.ids()).await, expected);
        }
    });
}

#[test]
fn a_missing_tensor_leaves_no_copy() {
    block_on(async {
        let (golden, session) = untied().await;
        let request = request(&golden, Precision::F16);
        let store = Memory::new();
        let first = [halves(golden.weights)[0].clone()];
        let (_, result) = load(&session, &request, &first, true, &store, usize::MAX).await;
        assert_eq!(result.map_err(|e| e.code()), Err("missing-tensor"));
        assert!(store.bytes().is_empty());
    });
}

/// The cases of IEEE 754's rounding to nearest, ties to even, are worked out by hand: 2049 lies between 2048 and 2050.
#[test]
fn halves_are_rounded_to_nearest_even() {
    let stored = |value: f32| {
        let mut out = Vec::new();
        encode("w", Precision::F16, &[value], &mut out)
            .map(|()| u16::from_le_bytes([out[0], out[1]]))
    };
    let cases = [
        (2049.0, 0x6800),         // tie: down to the even 2048
        (2051.0, 0x6802),         // tie: up to the even 2052
        (2049.01, 0x6801),        // past the tie: 2050
        (65519.99, 0x7bff),       // just below the tie with 65536: the largest, 65504
        (2f32.powi(-24), 0x0001), // the smallest positive value
        (2f32.powi(-25), 0x0000), // a tie with zero
        (1.5 * 2f32.powi(-24), 0x0002),
        (-0.0, 0x8000),
    ];
    for (value, expected) in cases {
        assert_eq!(stored(value).ok(), Some(expected), "{value}");
    }
    for value in [65520.0, -65520.0, 1e6, f32::MAX] {
        let error = stored(value).expect_err("it does not fit");
        assert_eq!(error.code(), "bad-dtype", "{value}");
        assert!(error.to_string().contains("Tensor w") && error.to_string().contains("f32"));
    }
    for value in [f32::INFINITY, f32::NAN] {
        assert_eq!(stored(value).map_err(|e| e.code()), Err("corrupt"), "{value}");
    }
}
