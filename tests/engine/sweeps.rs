//! Sweeps: compared with transformers in float64 and, on a GPT-2, with TransformerLens (tests/golden/sweeps.py); natively, in
//! Chromium and in Firefox.

use std::cell::Cell;
use std::rc::Rc;

use crate::support::golden::{Golden, compare_values};
use crate::support::say;
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::lens::{Depth, Options};
use loupe::session::{Edit, How, Lensed, Session, SweepRequest, Swept};

device_tests! {
    sweeps_agree_with_transformers many_runs_are_cut_into_batches a_sweep_ends_when_it_is_cancelled
    sweeps_that_cannot_be
}

async fn load(session: &Session, golden: &Golden) {
    crate::support::load(session, golden, Precision::F32, 64 << 20).await;
}

async fn read(session: &Session, ids: &[u32], depth: Depth) -> Rc<Lensed> {
    let options = Options { depth, ..Options::default() };
    let read = session.read(ids, &options, &Cancel::default(), |_, _, _| Ok(())).await;
    read.expect("a reading")
}

/// The readings of both texts, of which one keeps its half-blocks and the other does not.
async fn request(session: &Session, golden: &Golden) -> SweepRequest {
    let number = |name: &str| golden.number(name) as u32;
    SweepRequest {
        clean: read(session, &golden.ids(), Depth::Halves).await,
        corrupt: read(session, &golden.other_ids(), Depth::Blocks).await,
        what: Swept::Stream,
        denoises: true,
        plus: number("plus"),
        minus: number("minus"),
        position: None,
    }
}

async fn sweeps_agree_with_transformers() {
    let session = crate::support::session().await;
    for golden in Golden::sweeps() {
        load(&session, &golden).await;
        let mut request = request(&session, &golden).await;
        let t = golden.ids().len();
        let before = session.device().allocated_bytes();
        for what in Swept::ALL {
            for denoises in [true, false] {
                for position in golden.positions() {
                    let direction = if denoises { "denoise" } else { "noise" };
                    let key = format!("{}/{direction}/{position}", what.name());
                    // The last position is the one that is taken if none is given.
                    let given = (position + 1 < t).then_some(position);
                    (request.what, request.denoises, request.position) = (what, denoises, given);
                    let done = Cell::new(0.0);
                    let on_progress = |share| {
                        assert!(share > done.get() && share <= 1.0, "progress grows");
                        done.set(share);
                    };
                    let sweep = session.sweep(&request, &Cancel::default(), on_progress).await;
                    let sweep = sweep.expect("a sweep");
                    assert_eq!(done.get(), 1.0);
                    assert_eq!(sweep.rows, golden.rows(what.name()));
                    assert_eq!(sweep.values.len(), sweep.rows.len() * sweep.columns);
                    let [clean, corrupt] = golden.metric(position);
                    let errors = [sweep.clean - clean, sweep.corrupt - corrupt].map(f32::abs);
                    assert!(errors.iter().all(|&e| e < 2e-3), "{} {key}: {errors:?}", golden.name);
                    // Logits are good to about 1e-4; the difference of the two runs divides them.
                    let whole = f64::from((clean - corrupt).abs());
                    let tolerance = f64::max(5e-4 / whole.min(1.0), 5.0 * golden.off_of(&key));
                    let what = format!("{} {key}", golden.name);
                    let error =
                        compare_values(&what, &sweep.values, &golden.values(&key), tolerance);
                    say(&format!("{what}: error {error:.1e} of {tolerance:.1e}"));
                }
            }
        }
        assert_eq!(session.device().allocated_bytes(), before, "a sweep keeps no memory");
    }
}

