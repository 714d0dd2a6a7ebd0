// @ts-check
/** One message above the picture that can be acted on or dismissed; a newer one takes its place. */
import { button, byId } from "./dom.js";

/** @typedef {{ label: string, onClick: () => void, is_main?: boolean }} Action */

/**
 * @param {object} what
 * @param {string} what.title
 * @param {string} [what.text]
 * @param {string} [what.code]
 * @param {Action[]} [what.actions] each also closes the notice
 * @param {string} [what.dismiss] the label of the button that does nothing else
 * @param {() => void} [what.onDismiss]
 */
export function showNotice({ title, text = "", code = "", actions = [], dismiss = "Dismiss", onDismiss }) {
  byId("notice-title").textContent = title;
  byId("notice-text").textContent = text;
  byId("notice-code").textContent = code;
  byId("notice").dataset.code = code;
  byId("notice-actions").replaceChildren(
    ...actions.map(({ label, onClick, is_main }) => button(is_main ? "chip main" : "chip", label, () => (hideNotice(), onClick()))),
    button("chip", dismiss, () => (hideNotice(), onDismiss?.())),
  );
  byId("notice").hidden = false;
}

export function hideNotice() {
  byId("notice").hidden = true;
}
