//! A reading that is shared with other engines has the bits of one that is not, whether they answer or fail.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use crate::support::golden::{TALES_CONFIG, TALES_WEIGHTS};
use loupe::device::{Cancel, Device};
use loupe::error::{Error, Result};
use loupe::kernels::Precision;
use loupe::lens::{Depth, Folded, Helper, Helpers, Norm, Options, Share};
use loupe::model::Piece;
use loupe::reading::{Reading, Statistic};
use loupe::session::{LoadRequest, Session};
use pollster::block_on;

fn on_cpu() -> Rc<Session> {
    Rc::new(Session::new(Device::cpu(Box::new(|| Box::pin(std::future::ready(()))))))
}

async fn tales(precision: Precision) -> Rc<Session> {
    let session = on_cpu();
    let request = LoadRequest { precision, ..LoadRequest::new(TALES_CONFIG, None) };
    let mut loading = session.load(&request).await.expect("a load");
    session.push(&mut loading, TALES_WEIGHTS).await.expect("bytes");
    session.install(loading).await.expect("a model");
    session
}

/// Another session with a copy of the decoder.
struct Other {
    session: Rc<Session>,
    asked: Rc<Cell<usize>>,
    fails: bool,
}

impl Helper for Other {
    fn fold(&self, share: Share) -> Pin<Box<dyn Future<Output = Result<Folded>>>> {
        let (session, fails) = (self.session.clone(), self.fails);
        self.asked.set(self.asked.get() + 1);
        Box::pin(async move {
            match fails {
                true => Err(Error::NotFound("it is gone".into())),
                false => session.fold(&share, &Cancel::default()).await,
            }
        })
    }
}

/// Copies the decoder of a session into another one.
async fn copied(from: &Session) -> Rc<Session> {
    let (mut header, mut pieces) = (String::new(), Vec::new());
    let sent = from.send_decoder(|piece| {
        match piece {
            Piece::Header(text) => header = text.into(),
            Piece::Bytes(bytes) => pieces.push(bytes.to_vec()),
        }
        Ok(())
    });
    sent.await.expect("a copy");
    let to = on_cpu();
    assert_eq!(to.receive(&[0; 4]).map_err(|e| e.code()), Err("not-found"));
    to.receive_decoder(&header).await.expect("a header");
    let n = pieces.len();
    for (i, piece) in pieces.iter().enumerate() {
        assert_eq!(to.receive(piece), Ok(i + 1 == n));
    }
    to
}

fn bits(reading: &Reading) -> Vec<u32> {
    let stats = Statistic::ALL.iter().flat_map(|&s| reading.stat(s).iter().map(|v| v.to_bits()));
    let tops =
        reading.top_logits.iter().map(|v| v.to_bits()).chain(reading.top_ids.iter().copied());
    stats.chain(tops).collect()
}

#[test]
fn shared_readings_have_the_same_bits() {
    block_on(async {
        for precision in [Precision::F16, Precision::F32] {
            let alone = tales(precision).await;
            let shared = tales(precision).await;
            let asked = Rc::new(Cell::new(0));
            let mut helpers: Helpers = Vec::new();
            for fails in [false, true, false] {
                let (session, asked) = (copied(&shared).await, asked.clone());
                helpers.push(Rc::new(Other { session, asked, fails }));
            }
            shared.share(helpers);
            for n in [5usize, 64, 70, 131] {
                let ids: Vec<u32> = (0..n as u32).map(|i| (i * 37 + 11) % 4096).collect();
                for (norm, depth) in [
                    (Norm::Affine, Depth::Blocks),
                    (Norm::Plain, Depth::Contributions),
                    (Norm::None, Depth::Halves),
                ] {
                    let options = Options {
                        norm,
                        depth,
                        track: vec![7, 4000],
                        top_k: 12,
                        ..Options::default()
                    };
                    let (never, none) = (Cancel::default(), |_, _, _: &Reading| Ok(()));
                    let a = alone.read(&ids, &options, &never, none).await.expect("a reading");
                    let b = shared.read(&ids, &options, &never, none).await.expect("a reading");
                    assert_eq!(bits(&a.reading), bits(&b.reading), "{precision:?} T={n} {norm:?}");
                }
            }
            assert!(asked.get() >= 30, "helpers were asked {} times", asked.get());
            // Another model has none of them.
            let request = LoadRequest::new(TALES_CONFIG, None);
            let mut loading = shared.load(&request).await.expect("a load");
            shared.push(&mut loading, TALES_WEIGHTS).await.expect("bytes");
            shared.install(loading).await.expect("a model");
            let before = asked.get();
            let ids: Vec<u32> = (0..64).collect();
            let options = Options::default();
            shared
                .read(&ids, &options, &Cancel::default(), |_, _, _| Ok(()))
                .await
                .expect("a reading");
            assert_eq!(asked.get(), before);
        }
    });
}

/// Where the whole model belongs to the decoder, there is one tap, which is its own reference.
#[test]
fn a_share_of_one_tap_has_the_bits_of_the_final_tap_of_two() {
    block_on(async {
        let session = tales(Precision::F16).await;
        let (n, width) = (5, 192);
        let row = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
        let one: Vec<f32> = (0..n * width).map(row).collect();
        let share = |n_taps: usize, rows: Vec<f32>| Share {
            rows,
            n_taps,
            n,
            targets: (0..3 * n as u32).map(|i| i * 91).collect(),
            top_k: 4,
            norm: Norm::Affine,
        };
        let never = Cancel::default();
        let alone = session.fold(&share(1, one.clone()), &never).await.expect("one tap");
        let both = session.fold(&share(2, [&one[..], &one].concat()), &never).await;
        let both = both.expect("two taps");
        for (a, b) in [
            (&alone.merged, &both.merged),
            (&alone.target_logits, &both.target_logits),
            (&alone.top, &both.top),
        ] {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(a), bits(&b[..a.len()]));
        }
    });
}

#[test]
fn shares_and_copies_that_do_not_fit_are_refused() {
    block_on(async {
        let session = tales(Precision::F16).await;
        let share = || Share {
            rows: vec![0.0; 2 * 3 * 192],
            n_taps: 2,
            n: 3,
            targets: vec![0; 9],
            top_k: 5,
            norm: Norm::Affine,
        };
        let never = Cancel::default();
        assert!(session.fold(&share(), &never).await.is_ok());
        // More positions than one engine gives away.
        let rows = vec![0.5; 2 * 200 * 192];
        let many = Share { rows, n: 200, targets: vec![7; 600], ..share() };
        assert!(session.fold(&many, &never).await.is_ok());
        let wrong = [
            Share { rows: vec![0.0; 7], ..share() },
            Share { n: 0, ..share() },
            Share { n_taps: 0, rows: Vec::new(), ..share() },
            Share { targets: vec![0; 8], ..share() },
            Share { targets: vec![0; 3], ..share() },
            Share { n: usize::MAX, n_taps: usize::MAX, ..share() },
        ];
        for share in wrong {
            let code = session.fold(&share, &never).await.map(|_| ()).map_err(|e| e.code());
            assert_eq!(code, Err("bad-option"));
        }
        assert_eq!(session.receive_decoder("{}").await.map_err(|e| e.code()), Err("bad-header"));
        let header = r#"{"n_embd":8,"vocab_size":12,"layer_norm_epsilon":1e-5,"is_f16":false,"shards":[[12,false]]}"#;
        session.receive_decoder(header).await.expect("a header");
        assert_eq!(session.receive(&[0; 4096]).map_err(|e| e.code()), Err("corrupt"));
    });
}
