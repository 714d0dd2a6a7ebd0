//! Readings of many texts, window by window, summed up by row: memory does not grow with the texts.

use std::rc::{Rc, Weak};

use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::lens::{Depth, Options};
use crate::reading::{Reading, Statistic};

use super::edits::Edit;
use super::{Loaded, Session};

/// How a corpus is read.
#[derive(Debug, Clone)]
pub struct CorpusOptions {
    /// Tokens of a window.
    pub window: usize,
    /// Tokens from one window to the next.
    pub stride: usize,
    /// How each window is read; no tokens are listed or followed.
    pub options: Options,
    /// A class of each token of the vocabulary, by which the sums are kept apart as well; empty for none.
    pub classes: Vec<u8>,
}

/// What is summed at every position: the fields of [`CorpusRow`] behind `n`, in that order.
const MEASURES: usize = 5;

/// Sums of one row over the scored positions, and over windows, each of which has n positions and a sum s of each measure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    windows: f64,
    n: f64,
    /// Σ n².
    nn: f64,
    /// Σ s.
    s: [f64; MEASURES],
    /// Σ s².
    ss: [f64; MEASURES],
    /// Σ s·n.
    sn: [f64; MEASURES],
}

/// A mean over the scored positions, and its 95 % interval with windows as clusters, which is NaN with one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// One row over the positions scored so far.
#[derive(Debug, Clone, PartialEq)]
pub struct CorpusRow {
    /// The row.
    pub tap: String,
    /// Scored positions.
    pub n: f64,
    /// −ln p(true next token). Units: nats.
    pub loss: Mean,
    /// KL(final ‖ row). Units: nats.
    pub kl: Mean,
    /// Entropy. Units: nats.
    pub entropy: Mean,
    /// Share of positions with the final top-1 on top.
    pub agreement: Mean,
    /// Share of positions that have it from this row on.
    pub settled: Mean,
}

/// A text that is being read.
struct Text {
    ids: Vec<u32>,
    /// First token of the next window.
    start: usize,
    /// Positions before this one are scored.
    scored: usize,
}

/// The sums over a corpus, and the text that is being read.
pub struct Corpus {
    how: CorpusOptions,
    taps: Vec<String>,
    /// Of all tokens, then of each class. Shapes: \[1 + classes\]\[N\].
    sums: Vec<Vec<Sums>>,
    text: Option<Text>,
    n_texts: u64,
    n_windows: u64,
    n_skipped: u64,
    last: Option<Place>,
    /// The model that it is read with, once a window was.
    loaded: Weak<Loaded>,
}

/// Where the last window is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Index of its text.
    pub text: u64,
    /// Its first token.
    pub start: usize,
    /// Its tokens.
    pub n: usize,
    /// Mean −ln p(true next token) of the last row, over what was scored in it; NaN for nothing. Units: nats.
    pub loss: f64,
}

impl Corpus {
    /// Nothing read yet.
    ///
    /// Errors: `bad-option`.
    pub fn new(mut how: CorpusOptions, n_ctx: usize, vocab_size: usize) -> Result<Corpus> {
        if !(2..=n_ctx).contains(&how.window) {
            return Err(Error::option("window", format!("2 to {n_ctx} tokens"), how.window));
        }
        if !(1..=how.window).contains(&how.stride) {
            let expected = format!("1 to {}, the window", how.window);
            return Err(Error::option("stride", expected, how.stride));
        }
        if !how.classes.is_empty() && how.classes.len() != vocab_size {
            let expected = format!("{vocab_size}, one for each token");
            return Err(Error::option("classes", expected, how.classes.len()));
        }
        if how.options.depth == Depth::Contributions {
            return Err(Error::option("contributions", "false in a corpus", true));
        }
        how.options.top_k = 1;
        how.options.track.clear();
        let n_classes = how.classes.iter().max().map_or(0, |&most| usize::from(most) + 1);
        Ok(Corpus {
            sums: vec![Vec::new(); 1 + n_classes],
            how,
            taps: Vec::new(),
            text: None,
            n_texts: 0,
            n_windows: 0,
            n_skipped: 0,
            last: None,
            loaded: Weak::new(),
        })
    }

    /// Begins the next text.
    pub fn begin(&mut self, ids: Vec<u32>) {
        self.n_texts += u64::from(self.text.is_some());
        self.text = Some(Text { ids, start: 0, scored: 0 });
    }

