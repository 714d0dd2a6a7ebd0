/**
 * What a card shows as one SVG: charts as they are, clouds as they draw themselves, captions as text, each at its
 * place on the page. The PNG is the same sheet, painted by the browser at twice the size.
 */
import { SANS } from "../graphics/canvas.ts";
import { escaped } from "../graphics/svg.ts";
import { pngOf } from "./image-file.ts";
import { resolved } from "../graphics/css-colours.ts";

const MARGIN = 20;
const HEAD = 26;
const LINE = 16;
/** How wide a letter of the words is, on average. */
const LETTER = 6.4;
const FOOT = 26;

/** Elements that draw themselves for a sheet: the inside of an SVG of their own size. */
const drawers: WeakMap<Element, () => string> = new WeakMap();

export const drawsItself = (element: Element, draw: () => string) => void drawers.set(element, draw);

/** @param svg with colours that only our style sheet knows */
function standalone(svg: SVGSVGElement, x: number, y: number): string {
  const home = svg.parentElement as Element;
  const { color, fontSize } = getComputedStyle(svg);
  const copy = svg.cloneNode(true) as SVGSVGElement;
  for (const [name, value] of Object.entries({
    x,
    y,
    overflow: "visible",
    fill: color,
    "font-size": fontSize,
    "font-family": SANS,
  }))
    copy.setAttribute(name, String(value));
  for (const part of [copy, ...copy.querySelectorAll("[class]")]) part.removeAttribute("class");
  const known: Map<string, string> = new Map();
  function colour(css: string) {
    const found = known.get(css) ?? resolved(home, css);
    known.set(css, found);
    return found;
  }
  return new XMLSerializer()
    .serializeToString(copy)
    .replace(/var\(--[\w-]+(?:,[^()]*)?\)/g, colour)
    .replaceAll("currentColor", color);
}

function piece(part: Element, from: DOMRect): string {
  const { left, top, width, height } = part.getBoundingClientRect();
  if (width === 0 || height === 0) return "";
  const [x, y] = [left - from.left, top - from.top];
  const draw = drawers.get(part);
  if (draw)
    return `<svg x="${x}" y="${y}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${draw()}</svg>`;
  if (part instanceof SVGSVGElement) return standalone(part, x, y);
  return (
    [...part.querySelectorAll(".series-key, .shade-bar")].map((key) => swatchOf(key, from)).join("") +
    textsOf(part, from)
  );
}

/** The key of a series, or a scale of shades. */
function swatchOf(key: Element, from: DOMRect) {
  const { left, top, width, height } = key.getBoundingClientRect();
  const { backgroundColor, backgroundImage } = getComputedStyle(key);
  const stops = backgroundImage.match(/rgba?\([^)]*\)/g) ?? [backgroundColor];
  const step = width / stops.length;
  return stops
    .map(
      (fill, i) =>
        `<rect x="${left - from.left + i * step}" y="${top - from.top}" width="${step + (stops.length > 1 ? 0.5 : 0)}" height="${height}" rx="${stops.length > 1 ? 0 : Math.min(width, height) / 2}" fill="${fill}"/>`,
    )
    .join("");
}

/** Its texts, each line where it stands. */
function textsOf(part: Element, from: DOMRect) {
  const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
  let out = "";
  while (walker.nextNode()) {
    const node = walker.currentNode as Text;
    // A sheet has nothing to press.
    if (node.parentElement?.closest(".picked-drop")) continue;
    const { fontSize, fontWeight, fontFamily, color } = getComputedStyle(node.parentElement as Element);
    for (const { text, left, top, height } of brokenLines(node)) {
      out += `<text x="${left - from.left}" y="${top - from.top + height / 2}" dy=".35em" font-size="${fontSize}" font-weight="${fontWeight}" font-family="${escaped(fontFamily)}" fill="${color}">${escaped(text.trim())}</text>`;
    }
  }
  return out;
}

/** A text in the lines that the page has broken it into. */
function brokenLines(node: Text) {
  const range = document.createRange();
  const lines: { text: string; left: number; top: number; height: number }[] = [];
  for (const { 0: word, index } of node.data.matchAll(/\S+\s*/g)) {
    range.setStart(node, index);
    range.setEnd(node, index + word.trimEnd().length);
    const { left, top, width, height } = range.getBoundingClientRect();
    const last = lines.at(-1);
    if (width === 0) continue;
    if (last && Math.abs(last.top - top) < height / 2) last.text += word;
    else lines.push({ text: word, left, top, height });
  }
  return lines;
}

/** What a sheet is made of: charts, clouds, the names of series, and whatever says that it is a caption. */
const PARTS = "svg, canvas, .series li, [data-caption]";

/** A drawing of the page, not an icon inside a button; and no series that is switched off. */
const isPart = (part: Element) =>
  !part.closest("summary, [hidden]") &&
  (part.matches("[data-caption]") || !part.closest("button")) &&
  !part.querySelector('[aria-pressed="false"]') &&
  !part.parentElement?.closest("svg") &&
  (!(part instanceof HTMLCanvasElement) || drawers.has(part));

/** Words in lines of about this width in pixels. */
export function linesOf(words: string, width: number) {
  const most = Math.max(20, Math.floor(width / LETTER));
  const lines: string[] = [];
  for (const word of words.split(" ").filter(Boolean)) {
    const last = lines[lines.length - 1];
    if (last !== undefined && last.length + word.length < most) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function cardSheetOf(
  body: HTMLElement,
  { title, words, origin }: { title: string; words: string; origin: string },
): { svg: string; width: number; height: number } {
  const from = body.getBoundingClientRect();
  const style = getComputedStyle(body);
  const muted = resolved(body, "var(--muted)");
  const lines = linesOf(words, from.width);
  const head = HEAD + lines.length * LINE;
  const [width, height] = [Math.ceil(from.width) + 2 * MARGIN, Math.ceil(from.height) + head + FOOT + 2 * MARGIN];
  const text = (y: number, said: string, how: string) => `<text x="${MARGIN}" y="${y}" ${how}>${escaped(said)}</text>`;
  const parts = [...body.querySelectorAll(PARTS)].filter(isPart);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${escaped(SANS)}">
<title>${escaped(title)}</title>
<rect width="${width}" height="${height}" fill="${resolved(body, "var(--surface)")}"/>
${text(MARGIN + 12, title, `font-size="15" font-weight="600" fill="${style.color}"`)}
${lines.map((line, i) => text(MARGIN + 32 + i * LINE, line, `font-size="12" fill="${muted}"`)).join("\n")}
<g transform="translate(${MARGIN} ${MARGIN + head})">
${parts
  .map((part) => piece(part, from))
  .filter(Boolean)
  .join("\n")}
</g>
${text(height - MARGIN + 4, origin, `font-size="11" fill="${muted}"`)}
</svg>
`;
  return { svg, width, height };
}

export async function cardPngOf({ svg, ...size }: { svg: string; width: number; height: number }): Promise<Blob> {
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const { png } = await pngOf(size, (ctx) => ctx.drawImage(image, 0, 0, size.width, size.height));
    return png;
  } finally {
    URL.revokeObjectURL(url);
  }
}
