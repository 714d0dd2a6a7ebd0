/** Which model of the hub is meant: `owner/name`, `owner/name@revision`, or an address copied from the hub's site. */
import { LoupeError } from "../engine/errors.ts";
import type { Address } from "../lib/model.ts";

export const DEFAULT_REVISION = "main";

/** Narrower than what the hub allows, so that an id can stand in an address and in a file name. */
const NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,95}";
const ID = new RegExp(`^${NAME}(?:/${NAME})?$`);
const REVISION = /^[A-Za-z0-9][\w./-]{0,199}$/;
const SITE = /^https?:\/\/[^/]+\//i;
const INSIDE = /^([^/]+\/[^/]+)(?:\/(?:tree|blob|resolve)\/([^/]+).*)?\/?$/;

/** Errors: `bad-option`. */
export function checkedAddress(id: string, revision: string): Address {
  if (!ID.test(id) || id.includes("..")) {
    throw new LoupeError(
      "bad-option",
      `“${id}” is not the name of a model: expected owner/name, as in openai-community/gpt2.`,
    );
  }
  if (!REVISION.test(revision) || revision.includes("..")) {
    throw new LoupeError("bad-option", `“${revision}” is not a revision: expected a branch, a tag or a commit.`);
  }
  return { id, revision };
}

/**
 * What a person typed or pasted. Errors: `bad-option`.
 * @param revision from a field of its own; it wins if it is not empty
 */
export function parseAddress(text: string, revision: string = "") {
  const bare = text.trim().replace(/[?#].*$/, "");
  const inside = SITE.test(bare) ? INSIDE.exec(bare.replace(SITE, "")) : null;
  const [id, tail] = inside ? [inside[1], inside[2] && decodeURIComponent(inside[2])] : bare.split(/@(.*)/s);
  return checkedAddress(id, revision.trim() || tail || DEFAULT_REVISION);
}

export const addressText = ({ id, revision }: Address) => (revision === DEFAULT_REVISION ? id : `${id}@${revision}`);

/** @param text as `addressText` writes it */
export function addressOf(text: string | null): Address | null {
  try {
    return text ? parseAddress(text) : null;
  } catch {
    return null;
  }
}