    /// Takes up what [`Corpus::state`] returned; `next` is the text in which that was, and those before it are left out.
    ///
    /// Errors: `bad-option` for the state of another corpus.
    pub fn resume(&mut self, state: &str, next: Vec<u32>) -> Result<()> {
        let wrong = || {
            let expected = "what a corpus with these options saved";
            Error::option("state", expected, "something else")
        };
        let (numbers, taps) = parse_state(state).ok_or_else(wrong)?;
        let (head, sums) = numbers.split_at_checked(HEAD).ok_or_else(wrong)?;
        let whole = |i: usize| whole(head.get(i).copied().unwrap_or(f64::NAN)).ok_or_else(wrong);
        let n_rows = taps.len();
        let is_same = (whole(0)?, whole(1)?) == (self.how.window, self.how.stride);
        if !is_same || sums.len() != self.sums.len() * n_rows * SUMS {
            return Err(wrong());
        }
        let rows = sums.chunks_exact(SUMS).map(Sums::of);
        let rows: Vec<Sums> = rows.collect();
        for (group, rows) in self.sums.iter_mut().zip(rows.chunks(n_rows.max(1))) {
            *group = rows.to_vec();
        }
        let (start, scored) = (whole(5)?, whole(6)?);
        if start.max(scored) > next.len() + self.how.window {
            return Err(wrong());
        }
        self.taps = taps;
        (self.n_texts, self.n_windows, self.n_skipped) =
            (whole(2)? as u64, whole(3)? as u64, whole(4)? as u64);
        self.text = Some(Text { ids: next, start, scored });
        Ok(())
    }

    /// Index of the text in which a state was saved.
    ///
    /// Errors: `bad-option`.
    pub fn text_of(state: &str) -> Result<u64> {
        let of = parse_state(state).and_then(|(numbers, _)| whole(*numbers.get(2)?));
        let of =
            of.ok_or_else(|| Error::option("state", "what a corpus saved", "something else"))?;
        Ok(of as u64)
    }

    /// What is needed to go on another day: the bits of numbers, so that none is rounded, then the names of the rows.
    pub fn state(&self) -> String {
        let (start, scored) = self.text.as_ref().map_or((0, 0), |text| (text.start, text.scored));
        let CorpusOptions { window, stride, .. } = self.how;
        let head = [window, stride].map(|n| n as f64).into_iter();
        let counts = [self.n_texts, self.n_windows, self.n_skipped].map(|n| n as f64);
        let place = [start, scored].map(|n| n as f64);
        let sums = self.sums.iter().flatten().flat_map(Sums::numbers);
        let numbers = head.chain(counts).chain(place).chain(sums);
        let numbers: Vec<String> = numbers.map(|n| format!("{:x}", n.to_bits())).collect();
        format!("{} | {}", numbers.join(" "), self.taps.join(" "))
    }

    /// The next window of the text: its tokens, and where its positions begin and are scored from; none at the end.
    fn next_window(&mut self) -> Option<(Vec<u32>, usize, usize)> {
        let CorpusOptions { window, stride, .. } = self.how;
        let text = self.text.as_mut()?;
        // One token predicts nothing that is known.
        if text.start + 1 >= text.ids.len() || text.scored + 1 >= text.ids.len() {
            return None;
        }
        let end = (text.start + window).min(text.ids.len());
        let (start, scored) = (text.start, text.scored.max(text.start));
        text.start += stride;
        text.scored = end - 1;
        Some((text.ids[start..end].to_vec(), start, scored))
    }

    /// The rows so far: of all tokens, then of each class.
    pub fn rows(&self) -> Vec<Vec<CorpusRow>> {
        let rows = |sums: &Vec<Sums>| {
            let named = self.taps.iter().zip(sums);
            named.map(|(tap, sums)| sums.row(tap.clone())).collect()
        };
        self.sums.iter().map(rows).collect()
    }

    /// Windows read.
    pub fn n_windows(&self) -> u64 {
        self.n_windows
    }

    /// Positions that were not scored because a logit is not finite there.
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    /// The last window.
    pub fn last(&self) -> Option<Place> {
        self.last
    }

