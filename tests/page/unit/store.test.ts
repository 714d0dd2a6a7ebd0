/** The store and the address bar: each fact once, steps that can be gone back, one write a frame. */
import assert from "node:assert/strict";
import { effect } from "@preact/signals-core";
import { afterEach, test, vi } from "vitest";
import { createAddress } from "../../../www/state/address.ts";
import { formatHash, parseHash } from "../../../www/state/page-state.ts";
import { createStore } from "../../../www/state/store.ts";
import { viewNamed } from "../../../www/reading/views.ts";
import type { ModelInUse } from "../../../www/lib/model.ts";
import type { Bar } from "../../../www/state/address.ts";
import { madeUp } from "./readings.ts";

afterEach(() => vi.useRealTimers());

const begin = (hash = "") => parseHash(hash).then(createStore);
const reading = (n_tokens = 4) =>
  madeUp({
    taps: ["input", "h.0", "h.1"],
    ids: Array.from({ length: n_tokens }, (_, i) => i),
    tops: (tap, position) => [tap === 2 ? position : 9],
  });
const model = (n_layer: number, vocab_size = 10): ModelInUse => ({
  model: { n_layer, vocab_size, n_ctx: 16 },
  adapter: {},
  in_use: { source: { kind: "bundled" }, name: "made up", precision: "f16", address: null },
});

/** A bar with a history, whose frames come when the test says so. */
function fakeBar(hash = "") {
  const entries = [hash];
  let at = 0;
  const frames: (() => void)[] = [];
  const listeners: (() => void)[] = [];
  const writes: string[] = [];
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
    await new Promise((done) => setTimeout(done, 5));
  };
  const bar: Bar = {
    hash: () => entries[at],
    replace: (to) => {
      writes.push(`replace ${to}`);
      entries[at] = to;
    },
    push: (to) => {
      writes.push(`push ${to}`);
      entries.splice(++at, Infinity, to);
    },
    onChange: (listener) => void listeners.push(listener),
    nextFrame: (write) => void frames.push(write),
  };
  return {
    bar,
    writes,
    entries,
    frame: async () => {
      for (const write of frames.splice(0)) write();
      await settle();
    },
    go: async (step: number) => {
      at += step;
      listeners.forEach((listener) => listener());
      await settle();
    },
    visit: async (to: string) => {
      entries.splice(++at, Infinity, to);
      listeners.forEach((listener) => listener());
      await settle();
    },
  };
}

test("what follows from a choice: the token of a tracked view, the pinned cell, the engine's options", async () => {
  const store = await begin("#pin=2@h.0&view=tracked_rank");
  assert.deepEqual(store.pins.value, [], "without a reading no cell is pinned");
  assert.equal(store.cell.value, null);
  assert.deepEqual(store.track.value, []);
  store.setReading(reading());
  assert.deepEqual(store.pins.value, [{ tap: 1, position: 2 }]);
  assert.deepEqual(store.group.value, [3], "what the final row puts first at the end");
  assert.equal(store.is_track_missing.value, true);
  store.follow([7, 5]);
  assert.deepEqual(store.group.value, [7, 5]);
  store.setReading(reading(2));
  assert.deepEqual(store.pins.value, [], "this text has no such position");
  assert.deepEqual(store.page.value.pins, [{ tap: "h.0", position: 2 }], "and the address still names it");
  store.setReading(reading());
  assert.deepEqual(store.pins.value, [{ tap: 1, position: 2 }]);

  const seen: object[] = [];
  effect(() => void seen.push(store.how.value));
  store.setSwitches({ ...store.switches.value, font: 1.5, transposed: true });
  assert.equal(seen.length, 1, "how it looks is nothing to the engine");
  store.setSwitches({ ...store.switches.value, kept: "last" });
  const last = { kept: "last", with_end_token: false };
  assert.deepEqual(store.how.value.part, last);
  seen.length = 1;
  store.setSwitches({ ...store.switches.value, norm: "none" });
  store.setSwitches({ ...store.switches.value, borrowed: 1 });
  store.setModel(model(12));
  assert.deepEqual(seen.slice(1), [
    { asked: { norm: "none", subblocks: false, contributions: false, decoder: [] }, part: last },
    { asked: { norm: "none", subblocks: false, contributions: false, decoder: ["h.0"] }, part: last },
    { asked: { norm: "none", subblocks: false, contributions: false, decoder: ["h.11"] }, part: last },
  ]);
});

