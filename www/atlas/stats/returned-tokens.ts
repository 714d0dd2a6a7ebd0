/** Tokens that do not return themselves in the zero-layer model, sorted by what became of them. Pure. */
import { NO_TOKEN } from "../../reading/reading.ts";

/** every token's bytes one after the other, and where each ends */
export type Bytes = { bytes: Uint8Array; ends: Uint32Array };
export type Group = "space removed" | "bytes" | "other";

export const GROUPS = ["space removed", "bytes", "other"] as const;

const SPACE = 0x20;
const strict = new TextDecoder("utf-8", { fatal: true });
const CONTROL_ONLY = /^[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]+$/;

export const bytesOf = ({ bytes, ends }: Bytes, id: number) => bytes.subarray(id === 0 ? 0 : ends[id - 1], ends[id]);

/** No text by itself: part of a character, or control characters alone. */
export function isBytes(bytes: Uint8Array) {
  try {
    return CONTROL_ONLY.test(strict.decode(bytes));
  } catch {
    return true;
  }
}

/** Whether `longer` is `shorter` behind one space. */
const isSpaced = (longer: Uint8Array, shorter: Uint8Array) =>
  shorter.length > 0 &&
  longer.length === shorter.length + 1 &&
  longer[0] === SPACE &&
  shorter.every((byte, i) => byte === longer[i + 1]);

export function groupOf(token: Uint8Array, returned: Uint8Array): Group {
  if (isSpaced(token, returned)) return "space removed";
  return isBytes(token) ? "bytes" : "other";
}

/** The reverse of "space removed", which the study has no name for. */
export const isSpaceAdded = (token: Uint8Array, returned: Uint8Array) => isSpaced(returned, token);

/** A word that returns what is no text by itself. */
export const returnsBytes = (token: Uint8Array, returned: Uint8Array) =>
  !isBytes(token) && isBytes(returned) && !isSpaced(token, returned);

export type Stray = {
  id: number;
  returned: number;
  group: Group;
  is_space_added: boolean;
  returns_bytes: boolean;
  self_logit: number;
  logit: number;
};

/**
 * Those of the tokens 0, step, 2·step … whose arg-max is another token; none of those without an arg-max, because
 * their logits are not finite.
 */
export function straysOf(
  { argmax, logit, self_logit }: { argmax: Uint32Array; logit: Float32Array; self_logit: Float32Array },
  step: number,
  vocabulary: Bytes,
): Stray[] {
  const strays: Stray[] = [];
  argmax.forEach((returned, i) => {
    const id = i * step;
    if (returned === id || returned === NO_TOKEN) return;
    const [token, other] = [bytesOf(vocabulary, id), bytesOf(vocabulary, returned)];
    strays.push({
      id,
      returned,
      group: groupOf(token, other),
      is_space_added: isSpaceAdded(token, other),
      returns_bytes: returnsBytes(token, other),
      self_logit: self_logit[i],
      logit: logit[i],
    });
  });
  return strays;
}