    /// Adds the positions of a window from `from` on whose next token is in it.
    fn add(&mut self, reading: &Reading, from: usize) -> f64 {
        let (n_rows, t) = (reading.taps.len(), reading.n_tokens());
        self.taps.clone_from(&reading.taps);
        for sums in &mut self.sums {
            sums.resize(n_rows, Sums::default());
        }
        let stat =
            |statistic, row: usize, at: usize| f64::from(reading.stat(statistic)[row * t + at]);
        // By class and row: n and the sums of this window.
        let mut window = vec![vec![(0.0, [0.0; MEASURES]); n_rows]; self.sums.len()];
        for at in from..t.saturating_sub(1) {
            if reading.not_finite.iter().any(|cell| cell.position == at) {
                self.n_skipped += 1;
                continue;
            }
            let next = reading.tokens[at + 1].id as usize;
            let class = self.how.classes.get(next).map(|&class| 1 + usize::from(class));
            let mut settled = 1.0;
            for row in (0..n_rows).rev() {
                let agreement = f64::from(u8::from(stat(Statistic::RankFinal, row, at) == 1.0));
                settled *= agreement;
                let measures = [
                    -stat(Statistic::LogprobNext, row, at),
                    stat(Statistic::KlFinal, row, at),
                    stat(Statistic::Entropy, row, at),
                    agreement,
                    settled,
                ];
                for group in [Some(0), class].into_iter().flatten() {
                    let (n, sums) = &mut window[group][row];
                    *n += 1.0;
                    sums.iter_mut().zip(measures).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        for (sums, window) in self.sums.iter_mut().zip(&window) {
            for (sums, (n, s)) in sums.iter_mut().zip(window) {
                sums.add(*n, s);
            }
        }
        window[0].last().map_or(f64::NAN, |(n, sums)| sums[0] / n)
    }
}

/// Numbers of a state before the sums, and of each row's sums.
const HEAD: usize = 7;
const SUMS: usize = 3 + 3 * MEASURES;

/// A number of a state that counts something.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared afterwards")]
fn whole(n: f64) -> Option<usize> {
    let whole = n as usize;
    (whole as f64 == n).then_some(whole)
}

/// The numbers of a state, and the names of the rows.
fn parse_state(state: &str) -> Option<(Vec<f64>, Vec<String>)> {
    let (numbers, taps) = state.split_once(" | ")?;
    let number = |bits: &str| u64::from_str_radix(bits, 16).ok().map(f64::from_bits);
    let numbers = numbers.split(' ').map(number).collect::<Option<Vec<_>>>()?;
    Some((numbers, taps.split_whitespace().map(str::to_string).collect()))
}

impl Sums {
    /// Adds a window.
    fn add(&mut self, n: f64, s: &[f64; MEASURES]) {
        self.windows += f64::from(u8::from(n > 0.0));
        self.n += n;
        self.nn += n * n;
        for (i, s) in s.iter().enumerate() {
            self.s[i] += s;
            self.ss[i] += s * s;
            self.sn[i] += s * n;
        }
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        let Sums { windows, n, nn, s, ss, sn } = *self;
        [windows, n, nn].into_iter().chain(s).chain(ss).chain(sn)
    }

    /// From as many numbers.
    fn of(numbers: &[f64]) -> Sums {
        let mut numbers = numbers.iter().copied();
        let mut next = || numbers.next().unwrap_or_default();
        let [windows, n, nn] = std::array::from_fn(|_| next());
        let [s, ss, sn] = std::array::from_fn(|_| std::array::from_fn(|_| next()));
        Sums { windows, n, nn, s, ss, sn }
    }

    /// A ratio of sums over clusters: Σ (s − mean · n)² says how far it spreads.
    fn mean(&self, measure: usize) -> Mean {
        let Sums { windows, n, nn, .. } = *self;
        let mean = self.s[measure] / n;
        let spread = self.ss[measure] - 2.0 * mean * self.sn[measure] + mean * mean * nn;
        let error = (windows / (windows - 1.0) * spread.max(0.0)).sqrt() / n;
        let half = if windows > 1.0 { 1.96 * error } else { f64::NAN };
        Mean { mean, low: mean - half, high: mean + half }
    }

    fn row(&self, tap: String) -> CorpusRow {
        let [loss, kl, entropy, agreement, settled] = std::array::from_fn(|i| self.mean(i));
        CorpusRow { tap, n: self.n, loss, kl, entropy, agreement, settled }
    }
}

impl Session {
    /// Reads the next window of the corpus' text; false at its end. Hold the guard of [`Session::lock`].
    ///
    /// Errors: those of [`Session::read_edited`].
    pub async fn read_window(
        &self,
        corpus: &mut Corpus,
        edits: &[Edit],
        cancel: &Cancel,
    ) -> Result<bool> {
        let loaded = self.loaded()?;
        let is_same = || corpus.loaded.upgrade().is_some_and(|before| Rc::ptr_eq(&before, &loaded));
        if corpus.last.is_some() && !is_same() {
            return Err(Error::NotFound("the model was replaced while the corpus was read".into()));
        }
        let before = corpus.text.as_ref().map(|text| (text.start, text.scored));
        let Some((ids, start, scored)) = corpus.next_window() else { return Ok(false) };
        let aside = self.aside();
        let options = corpus.how.options.clone();
        let read = self.read_edited(&ids, &options, edits, cancel, |_, _, _| Ok(())).await;
        drop(aside);
        let lensed = match read {
            Ok(lensed) => lensed,
            Err(error) => {
                // It was not read, so that it can be tried again.
                if let (Some(text), Some(before)) = (&mut corpus.text, before) {
                    (text.start, text.scored) = before;
                }
                return Err(error);
            }
        };
        if !corpus.taps.is_empty() && corpus.taps != lensed.reading.taps {
            let expected =
                format!("that of a corpus with the rows {}", lensed.reading.taps.join(", "));
            return Err(Error::option("state", expected, "one with other rows"));
        }
        corpus.loaded = Rc::downgrade(&loaded);
        let loss = corpus.add(&lensed.reading, scored - start);
        corpus.n_windows += 1;
        corpus.last = Some(Place { text: corpus.n_texts, start, n: ids.len(), loss });
        Ok(true)
    }
}