test("a comparison is drawn with its own first reading only, and while there is a second text", async () => {
  const store = await begin("#second=other");
  const [one, two] = [reading(), reading(3)];
  const compared = { first: one } as never;
  store.setReading(one, compared);
  assert.equal(store.comparison.value, compared);
  store.setReading(two);
  store.setComparison(compared);
  assert.equal(store.comparison.value, null, "of another first text");
  store.setReading(one, compared);
  store.setSecond(null);
  assert.equal(store.comparison.value, null);
});

test("drawing writes nothing: what an effect sees is consistent, and a change is seen once", async () => {
  const store = await begin("#pin=1@h.1");
  store.setReading(reading());
  const seen: unknown[] = [];
  effect(
    () =>
      void seen.push([
        store.pins.value[0]?.position ?? null,
        store.page.value.text.length > 0,
        store.reading.value?.n_tokens,
      ]),
  );
  store.replaceText("another text");
  store.setReading(reading(2));
  store.togglePin({ tap: 0, position: 1 });
  assert.deepEqual(seen, [
    [1, true, 4],
    [null, true, 4],
    [null, true, 2],
    [1, true, 2],
  ]);
});

test("the selected cell: the end of the window, what is pointed at, the newest pin", async () => {
  const store = await begin("");
  store.setReading(reading());
  const [last, deepest] = [reading().n_tokens - 1, reading().taps.length - 1];
  assert.deepEqual(store.cell.value, { tap: deepest, position: last, is_second: false });
  store.setSwitches({ ...store.switches.value, span: { start: 0, end: 2 } });
  assert.equal(store.cell.value?.position, 1);
  store.point({ tap: 0, position: 0, is_second: false });
  assert.deepEqual(store.cell.value, { tap: 0, position: 0, is_second: false });

  // Beside other pins; the newest is the one that is spoken of, and the oldest makes way.
  const places = () => store.pins.value.map(({ position }) => position);
  store.togglePin({ tap: 1, position: 0 });
  store.togglePin({ tap: 1, position: 1 }, true);
  assert.deepEqual([places(), store.cell.value?.position], [[0, 1], 1]);
  store.selectPin({ tap: 1, position: 0 });
  assert.deepEqual(places(), [1, 0]);
  store.togglePin({ tap: 1, position: 2 }, true);
  store.togglePin({ tap: 0, position: 2 }, true);
  assert.deepEqual(places(), [0, 2, 2]);
  store.togglePin({ tap: 1, position: 0 }, true);
  assert.deepEqual(places(), [2, 2]);
  // Moving a pin over another one loses neither, and is no step.
  const steps_before = store.steps.value;
  store.movePin({ tap: 1, position: 2 });
  store.movePin({ tap: 0, position: 0 });
  assert.deepEqual([places(), store.steps.value], [[2, 0], steps_before]);
  // Those that a shorter text lacks stay for the longer one.
  store.setReading(reading(2));
  store.togglePin({ tap: 0, position: 1 }, true);
  store.setReading(reading());
  assert.deepEqual(places(), [2, 0, 1]);
  store.togglePin({ tap: 0, position: 1 }, true);
  // One by itself is instead of them.
  store.togglePin({ tap: 0, position: 1 });
  assert.deepEqual(places(), [1]);
  store.togglePin({ tap: 0, position: 1 });
  assert.deepEqual(places(), []);
  const steps = store.steps.value;
  store.unpin();
  assert.equal(store.steps.value, steps, "nothing was pinned");

  // What is typed is looked at where it ends.
  store.setText("another");
  assert.equal(store.cell.value?.position, 1);
});