/// Three runs of 67 positions are more rows than are computed at a time. Patching what a block reads at the only position
/// that differs gives the other run.
async fn many_runs_are_cut_into_batches() {
    let (golden, session) = (Golden::gpt2_halves(), crate::support::session().await);
    load(&session, &golden).await;
    let ids = golden.ids();
    let t = ids.len();
    assert_eq!(t, 67);
    let mut other = ids.clone();
    other[65] = (other[65] + 1) % 53;
    let request = SweepRequest {
        clean: read(&session, &ids, Depth::Blocks).await,
        corrupt: read(&session, &other, Depth::Blocks).await,
        what: Swept::Heads,
        denoises: true,
        plus: 7,
        minus: 26,
        position: None,
    };
    let heads = session.sweep(&request, &Cancel::default(), |_| ()).await.expect("a sweep");
    assert_eq!((heads.rows.len(), heads.columns), (3, 3));
    assert!(heads.values.iter().all(|v| v.is_finite() && *v != 0.0));
    // A text that ends before the metric's position has the same heads, in one batch.
    let request = SweepRequest { position: Some(65), ..request };
    let all = session.sweep(&request, &Cancel::default(), |_| ()).await.expect("a sweep");
    let short = SweepRequest {
        clean: read(&session, &ids[..66], Depth::Blocks).await,
        corrupt: read(&session, &other[..66], Depth::Blocks).await,
        position: None,
        ..request
    };
    let cut = session.sweep(&short, &Cancel::default(), |_| ()).await.expect("a sweep");
    assert_eq!(all.values, cut.values, "nothing depends on what follows");
    let request = SweepRequest { what: Swept::Stream, position: Some(65), ..short };
    let stream = session.sweep(&request, &Cancel::default(), |_| ()).await.expect("a sweep");
    let at = |row: usize, p: usize| stream.values[row * 66 + p];
    for row in 0..3 {
        assert!((at(row, 65) - 1.0).abs() < 1e-3, "the only position that differs");
        assert!(at(row, 0).abs() < 1e-3 && at(row, 64).abs() < 1e-3, "what is the same anyway");
    }
}

async fn a_sweep_ends_when_it_is_cancelled() {
    let [golden, ..] = Golden::sweeps();
    let session = crate::support::session().await;
    load(&session, &golden).await;
    let request = request(&session, &golden).await;
    let before = session.device().allocated_bytes();
    let is_cancelled = Rc::new(Cell::new(false));
    let cancel = Cancel::new({
        let is_cancelled = is_cancelled.clone();
        move || is_cancelled.get()
    });
    let sweep = session.sweep(&request, &cancel, |_| is_cancelled.set(true)).await;
    assert_eq!(sweep.map(|_| ()).map_err(|e| e.code()), Err("aborted"));
    assert_eq!(session.device().allocated_bytes(), before, "a cancelled sweep keeps no memory");
    let again = session.sweep(&request, &Cancel::default(), |_| ()).await;
    assert!(again.is_ok(), "the session goes on");
}

async fn sweeps_that_cannot_be() {
    let [gpt2, neo, _] = Golden::sweeps();
    let session = crate::support::session().await;
    load(&session, &gpt2).await;
    let fine = request(&session, &gpt2).await;
    let (ids, options) = (gpt2.ids(), Options::default());
    let edit = Edit::Weights { of: "ln_f".into(), channel: Some(1), how: How::Scale(2.0) };
    let never = Cancel::default();
    let edited = session.read_edited(&ids, &options, &[edit], &never, |_, _, _| Ok(())).await;
    let with = |change: &dyn Fn(&mut SweepRequest)| {
        let SweepRequest { clean, corrupt, what, denoises, plus, minus, position } = &fine;
        let (clean, corrupt) = (clean.clone(), corrupt.clone());
        let (what, denoises, plus) = (*what, *denoises, *plus);
        let (minus, position) = (*minus, *position);
        let mut request = SweepRequest { clean, corrupt, what, denoises, plus, minus, position };
        change(&mut request);
        request
    };
    let (short, edited) = (read(&session, &ids[..5], Depth::Blocks).await, edited.expect("one"));
    let wrong: [(&str, SweepRequest, &str); 6] = [
        ("another length", with(&|r| r.clean = short.clone()), "bad-option"),
        ("an edited run", with(&|r| r.corrupt = edited.clone()), "bad-option"),
        ("position 24", with(&|r| r.position = Some(24)), "bad-option"),
        ("no such token", with(&|r| r.plus = 53), "bad-token"),
        ("the same token twice", with(&|r| r.minus = r.plus), "bad-option"),
        ("the same run twice", with(&|r| r.corrupt = r.clean.clone()), "bad-option"),
    ];
    for (what, request, code) in &wrong {
        let result = session.sweep(request, &Cancel::default(), |_| ()).await;
        assert_eq!(result.map(|_| ()).map_err(|e| e.code()), Err(*code), "{what}");
    }
    load(&session, &neo).await;
    let result = session.sweep(&fine, &Cancel::default(), |_| ()).await;
    assert_eq!(result.map(|_| ()).map_err(|e| e.code()), Err("not-found"), "a model that is gone");
}
