/** What a session does when actions interleave, with an engine whose answers come when the test says so. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { LoupeError } from "../../../www/engine/errors.ts";
import type { Asked } from "../../../www/reading/reading.ts";
import { createSession } from "../../../www/state/session.ts";

const PART = { kept: "first", with_end_token: false } as const;

export type Read = {
  input: string;
  asked: any;
  signal: AbortSignal;
  answer: (reading?: any) => void;
  fail: (code: string) => void;
  is_second: boolean;
};
export type Load = { source: any; answer: (facts?: any) => void; fail: (code: string) => void };

const facts = (name: string) => ({
  in_use: { name, address: null, source: { kind: "bundled" } },
  model: {},
  adapter: {},
  refusal: null,
});
const settle = () => new Promise((done) => setImmediate(done));

let n_serials = 0;
/** A reading of one row whose tokens are the words of a text. */
const textReading = (input: string) => {
  const ids = input
    .split(" ")
    .map((word) => [...word].reduce((sum, letter) => 31 * sum + letter.charCodeAt(0), 0) % 65_521);
  return {
    input,
    taps: ["h.0"],
    tokens: ids.map((id) => ({ id })),
    n_tokens: ids.length,
    top_k: 1,
    top_ids: Uint32Array.from(ids),
  };
};

/** A session, what was asked of its engine, and what it told the page. */
function bench() {
  const reads: Read[] = [];
  const loads: Load[] = [];
  const comparisons: any[] = [];
  const events: any[] = [];
  const page: { text: string; norm: Asked["norm"] } = { text: "first", norm: "affine" };
  const ends: ((message: string, code: string) => void)[] = [];
  let in_use = null as any;
  let newest = null as any;
  /** As a worker: what was cancelled may still be answered. */
  const call = (list: any, what: any, signal: AbortSignal | undefined) =>
    new Promise((answer, reject) => {
      const fail = (code: string) => reject(new LoupeError(code, code));
      list.push({ ...what, signal, fail, answer });
    });
  const start = (onEnd: (message: string, code: string) => void) => {
    ends.push(onEnd);
    return {
      load: async (source: any, { signal }: any) => (in_use = await call(loads, { source }, signal)),
      compare: (first: number, second: number, columns: any, targets: any, signal: AbortSignal) =>
        call(comparisons, { first, second, columns, targets }, signal),
      closeSecond: () => events.push("second closed"),
      read: (input: any, { asked, is_second, signal }: any) => call(reads, { input, asked, is_second }, signal),
      current: async () => in_use,
      close: () => events.push("closed"),
    } as any;
  };
  const note = (name: string) => (first: any) => void events.push([name, first?.input ?? first?.in_use?.name ?? first]);
  const session = createSession(start, {
    text: () => page.text,
    options: () => ({
      asked: { norm: page.norm, subblocks: false, contributions: false, decoder: [] },
      part: PART,
      track: [],
    }),
    opening: note("opening"),
    step: () => {},
    opened: note("opened"),
    notOpened: note("not opened"),
    busy: () => {},
    block: () => {},
    reading: (reading) =>
      void (
        (newest = reading),
        events.push(["reading", (reading as any).input, reading.model?.in_use.name, reading.asked.norm])
      ),
    failure: note("failure"),
    ended: (message, code) => void events.push(["ended", message, code]),
  });
  const last = () => reads[reads.length - 1];
  /** The engine answers what was asked last. */
  const answer = async (read = last()) => {
    read.answer({ ...textReading(read.input), asked: read.asked, model: null, serial: n_serials++ });
    await settle();
  };
  const open = async (name: string) => {
    void session.open({ kind: "files", name, files: [] }, { precision: "f16", keep: false });
    await settle();
    loads[loads.length - 1].answer(facts(name));
    await settle();
  };
  const begin = async () => {
    void session.start({ kind: "bundled" }, { precision: "f16", keep: false });
    await settle();
    loads[0].answer(facts("Tales"));
    await settle();
  };
  const readings = () => events.filter(([name]) => name === "reading").map(([, ...rest]) => rest);
  return {
    newest: () => newest,
    session,
    page,
    reads,
    comparisons,
    loads,
    events,
    ends,
    last,
    answer,
    open,
    begin,
    readings,
  };
}

const type = ({ session, page }: ReturnType<typeof bench>, text: string) => {
  page.text = text;
  session.readSoon(text);
};
const pause = () => new Promise((done) => setTimeout(done, 200));

test("options that change while a new text waits: the new text is read, once, with the new options", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  type(it, "second");
  it.page.norm = "plain";
  void it.session.readAgain();
  await pause();
  assert.equal(it.reads.length, 2);
  await it.answer();
  assert.deepEqual(it.readings(), [
    ["first", "Tales", "affine"],
    ["second", "Tales", "plain"],
  ]);
});

test("options that change while a new text is read: it is read again, not the one before it", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  type(it, "second");
  await pause();
  it.page.norm = "none";
  void it.session.readAgain();
  await settle();
  assert.equal(it.reads[1].signal.aborted, true);
  await it.answer();
  assert.deepEqual(it.readings().at(-1), ["second", "Tales", "none"]);
});

test("options that change over an empty box leave it empty", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  type(it, "");
  await pause();
  it.page.norm = "none";
  void it.session.readAgain();
  assert.equal(it.reads.length, 1, "nothing is read");
  assert.deepEqual(it.events.at(-1), ["failure", "empty"]);
});

