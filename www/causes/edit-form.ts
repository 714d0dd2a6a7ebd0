/** The list of edits, and the form that adds one: everything that dragging does, and the rest, by keys. */
import { editWords, parsePositions } from "../reading/edits.ts";
import { button, element, optionsOf, replaceKeyed } from "../ui/dom.ts";
import type { EditedRun, PageEdit, TextName } from "../reading/edits.ts";

const KINDS = {
  other: "patch from the other text",
  same: "patch from elsewhere in this text",
  zero: "ablate: zero",
  mean_a: "ablate: mean over text A",
  mean_b: "ablate: mean over text B",
  tokens: "steer towards a token",
  streams: "steer by A − B",
  scale: "scale weights",
  smooth: "smooth positions",
};
type Kind = keyof typeof KINDS;

/** Which fields a kind has. */
const FIELDS: Record<Kind, string[]> = {
  other: ["at", "head", "positions", "from_at", "from_positions"],
  same: ["at", "head", "positions", "from_at", "from_positions"],
  zero: ["contribution", "head", "positions"],
  mean_a: ["contribution", "head", "positions"],
  mean_b: ["contribution", "head", "positions"],
  tokens: ["tap", "positions", "plus", "minus", "scale"],
  streams: ["tap", "positions", "position_a", "position_b", "scale"],
  scale: ["weights", "channel", "scale"],
  smooth: ["channel", "sigma"],
};

export type Shape = {
  n_layer: number;
  n_head: number;
  n_embd: number;
  n_tokens: { a: number; b: number };
  family: string;
};

