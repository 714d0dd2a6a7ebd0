/** Marks ─▶ SVG with real text. Pure: tokens are whatever a tokenizer yields, so every text is escaped. */
import type { Mark, TextMark } from "./marks.ts";

const MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const SANS = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" } as Record<string, string>;

/** Text as XML may hold it: markup escaped, what no XML may hold replaced. */
export const escaped = (text: string) =>
  text
    .toWellFormed()
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"]/g, (letter) => ENTITIES[letter]);

const n = (value: number) => String(Math.round(value * 100) / 100);

function element(mark: Mark, cutText: (mark: TextMark) => string): string {
  switch (mark.kind) {
    case "rect": {
      const { x, y, width, height, r, fill, stroke, line, dash } = mark;
      return `<rect x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" rx="${n(r)}" fill="${fill ?? "none"}"${stroke ? ` stroke="${stroke}" stroke-width="${n(line ?? 1)}"${dash ? ` stroke-dasharray="${dash.join(" ")}"` : ""}` : ""}/>`;
    }
    case "dot":
      return `<circle cx="${n(mark.x)}" cy="${n(mark.y)}" r="${n(mark.r)}" fill="${mark.fill}"/>`;
    case "corner":
      return `<path d="M${n(mark.x - mark.size)} ${n(mark.y)}h${n(mark.size)}v${n(mark.size)}z" fill="${mark.fill}" stroke="${mark.stroke}"/>`;
    case "text": {
      const { x, y, size, mono, bold, fill, align, tilt } = mark;
      const anchor = align === "left" ? "" : ` text-anchor="${align === "right" ? "end" : "middle"}"`;
      const place = tilt ? `transform="translate(${n(x)} ${n(y)}) rotate(-45)"` : `x="${n(x)}" y="${n(y)}"`;
      return `<text ${place} dy=".35em" font-size="${n(size)}"${mono ? ` font-family="${MONO}"` : ""}${bold ? ' font-weight="700"' : ""}${anchor} fill="${fill}" xml:space="preserve">${escaped(cutText(mark))}</text>`;
    }
    case "clip":
      return `<g>${mark.marks.map((each) => element(each, cutText)).join("\n")}</g>`;
    case "fade":
      return "";
  }
}

/** Marks without an SVG around them. */
export const innerOf = (marks: Mark[], cutText: (mark: TextMark) => string = ({ text }) => text) =>
  marks.map((mark) => element(mark, cutText)).join("\n");

export const svgOf = (
  marks: Mark[],
  {
    width,
    height,
    background,
    title,
    cutText,
  }: { width: number; height: number; background: string; title: string; cutText: (mark: TextMark) => string },
) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${SANS}">
<title>${escaped(title)}</title>
<rect width="${width}" height="${height}" fill="${background}"/>
${innerOf(marks, cutText)}
</svg>
`;
