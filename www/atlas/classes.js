// @ts-check
/** Tokens that do not return themselves in the zero-layer model, sorted by what became of them. Pure. */
import { NO_TOKEN } from "../reading.js";

/** @typedef {{ bytes: Uint8Array, ends: Uint32Array }} Bytes every token's bytes one after the other, and where each ends */
/** @typedef {"space removed" | "bytes" | "other"} Group */

export const GROUPS = /** @type {const} */ (["space removed", "bytes", "other"]);

const SPACE = 0x20;
const strict = new TextDecoder("utf-8", { fatal: true });
const CONTROL_ONLY = /^[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]+$/;

/** @param {Bytes} vocabulary @param {number} id */
export const bytesOf = ({ bytes, ends }, id) => bytes.subarray(id === 0 ? 0 : ends[id - 1], ends[id]);

/** No text by itself: part of a character, or control characters alone. @param {Uint8Array} bytes */
export function isBytes(bytes) {
  try {
    return CONTROL_ONLY.test(strict.decode(bytes));
  } catch {
    return true;
  }
}

/** Whether `longer` is `shorter` behind one space. @param {Uint8Array} longer @param {Uint8Array} shorter */
const isSpaced = (longer, shorter) =>
  shorter.length > 0 && longer.length === shorter.length + 1 && longer[0] === SPACE && shorter.every((byte, i) => byte === longer[i + 1]);

/** @param {Uint8Array} token @param {Uint8Array} returned @returns {Group} */
export function groupOf(token, returned) {
  if (isSpaced(token, returned)) return "space removed";
  return isBytes(token) ? "bytes" : "other";
}

/** The reverse of "space removed", which the study has no name for. @param {Uint8Array} token @param {Uint8Array} returned */
export const isSpaceAdded = (token, returned) => isSpaced(returned, token);

/** A word that returns what is no text by itself. @param {Uint8Array} token @param {Uint8Array} returned */
export const returnsBytes = (token, returned) => !isBytes(token) && isBytes(returned) && !isSpaced(token, returned);

/** @typedef {{ id: number, returned: number, group: Group, is_space_added: boolean, returns_bytes: boolean, self_logit: number, logit: number }} Stray */

/**
 * Those of the tokens 0, step, 2·step … whose arg-max is another token; none of those without an arg-max, because their logits are not finite.
 * @param {{ argmax: Uint32Array, logit: Float32Array, self_logit: Float32Array }} found @param {number} step @param {Bytes} vocabulary
 * @returns {Stray[]}
 */
export function straysOf({ argmax, logit, self_logit }, step, vocabulary) {
  /** @type {Stray[]} */
  const strays = [];
  argmax.forEach((returned, i) => {
    const id = i * step;
    if (returned === id || returned === NO_TOKEN) return;
    const [token, other] = [bytesOf(vocabulary, id), bytesOf(vocabulary, returned)];
    strays.push({ id, returned, group: groupOf(token, other), is_space_added: isSpaceAdded(token, other), returns_bytes: returnsBytes(token, other), self_logit: self_logit[i], logit: logit[i] });
  });
  return strays;
}