export function createEditForm(page: {
  run: () => EditedRun;
  change: (run: EditedRun) => void;
  /** the run of this text is edited, with the edits that it had last */
  choose: (of: TextName) => void;
  /** Errors: a RangeError that says what to type. */
  tokenOf: (text: string) => Promise<number>;
  nameOf: (id: number) => string;
}) {
  let shape: Shape = { n_layer: 1, n_head: 1, n_embd: 1, n_tokens: { a: 0, b: 0 }, family: "" };
  const list = element("ol", "edit-list");
  list.setAttribute("aria-label", "Edits in the order in which they act");
  const problem = element("p", "bad");
  problem.setAttribute("role", "alert");

  const input = (name: string, placeholder: string, type = "text") => {
    const made = element("input", "");
    Object.assign(made, { name, placeholder, type, autocomplete: "off", spellcheck: false });
    if (type === "number") made.step = "any";
    return made;
  };
  const select = (name: string) => {
    const made = element("select", "chip pick");
    made.name = name;
    return made;
  };
  const fields = {
    at: select("at"),
    contribution: select("contribution"),
    tap: select("tap"),
    weights: select("weights"),
    head: input("head", "all", "number"),
    positions: input("positions", "all, or 3, 5-7"),
    from_at: select("from_at"),
    from_positions: input("from_positions", "the same"),
    plus: input("plus", "token: text or #id"),
    minus: input("minus", "none: mean token"),
    position_a: input("position_a", "last", "number"),
    position_b: input("position_b", "last", "number"),
    channel: input("channel", "all", "number"),
    scale: input("scale", "1", "number"),
    sigma: input("sigma", "4", "number"),
  };
  const LABELS: Record<keyof typeof fields, string> = {
    at: "Where",
    contribution: "Where",
    tap: "Where",
    weights: "Weights",
    head: "Head",
    positions: "Positions",
    from_at: "From",
    from_positions: "Its positions",
    plus: "Towards",
    minus: "Away from",
    position_a: "A at position",
    position_b: "B at position",
    channel: "Channel",
    scale: "Scale",
    sigma: "σ, positions",
  };
  const kind = select("kind");
  kind.append(...optionsOf(Object.entries(KINDS)));
  const of = select("of");
  of.append(
    ...optionsOf([
      ["a", "text A"],
      ["b", "text B"],
    ]),
  );
  const rows = new Map(
    Object.entries(fields).map(([name, field]) => [
      name,
      element("label", "field", element("span", "muted", LABELS[name as keyof typeof fields]), field),
    ]),
  );
  const submit = element("button", "chip main", "Add edit");
  submit.type = "submit";
  const form = element(
    "form",
    "edit-form",
    element("label", "field", element("span", "muted", "What"), kind),
    ...rows.values(),
    submit,
    problem,
  );

  function follow() {
    const now = FIELDS[kind.value as Kind];
    for (const [name, row] of rows) row.hidden = !now.includes(name);
    fields.scale.placeholder = kind.value === "scale" ? "0" : "1";
  }
  kind.addEventListener("change", () => {
    follow();
    problem.textContent = "";
  });
  of.addEventListener("change", () => page.choose(of.value as TextName));

  /** Errors: a RangeError that says what to type. */
  function count(name: "head" | "channel" | "position_a" | "position_b", most: number): number | undefined {
    const { value } = fields[name];
    if (value === "") return undefined;
    const number = Number(value);
    if (!Number.isInteger(number) || number < 0 || number > most)
      throw new RangeError(`${LABELS[name]}: expected 0 to ${most}, got ${value}.`);
    return number;
  }
  function number(name: "scale" | "sigma", otherwise: number) {
    const { value } = fields[name];
    const found = value === "" ? otherwise : Number(value);
    if (!Number.isFinite(found)) throw new RangeError(`${LABELS[name]}: expected a number, got ${value}.`);
    return found;
  }

  /** The edit that the fields say. */
  async function edit(): Promise<PageEdit> {
    const now = kind.value as Kind;
    const run = page.run();
    // What is typed into a field that is not displayed does not count.
    const has = (name: string) => FIELDS[now].includes(name);
    const positions = has("positions") ? parsePositions(fields.positions.value) : undefined;
    const maybe = <T>(name: string, value: T | undefined) => (value === undefined ? {} : { [name]: value });
    const head = has("head") ? count("head", shape.n_head - 1) : undefined;
    const place = (at: string) => {
      if (head !== undefined && !at.endsWith("attn_out"))
        throw new RangeError(`Head: expected none at ${at}; only attn_out is made of heads.`);
      return { at, ...maybe("head", head), ...maybe("positions", positions) };
    };
    const need = (text: TextName) => {
      if (shape.n_tokens[text] === 0)
        throw new RangeError(`Text ${text.toUpperCase()} is not there: press “Compare with…” above.`);
      return text;
    };
    switch (now) {
      case "other":
      case "same": {
        const text = need(now === "same" ? run.of : run.of === "a" ? "b" : "a");
        const from_at = fields.from_at.value;
        return {
          ...place(fields.at.value),
          from: {
            text,
            ...maybe("at", from_at === "" || from_at === fields.at.value ? undefined : from_at),
            ...maybe("positions", parsePositions(fields.from_positions.value)),
          },
        };
      }
      case "zero":
        return { ...place(fields.contribution.value), to: "zero" };
      case "mean_a":
      case "mean_b":
        return { ...place(fields.contribution.value), to: { mean: need(now === "mean_a" ? "a" : "b") } };
      case "tokens": {
        if (fields.plus.value === "") throw new RangeError("Towards: expected a token, as text or #id.");
        const tokens = [await page.tokenOf(fields.plus.value)];
        if (fields.minus.value !== "") tokens.push(await page.tokenOf(fields.minus.value));
        return { at: fields.tap.value, ...maybe("positions", positions), add: { tokens }, scale: number("scale", 1) };
      }
      case "streams": {
        const last = (text: TextName) => shape.n_tokens[text] - 1;
        const spot = (text: TextName, name: "position_a" | "position_b") => ({
          text: need(text),
          position: count(name, last(text)) ?? last(text),
        });
        return {
          at: fields.tap.value,
          ...maybe("positions", positions),
          add: { plus: spot("a", "position_a"), minus: spot("b", "position_b") },
          scale: number("scale", 1),
        };
      }
      case "scale": {
        const channel = count("channel", shape.n_embd - 1);
        if (channel === undefined && fields.weights.value !== "wpe")
          throw new RangeError(`Channel: expected 0 to ${shape.n_embd - 1}; only wpe is scaled as a whole.`);
        return { weights: fields.weights.value, ...maybe("channel", channel), scale: number("scale", 0) };
      }
      case "smooth":
        return { weights: "wpe", ...maybe("channel", count("channel", shape.n_embd - 1)), smooth: number("sigma", 4) };
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    problem.textContent = "";
    edit().then(
      (made) => {
        const run = page.run();
        page.change({ ...run, edits: [...run.edits, made] });
      },
      (error: Error) => void (problem.textContent = error.message),
    );
  });

  follow();

  return {
    list,
    form,
    of,
    /** The model and the texts are other ones. */
    setShape(now: Shape) {
      const is_same = now.n_layer === shape.n_layer && now.family === shape.family;
      shape = now;
      fields.head.max = String(shape.n_head - 1);
      fields.channel.max = String(shape.n_embd - 1);
      if (is_same && fields.at.options.length > 0) return;
      const blocks = Array.from({ length: shape.n_layer }, (_, i) => `h.${i}`);
      const contributions = blocks.flatMap((block) => [`${block}.attn_out`, `${block}.mlp_out`]);
      const sites = ["input", ...blocks.flatMap((h) => [`${h}.attn_out`, `${h}.attn`, `${h}.mlp_out`, h])];
      const fill = (field: HTMLSelectElement, names: string[]) =>
        field.replaceChildren(...optionsOf(names.map((name) => [name, name || "the same place"] as const)));
      fill(fields.at, sites);
      fill(fields.from_at, ["", ...sites]);
      fill(fields.contribution, contributions);
      fill(fields.tap, ["input", ...blocks]);
      fill(fields.weights, [
        ...blocks.flatMap((h) => [`${h}.ln_1`, `${h}.ln_2`]),
        "ln_f",
        "embed",
        "unembed",
        ...(shape.family === "ctrl" ? [] : ["wpe"]),
      ]);
    },
    /** Fills the form with a place, for keys to go on from there. */
    prefill(at: string, position: number) {
      for (const field of [fields.at, fields.contribution, fields.tap])
        if ([...field.options].some(({ value }) => value === at)) field.value = at;
      fields.positions.value = position < 0 ? "" : String(position);
    },
    draw(run: EditedRun) {
      of.value = run.of;
      problem.textContent = "";
      replaceKeyed(
        list,
        ...run.edits.map((each, i) => {
          const drop = button("", "×", () => page.change({ ...run, edits: run.edits.filter((_, k) => k !== i) }));
          const words = editWords(each, page.nameOf);
          drop.setAttribute("aria-label", `remove: ${words}`);
          drop.dataset.key = `drop ${i}`;
          return element("li", "edit-item", element("span", "edit-words", words), scaleOf(run, i), drop);
        }),
      );
    },
  };

  /** A field for the factor of an edit that has one. */
  function scaleOf(run: EditedRun, i: number) {
    const now = run.edits[i];
    if (!("scale" in now) || now.scale === undefined) return "";
    const field = input("", "", "number");
    field.value = String(now.scale);
    field.setAttribute("aria-label", "scale");
    field.dataset.key = `scale ${i}`;
    field.addEventListener("change", () => {
      const scale = Number(field.value);
      if (field.value === "" || !Number.isFinite(scale)) return void (field.value = String(now.scale));
      page.change({ ...run, edits: run.edits.map((each, k) => (k === i ? { ...now, scale } : each)) });
    });
    return field;
  }
}
