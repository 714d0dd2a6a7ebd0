/** Long texts in an address: deflated and written in the letters that an address may have. */

/** A link is a stranger's: one that unfolds to more than any model reads is not followed to its end. */
const MAX_BYTES = 1 << 20;

export async function pack(text: string) {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const letters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The text, or null if this is no packed text. */
export async function unpack(packed: string) {
  try {
    const bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (letter) =>
      letter.charCodeAt(0),
    );
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let [text, length] = ["", 0];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      length += value.byteLength;
      if (length > MAX_BYTES) return await reader.cancel().then(() => null);
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    return null;
  }
}
