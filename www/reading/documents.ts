/** Documents of a text that comes in pieces, in parts of a bounded length. Pure. */

/** Longest part that is tokenized at once. */
const MAX_CHARS = 50_000;
/** A separator that lies across the end of a piece is no longer than this, but for blank lines with more blanks. */
const MAX_SEPARATOR = 64;

/** What stands between documents where it occurs at all; else blank lines do. */
export const END_OF_TEXT = "<|endoftext|>";

/**
 * Cuts a text into documents: at `<|endoftext|>` if it has that, else at blank lines. A document longer than 50,000 characters is cut
 * behind a line, before a space, or where it has neither. The same text gives the same documents however it comes in pieces.
 */
export function documentCutter(has_end_tokens: boolean) {
  let rest = "";
  const separator = has_end_tokens ? /\r?\n?<\|endoftext\|>\r?\n?/ : /\r?\n[ \t]*\r?\n(?:[ \t]*\r?\n)*/;

  function* take(is_last: boolean): Generator<string> {
    for (;;) {
      const found = separator.exec(rest);
      const end = found ? found.index + found[0].length : -1;
      // At the end of what has come, a separator may still go on.
      const is_whole = found !== null && (is_last || end + MAX_SEPARATOR < rest.length);
      const document = is_whole ? rest.slice(0, found.index) : rest;
      if (document.length > MAX_CHARS && (is_last || document.length > MAX_CHARS + MAX_SEPARATOR)) {
        const cut = cutOf(document);
        yield document.slice(0, cut);
        rest = rest.slice(cut);
      } else if (is_whole) {
        yield document;
        rest = rest.slice(end);
      } else {
        if (is_last) {
          yield rest;
          rest = "";
        }
        return;
      }
    }
  }
  function* filled(parts: Iterable<string>) {
    for (const part of parts) if (part.trim() !== "") yield part;
  }
  return {
    push(piece: string) {
      rest += piece;
      return filled(take(false));
    },
    end: () => filled(take(true)),
  };
}

/** The documents of a whole text. */
export function documentsOf(text: string): string[] {
  const cutter = documentCutter(text.includes(END_OF_TEXT));
  return [...cutter.push(text), ...cutter.end()];
}

/** Where the first part of a long document ends. */
function cutOf(document: string) {
  const head = document.slice(0, MAX_CHARS);
  const [line, space] = [head.lastIndexOf("\n"), head.lastIndexOf(" ")];
  // A line break belongs to the line before, a space to the word behind it.
  if (line > 0) return line + 1;
  if (space > 0) return space;
  const is_half = /[\ud800-\udbff]/.test(head[MAX_CHARS - 1]);
  return is_half ? MAX_CHARS - 1 : MAX_CHARS;
}
