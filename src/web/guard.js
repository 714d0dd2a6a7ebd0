// What follows is src/web/guard.js. A trap (a panic, a full stack, a memory that cannot grow) leaves the wasm in an
// unknown state, and promises whose work it ended would never settle. So every call into the wasm passes through
// `guarded`: the first exception out of it ends the engine. Pending promises are rejected, and every later call
// fails, with a LoupeError whose code is "crashed".

/** The error of every call after a trap. @type {(Error & { code: string }) | null} */
let crashed = null;
/** Rejects a pending promise. @type {Set<(error: unknown) => void>} */
const pending = new Set();

/** Exports that do nothing after a crash: free(), and the callbacks of promises and of the device. */
const IGNORED = /^(__wbg_\w+_free|__wbindgen_destroy_closure|wasm_bindgen__convert__closures\w*)$/;

function guarded(exports) {
  const guard =
    (name, call) =>
    (...args) => {
      // The memory of a crashed engine is released with its module, and callbacks have nothing left to do.
      if (crashed && IGNORED.test(name)) return;
      if (crashed) throw crashed;
      try {
        return call(...args);
      } catch (error) {
        crash(error);
        throw crashed;
      }
    };
  const all = Object.entries(exports);
  return Object.fromEntries(
    all.map(([name, value]) => [name, typeof value === "function" ? guard(name, value) : value]),
  );
}

function crash(cause) {
  const message = `The engine crashed: ${cause?.message ?? cause}. Open a new one in a fresh worker, or reload the page.`;
  crashed ??= Object.assign(new Error(message, { cause }), { name: "LoupeError", code: "crashed" });
  for (const reject of pending) reject(crashed);
  pending.clear();
}

/** The promise of `call`, rejected at once if the engine crashes. */
function settled(call) {
  return new Promise((resolve, reject) => {
    pending.add(reject);
    const end = (settle) => (value) => {
      pending.delete(reject);
      settle(value);
    };
    try {
      call().then(end(resolve), end(reject));
    } catch (error) {
      end(reject)(error);
    }
  });
}

/** Makes methods of `owner` return promises that a crash rejects. */
function settling(owner, names) {
  for (const name of names) {
    const method = owner[name];
    owner[name] = function (...args) {
      return settled(() => method.apply(this, args));
    };
  }
}

/** Ends a call of a freed object before it reaches the wasm, where it would count as a trap; a second free() does nothing. */
function checked(owner) {
  const properties = Object.getOwnPropertyDescriptors(owner.prototype);
  for (const key of Reflect.ownKeys(properties).filter((key) => key !== "constructor")) {
    const check = (call) =>
      typeof call !== "function"
        ? call
        : function (...args) {
            if (this.__wbg_ptr !== 0) return call.apply(this, args);
            if (key === "free" || key === Symbol.dispose) return;
            throw Object.assign(new Error(`This ${owner.name} has been freed.`), {
              name: "LoupeError",
              code: "not-found",
            });
          };
    const { value, get, ...rest } = properties[key];
    Object.defineProperty(owner.prototype, key, get ? { ...rest, get: check(get) } : { ...rest, value: check(value) });
  }
}

/** Ends a call of `owner[name](a, b, …)` with an argument that is not a reading, or a freed one, before it reaches the wasm. */
function comparing(owner, name) {
  const method = owner[name];
  owner[name] = function (a, b, ...rest) {
    for (const [argument, value] of Object.entries({ a, b })) {
      const is_reading = value instanceof Reading;
      if (is_reading && value.__wbg_ptr !== 0) continue;
      const message = `${argument}: expected a Reading, got ${is_reading ? "one that has been freed" : "another value"}.`;
      throw Object.assign(new Error(message), { name: "LoupeError", code: "bad-option" });
    }
    return method.call(this, a, b, ...rest);
  };
}

/**
 * Reads texts window by window and yields the sums so far after each window. The texts may come from an array or a
 * generator, also an asynchronous one, so that not all of them are in memory at once.
 */
Loupe.prototype.corpus = async function* (texts, given) {
  const { signal, ...options } = given ?? {};
  if (typeof texts === "string" || (!texts?.[Symbol.iterator] && !texts?.[Symbol.asyncIterator]))
    throw Object.assign(new Error(`texts: expected an iterable of texts, got ${typeof texts}.`), {
      name: "LoupeError",
      code: "bad-option",
    });
  const reader = this.read_corpus(options);
  let before = reader.n_texts;
  try {
    for await (const text of texts) {
      if (before-- > 0) continue;
      reader.begin(text);
      while (await reader.next_window(signal)) yield { ...reader.part(), state: reader.state };
    }
  } finally {
    reader.free();
  }
};

[Loupe, Reading, Atlas, Lens, CorpusReader].forEach(checked);
comparing(Loupe.prototype, "compare");
settling(Loupe, ["open"]);
settling(Loupe.prototype, [
  "load",
  "plan",
  "check",
  "read",
  "compare",
  "sweep",
  "direction",
  "lens",
  "fit",
  "send_decoder",
  "receive_decoder",
  "fold",
]);
settling(Reading.prototype, [
  "trace",
  "sets",
  "attribute",
  "attention",
  "sources",
  "neurons",
  "promoted",
  "stream",
  "memory",
  "recover",
  "alone",
]);
settling(Lens.prototype, ["map", "export"]);
settling(CorpusReader.prototype, ["next_window"]);
settling(Atlas.prototype, [
  "channels",
  "gains",
  "circuits",
  "norms",
  "channel",
  "rows",
  "positions",
  "spectrum",
  "components",
  "correlations",
  "zero_layer",
  "neighbours",
  "next_tokens",
]);
