/** Tales' own weights, read from its file and widened to double precision: what the atlas is held to. */
import { readFileSync } from "node:fs";

const FOLDER = "www/public/models/tales";

function half(bits: number) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

const file = readFileSync(`${FOLDER}/model.safetensors`);
const header_bytes = Number(file.readBigUInt64LE(0));
const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
  file.subarray(8, 8 + header_bytes).toString("utf8"),
);

/** A tensor by the end of its name. */
export function tensor(name: string) {
  const [key] = Object.keys(header).filter((each) => each === name || each === `transformer.${name}`);
  const { dtype, shape, data_offsets } = header[key];
  const at = 8 + header_bytes + data_offsets[0];
  const n = shape.reduce((a, b) => a * b, 1);
  const read =
    dtype === "F16" ? (i: number) => half(file.readUInt16LE(at + 2 * i)) : (i: number) => file.readFloatLE(at + 4 * i);
  return { shape, values: Float64Array.from({ length: n }, (_, i) => read(i)) };
}

const { shape, values: wte } = tensor("wte.weight");
export const [V, C] = shape;
export { wte };

export const row = (id: number) => wte.subarray(id * C, (id + 1) * C);

export function dot(a: ArrayLike<number>, b: ArrayLike<number>) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export const norms = Float64Array.from({ length: V }, (_, id) => Math.sqrt(dot(row(id), row(id))));

export const channel = (c: number) => Float64Array.from({ length: V }, (_, id) => wte[id * C + c]);

export const mean = Float64Array.from({ length: C }, (_, c) => channel(c).reduce((a, b) => a + b, 0) / V);

/** The largest singular value of wte and its direction, by power iteration; its sign makes the tokens' mean projection positive. */
export function firstDirection() {
  let direction = Float64Array.from({ length: C }, (_, c) => mean[c] + 1e-3);
  let size = 0;
  for (let step = 0; step < 60; step++) {
    const next = new Float64Array(C);
    for (let id = 0; id < V; id++) {
      const along = dot(row(id), direction);
      for (let c = 0; c < C; c++) next[c] += along * wte[id * C + c];
    }
    const length = Math.sqrt(dot(next, next));
    size = length / Math.sqrt(dot(direction, direction));
    direction = next.map((value) => value / length);
  }
  const sign = Math.sign(dot(direction, mean));
  direction = direction.map((value) => sign * value);
  return {
    singular_value: Math.sqrt(size),
    direction,
    projections: Float64Array.from({ length: V }, (_, id) => dot(row(id), direction)),
  };
}

export function pearson(xs: ArrayLike<number>, ys: ArrayLike<number>) {
  const center = (of: ArrayLike<number>) => {
    const average = Array.from(of).reduce((a, b) => a + b, 0) / of.length;
    return Array.from(of, (value) => value - average);
  };
  const [x, y] = [center(xs), center(ys)];
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

/** Average ranks of equals. */
export function ranks(values: ArrayLike<number>) {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const out = new Float64Array(values.length);
  for (let from = 0; from < order.length;) {
    let end = from;
    while (end < order.length && values[order[end]] === values[order[from]]) end++;
    for (let i = from; i < end; i++) out[order[i]] = (from + end - 1) / 2;
    from = end;
  }
  return out;
}

/** Lines of a CSV as the page writes it, by the names in its head; notes and the byte order mark are left out. */
export function parseCsv(text: string): Record<string, string>[] {
  const lines = text
    .replace(/^\ufeff/, "")
    .split("\r\n")
    .filter((line) => line && !line.startsWith("#"));
  const cells = (line: string) =>
    Array.from(line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g), ([, quoted, plain]) =>
      quoted === undefined ? plain : quoted.replaceAll('""', '"'),
    );
  const head = cells(lines[0]);
  return lines.slice(1).map((line) => Object.fromEntries(cells(line).map((value, i) => [head[i], value])));
}