test("another model: tokens that it does not have are not selected, what was chosen in the old one goes", async () => {
  const store = await begin("#picked=3.99&channel=5&tokens=4_8&pin=1@h.0");
  store.setModel(model(2));
  assert.deepEqual([...store.selection.tokens], [3]);
  store.setReading(reading());
  store.replaceModel(model(3), null);
  assert.deepEqual(
    [
      store.reading.value,
      store.page.value.pins,
      store.groups.value,
      store.selection.chosen_channel,
      store.selection.tokens.size,
    ],
    [null, [], [], null, 0],
  );
  store.replaceModel(model(2), await parseHash("#picked=4.50&channel=1&tokens=2&pin=0@h.1"));
  assert.deepEqual([[...store.selection.tokens], store.selection.chosen_channel, store.groups.value], [[4], 1, [[2]]]);
});

test("the address: many changes are one write, typing replaces, a step is pushed, Back and Forward bring it back", async () => {
  const store = await begin();
  const { bar, writes, entries, frame, go } = fakeBar();
  const followed: string[][] = [];
  createAddress(store, bar, (_, _wanted, unreadable) => void followed.push(unreadable));
  await frame();
  assert.equal(writes.length, 0, "nothing to say");
  store.setText("The");
  store.setText("The old");
  store.setTheme("dark");
  await frame();
  assert.equal(writes.join(), "replace #theme=dark&text=The+old");
  store.setReading(reading());
  store.togglePin({ tap: 1, position: 2 });
  await frame();
  store.follow([5]);
  await frame();
  store.setView(viewNamed("rank"));
  await frame();
  store.open("gains");
  await frame();
  assert.deepEqual(
    writes.slice(1).map((each) => each.split(" ")[0]),
    ["push", "push", "push", "push"],
  );
  const at = () => [
    store.page.peek().atlas,
    store.view.peek().name,
    store.groups.peek().length,
    store.page.peek().pins[0]?.position ?? null,
  ];
  assert.deepEqual(at(), ["gains", "rank", 1, 2]);
  const back = [];
  for (let i = 0; i < 4; i++) {
    await go(-1);
    back.push(at());
  }
  assert.deepEqual(back, [
    [null, "rank", 1, 2],
    [null, "logit", 1, 2],
    [null, "logit", 0, 2],
    [null, "logit", 0, null],
  ]);
  await frame();
  assert.equal(entries.length, 5, "going back writes nothing that would cut the way forward");
  await go(2);
  assert.deepEqual(at(), [null, "logit", 1, 2]);
  assert.deepEqual(followed, Array(5).fill([]));
  // A pin that keys move is one step with the pin itself.
  store.movePin({ tap: 1, position: 3 });
  await frame();
  assert.ok(writes.at(-1)?.startsWith("replace") && writes.at(-1)?.includes("pin=3%40h.0"));
});

test("an address that is followed while another is being written wins; what cannot be read in it is told", async () => {
  const store = await begin();
  const { bar, frame, visit, entries } = fakeBar();
  const told: string[][] = [];
  createAddress(store, bar, (_, _wanted, unreadable) => void told.push(unreadable));
  store.setText("typed");
  await visit("#text=linked&view=nonsense");
  await frame();
  assert.equal(store.text.peek(), "linked");
  assert.deepEqual(told, [["the view"]]);
  assert.equal(entries.at(-1), "#text=linked");
});

test("a browser that refuses to write an address is asked again later", async () => {
  const store = await begin();
  const fake = fakeBar();
  let refuses = true;
  const replace = (hash: string) => {
    if (refuses) throw new DOMException("too many", "SecurityError");
    fake.bar.replace(hash);
  };
  createAddress(store, { ...fake.bar, replace }, () => {});
  vi.useFakeTimers();
  store.setText("kept");
  const frame = fake.frame();
  await vi.advanceTimersByTimeAsync(10);
  await frame;
  assert.equal(fake.writes.length, 0);
  refuses = false;
  await vi.advanceTimersByTimeAsync(10_000);
  vi.useRealTimers();
  await fake.frame();
  assert.deepEqual(fake.writes, ["replace #text=kept"]);
});

test("every part of an address comes back", async () => {
  const hash =
    "#model=openai-community%2Fgpt2&view=rank_input&cells=both&step=2&norm=plain&window=2-9&tokens=11.13_29&tracked=1&pin=4%40h.3.attn&theme=light&atlas=pairs&pairs.x=138&channel=36&picked=50256.11&text=a&second=b";
  const store = await begin(hash);
  const again = await parseHash(await formatHash(store.address.peek()));
  assert.deepEqual(again, await parseHash(hash));
});