test("a reading that ends after another model was opened is not shown; the text is read with that model", async () => {
  const it = bench();
  await it.begin();
  const old = it.last();
  await it.open("Other");
  await it.answer(old);
  assert.deepEqual(it.readings(), [], "the old model's answer comes too late");
  await it.answer();
  assert.deepEqual(it.readings(), [["first", "Other", "affine"]]);
});

test("a reading that ends before another model is in use carries the model that it was made with", async () => {
  const it = bench();
  await it.begin();
  const old = it.last();
  void it.session.open({ kind: "files", name: "Other", files: [] }, { precision: "f16", keep: false });
  await settle();
  await it.answer(old);
  it.loads[1].answer(facts("Other"));
  await settle();
  await it.answer();
  assert.deepEqual(it.readings(), [
    ["first", "Tales", "affine"],
    ["first", "Other", "affine"],
  ]);
});

test("a second text that is answered after another model was opened is not shown as that model's", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  const asked = it.session.compare("two", it.newest());
  await settle();
  const second = it.last();
  await it.open("Other");
  await it.answer(second);
  assert.equal(await asked, null);
  assert.equal(it.comparisons.length, 0);
});

test("a second text that was read under other options is not compared", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  it.page.norm = "none";
  const asked = it.session.compare("two", it.newest());
  await settle();
  await it.answer();
  assert.equal(await asked, null);
  assert.equal(it.comparisons.length, 0);
});

test("two texts are compared where their tokens are aligned, by the first text's tokens; an answer that is overtaken is none", async () => {
  const it = bench();
  it.page.text = "the red fox ran away";
  await it.begin();
  await it.answer();
  const first = it.newest();
  const older = it.session.compare("the blue fox ran", first);
  await settle();
  await it.answer();
  assert.deepEqual(it.comparisons[0].columns, [
    [0, 0],
    [2, 2],
    [3, 3],
  ]);
  assert.deepEqual(
    it.comparisons[0].targets.map((ids: Uint32Array) => ids.length),
    [3, 3],
  );
  assert.equal(it.comparisons[0].first, first.serial);
  const newer = it.session.compare("the very red fox ran away", first);
  await settle();
  await it.answer();
  assert.deepEqual(it.comparisons[1].columns, [
    [0, 0],
    [1, 2],
    [2, 3],
    [3, 4],
    [4, 5],
  ]);
  it.comparisons[0].answer({});
  it.comparisons[1].answer({ kl: 1 });
  assert.equal(await older, null);
  assert.deepEqual((await newer)?.divergences, { kl: 1 });
  it.session.closeSecond();
  assert.ok(it.events.includes("second closed"));
});

test("a text that is typed while a model is opened is read by whichever model is in use", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  void it.session.open({ kind: "files", name: "Other", files: [] }, { precision: "f16", keep: false });
  await settle();
  type(it, "typed");
  await pause();
  assert.equal(it.last().input, "typed");
  it.last().fail("not-found");
  await settle();
  assert.equal(
    it.events.some(([name]) => name === "failure"),
    false,
    "the old model has made way, which is no failure",
  );
  it.loads[1].answer(facts("Other"));
  await settle();
  await it.answer();
  assert.deepEqual(it.readings().at(-1), ["typed", "Other", "affine"]);
});

test("a second text carries the model that it was read with, and an older one is overtaken", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  const older = it.session.compare("one", it.newest());
  const newer = it.session.compare("two", it.newest());
  await settle();
  await it.answer(it.reads[1]);
  await it.answer(it.last());
  assert.equal(await older, null);
  it.comparisons[0].answer({});
  const { second } = (await newer) as any;
  assert.deepEqual([second.input, second.model.in_use.name], ["two", "Tales"]);
});

test("an engine that ends while a text is read: the page is told once, and the next start reads the text", async () => {
  const it = bench();
  await it.begin();
  it.ends[0]("a panic", "crashed");
  it.last().fail("crashed");
  await settle();
  assert.deepEqual(
    it.events.filter(([name]) => name === "ended"),
    [["ended", "a panic", "crashed"]],
  );
  assert.equal(
    it.events.some(([name]) => name === "failure"),
    false,
  );
  void it.session.start({ kind: "bundled" }, { precision: "f16", keep: false });
  await settle();
  it.loads[1].answer(facts("Tales"));
  await settle();
  await it.answer();
  assert.deepEqual(it.readings(), [["first", "Tales", "affine"]]);
});

test("a device that is lost while the first model is loaded: the page is told, and starts again", async () => {
  const it = bench();
  void it.session.start({ kind: "bundled" }, { precision: "f16", keep: false });
  await settle();
  it.ends[0]("a driver was updated", "device-lost");
  it.loads[0].fail("device-lost");
  await settle();
  const told = it.events.filter(([name]) => name === "ended" || name === "failure");
  assert.deepEqual(told, [["ended", "device-lost", "device-lost"]]);
  void it.session.start({ kind: "bundled" }, { precision: "f16", keep: false });
  await settle();
  it.loads[1].answer(facts("Tales"));
  await settle();
  await it.answer();
  assert.deepEqual(it.readings(), [["first", "Tales", "affine"]]);
});

test("a model that is not opened leaves the one in use, and its text", async () => {
  const it = bench();
  await it.begin();
  await it.answer();
  void it.session.open({ kind: "files", name: "Broken", files: [] }, { precision: "f16", keep: false });
  await settle();
  it.loads[1].fail("bad-header");
  await settle();
  assert.equal(
    it.events.some(([name]) => name === "not opened"),
    true,
  );
  it.page.norm = "plain";
  void it.session.readAgain();
  await settle();
  await it.answer();
  assert.deepEqual(it.readings().at(-1), ["first", "Tales", "plain"]);
});
