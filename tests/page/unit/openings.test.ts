/** Which model is opened when, and what is said of it: with an engine whose answers come when the test says so. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { LoupeError } from "../../../www/engine/errors.ts";
import { createModelController } from "../../../www/models/controller.ts";
import { createSession } from "../../../www/state/session.ts";
import type { Engine } from "../../../www/engine/client.ts";
import type { Kept } from "../../../www/engine/protocol.ts";
import type { ModelInUse, Source } from "../../../www/lib/model.ts";
import type { Notice } from "../../../www/ui/notice.ts";

const PART = { kept: "first", with_end_token: false } as const;

const GPT2 = "openai-community/gpt2";
const HUB: Source = { kind: "hub", id: GPT2, revision: "main" };
const HOW = { precision: "f16", keep: true } as const;
const settle = () => new Promise((done) => setTimeout(done, 2));

const kept = (state: "partial" | "whole", id = GPT2): Kept => ({
  key: `${id}.f16`,
  bytes: 1,
  config: "{}",
  about: {
    version: 1,
    state,
    name: id,
    source: { kind: "hub", id, revision: "main", commit: null, etags: [] },
    precision: "f16",
    parameters: 1,
    source_bytes: 1,
    bytes: 1,
    sha256: null,
    changed_at: "",
  },
});

function bench(store: Kept[] = [], last: string | null = null) {
  const loads: { source: Source; answer: () => void; fail: (code: string) => void }[] = [];
  const notices: Notice[] = [];
  const memorised: string[] = [];
  const lists: (() => void)[] = [];
  let lists_wait = false;
  let in_use: ModelInUse | null = null;
  const modelOf = (source: Source): ModelInUse => {
    const found = source.kind === "kept" ? store.find(({ key }) => key === source.key) : null;
    const id = source.kind === "hub" ? source.id : found?.about.source.kind === "hub" ? found.about.source.id : null;
    const address = id === null ? null : { id, revision: "main" };
    return { model: {}, adapter: {}, in_use: { source, name: id ?? source.kind, precision: "f16", address } };
  };
  const crashes: ((message: string, code: string) => void)[] = [];
  const engine = (onEnd: (message: string, code: string) => void) => {
    crashes.push(onEnd);
    const of: Partial<Engine> = {
      list: () => (lists_wait ? new Promise((done) => lists.push(() => done(store))) : Promise.resolve(store)),
      plan: () => Promise.reject(new LoupeError("bad-config", "no plan")),
      remove: () => Promise.resolve(),
      current: () => Promise.resolve(in_use),
      close: () => {},
      load: (source, { signal }) =>
        new Promise((answer, reject) => {
          const fail = (code: string) => reject(new LoupeError(code, code));
          signal.addEventListener("abort", () => fail("aborted"));
          loads.push({ source, fail, answer: () => answer({ ...(in_use = modelOf(source)), refusal: null }) });
        }),
    };
    return of as Engine;
  };
  const session = createSession(engine, {
    text: () => "",
    options: () => ({
      asked: { norm: "affine", subblocks: false, contributions: false, decoder: [] },
      part: PART,
      track: [],
    }),
    opening: (source, is_first) => openings.opening(source, is_first),
    step: () => {},
    opened: (now, refusal, source) => openings.opened(now, refusal, source),
    notOpened: (failure, source, how) => openings.notOpened(failure, source, how),
    busy: () => {},
    block: () => {},
    reading: () => {},
    failure: () => {},
    ended: () => openings.again(),
  });
  const openings = createModelController({
    session: () => session,
    changed: () => {},
    view: {
      begin: () => {},
      step: () => {},
      end: () => {},
      notice: (notice) => void notices.push(notice),
      hideNotice: () => {},
      chooseFiles: () => {},
      onCancel: () => {},
      wantsKeeping: () => true,
      lastChosen: () => last,
      remember: (model) => void memorised.push(model),
    },
  });
  return {
    openings,
    session,
    loads,
    notices,
    memorised,
    crash: (message: string) => crashes.at(-1)?.(message, "crashed"),
    hold: () => (lists_wait = true),
    letLists: async () => {
      for (const list of lists.splice(0)) list();
      await settle();
    },
    answer: async (i = loads.length - 1) => {
      loads[i].answer();
      await settle();
    },
    fail: async (code: string, i = loads.length - 1) => {
      loads[i].fail(code);
      await settle();
    },
    sources: () => loads.map(({ source }) => (source.kind === "kept" ? source.key : source.kind)),
    press: async (label: string) => {
      notices
        .at(-1)
        ?.actions?.find((action) => action.label === label)
        ?.onClick();
      await settle();
    },
  };
}

test("a link's model that is not here is asked for, never downloaded by itself", async () => {
  const it = bench();
  void it.openings.begin(GPT2, null);
  await settle();
  await it.answer();
  assert.deepEqual(it.sources(), ["bundled"]);
  assert.match(it.notices[0].title, /This link was made with/);
  assert.equal(it.openings.model(), GPT2, "the address keeps what it asks for");
  it.notices[0].onDismiss?.();
  assert.equal(it.openings.model(), null);
});

test("a link's model that is kept is opened, an unfinished one is offered to be resumed", async () => {
  const whole = bench([kept("whole")]);
  void whole.openings.begin(GPT2, null);
  await settle();
  await whole.answer();
  assert.deepEqual(whole.sources(), [`${GPT2}.f16`]);
  assert.equal(whole.openings.model(), GPT2);
  assert.equal(whole.notices.length, 0);
  const partial = bench([kept("partial")]);
  void partial.openings.begin(GPT2, null);
  await settle();
  await partial.answer();
  await partial.press("Resume");
  assert.deepEqual(partial.sources(), ["bundled", `${GPT2}.f16`]);
});

test("the model last used is opened again; one that is gone is not missed", async () => {
  const it = bench([kept("whole")], `${GPT2}.f16`);
  void it.openings.begin(null, null);
  await settle();
  assert.deepEqual(it.sources(), [`${GPT2}.f16`]);
  const gone = bench([], `${GPT2}.f16`);
  void gone.openings.begin(null, null);
  await settle();
  assert.deepEqual(gone.sources(), ["bundled"]);
});

test("of two models that are opened at once the first is opened, and the second is told why not", async () => {
  const it = bench();
  void it.openings.begin(null, null);
  await settle();
  await it.answer();
  it.hold();
  // Both are asked for while the list of kept models is still on its way.
  void it.openings.open(HUB, HOW);
  void it.openings.open({ kind: "files", name: "mine", files: [] }, HOW);
  await it.letLists();
  assert.deepEqual(it.sources(), ["bundled", "hub"]);
  assert.equal(it.notices.at(-1)?.title, "One model at a time");
  void it.openings.open({ kind: "bundled" }, HOW);
  assert.equal(it.notices.length, 2, "and while it is opened");
  await it.answer();
  assert.equal(it.openings.model(), GPT2);
  assert.deepEqual(it.memorised, [], "a model that would have to be downloaded again is not opened by itself");
});

test("a model that is not opened leaves the one in use, and says how to go on", async () => {
  const store: Kept[] = [];
  const it = bench(store);
  void it.openings.begin(null, null);
  await settle();
  await it.answer();
  void it.openings.open(HUB, HOW);
  await settle();
  store.push(kept("partial"));
  await it.fail("network");
  assert.equal(it.openings.model(), null, "the bundled one is still in use");
  assert.equal(it.openings.coming(), null);
  await it.press("Resume");
  assert.deepEqual(it.sources(), ["bundled", "hub", `${GPT2}.f16`]);
});

test("a cancelled opening is followed by another one", async () => {
  const it = bench();
  void it.openings.begin(null, null);
  await settle();
  await it.answer();
  void it.openings.open(HUB, HOW);
  await settle();
  assert.deepEqual(it.openings.coming(), { id: GPT2, revision: "main" });
  it.session.cancel();
  await settle();
  void it.openings.open({ kind: "bundled" }, HOW);
  await settle();
  await it.answer();
  assert.deepEqual(it.sources(), ["bundled", "hub", "bundled"]);
  assert.deepEqual(it.memorised, ["bundled"]);
});

test("another address: the same model is left alone, the bundled one is opened again, a foreign one is offered", async () => {
  const it = bench([kept("whole")]);
  void it.openings.begin(GPT2, null);
  await settle();
  await it.answer();
  await it.openings.follow(GPT2);
  assert.equal(it.loads.length, 1);
  void it.openings.follow(null);
  await settle();
  await it.answer();
  assert.deepEqual(it.sources(), [`${GPT2}.f16`, "bundled"]);
  await it.openings.follow("distilbert/distilgpt2");
  assert.equal(it.loads.length, 2);
  assert.equal(it.openings.model(), "distilbert/distilgpt2");
  void it.openings.follow(GPT2);
  await settle();
  assert.deepEqual(it.sources().at(-1), `${GPT2}.f16`);
});

test("an engine that crashes under a downloaded model starts with the bundled one and offers the other", async () => {
  const it = bench();
  void it.openings.begin(null, null);
  await settle();
  await it.answer();
  void it.openings.open(HUB, HOW);
  await settle();
  await it.answer();
  it.crash("a panic");
  await settle();
  await it.answer();
  assert.deepEqual(it.sources(), ["bundled", "hub", "bundled"]);
  assert.match(it.notices.at(-1)?.title ?? "", /This link was made with/);
  assert.equal(it.openings.model(), GPT2);
});

test("a link that was made with a file asks for it once something is open", async () => {
  const it = bench();
  void it.openings.begin(null, "mine.safetensors");
  await settle();
  assert.equal(it.notices.length, 0);
  await it.answer();
  assert.match(it.notices[0].title, /mine\.safetensors/);
  assert.equal(it.openings.file(), "mine.safetensors");
  void it.openings.open({ kind: "files", name: "other", files: [] }, HOW);
  await settle();
  await it.answer();
  assert.equal(it.openings.file(), "other");
});
