/** Documents of a text file, in parts of a bounded length. Pure. */

/** Longest part that is tokenized at once. */
const MAX_CHARS = 50_000;

/**
 * The documents of a file: what stands between lines that have nothing but `<|endoftext|>`, or without such a line between
 * blank lines. A document longer than 50,000 characters is cut behind a line, or a space, or where it has neither.
 */
export function documentsOf(text: string): string[] {
  const separator = /\r?\n?<\|endoftext\|>\r?\n?/;
  const documents = separator.test(text) ? text.split(separator) : text.split(/\r?\n[ \t]*\r?\n(?:[ \t]*\r?\n)*/);
  return documents.flatMap(partsOf).filter((part) => part.trim() !== "");
}

function partsOf(document: string): string[] {
  const parts: string[] = [];
  let start = 0;
  while (document.length - start > MAX_CHARS) {
    const most = start + MAX_CHARS;
    const cut = [document.lastIndexOf("\n", most - 1), document.lastIndexOf(" ", most - 1)].find((at) => at > start);
    // A space belongs to the word behind it, a line break to the line before; no half of a surrogate pair.
    let end = cut === undefined ? most : document[cut] === "\n" ? cut + 1 : cut;
    if (/[\udc00-\udfff]/.test(document[end] ?? "") && /[\ud800-\udbff]/.test(document[end - 1])) end--;
    parts.push(document.slice(start, end));
    start = end;
  }
  return [...parts, document.slice(start)];
}
